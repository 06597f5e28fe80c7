"""Faust tables whose values are msgspec structs and whose keys are plain strings.

Keys are raw UTF-8 in the store and in the changelog, values are JSON of the struct. A value handed out by
a memory store is the stored object itself: treat it as frozen.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, cast

import msgspec
from faust.serializers.codecs import Codec
from faust.stores import memory, rocksdb
from faust.tables.globaltable import GlobalTable
from faust.tables.table import Table

from streams.log.changelog import ChangelogSchema, apply_chunk, forget_partition, held_offset
from streams.log.errors import RecoveryStalled
from streams.log.partitioner import partition_for
from streams.log.rocks import register_store

T = TypeVar("T")

#: Bounds of one RocksDB database; there is one per table and partition, and Faust's defaults would let
#: each take 192 MB of write buffers and 2 GB of cache.
ROCKSDB_OPTIONS: Final[Mapping[str, int]] = {
    "write_buffer_size": 2 << 20,
    "max_write_buffer_number": 2,
    "block_cache_size": 4 << 20,
    "max_open_files": 64,
}


class StructCodec(Codec, Generic[T]):  # type: ignore[misc]
    """JSON of one struct type, both ways; strict."""

    def __init__(self, record_type: type[T], children: Any = None, **kwargs: Any) -> None:
        super().__init__(children=children, **kwargs)
        self.record_type = record_type
        self.encode = msgspec.json.Encoder().encode
        self.decode = msgspec.json.Decoder(record_type).decode

    def _loads(self, s: bytes) -> T:
        return self.decode(s)

    def _dumps(self, s: T) -> bytes:
        return self.encode(s)

    def clone(self, *children: Any) -> "StructCodec[T]":
        """Return a copy with further codecs behind it."""
        return StructCodec(self.record_type, children=self.children + children)


def struct_codec(record_type: type[T]) -> StructCodec[T]:
    """Return the codec of a struct type, as Faust's ``value_serializer``."""
    return StructCodec(record_type)


