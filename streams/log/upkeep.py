"""Compaction and retention, in the background and in small steps.

A step reads some rows on its own connection, decides, and hands the writer thread a ready replacement, so
appends wait for a few milliseconds at most. The newest row of a partition is never touched: recovery ends
when it has seen the record before the highwater, so that record must stay (research/faust.md row 7).
"""

import asyncio
import concurrent.futures
import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from streams.log.errors import LogClosed
from streams.log.reader import rows_from
from streams.log.records import Body, Chunk, Record, TopicPartition, encode_body
from streams.log.schema import OFFSET_MASK, connect, row_id
from streams.log.topics import TopicPolicy
from streams.log.writer import ROW_RECORDS, Job, Request

if TYPE_CHECKING:
    from streams.log.store import EmbeddedLog

logger = logging.getLogger(__name__)

#: Compact when at least this share of a partition's records came since the last time: the cost of
#: rewriting is then in proportion to what was written.
DIRTY_SHARE: Final = 0.5
#: Below this many new records compaction is not worth its writes.
MIN_DIRTY: Final = 2_000
#: Keys held in memory in one pass (about 150 B each); a longer dirty part takes several passes.
PASS_KEYS: Final = 100_000
#: Rewritten or removed at once, so that appends never wait long.
STEP_RECORDS: Final = 8_192
STEP_ROWS: Final = 256
#: Free pages given back to the file system after a round that removed something.
VACUUM_PAGES: Final = 512

Row = tuple[int, int, int, float, int, bytes]


