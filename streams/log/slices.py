"""Slices: a fetched part of one partition as one event (research/faust.md 2.5).

The unit of decoding, folding, writing and acknowledging is then thousands of records, not one, and the
loop around an event (60-80 us in Faust) is paid once for all of them. Topics for long work stay event by
event (``record_topic``). Data never raises: what cannot be decoded is handed over as ``Poison``.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import faust
import msgspec

from streams.log.records import Chunk, Headers

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Slices that wait in front of an agent. Each can hold thousands of records, so few are enough to keep
#: it busy while the next ones are fetched.
SLICES_BUFFERED: Final = 4
#: Events that wait in front of an agent of a record topic.
RECORDS_BUFFERED: Final = 1024


@dataclass(frozen=True, slots=True)
class Poison:
    """A record that is not of its topic's type: what was stored, and why it could not be read."""

    offset: int
    key: bytes | None
    value: bytes | None
    error: str
    timestamp: float = 0.0
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """Records of one partition in order, acknowledged as a whole.

    ``records``, ``keys``, ``offsets``, ``timestamps`` (seconds) and ``headers`` have equal length and leave
    out what is in ``poison``. ``first_offset`` and ``last_offset`` span both. ``size_bytes`` is that of the
    values. Shared by all agents of the topic: do not change the lists.
    """

    topic: str
    partition: int
    records: list[T]
    keys: list[str]
    offsets: list[int]
    timestamps: list[float]
    poison: list[Poison] = field(default_factory=list)
    headers: Sequence[Headers] = ()
    first_offset: int = 0
    last_offset: int = 0
    size_bytes: int = 0

    def __len__(self) -> int:
        return len(self.records)


class SliceDecoder(Generic[T]):
    """Turns chunks of one topic into slices of its record type (strict JSON)."""

    def __init__(self, record_type: type[T]) -> None:
        self.record_type = record_type
        self._decode = msgspec.json.Decoder(record_type, strict=True).decode

    def slice(self, chunk: Chunk) -> Slice[T]:
        """Decode all records of a chunk; undecodable ones become poison."""
        decode = self._decode
        try:
            records = [decode(value) for value in chunk.values]  # type: ignore[arg-type]
            keys = [key.decode() if key is not None else "" for key in chunk.keys]
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError, RecursionError):
            return self._slice_with_poison(chunk)
        return Slice(
            chunk.topic,
            chunk.partition,
            records,
            keys,
            list(chunk.offsets),
            chunk.timestamps,
            [],
            chunk.headers if chunk.headers is not None else [()] * len(records),
            chunk.offsets[0],
            chunk.offsets[-1],
            chunk.size_bytes,
        )

    def _slice_with_poison(self, chunk: Chunk) -> Slice[T]:
        made: Slice[T] = Slice(
            chunk.topic, chunk.partition, [], [], [], [], [], [], chunk.offsets[0], chunk.offsets[-1]
        )
        headers: list[Headers] = []
        for record in chunk:
            found = self.decode(record.key, record.value)
            if isinstance(found, str):
                made.poison.append(
                    Poison(record.offset, record.key, record.value, found, record.timestamp, record.headers)
                )
                continue
            made.records.append(found[0])
            made.keys.append(found[1])
            made.offsets.append(record.offset)
            made.timestamps.append(record.timestamp)
            headers.append(record.headers)
        return Slice(
            made.topic,
            made.partition,
            made.records,
            made.keys,
            made.offsets,
            made.timestamps,
            made.poison,
            headers,
            made.first_offset,
            made.last_offset,
            chunk.size_bytes,
        )

    def decode(self, key: bytes | None, value: bytes | None) -> tuple[T, str] | str:
        """Return record and key, or the reason why they cannot be read."""
        if value is None:
            return "the record is empty"
        try:
            return self._decode(value), key.decode() if key is not None else ""
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError, RecursionError) as exc:
            return f"{type(exc).__name__}: {exc}"


