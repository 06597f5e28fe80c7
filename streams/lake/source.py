"""Where a run of the sink reads: the embedded log's file, or Kafka, as of one moment (Y10).

Both are read beside the server without a group: positions are the manifest's. The ends of all partitions are
taken once, at the start, so that a run is one cut through the log; on Kafka they are asked for together.
"""

import asyncio
from typing import Protocol

from streams.log.ports import MessageLog
from streams.log.records import Chunk, TopicPartition
from streams.log.store import EmbeddedLog

READER_GROUP = "freewill-lake"
"""Only named, never joined: Kafka asks which group's positions are of interest."""


class Source(Protocol):
    """What a run needs of a log; it blocks, which a child process may."""

    @property
    def identity(self) -> str:
        """Which log this is."""

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None when it is unknown."""

    def earliest(self, topic: str, partition: int) -> int:
        """Return the first offset that may still be there."""

    def highwater(self, topic: str, partition: int) -> int:
        """Return the offset behind the last record of this run."""

    def read(self, place: TopicPartition, offset: int, max_records: int) -> Chunk:
        """Return records at or after ``offset``, none at the end."""

    def close(self) -> None:
        """Release everything."""


class EmbeddedSource:
    """The embedded log's file, read-only; what it holds when it is opened stays what it shows."""

    def __init__(self, path: str) -> None:
        """Args: the file."""
        self._log = EmbeddedLog.open(path, read_only=True)
        self.identity = self._log.identity
        self.partitions = self._log.partitions
        self.earliest = self._log.earliest
        self.highwater = self._log.highwater

    def read(self, place: TopicPartition, offset: int, max_records: int) -> Chunk:
        """Return records at or after ``offset``."""
        return self._log.read_now({place: offset}, max_records)[place]

    def close(self) -> None:
        """Close the file."""
        self._log.close_now()


class RemoteSource:
    """A log that is read by asyncio, such as Kafka, on a loop of its own."""

    def __init__(self, log: MessageLog) -> None:
        """Connect; raises ``LogUnreachable`` when nobody answers."""
        self._log = log
        self._loop = asyncio.Runner()
        try:
            self._loop.run(log.connect())
        except BaseException:
            self._loop.close()
            raise
        self.identity = log.identity
        self._ends = {
            (topic, partition): log.highwater(topic, partition)
            for topic in log.topics()
            for partition in range(log.partitions(topic) or 0)
        }

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None when it is unknown."""
        return self._log.partitions(topic)

    def earliest(self, topic: str, partition: int) -> int:
        """Return the first offset that may still be there."""
        return self._log.earliest(topic, partition)

    def highwater(self, topic: str, partition: int) -> int:
        """Return the end as it was at the start."""
        return self._ends[topic, partition]

    def read(self, place: TopicPartition, offset: int, max_records: int) -> Chunk:
        """Return records at or after ``offset``."""
        return self._loop.run(self._log.read(*place, offset, max_records))

    def close(self) -> None:
        """Disconnect."""
        self._loop.run(self._log.close())
        self._loop.close()


def open_source(broker: str, path: str) -> Source:
    """Return the log of ``embedded://`` (the file at ``path``) or of ``kafka://host:port``.

    Raises:
        LogError: it cannot be opened or reached.
    """
    if broker.startswith("kafka://"):
        from streams.log.kafka import KafkaLog  # brings a client, which only this needs

        return RemoteSource(KafkaLog.open(broker, group=READER_GROUP))
    return EmbeddedSource(path)