class Upkeep:
    """Compaction and retention of one log."""

    def __init__(self, log: "EmbeddedLog") -> None:
        self._log = log
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy = threading.Lock()

    def start(self, seconds: float) -> None:
        """Run a round every ``seconds`` in a thread."""
        self._thread = threading.Thread(target=self._loop, args=(seconds,), name="log-upkeep", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its current step (blocking)."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._busy:
            pass

    async def run_once(self, *, force: bool = False) -> int:
        """Do one round now; return how many records it removed. ``force`` compacts however little is new."""
        return await asyncio.get_running_loop().run_in_executor(None, self.round, force)

    def _loop(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self.round()
            except LogClosed:
                return
            except Exception:
                logger.exception("log upkeep failed; the next round tries again")

    def round(self, force: bool = False) -> int:
        """Compact or trim every partition (blocking); return how many records were removed."""
        removed = 0
        with self._busy, contextlib.closing(connect(self._log.path, read_only=True)) as reading:
            for topic in self._log.topics():
                policy = self._log.policy(topic)
                for number in range(self._log.partitions(topic) or 0):
                    if self._stop.is_set():
                        return removed
                    work = Partition(self._log, self, reading, (topic, number), policy)
                    removed += work.compact(force) if policy.compact else work.trim()
            if removed:
                self.perform(
                    lambda writing: writing.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
                )
        return removed

    def perform(self, job: Job) -> None:
        """Run a job in the writer's next transaction and wait for it."""
        done: concurrent.futures.Future[object] = concurrent.futures.Future()
        self._log.writer.submit(Request(done, job=job))
        done.result()

    @property
    def stopping(self) -> bool:
        """Whether the log is about to close."""
        return self._stop.is_set()


def _vacuum(writing: sqlite3.Connection) -> None:
    writing.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()


class Partition:
    """One round's work on one partition."""

    def __init__(
        self,
        log: "EmbeddedLog",
        upkeep: Upkeep,
        reading: sqlite3.Connection,
        place: TopicPartition,
        policy: TopicPolicy,
    ) -> None:
        self._log = log
        self._upkeep = upkeep
        self._reading = reading
        self._place = place
        self._policy = policy
        self._key = log.partition_key(place)

    def _limit(self) -> int:
        """Return the offset before which records may be removed: the newest row and unread records stay."""
        newest = self._reading.execute(
            "SELECT base, id FROM batch WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT 1", self._range()
        ).fetchone()
        if newest is None:
            return 0
        limit = int(newest[0])
        if not self._policy.drop_unread:
            limit = min([limit, *self._log.group_positions(self._place)])
        return limit

    def _range(self, first: int = 0, last: int = OFFSET_MASK) -> tuple[int, int]:
        return row_id(self._key, first), row_id(self._key, last)

    # -- retention

    def trim(self) -> int:
        """Remove the oldest rows by age and by size."""
        removed = 0
        while not self._upkeep.stopping:
            count, last = self._overdue()
            if not count:
                break
            self._upkeep.perform(lambda writing, last=last: self._cut(writing, last))  # type: ignore[misc]
            self._log.moved_start(self._place, last + 1)
            removed += count
        return removed

    def _overdue(self) -> tuple[int, int]:
        """Return the records and the last offset of the next rows to remove."""
        policy, limit = self._policy, self._limit()
        excess = 0
        if policy.retention_bytes is not None:
            total = self._reading.execute(
                "SELECT coalesce(sum(length(body)), 0) FROM batch WHERE id BETWEEN ? AND ?", self._range()
            ).fetchone()[0]
            excess = total - policy.retention_bytes
        oldest = (
            self._log.clock() - policy.retention_seconds if policy.retention_seconds is not None else None
        )
        records, last = 0, -1
        rows = self._reading.execute(
            "SELECT id, records, newest, length(body) FROM batch WHERE id BETWEEN ? AND ?"
            " ORDER BY id LIMIT ?",
            (*self._range(), STEP_ROWS),
        )
        for identity, count, newest, size in rows:
            if identity & OFFSET_MASK >= limit or not (
                excess > 0 or (oldest is not None and newest < oldest)
            ):
                break
            excess -= size
            records += count
            last = identity & OFFSET_MASK
        return records, last

    def _cut(self, writing: sqlite3.Connection, last: int) -> None:
        writing.execute("DELETE FROM batch WHERE id BETWEEN ? AND ?", self._range(0, last))
        writing.execute("UPDATE partition SET start = ? WHERE id = ?", (last + 1, self._key))

    # -- compaction

    def compact(self, force: bool) -> int:
        """Keep the newest record of each key before the limit; drop tombstones after their grace."""
        clean = self._reading.execute("SELECT clean FROM partition WHERE id = ?", (self._key,)).fetchone()[0]
        limit, removed = self._limit(), 0
        while clean < limit and not self._upkeep.stopping and (force or self._worth_it(clean, limit)):
            newest, until = self._newest(clean, limit)
            for step in self._steps(until):
                if self._upkeep.stopping:
                    return removed
                removed += self._rewrite(step, newest, until)
            clean = until
            self._upkeep.perform(
                lambda writing, until=until: writing.execute(  # type: ignore[misc]
                    "UPDATE partition SET clean = ? WHERE id = ?", (until, self._key)
                )
            )
        return removed

    def _worth_it(self, clean: int, limit: int) -> bool:
        def count(first: int) -> int:
            return int(
                self._reading.execute(
                    "SELECT coalesce(sum(records), 0) FROM batch WHERE id BETWEEN ? AND ?",
                    self._range(first, limit - 1),
                ).fetchone()[0]
            )

        dirty = count(clean)
        return dirty >= MIN_DIRTY and dirty >= DIRTY_SHARE * count(0)

    def _newest(self, clean: int, limit: int) -> tuple[dict[bytes, int], int]:
        """Return the newest offset of each key from ``clean`` on, and where the map had to end."""
        newest: dict[bytes, int] = {}
        for row, _ in rows_from(self._reading, self._place, self._key, clean):
            if row.offsets[0] >= limit:
                break
            newest.update((key, at) for key, at in zip(row.keys, row.offsets, strict=True) if key is not None)
            if len(newest) >= PASS_KEYS:
                return newest, min(limit, row.offsets[-1] + 1)
        return newest, limit

    def _steps(self, until: int) -> Iterator[list[Chunk]]:
        """Yield the stored rows before ``until`` in groups of about STEP_RECORDS."""
        offset = 0
        while True:
            step: list[Chunk] = []
            records = 0
            for row, _ in rows_from(self._reading, self._place, self._key, offset):
                if row.offsets[-1] >= until:
                    break
                step.append(row)
                records += len(row)
                if records >= STEP_RECORDS or len(step) >= STEP_ROWS:
                    break
            if not step:
                return
            offset = step[-1].offsets[-1] + 1
            yield step

    def _rewrite(self, step: list[Chunk], newest: dict[bytes, int], until: int) -> int:
        before = sum(len(row) for row in step)
        kept = [record for row in step for record in row if self._stays(record, newest)]
        if len(kept) == before and len(step) <= 1 + before // ROW_RECORDS * 2:
            return 0
        rows = list(self._rows(kept))
        first, last = step[0].offsets[0], step[-1].offsets[-1]

        def replace(writing: sqlite3.Connection) -> None:
            writing.execute("DELETE FROM batch WHERE id BETWEEN ? AND ?", self._range(first, last))
            writing.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)", rows)

        self._upkeep.perform(replace)
        return before - len(kept)

    def _stays(self, record: Record, newest: dict[bytes, int]) -> bool:
        if record.key is None:
            return True
        if record.offset < newest.get(record.key, record.offset):
            return False
        grace = self._policy.tombstone_grace_seconds
        return record.value is not None or record.timestamp >= self._log.clock() - grace

    def _rows(self, kept: list[Record]) -> Iterator[Row]:
        for at in range(0, len(kept), ROW_RECORDS):
            part = kept[at : at + ROW_RECORDS]
            offsets = [record.offset for record in part]
            times = [record.timestamp for record in part]
            headers = [record.headers for record in part]
            body = Body(
                [record.key for record in part],
                [record.value for record in part],
                times,
                headers if any(headers) else None,
                None if offsets[-1] - offsets[0] == len(part) - 1 else offsets,
            )
            blob, crc = encode_body(body)
            yield (row_id(self._key, offsets[-1]), offsets[0], len(part), max(times), crc, blob)
