"""Flow that keeps what it was given: buffers are emptied when a rebalance begins, and not when it ends."""

from mode.utils.queues import FlowControlEvent


class SteadyFlow(FlowControlEvent):  # type: ignore[misc]
    """Faust's flow control, which empties the buffers of agents and recovery at each ``resume`` too.

    Recovery resumes several times, and what came since the last time has its place in the order: fetches
    are under way, and standbys read on. Without it agents and tables would go on with what came behind it,
    and the offsets in their rows would have it skipped for ever (invariants 1 and 3). What is of a former
    assignment is known by its generation, and the positions are sought again.
    """

    def resume(self) -> None:
        """Let producers and agents go on."""
        self._suspend.clear()
        self._resume.set()
