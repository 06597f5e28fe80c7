"""Following a table: its rows, then its changelog, resumable (Y10, research/faust.md section 6)."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from streams.log.partitioner import partition_for
from streams.log.records import Chunk, TopicPartition
from streams.reading import plain
from tables.analytics import Change, Position, Vector
from tables.errors import Missing, ServiceUnavailable, ValidationFailed

PAGE_ROWS = 200
"""Rows or records in memory at once for one follower, and between two turns of the loop."""
MAX_FOLLOWERS = 64
"""Followers at once: each holds a connection and reads the log."""


class ReadableLog(Protocol):
    """What following needs of a log; the embedded one fits."""

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None when it is unknown."""

    def highwater(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Chunk:
        """Return records at or after ``offset``, none at the end."""

    def listen(self, listener: Callable[[set[TopicPartition]], None]) -> Callable[[], None]:
        """Call ``listener`` after each append; returns the way to end it."""


class TableChanges:
    """Follows the tables of this process through their changelogs."""

    def __init__(
        self,
        tables: Mapping[str, Any],
        log: ReadableLog,
        *,
        settle: Callable[[], Awaitable[object]],
        whole: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Args: tables by name, their log, ``settle``, and whether the tables are whole in this process.

        ``settle()`` returns when every append that the log already counts is visible in the tables: a row
        read before it may be older than the position that was read. Where other workers hold a part, a reader
        that comes without a position gets the changelog from its start, which says the same.
        """
        self._tables = tables
        self._log = log
        self._settle = settle
        self._whole = whole
        self._clock = clock
        self._followers: set[asyncio.Event] = set()
        self._closed = False

    def close(self) -> None:
        """End every follower: the server stops."""
        self._closed = True
        for wake in self._followers:
            wake.set()

    def check(self, name: str, since: Vector | None) -> None:
        """Refuse what cannot be followed; see ``ChangeFeed``."""
        table = self._tables.get(name)
        if table is None:
            raise Missing(f"There is no table {name!r}.", details={"field": "name", "value": name[:200]})
        if len(self._followers) >= MAX_FOLLOWERS:
            raise ServiceUnavailable("Too many change feeds are open.", retry_after_seconds=10)
        ends = self._ends(_changelog(table))
        for partition, offset in (since or {}).items():
            if partition not in ends or offset > ends[partition]:
                raise ValidationFailed(
                    "This position is not one of this table.",
                    details={"field": "since", "value": f"{partition}:{offset}"},
                )

    async def follow(
        self, name: str, since: Vector | None, idle_seconds: float
    ) -> AsyncGenerator[Change | Position, None]:
        """Yield rows and changes; see ``ChangeFeed``."""
        table, wake = self._tables[name], asyncio.Event()
        topic = _changelog(table)

        def appended(places: set[TopicPartition]) -> None:
            if any(place[0] == topic for place in places):
                wake.set()

        end_listening = self._log.listen(appended)
        self._followers.add(wake)
        try:
            at = self._ends(topic)
            if since is None and self._whole:
                await self._settle()
                async for row in self._rows(table, at):
                    yield row
            else:
                at = dict.fromkeys(at, 0) | dict(since or {})
            while not self._closed:
                wake.clear()
                async for change in self._changes(table, topic, at):
                    yield change
                yield Position(dict(at), self._clock())
                await _wait(wake, idle_seconds)
        finally:
            self._followers.discard(wake)
            end_listening()

    def _ends(self, topic: str) -> dict[int, int]:
        return {p: self._log.highwater(topic, p) for p in range(self._log.partitions(topic) or 0)}

    async def _rows(self, table: Any, at: Vector) -> AsyncIterator[Change]:
        now, partitions = self._clock(), max(1, len(at))
        keys = [key for key, _ in table.scan()]
        for start in range(0, len(keys), PAGE_ROWS):
            for key in keys[start : start + PAGE_ROWS]:
                value = table.lookup(key)
                if value is not None:  # else it was deleted meanwhile: the changes will say so
                    partition = partition_for(key.encode(), partitions)
                    yield Change("row", key, plain(value), partition, at.get(partition, 0) - 1, now)
            await asyncio.sleep(0)

    async def _changes(self, table: Any, topic: str, at: dict[int, int]) -> AsyncIterator[Change]:
        """Yield all records from ``at`` to the end, moving ``at`` behind each."""
        decode = table.codec.loads
        for partition in sorted(at):
            while not self._closed and at[partition] < self._log.highwater(topic, partition):
                chunk = await self._log.read(topic, partition, at[partition], PAGE_ROWS)
                if not len(chunk):
                    break
                for record in chunk:
                    value = None if record.value is None else plain(_decoded(decode, record.value))
                    at[partition] = record.offset + 1
                    key = (record.key or b"").decode("utf-8", "replace")
                    yield Change("change", key, value, partition, record.offset, record.timestamp)


def _decoded(decode: Callable[[bytes], Any], value: bytes) -> Any:
    try:
        return decode(value)
    except msgspec.DecodeError as error:  # what an older version wrote and this one no longer reads
        raise ServiceUnavailable("A stored value of this table cannot be read.") from error


def _changelog(table: Any) -> str:
    return str(table.changelog_topic.get_topic_name())


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(wake.wait(), seconds)
    except TimeoutError:
        return
