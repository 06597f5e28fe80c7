"""What the rest of the platform needs of a message log, whichever it is."""

from collections.abc import Callable
from typing import Protocol

from streams.log.records import Chunk, TopicPartition
from streams.log.topics import TopicInfo, TopicPolicy


class MessageLog(Protocol):
    """The embedded log or Kafka: topics, positions and reads. Writing goes through a ``LogWriter``.

    Positions are what is known in this process without asking anybody: exact on the embedded log, at most
    about a second old on Kafka (``positions_at`` says from when).
    """

    identity: str
    """Which log this is; a table store filled from another one is of no use."""
    clock: Callable[[], float]

    async def connect(self) -> None:
        """Make ready for use; raises LogError when the log cannot be reached."""

    async def close(self) -> None:
        """Release everything."""

    async def declare(self, topic: str, partitions: int, policy: TopicPolicy | None = None) -> None:
        """Create a topic, or check that it has this many partitions; raises PartitionMismatch."""

    def topics(self) -> list[str]:
        """Return the names of all topics, sorted."""

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None when it is unknown."""

    def partition_for(self, topic: str, key: bytes | None) -> int:
        """Return the partition of a key; raises UnknownTopic."""

    def earliest(self, topic: str, partition: int) -> int:
        """Return the first offset that may still be there."""

    def highwater(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the next offset that a group will read, None when it never committed."""

    def listen(self, listener: Callable[[set[TopicPartition]], None]) -> Callable[[], None]:
        """Call ``listener`` with the partitions that records were added to; returns the way to end it."""

    def positions_at(self) -> float:
        """Return the time, seconds since the epoch, up to which positions are known."""

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Chunk:
        """Return records at or after ``offset`` (clamped to the start): none when the end is reached."""

    async def describe(self) -> list[TopicInfo]:
        """Return every topic with its partitions."""
