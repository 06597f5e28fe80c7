"""Faust's producer on the embedded log."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from faust.transport.producer import Producer as BaseProducer
from faust.types import TP, RecordMetadata

from streams.log.hardening import HardenedProducer
from streams.log.partitioner import partition_for
from streams.log.records import Batch, Headers, TopicPartition
from streams.log.store import EmbeddedLog
from streams.log.topics import policy_of


class LogProducer(BaseProducer):  # type: ignore[misc]
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
        await self.buffer.flush()
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
        await self.embedded.declare(topic, partitions, policy_of(config, retention, compacting))

    def key_partition(self, topic: str, key: bytes | None) -> TP:
        """Return the partition of a key."""
        return TP(
            topic, partition_for(key, self.embedded.partitions(topic) or self.app.conf.topic_partitions)
        )

    def supports_headers(self) -> bool:
        """Return True."""
        return True


class Producer(HardenedProducer, LogProducer):
    """Appends to the embedded log, hardened."""


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
