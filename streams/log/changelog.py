"""Changelogs of struct tables read back in slices: a fetched chunk is applied at once (rows 7 and 8).

Faust's recovery takes one event per changelog record, some 25 us each. Here its event is a chunk of
thousands: the same state machine, offsets and signals, a hundred times fewer turns of its loop.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import rocksdict
from faust.stores import memory, rocksdb
from faust.types import TP

from streams.log.records import Chunk
from streams.log.slices import SliceSchema

logger = logging.getLogger(__name__)

#: Chunks that wait to be applied: enough to keep the reader busy, at most some MB each.
CHUNKS_BUFFERED: Final = 16
#: What a value may raise when it is not of its table's type.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError, RecursionError)


class ChangelogSchema(SliceSchema):
    """Hands a whole chunk of a changelog to its table, undecoded."""

    def __init__(self) -> None:
        super().__init__(record_type=object)

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Return the function that makes an event of a chunk."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, None, message)

        return decode


def apply_chunk(table: Any, chunk: Chunk) -> None:
    """Bring a table's store up to the end of a chunk of its changelog.

    Records that the store already contains are left out: a global table also reads what this process wrote
    itself, and must not fall back to it. A value that cannot be read is noted in ``table.unreadable`` until
    a newer one of its key arrives.
    """
    partition, done = chunk.partition, table.applied.get(chunk.partition, -1)
    if chunk.offsets[-1] <= done:
        return
    if chunk.offsets[0] <= done:
        chunk = chunk.cut(next(at for at, found in enumerate(chunk.offsets) if found > done), len(chunk))
    keys, values, bad = _decode(table, chunk)
    store = table.data
    if isinstance(store, memory.Store):
        _into_memory(store, partition, keys, values)
    elif isinstance(store, rocksdb.Store):
        _into_rocksdb(table, store, chunk, bad)
    else:
        raise TypeError(f"table {table.name!r} is on {store.url}: only memory:// and rocksdb:// are read")
    table.applied[partition] = chunk.offsets[-1]


def _decode(table: Any, chunk: Chunk) -> tuple[list[str], list[Any], frozenset[int]]:
    """Return keys and values (None deletes), and the offsets of those that cannot be read."""
    decode, outstanding = table.codec.decode, table.unreadable
    try:
        keys = [key.decode() for key in chunk.keys]  # type: ignore[union-attr]
        values = [None if value is None else decode(value) for value in chunk.values]
    except (AttributeError, *UNREADABLE):
        return _decode_each(table, chunk)
    if outstanding:
        for key in keys:
            outstanding.pop((chunk.partition, key), None)
    return keys, values, frozenset()


def _decode_each(table: Any, chunk: Chunk) -> tuple[list[str], list[Any], frozenset[int]]:
    keys: list[str] = []
    values: list[Any] = []
    bad: list[int] = []
    for record in chunk:
        key = (record.key or b"").decode(errors="replace")
        try:
            value = None if record.value is None else table.codec.decode(record.value)
        except UNREADABLE as exc:
            logger.error(
                "table %s[%d]: record at %d cannot be read: %s",
                table.name,
                chunk.partition,
                record.offset,
                exc,
            )
            table.unreadable[chunk.partition, key] = record.offset
            bad.append(record.offset)
        else:
            table.unreadable.pop((chunk.partition, key), None)
            keys.append(key)
            values.append(value)
    return keys, values, frozenset(bad)


def _into_memory(store: memory.Store, partition: int, keys: list[str], values: list[Any]) -> None:
    data, homes = store.data, store._key_partition
    if None not in values:
        data.update(zip(keys, values, strict=True))
        homes.update(dict.fromkeys(keys, partition))
        return
    for key, value in zip(keys, values, strict=True):
        if value is None:
            data.pop(key, None)
            homes.pop(key, None)
        else:
            data[key] = value
            homes[key] = partition


def _into_rocksdb(table: Any, store: rocksdb.Store, chunk: Chunk, bad: frozenset[int]) -> None:
    database = store._db_for_partition(chunk.partition)
    group = rocksdict.WriteBatch(raw_mode=True)
    for offset, key, value in zip(chunk.offsets, chunk.keys, chunk.values, strict=True):
        if offset in bad:
            continue
        if value is None:
            group.delete(key or b"")
        else:
            group.put(key or b"", value)
    if not any(partition == chunk.partition for partition, _ in table.unreadable):
        # else the store stays where it was: the next start has to meet the unreadable record again
        group.put(store.offset_key, str(chunk.offsets[-1]).encode())
    database.write(group)


def forget_partition(table: Any, partition: int) -> None:
    """Drop a memory table's keys of a partition, which are read again from the start of its changelog."""
    table.recoveries += 1
    table.applied.pop(partition, None)
    table.unreadable = {place: at for place, at in table.unreadable.items() if place[0] != partition}
    store = table.data
    if isinstance(store, memory.Store):
        for key in [key for key, where in store._key_partition.items() if where == partition]:
            store.data.pop(key, None)
            store._key_partition.pop(key, None)


def held_offset(table: Any, tp: TP) -> int | None:
    """Return the changelog offset that a table's store stands for, None when it has nothing yet."""
    if isinstance(table.data, memory.Store):
        found: int | None = table.applied.get(tp.partition)
        return found
    stored: int | None = table.data.persisted_offset(tp)
    return stored
