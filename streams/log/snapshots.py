"""Snapshots of memory tables: a start loads the newest and reads only the rest of the changelog.

A snapshot is fuzzy: rows are copied in small steps while the table goes on changing. It is named by the
changelog offset at which copying began, and changelog records are whole rows, so reading the changelog
from there gives the exact table, whatever newer rows were copied. It is a saving only: a file that is
damaged, foreign, too old or ahead of the log is ignored, and without any the changelog is read whole.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from faust.stores import memory
from faust.types import TP

from streams.log.snapshot_file import (
    FORMAT,
    Header,
    SnapshotRefused,
    SnapshotWriter,
    found,
    read_header,
    read_rows,
    schema_of,
)
from streams.log.topics import DAY_SECONDS

logger = logging.getLogger(__name__)

#: A snapshot older than this is not loaded: compaction drops the tombstones of deleted keys a day after
#: they were written, and a key that is deleted in the snapshot's future must not come back.
MAX_AGE_SECONDS: Final = DAY_SECONDS / 2
#: One of this age is written again, whether or not much has changed.
RENEW_SECONDS: Final = DAY_SECONDS / 8
#: Written when the changelog has grown by so many records since the last one, and by a tenth of the keys:
#: what is written stays in proportion to what changed, and the rest is read back in no time.
MIN_RECORDS: Final = 1_000
GROWTH: Final = 0.1
#: How long one step of copying may hold the interpreter, and thereby the loop, in seconds.
STEP_SECONDS: Final = 0.001
FIRST_STEP_KEYS: Final = 256


class _Aborted(Exception):
    """The worker stops, or the partition moved: this snapshot is not wanted any more."""


class Snapshots:
    """Writes and loads the snapshots of one app's memory tables, in a folder of their own."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        min_records: int = MIN_RECORDS,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._min_records = min_records
        self._written: dict[TP, Header] = {}
        self._busy = asyncio.Lock()

    def attach(self, app: Any) -> None:
        """Have an app's recovery load from here; before the app starts."""
        app.table_snapshots = self

    # -- loading

    async def restore(
        self, app: Any, tables: Mapping[TP, Any], starts: Mapping[TP, int], ends: Mapping[TP, int]
    ) -> dict[TP, int]:
        """Fill memory tables that have nothing yet; return the changelog offset that each now stands for.

        Args:
            app: the Faust app.
            tables: table of each changelog partition.
            starts: first offset that each changelog still has.
            ends: last offset of each changelog, -1 when it is empty.
        """
        offsets: dict[TP, int] = {}
        await asyncio.to_thread(self._remove_leftovers)
        for tp, table in sorted(tables.items(), key=lambda pair: pair[0]):
            for path in await asyncio.to_thread(found, self._place(tp)):
                try:
                    header = await asyncio.to_thread(self._header, path, app, table, tp)
                    if header.offset < starts.get(tp, 0) - 1:
                        raise SnapshotRefused(f"its changelog begins after it, at {starts[tp]}")
                    rows = await asyncio.to_thread(read_rows, path, table.record_type, ends.get(tp, -1))
                except SnapshotRefused as exc:
                    logger.warning("snapshot %s ignored: %s", path, exc)
                    # a log that lost its tail grows past it again, with other records
                    await asyncio.to_thread(path.unlink, missing_ok=True)
                    continue
                table.data.data.update(rows)
                table.data._key_partition.update(dict.fromkeys(rows, tp.partition))
                table.applied[tp.partition] = offsets[tp] = header.offset
                self._written[tp] = header
                break
        return offsets

    def _header(self, path: Path, app: Any, table: Any, tp: TP) -> Header:
        header, wanted = read_header(path), self._wanted(app, table, tp, 0)
        for name in ("log", "topic", "partition", "partitions", "schema"):
            if getattr(header, name) != getattr(wanted, name):
                raise SnapshotRefused(
                    f"its {name} is {getattr(header, name)!r}, not {getattr(wanted, name)!r}"
                )
        age = wanted.taken_at - header.taken_at
        if age > MAX_AGE_SECONDS:
            raise SnapshotRefused(f"it is {age / 3600:.1f} hours old")
        return header

    def _wanted(self, app: Any, table: Any, tp: TP, offset: int) -> Header:
        return Header(
            format=FORMAT,
            log=app.message_log.identity,
            topic=tp.topic,
            partition=tp.partition,
            partitions=table.changelog_partitions,
            schema=schema_of(table.record_type),
            offset=offset,
            taken_at=self._clock(),
        )

    def _place(self, tp: TP) -> Path:
        return self.folder / str(tp.topic) / str(tp.partition)

    def _remove_leftovers(self) -> None:
        for path in self.folder.glob("*/*/*.tmp"):  # of a process that was killed while it wrote
            path.unlink(missing_ok=True)

    # -- writing

    async def write(self, app: Any, *, deadline_seconds: float | None = None) -> int:
        """Write a snapshot of each partition that changed enough; return how many were written.

        Copying happens in a thread, in steps of a millisecond with as long a pause after each. With a
        deadline it does not pause, and what is not ready by then is left out. A failing disk is logged.
        """
        if app.crashed:  # a store may then lack what its changelog has
            return 0
        abort, written = threading.Event(), 0
        loop = asyncio.get_running_loop()
        timer = loop.call_later(deadline_seconds, abort.set) if deadline_seconds is not None else None
        async with self._busy:
            try:
                for table in [table for table in app.tables.values() if in_memory(table)]:
                    written += await self._write_table(app, table, abort, pause=timer is None)
            except (OSError, TypeError) as exc:
                logger.error("snapshots could not be written: %s", exc)
            finally:
                if timer is not None:
                    timer.cancel()
        return written

    async def _write_table(self, app: Any, table: Any, abort: threading.Event, *, pause: bool) -> int:
        # read here, in the loop: rows change together with their offset, and nothing comes between
        due, epoch = self._due(app, table), table.recoveries
        writers: dict[int, SnapshotWriter] = {}
        if not due or abort.is_set():
            return 0
        try:
            await _in_thread(abort, self._open, due, writers)
            await _in_thread(abort, _copy, table, writers, abort, pause)
            until = dict(table.applied)
            if table.recoveries != epoch:
                raise _Aborted
            for number, writer in writers.items():
                await _in_thread(abort, writer.finish, until[number])
                self._written[TP(writer.header.topic, number)] = writer.header
        except _Aborted:
            return 0
        finally:
            for writer in writers.values():
                writer.discard()
        return len(due)

    def _open(self, due: Iterable[Header], writers: dict[int, SnapshotWriter]) -> None:
        for header in due:
            writers[header.partition] = SnapshotWriter(
                self._place(TP(header.topic, header.partition)), header
            )

    def _due(self, app: Any, table: Any) -> list[Header]:
        unreadable = {partition for partition, _ in table.unreadable}
        keys = table.count() / max(1, table.changelog_partitions)
        enough, now, due = max(self._min_records, keys * GROWTH), self._clock(), []
        for partition, offset in sorted(table.applied.items()):
            tp = TP(table.changelog_topic.get_topic_name(), partition)
            last = self._written.get(tp)
            grown = offset - (last.offset if last else -1)
            old = last is not None and now - last.taken_at >= RENEW_SECONDS
            if (grown >= enough or old) and partition not in unreadable:
                due.append(self._wanted(app, table, tp, offset))
        return due


