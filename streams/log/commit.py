"""Slices out: what an agent did with a slice, as one durable step (DESIGN section 6, invariant 1)."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import rocksdict
from faust.stores import memory, rocksdb
from faust.types import TP

from streams.log.errors import LogError
from streams.log.records import Batch, Headers, TopicPartition
from streams.log.store import EmbeddedLog
from streams.log.tables import StructTable

NO_HEADERS: Final[Headers] = ()
#: Rows encoded before others have a turn: less than a ms.
STEP_BYTES: Final = 256 << 10


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One record to publish. ``partition`` None means: by key, with the producer's partitioner."""

    topic: str
    key: str | bytes
    value: bytes
    partition: int | None = None
    headers: Headers = NO_HEADERS


#: A table, the partition that its keys belong to, and new values; None deletes a key.
TableWrite = tuple[StructTable, int, Mapping[str, Any]]


class LogWriter(Protocol):
    """What agents and the edge write through, on either transport.

    Whatever the transport can do at once, the order is: outputs acknowledged, then changelog records
    acknowledged, then table stores changed. The source offset follows by Faust's acknowledgement.
    """

    turn: asyncio.Lock
    """Held while a fold computes: one at a time, and one in a turn of the loop."""

    def start(
        self, *, outputs: Sequence[Outgoing], writes: Sequence[TableWrite], changes: Sequence[Batch]
    ) -> Awaitable[None]:
        """Begin to write outputs and changes of tables; await the answer to know the end.

        ``changes`` are the changelog records of ``writes``, one batch each, from ``changelog_batch`` or from
        ``encoded_in_steps``.
        """

    async def commit(self, *, outputs: Sequence[Outgoing] = (), writes: Sequence[TableWrite] = ()) -> None:
        """Publish outputs and change tables; durable and visible when it returns."""

    async def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish outside agents; durable when it returns."""

    async def settle(self) -> None:
        """Return when every append that the log already counts is visible in the tables."""


class SliceCommitter:
    """The embedded ``LogWriter``: outputs and changelog records are one atomic append."""

    def __init__(self, app: Any, log: EmbeddedLog) -> None:
        self._app = app
        self._log = log
        self.turn = asyncio.Lock()
        self._crashes: set[asyncio.Future[None]] = set()

    async def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Append records, all or nothing; durable when it returns.

        Raises:
            UnknownTopic: a topic was not declared; nothing was written.
            LogWriteFailed: the disk refused; nothing was written.
        """
        if outputs:
            await self._log.transact(list(self._batches(outputs).values()))

    async def settle(self) -> None:
        """Return when every append so far is visible in the tables."""
        await self._log.transact([])

    async def commit(self, *, outputs: Sequence[Outgoing] = (), writes: Sequence[TableWrite] = ()) -> None:
        """Append outputs and the tables' changelog records at once, then change the table stores.

        When it raises, neither the log nor any table has changed. When the process dies in between, the
        changelog has it, and recovery brings the stores up.
        """
        used = [write for write in writes if write[2]]
        changes = [changelog_batch(*write, self._log.clock()) for write in used]
        await self.start(outputs=outputs, writes=used, changes=changes)

    def start(
        self, *, outputs: Sequence[Outgoing], writes: Sequence[TableWrite], changes: Sequence[Batch]
    ) -> Awaitable[None]:
        """Queue what ``commit`` does. Raises what makes the log refuse it at once."""
        batches = self._batches(outputs)
        appends = [*batches.values(), *changes]
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not appends:
            applied.set_result(None)
            return applied
        appended = self._log.submit(appends)

        def apply(done: "asyncio.Future[list[int]]") -> None:
            try:
                bases = done.result()[len(batches) :]
                for (table, partition, values), batch, base in zip(writes, changes, bases, strict=True):
                    apply_writes(table, partition, values, batch, base + len(batch) - 1)
            except LogError as exc:
                applied.set_exception(exc)
            except Exception as exc:
                # the changelog has it and the store has not: only a recovery brings them together
                self._crash(exc)
                applied.set_exception(exc)
            else:
                applied.set_result(None)

        # not cancelled with the caller: what is durable must become visible
        appended.add_done_callback(apply)
        return asyncio.shield(applied)

    def _crash(self, failure: Exception) -> None:
        crash = asyncio.ensure_future(self._app.crash(failure))
        self._crashes.add(crash)

    def _batches(self, outputs: Sequence[Outgoing]) -> dict[TopicPartition, Batch]:
        return group_outputs(outputs, self._log.partition_for, self._log.clock())


