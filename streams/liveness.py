"""Is every agent still getting on? A stuck one ends the process, for a supervisor to start anew (O39).

Faust's own watchdog only logs, and a handler that never returns keeps its partition for ever
(research/faust.md section 3, rows 10 and 11). Here an agent is stuck when records wait for it in a partition
of this worker and nothing was heard of it for a stated time: it neither moved on, nor began, ended or
repeated a slice. An agent that waits for a database or a log repeats, so it is alive. Agents of single
events are not judged: their work is done by child processes with time limits of their own.
"""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from streams.log import MessageLog
from streams.log.errors import LogError
from streams.reading import Progress

log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 1.0
BLOCKED: Final = 1
"""Exit code when the event loop is blocked: the same as of other crashes."""


class AgentStuck(LogError):
    """An agent makes nothing of the records that wait for it."""


@dataclass
class _Watched:
    """One agent, and for how long nothing was heard of it in each partition, seconds."""

    app: Any
    topic: str
    positions: dict[int, int] = field(default_factory=dict)
    silent: dict[int, float] = field(default_factory=dict)
    heard: bool = False


class Liveness:
    """Watches the agents of sliced topics, and the event loop itself."""

    def __init__(
        self,
        messages: MessageLog,
        progress: Progress,
        limit_seconds: float,
        *,
        observed: Callable[[str, float], None] = lambda agent, seconds: None,
    ) -> None:
        """Args: the log, how far agents are, the time after which one is stuck, and a metric."""
        self._log = messages
        self._progress = progress
        self._limit = limit_seconds
        self._observed = observed
        self._agents: dict[str, _Watched] = {}

    def watch(self, agent: str, app: Any, topic: str) -> None:
        """Watch an agent of ``app`` that takes slices of ``topic``."""
        self._agents[agent] = _Watched(app, topic)

    def heard(self, agent: str) -> None:
        """Note that an agent begins, ends or repeats something."""
        if agent in self._agents:
            self._agents[agent].heard = True

    def silent(self) -> Mapping[str, float]:
        """Return the seconds for which agents with waiting records were silent; none of those at work."""
        found = {name: max(agent.silent.values(), default=0.0) for name, agent in self._agents.items()}
        return {name: seconds for name, seconds in found.items() if seconds > CHECK_SECONDS * 2}

    async def run(self) -> None:
        """Check for ever.

        Raises:
            AgentStuck: an agent was silent for the limit.
        """
        guard = LoopGuard(self._limit)
        guard.start()
        try:
            while True:
                await asyncio.sleep(CHECK_SECONDS)
                guard.tick()
                self.check(CHECK_SECONDS)
        finally:
            guard.stop()

    def check(self, seconds: float) -> None:
        """Look at every agent ``seconds`` after the last look; raises AgentStuck.

        Looks are counted, not hours: a machine that slept has stuck nobody.
        """
        for name, agent in self._agents.items():
            self._look(name, agent, seconds)
            longest = max(agent.silent.values(), default=0.0)
            self._observed(name, longest)
            if longest >= self._limit:
                where = [number for number, silent in agent.silent.items() if silent >= self._limit]
                raise AgentStuck(
                    f"agent {name!r} did nothing for {longest:.0f} s while records of {agent.topic!r} wait"
                    f" in partitions {where}"
                )

    def _look(self, name: str, agent: _Watched, seconds: float) -> None:
        behind = {} if _moving(agent.app) else self._behind(name, agent)
        heard, agent.heard = agent.heard, False
        agent.silent = {
            number: 0.0
            if heard or agent.positions.get(number) != position
            else agent.silent.get(number, 0.0) + seconds
            for number, position in behind.items()
        }
        agent.positions = behind

    def _behind(self, name: str, agent: _Watched) -> dict[int, int]:
        """Return the positions in the partitions of this worker where records wait."""
        applied = self._progress.applied(name)
        found = {}
        for tp in agent.app.consumer.assignment():
            if tp.topic != agent.topic:
                continue
            committed = self._log.committed(agent.app.conf.id, tp.topic, tp.partition) or 0
            position = max(committed, applied.get(tp.partition, -1) + 1)
            start = self._log.earliest(tp.topic, tp.partition)
            if self._log.highwater(tp.topic, tp.partition) > max(position, start):
                found[tp.partition] = position
        return found


def _moving(app: Any) -> bool:
    """Tell whether partitions are on the move or tables recover: that has a watchdog of its own."""
    return bool(app.rebalancing or app.tables.recovery.in_recovery or app.should_stop)


class LoopGuard:
    """A thread that ends the process when the event loop stands still: nothing in the loop could."""

    def __init__(self, limit_seconds: float, end: Callable[[int], object] = os._exit) -> None:
        """Args: how long the loop may stand still, and what ends the process."""
        self._limit = limit_seconds
        self._end = end
        self._ticked = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop-guard", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def tick(self) -> None:
        """Say that the loop runs."""
        self._ticked.set()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()

    def _run(self) -> None:
        still = 0.0
        while not self._stop.wait(CHECK_SECONDS):
            still = 0.0 if self._ticked.is_set() else still + CHECK_SECONDS
            self._ticked.clear()
            if still > self._limit + CHECK_SECONDS:
                log.error("event_loop_blocked", seconds=still)
                faulthandler.dump_traceback(all_threads=True)
                sys.stderr.flush()
                self._end(BLOCKED)
                return