async def _in_thread(abort: threading.Event, work: Callable[..., None], *args: Any) -> None:
    """Run blocking work in a thread; when cancelled, have it abort and wait for that: it holds files."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        abort.set()
        await asyncio.wait({running})
        if not running.cancelled():
            running.exception()
        raise


def in_memory(table: Any) -> bool:
    """Tell whether a table is one of ours, kept in memory."""
    return hasattr(table, "applied") and isinstance(table.data, memory.Store)


def _copy(table: Any, writers: Mapping[int, SnapshotWriter], abort: threading.Event, pause: bool) -> None:
    """Copy the rows of some partitions to their files (in a thread; values are frozen by contract)."""
    data, homes = table.data.data, table.data._key_partition
    keys = list(data)
    at, size = 0, FIRST_STEP_KEYS
    while at < len(keys):
        if abort.is_set():
            raise _Aborted
        began = time.perf_counter()
        parts: dict[int, tuple[list[str], list[Any]]] = {number: ([], []) for number in writers}
        for key in keys[at : at + size]:
            value, part = data.get(key), parts.get(homes.get(key, -1))
            if value is not None and part is not None:
                part[0].append(key)
                part[1].append(value)
        for number, (names, values) in parts.items():
            if names:
                writers[number].add(names, values)
        at += size
        took = time.perf_counter() - began
        size = max(1, min(size * 2, int(size * STEP_SECONDS / max(took, 1e-6))))
        if pause:
            time.sleep(max(took, STEP_SECONDS / 2))