class StructTable(Table):  # type: ignore[misc]
    """A Faust table from ``str`` to one struct type."""

    def __init__(self, app: Any, *, record_type: type[Any], **kwargs: Any) -> None:
        self.record_type = record_type
        self.codec: StructCodec[Any] = struct_codec(record_type)
        #: The last changelog offset that the store contains, for each partition held here.
        self.applied: dict[int, int] = {}
        #: Keys (with partition) whose newest changelog record could not be read, and its offset.
        self.unreadable: dict[tuple[int, str], int] = {}
        #: How often partitions came or went.
        self.recoveries = 0
        super().__init__(app, key_type=str, **kwargs)

    def _new_changelog_topic(self, **kwargs: Any) -> Any:
        topic = super()._new_changelog_topic(**kwargs)
        topic.schema = ChangelogSchema()
        topic.decode = topic.schema.compile(self.app)
        return topic

    # -- recovery

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Apply chunks of the changelog.

        What was still on its way from a partition that is not held any more would leave a gap behind it,
        and Faust hands what it cannot place to the table before (research/faust.md section 3, row 9).
        """
        recovery = self.app.tables.recovery
        for event in batch:
            place = event.message.tp
            known = recovery.tp_to_table.get(place) is self
            if known and (place in recovery.active_tps or place in recovery.standby_tps):
                apply_chunk(self, event.value)

    def persisted_offset(self, tp: Any) -> int | None:
        """Return the changelog offset from which this table goes on."""
        return held_offset(self, tp)

    def advance(self, partition: int, offset: int) -> None:
        """Learn that the store contains the changelog up to ``offset``; ignored when it is not held here."""
        if partition in self.applied:
            self.applied[partition] = max(self.applied[partition], offset)

    async def on_recovery_completed(self, active_tps: set[Any], standby_tps: set[Any]) -> None:
        """Finish a recovery, or end the worker when the newest value of a key cannot be read.

        An agent that met the key without its value would start it from nothing, and overwrite it.
        """
        held = {tp.partition for tp in active_tps}
        lost = {place: at for place, at in self.unreadable.items() if place[0] in held}
        if lost:
            (number, key), at = next(iter(lost.items()))
            where = f"table {self.name}[{number}]: key {key!r} at offset {at}, {len(lost)} in all"
            await self.app.crash(RecoveryStalled(f"changelog records cannot be read: {where}"))
            await self._stopped.wait()
            return
        # rows of a standby stay as they are held, those of partitions that went elsewhere must not be read
        kept = active_tps | standby_tps
        for gone in set(self.applied) - {tp.partition for tp in kept}:
            forget_partition(self, gone)
        self.applied = {
            tp.partition: offset if (offset := held_offset(self, tp)) is not None else -1 for tp in kept
        }
        await super().on_recovery_completed(kept, standby_tps)

    # -- values

    def _serializer_from_type(self, typ: Any) -> Any:
        # called for the key type and for the value type (None: a struct is no faust model)
        return "raw" if typ is str else self.codec

    def info(self) -> Mapping[str, Any]:
        """Return what ``clone`` needs."""
        known = {name: value for name, value in super().info().items() if name != "key_type"}
        return {**known, "record_type": self.record_type}

    def lookup(self, key: str) -> Any | None:
        """Return the value of a key, None when there is none; anywhere, inside and outside agents."""
        store = self.data
        if isinstance(store, memory.Store):
            return store.data.get(key)
        if isinstance(store, rocksdb.Store):
            raw_key = key.encode()
            database = store._dbs.get(partition_for(raw_key, self.changelog_partitions))
            value = database.get(raw_key) if database is not None else None
            return None if value is None else self.codec.decode(value)
        return self.get(key)

    def row(self, key: str, partition: int) -> Any | None:
        """Return the value of a key that belongs to a partition held here, None when there is none."""
        store = self.data
        if isinstance(store, memory.Store):
            return store.data.get(key)
        if isinstance(store, rocksdb.Store):
            value = store._db_for_partition(partition).get(key.encode())
            return None if value is None else self.codec.decode(value)
        return self.get(key)

    def scan(self) -> Iterator[tuple[str, Any]]:
        """Iterate over all keys and values that this process holds.

        On a memory store the table must not be written between two steps: take ``list(...)`` of it, or
        finish without awaiting.
        """
        return cast(Iterator[tuple[str, Any]], iter(self.data.items()))

    def count(self) -> int:
        """Return how many keys this process holds (RocksDB counts them one by one)."""
        return len(self.data)

    @property
    def changelog_partitions(self) -> int:
        """Return the number of partitions, fixed for life."""
        return int(self.partitions or self.app.conf.topic_partitions)


class GlobalStructTable(StructTable, GlobalTable):  # type: ignore[misc]
    """A struct table that every worker holds whole."""


def declare_table(
    app: Any,
    name: str,
    value_type: type[Any],
    *,
    partitions: int,
    global_: bool = False,
    help: str = "",  # noqa: A002 - Faust's name for it
) -> StructTable:
    """Declare a table from ``str`` keys to ``value_type`` structs, before the app starts.

    ``table.on_recover(async_function)`` adds what is awaited when its recovery completed, before any agent
    sees an event.
    """
    register_store()
    kind = GlobalStructTable if global_ else StructTable
    options: dict[str, Any] = {"is_global": True} if global_ else {}
    options["standby_buffer_size"] = 1  # a standby shows each chunk at once
    # chunks, not records; and not 1, which makes Faust go on reading changelogs after recovery
    options["recovery_buffer_size"] = 2
    table = kind(
        app,
        name=name,
        record_type=value_type,
        partitions=partitions,
        help=help,
        options=dict(ROCKSDB_OPTIONS),
        beacon=app.tables.beacon,
        **options,
    )
    return cast(StructTable, app.tables.add(table))