class RecordSchema(faust.Schema):  # type: ignore[misc]
    """Decodes event by event: the value is the record, or ``Poison``."""

    def __init__(self, record_type: type[Any]) -> None:
        super().__init__(key_serializer="raw", value_serializer="raw", allow_empty=True)
        self.decoder: SliceDecoder[Any] = SliceDecoder(record_type)
        self._latest: tuple[Chunk, Slice[Any]] | None = None

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Return the function that makes an event of a message."""
        decoder, create_event = self.decoder, app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            found = decoder.decode(message.key, message.value)
            if isinstance(found, str):
                value: Any = Poison(
                    message.offset,
                    message.key,
                    message.value,
                    found,
                    message.timestamp,
                    message.headers or (),
                )
                key = (message.key or b"").decode(errors="replace")
            else:
                value, key = found
            return create_event(key, value, message.headers, message)

        return decode


class SliceSchema(RecordSchema):
    """Decodes a whole chunk into one event; the consumer looks for this class to know sliced topics."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """Return the function that makes an event of a chunk."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, self._decode_once(message.value), None, message)

        return decode

    def _decode_once(self, chunk: Chunk) -> Slice[Any]:
        # the agents of a topic get one message one after the other, each through its own channel
        if self._latest is None or self._latest[0] is not chunk:
            self._latest = (chunk, self.decoder.slice(chunk))
        return self._latest[1]


def sliced_topic(
    app: Any,
    name: str,
    record_type: type[T],
    *,
    partitions: int,
    retention_seconds: float | None = None,
    config: dict[str, Any] | None = None,
) -> Any:
    """Declare a topic whose agents receive ``Slice[record_type]``, one event per fetched partition slice."""
    return app.topic(
        name,
        schema=SliceSchema(record_type),
        partitions=partitions,
        retention=retention_seconds,
        config=config,
        maxsize=SLICES_BUFFERED,
        allow_empty=True,
    )


def record_topic(
    app: Any,
    name: str,
    record_type: type[T],
    *,
    partitions: int,
    retention_seconds: float | None = None,
    config: dict[str, Any] | None = None,
) -> Any:
    """Declare a topic for long work: its agents use ``received`` or ``work_on`` and acknowledge by hand."""
    return app.topic(
        name,
        schema=RecordSchema(record_type),
        partitions=partitions,
        retention=retention_seconds,
        config=config,
        maxsize=RECORDS_BUFFERED,
        allow_empty=True,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Received(Generic[T]):
    """One event of a record topic. Not acknowledged until ``ack``: a crash or cancel redelivers it."""

    value: T | Poison
    key: str
    topic: str
    partition: int
    offset: int
    timestamp: float
    headers: Headers
    event: Any

    def ack(self) -> None:
        """Mark as done: the partition's position moves on when everything before it is done too."""
        self.event.ack()


async def received(stream: Any) -> AsyncIterator[Received[Any]]:
    """Iterate over a record topic's stream without acknowledging."""
    async for event in stream.noack().events():
        message = event.message
        yield Received(
            event.value,
            event.key,
            message.topic,
            message.partition,
            message.offset,
            message.timestamp,
            tuple(message.headers or ()),
            event,
        )


async def work_on(
    stream: Any, handle: Callable[[Received[Any]], Awaitable[None]], *, in_flight: int = 1
) -> None:
    """Run ``handle`` on every event of a record topic, ``in_flight`` at a time; ack when it returns.

    An event whose handler is cancelled or raises is not acknowledged: the partition's position stays
    before it, and the next start delivers it again. Handlers that can fail retry and dead-letter by
    themselves; an exception that still escapes is logged.
    """
    room = asyncio.Semaphore(in_flight)
    running: set[asyncio.Task[None]] = set()

    async def run(item: Received[Any]) -> None:
        try:
            await handle(item)
            item.ack()
        except Exception:
            logger.exception("%s[%d]@%d failed and stays", item.topic, item.partition, item.offset)
        finally:
            room.release()

    try:
        await room.acquire()
        async for item in received(stream):
            task = asyncio.create_task(run(item))
            running.add(task)
            task.add_done_callback(running.discard)
            await room.acquire()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
