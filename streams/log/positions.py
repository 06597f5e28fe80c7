"""Where every partition starts and ends, and where every group stands."""

from streams.log.records import TopicPartition


class Positions:
    """What every partition is called inside the file, and where it ends. Shared with readers."""

    def __init__(self) -> None:
        self.ids: dict[TopicPartition, int] = {}
        self.ends: dict[TopicPartition, int] = {}
        self.starts: dict[TopicPartition, int] = {}
        self.committed: dict[tuple[str, TopicPartition], int] = {}

    def groups(self, place: TopicPartition) -> dict[str, int]:
        """Return the next offset of every group on a partition."""
        # a copy first: the writer thread adds groups
        return {group: at for (group, where), at in list(self.committed.items()) if where == place}
