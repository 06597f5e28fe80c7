"""The ``embedded://`` transport: Faust on an ``EmbeddedLog``, for one process.

The contract of a transport, and the traps in it, are in research/faust.md section 1.9; numbers in comments
refer to its list.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from faust.transport import base
from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.drivers import TRANSPORTS
from faust.transport.producer import Producer as BaseProducer
from faust.types import TP, ConsumerMessage, RecordMetadata

from streams.log.hardening import HardenedConsumer, HardenedProducer
from streams.log.partitioner import partition_for
from streams.log.records import Batch, Chunk, Headers, TopicPartition
from streams.log.recovery import check_stores
from streams.log.store import EmbeddedLog
from streams.log.topics import DAY_SECONDS, TopicPolicy

SCHEME: Final = "embedded"
#: Records of one partition in one fetch, so also the most that a slice holds: a few ms of decoding.
FETCH_RECORDS: Final = 4096


def register() -> None:
    """Make Faust know the scheme ``embedded://``. Idempotent."""
    TRANSPORTS.aliases[SCHEME] = "streams.log.transport:Transport"


def use_log(app: Any, log: EmbeddedLog) -> None:
    """Give an app the log to run on; whoever opened it closes it after the app stopped."""
    app.embedded_log = log


class _Cluster:
    """The one thing that Faust's assignor asks of a cluster."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(self._log.partitions(topic) or 0))


class Consumer(HardenedConsumer, BaseConsumer):  # type: ignore[misc]
    """Reads the embedded log as the single member of its group."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.embedded: EmbeddedLog = self.transport.log
        self._assigned: set[TP] = set()
        self._positions: dict[TP, int] = {}
        self._generation = 0
        self._new_records = asyncio.Event()
        self._unlisten: Callable[[], None] | None = None

    async def on_start(self) -> None:
        """Hear of appends."""
        self._unlisten = self.embedded.listen(self._on_appended)

    async def on_stop(self) -> None:
        """Finish as Faust does, then hear no more of the log."""
        await super().on_stop()
        if self._unlisten is not None:
            self._unlisten()

    def _on_appended(self, touched: set[TopicPartition]) -> None:
        if not self._assigned.isdisjoint(touched):
            self._new_records.set()

    def on_buffer_drop(self, tp: TP) -> None:
        """Wake the fetcher, whichever event it waits on."""
        super().on_buffer_drop(tp)
        self._new_records.set()

    # -- topics and assignment

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        retention: float | None = None,
        compacting: bool | None = None,
        **_: Any,
    ) -> None:
        """Declare a topic in the log."""
        await self.embedded.declare(topic, partitions, _policy(config, retention, compacting))

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take all partitions of these topics."""
        # 1: never inline, the conductor that calls this is what the rebalance waits for
        self.add_future(self._rebalance(frozenset(topics)))

    async def _rebalance(self, topics: frozenset[str]) -> None:
        app = self.app
        for topic in list(app.topics):
            await topic.maybe_declare()
        consumed = [topic for topic in topics if app.topics.acks_enabled_for(topic)]
        await self.embedded.join(app.conf.id, consumed)
        app.on_rebalance_start()  # 2: first
        await self.on_partitions_revoked(set(self._assigned))
        assigned = self._assign(topics)
        self._generation += 1
        app.consumer_generation_id = self._generation
        check_stores(app, assigned, self.highwater, self.embedded.identity)
        self._assigned = assigned
        for tp in assigned:
            self._positions.setdefault(tp, self._committed_position(tp))
        await self.on_partitions_assigned(set(assigned), self._generation)

    def _assign(self, topics: frozenset[str]) -> set[TP]:
        """Run Faust's own assignor for the one member: recovery, stores and router read its result."""
        assignor, member = self.app.assignor, self.app.conf.id
        metadata = assignor.metadata(set(topics))
        result = assignor.assign(_Cluster(self.embedded), {member: metadata})[member]
        assignor.on_assignment(result)
        return {TP(topic, number) for topic, numbers in result.assignment for number in numbers}

    def assignment(self) -> set[TP]:
        """Return the partitions of this worker."""
        return set(self._assigned)

    # -- fetching

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, Chunk]:
        if not self.flow_active:  # 4
            return {}
        behind = self._behind(active_partitions or ())
        if not behind:
            self._new_records.clear()
            if not self._behind(active_partitions or ()):  # appended just before the clear
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._new_records.wait()
            behind = self._behind(active_partitions or ())
        if not behind:
            return {}
        ends = {tp: self.highwater(tp) for tp in behind}
        chunks = await self.embedded.read_many(behind, FETCH_RECORDS)
        fetched = {}
        for tp, position in behind.items():
            if self._positions.get(tp) != position:  # sought while reading
                continue
            chunk = chunks.get(tp)
            self._positions[tp] = chunk.offsets[-1] + 1 if chunk is not None else ends[tp]
            if chunk is not None:
                fetched[tp] = chunk
        return fetched

    def _behind(self, partitions: Iterable[TP]) -> dict[TP, int]:
        positions = self._positions
        return {tp: at for tp in partitions if (at := positions.get(tp, 0)) < self.highwater(tp)}

    def _to_message(self, tp: TP, record: Any) -> Any:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            record.timestamp,
            0,
            list(record.headers),
            record.key,
            record.value,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,  # 3
        )

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    # -- positions

    def _committed_position(self, tp: TP) -> int:
        committed = self.embedded.committed(self.app.conf.id, tp.topic, tp.partition)
        return self._clamp(tp, committed or 0)

    def _clamp(self, tp: TP, offset: int) -> int:
        return max(offset, self.embedded.earliest(tp.topic, tp.partition))  # 5

    async def _seek(self, partition: TP, offset: int) -> None:
        self._positions[TP(*partition)] = self._clamp(partition, offset)
        self._new_records.set()

    async def _seek_wait(self, partitions: Mapping[TP, int]) -> None:
        for tp, offset in partitions.items():
            await self._seek(tp, offset)
            if offset > 0:
                self._read_offset[tp] = offset  # 6
            else:
                self._read_offset.pop(tp, None)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Move positions."""
        for tp in partitions:
            self.forget(tp)
        await self._seek_wait(partitions)

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Go to the committed positions of everything that is not paused."""
        found: dict[TP, int | None] = {}
        for tp in self._assigned - self._paused_partitions:  # 7
            found[tp] = self.embedded.committed(self.app.conf.id, tp.topic, tp.partition)
            self._positions[tp] = self._committed_position(tp)
        self._new_records.set()
        return found

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Go to the first records."""
        await self.seek_wait(dict.fromkeys(partitions, 0))

    async def position(self, tp: TP) -> int:
        """Return the next offset to fetch; never None (8)."""
        return self._positions.get(tp, 0)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        await self.embedded.commit_offsets(self.app.conf.id, offsets)
        return True

    def highwater(self, tp: TP) -> int:
        """Return the offset that the next record will get."""
        return self.embedded.highwater(tp.topic, tp.partition)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the ends of partitions; recovery subtracts one."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the starts of partitions."""
        return {tp: self.embedded.earliest(tp.topic, tp.partition) for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        """Return the number of partitions of a topic."""
        return self.embedded.partitions(topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return the partition of a key (9: as the producer does)."""
        return partition if partition is not None else self.embedded.partition_for(topic, key)


class Producer(HardenedProducer, BaseProducer):  # type: ignore[misc]
    """Appends to the embedded log; sends of one loop step leave as one append."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.embedded: EmbeddedLog = self.transport.log
        self._gathered: list[tuple[TopicPartition, Any, Any, float, Headers, asyncio.Future[Any]]] = []
        self._in_flight: set[asyncio.Future[Any]] = set()

    async def on_shutdown(self) -> None:
        """Close the log when the transport opened it: the producer is the last to stop."""
        await self.transport.close()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> "asyncio.Future[Any]":
        """Queue a record; the future has its ``RecordMetadata`` once it is durable.

        Raises:
            UnknownTopic: it was never declared.
        """
        if partition is None:
            partition = self.embedded.partition_for(topic, key)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._gathered:
            loop.call_soon(self._ship)
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        names = tuple((str(name), bytes(item)) for name, item in pairs)
        stamp = timestamp if timestamp is not None else self.embedded.clock()
        self._gathered.append(((topic, partition), key, value, stamp, names, future))
        return future

    def _ship(self) -> None:
        gathered, self._gathered = self._gathered, []
        batches: dict[TopicPartition, tuple[Batch, list[asyncio.Future[Any]]]] = {}
        for place, key, value, stamp, headers, future in gathered:
            entry = batches.get(place)
            if entry is None:
                entry = batches[place] = (Batch(place[0], place[1], [], [], [], []), [])
            batch, futures = entry
            batch.keys.append(key)
            batch.values.append(value)
            batch.timestamps.append(stamp)  # type: ignore[union-attr]  # a list here
            batch.headers.append(headers)  # type: ignore[union-attr]
            futures.append(future)
        for batch, futures in batches.values():
            if not any(batch.headers or ()):
                batch.headers = None
            try:
                done = self.embedded.submit([batch])
            except Exception as exc:
                _fail(futures, exc)
                continue
            self._in_flight.add(done)
            done.add_done_callback(_acknowledge(self._in_flight, batch, futures))

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Any:
        """Append a record; durable when it returns."""
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    async def flush(self) -> None:
        """Wait until everything that was handed over is durable."""
        await super().flush()
        if self._gathered:
            await asyncio.sleep(0)
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        retention: float | None = None,
        compacting: bool | None = None,
        **_: Any,
    ) -> None:
        """Declare a topic in the log.

        Raises:
            PartitionMismatch: it exists with another number of partitions.
        """
        await self.embedded.declare(topic, partitions, _policy(config, retention, compacting))

    def key_partition(self, topic: str, key: bytes | None) -> TP:
        """Return the partition of a key."""
        return TP(
            topic, partition_for(key, self.embedded.partitions(topic) or self.app.conf.topic_partitions)
        )

    def supports_headers(self) -> bool:
        """Return True."""
        return True


class Transport(base.Transport):  # type: ignore[misc]
    """Faust's transport over the log given by ``use_log``, or opened from ``embedded:///path/to/file``."""

    Consumer = Consumer
    Producer = Producer

    default_port = 0
    driver_version = "embedded"

    def __init__(self, url: Any, app: Any, loop: asyncio.AbstractEventLoop | None = None) -> None:
        super().__init__(url, app, loop)
        self._own: EmbeddedLog | None = None

    @property
    def log(self) -> EmbeddedLog:
        """The log; opened on first use when it was not given."""
        given: EmbeddedLog | None = getattr(self.app, "embedded_log", None)
        if given is not None:
            return given
        if self._own is None:
            path = self.url[0].path.rstrip("/")
            if not path:
                raise ValueError("no log: call use_log(app, log), or name a file as embedded:///path/to/file")
            self._own = EmbeddedLog.open(Path(path))
            self.app.embedded_log = self._own
        return self._own

    async def close(self) -> None:
        """Close the log if this transport opened it."""
        if self._own is not None:
            await self._own.close()


def _policy(
    config: Mapping[str, Any] | None, retention: float | None, compacting: bool | None
) -> TopicPolicy:
    """Translate what Faust says of a topic, with Kafka's configuration names."""
    config = config or {}
    size = config.get("retention.bytes")
    grace = config.get("delete.retention.ms")
    age = config.get("retention.ms")
    seconds = float(retention) if retention else float(age) / 1000 if age is not None else None
    return TopicPolicy(
        compact=bool(compacting),
        retention_seconds=seconds,
        retention_bytes=int(size) if size is not None else None,
        tombstone_grace_seconds=float(grace) / 1000 if grace is not None else DAY_SECONDS,
        drop_unread=bool(config.get("drop.unread", False)),
    )


def _fail(futures: Iterable["asyncio.Future[Any]"], failure: BaseException) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(failure)


def _acknowledge(
    in_flight: "set[asyncio.Future[Any]]", batch: Batch, futures: "list[asyncio.Future[Any]]"
) -> Callable[["asyncio.Future[list[int]]"], None]:
    def settle(done: "asyncio.Future[list[int]]") -> None:
        in_flight.discard(done)
        if done.cancelled() or done.exception() is not None:
            _fail(futures, done.exception() or RuntimeError("the append was cancelled"))
            return
        base_offset = done.result()[0]
        place = TP(batch.topic, batch.partition)
        for at, future in enumerate(futures):
            if not future.done():
                future.set_result(RecordMetadata(place.topic, place.partition, place, base_offset + at))

    return settle
