"""Boot: keep local table stores true to the log, and never let a recovery hang (rows 7 and 8)."""

import asyncio
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import structlog
from faust.stores import rocksdb
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from streams.log.changelog import CHUNKS_BUFFERED, forget_partition
from streams.log.errors import RecoveryStalled
from streams.log.slices import SliceSchema
from streams.log.snapshots import Snapshots, in_memory

logger = logging.getLogger(__name__)
#: Under a name of its own: what Faust's services say is left out of the log, an operator waits for this.
told = structlog.get_logger("streams.recovery")

#: No progress for this long is a stall; ``app.recovery_stall_seconds`` overrides it.
STALL_SECONDS: Final = 60.0


class SlicedRecovery(Recovery):  # type: ignore[misc]
    """Faust's recovery, from snapshots where there are any.

    What is held already is not read again by the standby of a global table.
    """

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Any, title: str) -> None:
        snapshots: Snapshots | None = getattr(self.app, "table_snapshots", None)
        if snapshots is not None and title == "active":
            tables = {tp: self.tp_to_table[tp] for tp in tps if destination[tp] is None}
            empty = {tp: table for tp, table in tables.items() if in_memory(table)}
            starts = await consumer.earliest_offsets(*empty) if empty else {}
            restored = await snapshots.restore(self.app, empty, starts, self.active_highwaters)
            for tp, offset in restored.items():  # a Counter's update would add
                destination[tp] = offset
        await super()._build_offsets(consumer, tps, destination, title)
        if title == "active":
            await self._announce(consumer, tps)

    async def _announce(self, consumer: Any, tps: set[TP]) -> None:
        """Say how much of the changelogs is still to be read: little after a standby took over."""
        starts = await consumer.earliest_offsets(*tps) if tps else {}
        ends, held = self.active_highwaters, self.active_offsets
        told.info(
            "recovering",
            partitions=len(tps),
            to_read=sum(max(0, ends[tp] - held[tp]) for tp in tps),
            of=sum(max(0, ends[tp] + 1 - (starts[tp] or 0)) for tp in tps),
        )

    async def _seek_offsets(self, consumer: Any, tps: set[TP], offsets: Any, title: str) -> None:
        if title == "standby":
            for tp in tps:
                applied = getattr(self.tp_to_table[tp], "applied", {})
                offsets[tp] = max(offsets[tp], applied.get(tp.partition, -1))
        await super()._seek_offsets(consumer, tps, offsets, title)


class PromptTableManager(TableManager):  # type: ignore[misc]
    """Faust's table manager without its second of sleep at start.

    The sleep lets agents register streams; the conductor waits for exactly that by itself.
    """

    _recovery: Recovery | None
    _changelog_queue: Any

    @property
    def recovery(self) -> Recovery:
        """Recovery service of this manager."""
        known = self._recovery
        if known is None:
            known = self._recovery = SlicedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return known

    @property
    def changelog_queue(self) -> Any:
        """Queue between fetcher and recovery; short where its items are chunks."""
        queue = self._changelog_queue
        if queue is None:
            chunks = all(isinstance(table.changelog_topic.schema, SliceSchema) for table in self.values())
            size = CHUNKS_BUFFERED if chunks else self.app.conf.stream_buffer_maxsize
            queue = self._changelog_queue = self.app.FlowControlQueue(maxsize=size, clear_on_resume=True)
        return queue

    async def on_start(self) -> None:
        """Start recovery as soon as all tables are known."""
        await asyncio.sleep(0)
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()


def drop_store(table: Any, partition: int) -> bool:
    """Remove the local store of one table partition, so that it is rebuilt from its changelog.

    Returns False for stores that keep nothing on disk.
    """
    store = table.data
    if hasattr(table, "applied"):
        forget_partition(table, partition)
    if not isinstance(store, rocksdb.Store):
        return False
    database = store._dbs.pop(partition, None)
    if database is not None:
        database.close()
    for key, where in list(store._key_index.items()):
        if where == partition:
            del store._key_index[key]
    shutil.rmtree(store.partition_path(partition), ignore_errors=True)
    return True


def check_stores(app: Any, assigned: Iterable[TP], highwater: Any, identity: str) -> None:
    """Drop what a table store holds beyond the end of the log, or of another log, or cannot open.

    Args:
        app: the Faust app.
        assigned: partitions of this worker.
        highwater: function of a partition to the offset its next record will get.
        identity: which log this is; a store filled from another one is of no use.
    """
    tables = {table.changelog_topic.get_topic_name(): table for table in app.tables.values()}
    stored = {name: table for name, table in tables.items() if isinstance(table.data, rocksdb.Store)}
    if not stored:
        return
    marker = Path(app.conf.tabledir) / "log-identity"
    foreign = marker.is_file() and marker.read_text() != identity
    for tp in sorted(assigned):
        table = stored.get(tp.topic)
        if table is not None and (foreign or not _is_true(table, tp, highwater(tp))):
            logger.error(
                "table %s[%d]: local store dropped, rebuilding it from its changelog", table.name, tp[1]
            )
            drop_store(table, tp.partition)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(identity)


def _is_true(table: Any, tp: TP, end: int) -> bool:
    try:
        offset = table.persisted_offset(tp)
    except Exception as exc:
        if "lock" in repr(exc).lower():  # another process has it: that is no damage
            raise
        logger.exception("table %s[%d]: local store cannot be opened", table.name, tp.partition)
        return False
    if offset is not None and offset >= end:
        logger.error("table %s[%d]: store is at %d, its changelog ends at %d", table.name, tp[1], offset, end)
        return False
    return True


async def watch_recovery(app: Any) -> None:
    """Watch recoveries for as long as the app runs; repair one that stalls, once, then crash the app."""
    seconds = getattr(app, "recovery_stall_seconds", STALL_SECONDS)
    recovery = app.tables.recovery
    seen: dict[TP, int] = {}
    still, repaired = 0, False
    while not app.should_stop:
        await asyncio.sleep(seconds / 10)
        if not recovery.in_recovery or not recovery.need_recovery():
            seen, still, repaired = {}, 0, repaired and recovery.in_recovery
            continue
        now = dict(recovery.active_offsets)
        still = still + 1 if now == seen else 0
        seen = now
        if still < 10:
            continue
        behind = {tp: left for tp, left in recovery.active_remaining().items() if left > 0}
        if repaired:
            await app.crash(RecoveryStalled(f"recovery makes no progress at {_places(recovery, behind)}"))
            return
        logger.error("recovery makes no progress: %s", _places(recovery, behind))
        _restart(recovery, behind)
        still, repaired = 0, True


def _places(recovery: Any, behind: Iterable[TP]) -> str:
    return ", ".join(
        f"table {recovery.tp_to_table[tp].name}[{tp.partition}] at {recovery.active_offsets[tp]}"
        f" of {recovery.active_highwaters[tp]}"
        for tp in sorted(behind)
    )


def _restart(recovery: Any, behind: Iterable[TP]) -> None:
    for tp in behind:
        table = recovery.tp_to_table[tp]
        recovery.buffers[table].clear()
        drop_store(table, tp.partition)
        recovery.active_offsets[tp] = None
    recovery.signal_recovery_start.set()
