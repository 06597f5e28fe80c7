"""Tables that every serving worker reads whole, whoever keeps them (F17, DESIGN section 2).

A feed needs the counters, the neighbours and the cards of all videos. Where one process holds every
partition, its tables are that. In a cluster each worker follows their changelogs, from the start and then
live, into copies of its own, which nothing but the changelog ever writes: a copy is what was committed, a
moment ago.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from streams.log.kafka import KafkaLog
from streams.log.kafka.following import follow_topics
from streams.log.partitioner import partition_for
from streams.log.records import Chunk, TopicPartition

log = structlog.get_logger(__name__)

#: Rows decoded before others get the loop: about a millisecond.
STEP_ROWS: Final = 100
Show = Callable[[str, Any], None]
"""Told a key and its new row, None when it is gone."""


class Readable(Protocol):
    """A table as a reader sees it: a copy, or the table itself."""

    def lookup(self, key: str) -> Any | None:
        """Return the row of a key, None when there is none."""

    def scan(self) -> Iterator[tuple[str, Any]]:
        """Iterate over all keys and rows; not to be interrupted by writes."""

    def count(self) -> int:
        """Return how many rows there are."""


class TableCopy:
    """A copy of one table, made of its changelog."""

    def __init__(self, table: Any, partitions: int) -> None:
        """Args: the table that it is a copy of (it need not run), and its partitions."""
        self.name = str(table.name)
        self.topic = str(table.changelog_topic.get_topic_name())
        self.codec = table.codec
        self._rows: list[dict[str, Any]] = [{} for _ in range(partitions)]

    def lookup(self, key: str) -> Any | None:
        """Return the row of a key, None when there is none."""
        return self._rows[partition_for(key.encode(), len(self._rows))].get(key)

    def scan(self) -> Iterator[tuple[str, Any]]:
        """Iterate over all keys and rows."""
        for rows in self._rows:
            yield from rows.items()

    def count(self) -> int:
        """Return how many rows there are."""
        return sum(map(len, self._rows))

    def apply(self, partition: int, newest: Mapping[bytes, bytes | None]) -> Iterator[tuple[str, Any]]:
        """Take over new values; yield each key with its row.

        A row that cannot be read is left out until a newer one of its key comes: the worker that keeps the
        table does not start with it, and says so.
        """
        rows = self._rows[partition]
        for raw_key, raw in newest.items():
            key, row = raw_key.decode(errors="replace"), None
            if raw is not None:
                try:
                    row = self.codec.decode(raw)
                except (msgspec.MsgspecError, ValueError):
                    log.exception("row_cannot_be_read", table=self.name, key=key)
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
            yield key, row


class Views:
    """The copies of one worker, and how far they are; owned by one event loop."""

    def __init__(self, shared: KafkaLog, tables: Sequence[Any], partitions: int) -> None:
        """Args: the log, the tables to follow, and their partitions."""
        self._log = shared
        self._partitions = partitions
        self.copies = {str(table.name): TableCopy(table, partitions) for table in tables}
        self._of = {copy.topic: copy for copy in self.copies.values()}
        self._next: dict[TopicPartition, int] = {}
        self._shows: dict[str, Show] = {}
        self._moved = asyncio.Event()

    def show(self, shows: Mapping[str, Show]) -> None:
        """Tell these, by table, of every row that changes."""
        self._shows.update(shows)

    async def run(self) -> None:
        """Follow until cancelled."""
        topics = dict.fromkeys(self._of, self._partitions)
        async for chunk in follow_topics(self._log.servers, topics, self._next):
            await self._apply(chunk)
            self._next[chunk.topic, chunk.partition] = chunk.offsets[-1] + 1
            self._moved.set()

    async def caught_up(self) -> None:
        """Return when everything is applied that was there when this was called."""
        await self._log.refresh(self._of)
        ends = {place: self._log.highwater(*place) for place in self._places()}
        empty = {place for place in ends if self._log.earliest(*place) >= ends[place]}
        while any(self._next.get(place, 0) < end for place, end in ends.items() if place not in empty):
            self._moved.clear()
            await self._moved.wait()

    def behind(self, table: str) -> int:
        """Return how many records of a table's changelog are not applied, as far as is known."""
        topic = self.copies[table].topic
        return sum(
            max(0, self._log.highwater(*place) - max(self._next.get(place, 0), self._log.earliest(*place)))
            for place in self._places()
            if place[0] == topic
        )

    def _places(self) -> Iterator[TopicPartition]:
        return ((topic, number) for topic in self._of for number in range(self._partitions))

    async def _apply(self, chunk: Chunk) -> None:
        # of several rows of one key only the newest is decoded
        newest = {key: value for key, value in zip(chunk.keys, chunk.values, strict=True) if key is not None}
        copy = self._of[chunk.topic]
        show = self._shows.get(copy.name)
        for number, (key, row) in enumerate(copy.apply(chunk.partition, newest), 1):
            if show is not None:
                show(key, row)
            if number % STEP_ROWS == 0:
                await asyncio.sleep(0)