def group_outputs(
    outputs: Sequence[Outgoing], partition_of: Callable[[str, bytes | None], int], now: float
) -> dict[TopicPartition, Batch]:
    """Return outputs as one batch per partition, in order; ``partition_of`` places those without one."""
    batches: dict[TopicPartition, Batch] = {}
    for item in outputs:
        key = item.key.encode() if isinstance(item.key, str) else item.key
        partition = item.partition if item.partition is not None else partition_of(item.topic, key)
        place = (item.topic, partition)
        batch = batches.get(place)
        if batch is None:
            batch = batches[place] = Batch(item.topic, partition, [], [], now)
        if item.headers or batch.headers is not None:
            if batch.headers is None:
                batch.headers = [()] * len(batch)
            batch.headers.append(item.headers)
        batch.keys.append(key)
        batch.values.append(item.value)
    return batches


def changelog_batch(table: StructTable, partition: int, values: Mapping[str, Any], now: float) -> Batch:
    """Return new values of a table partition as its changelog records."""
    batch = Batch(table.changelog_topic.get_topic_name(), partition, [], [], now)
    _encode_into(batch, table, values.items())
    return batch


async def encoded_in_steps(
    table: StructTable, partition: int, values: Mapping[str, Any], now: float
) -> Batch:
    """Return what ``changelog_batch`` does, with a turn for the loop now and then: rows may be large."""
    batch = Batch(table.changelog_topic.get_topic_name(), partition, [], [], now)
    rows = iter(values.items())
    while True:
        if not _encode_into(batch, table, rows, STEP_BYTES):
            return batch
        await asyncio.sleep(0)


def _encode_into(
    batch: Batch, table: StructTable, rows: Iterable[tuple[str, Any]], limit_bytes: float = math.inf
) -> bool:
    """Add rows to a batch; True when the limit ended it."""
    encode, size = table.codec.encode, 0
    for key, value in rows:
        raw = None if value is None else encode(value)
        batch.keys.append(key.encode())
        batch.values.append(raw)
        size += len(raw or b"")
        if size >= limit_bytes:
            return True
    return False


def apply_writes(
    table: StructTable, partition: int, values: Mapping[str, Any], batch: Batch, last_offset: int
) -> None:
    """Change a table's store to what its changelog already says, up to ``last_offset``."""
    store = table.data
    if isinstance(store, memory.Store):
        for key, value in values.items():
            if value is None:
                store.data.pop(key, None)
                store._key_partition.pop(key, None)
            else:
                store.data[key] = value
                store._key_partition[key] = partition
        table.advance(partition, last_offset)
        return
    if not isinstance(store, rocksdb.Store):
        raise TypeError(
            f"table {table.name!r} is on {store.url}: only memory:// and rocksdb:// are written in slices"
        )
    database = store._db_for_partition(partition)
    group = rocksdict.WriteBatch(raw_mode=True)
    for raw_key, raw_value in zip(batch.keys, batch.values, strict=True):
        assert raw_key is not None
        if raw_value is None:
            group.delete(raw_key)
            store._key_index.pop(raw_key, None)
        else:
            group.put(raw_key, raw_value)
            store._key_index[raw_key] = partition
    # state and the changelog offset that it stands for go in together: recovery starts right after it
    place = TP(table.changelog_topic.get_topic_name(), partition)
    known = store.persisted_offset(place)
    group.put(store.offset_key, str(max(last_offset, known if known is not None else -1)).encode())
    database.write(group)
    table.advance(partition, last_offset)
