"""Records of the log, in columns.

A partition is read and written in columns of equal length (keys, values, timestamps, headers), because
a slice of thousands of records then costs a few objects instead of thousands. Offsets are dense when
written; compaction leaves holes.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from streams.log.errors import LogCorrupt

#: Header names and values of one record.
Headers = tuple[tuple[str, bytes], ...]
#: A topic and one of its partitions; faust's ``TP`` is one too.
TopicPartition = tuple[str, int]


class Record(NamedTuple):
    """One record as read. ``value`` None is a tombstone. ``timestamp`` in seconds since the epoch."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: float
    headers: Headers


class Batch(msgspec.Struct):
    """Records to append to one partition, in order.

    ``timestamps`` is one time for all, or one for each; ``headers`` is None when no record has any.
    """

    topic: str
    partition: int
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps: float | list[float]
    headers: list[Headers] | None = None

    def __len__(self) -> int:
        return len(self.values)


class Chunk(msgspec.Struct):
    """Records read from one partition: columns of equal length, offsets ascending."""

    topic: str
    partition: int
    offsets: Sequence[int]
    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps: list[float]
    headers: list[Headers] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def size_bytes(self) -> int:
        """Size of all values."""
        return sum(map(len, filter(None, self.values)))

    def __iter__(self) -> Iterator[Record]:
        headers: Sequence[Headers] = self.headers or [()] * len(self.values)
        return map(Record, self.offsets, self.keys, self.values, self.timestamps, headers)

    def extend(self, other: "Chunk") -> None:
        """Append another chunk's columns."""
        if self.headers is not None or other.headers is not None:
            mine: list[Headers] = self.headers or [()] * len(self)
            self.headers = [*mine, *(other.headers or [()] * len(other))]
        self.offsets = [*self.offsets, *other.offsets]
        self.keys += other.keys
        self.values += other.values
        self.timestamps += other.timestamps

    def pieces(self, records: int, size_bytes: int) -> Iterator["Chunk"]:
        """Yield the chunk in pieces of at most so many records, and of so many bytes where a record fits."""
        start = weight = 0
        for at, value in enumerate(self.values):
            weight += len(value or b"")
            if at > start and (weight > size_bytes or at - start == records):
                yield self.cut(start, at)
                start, weight = at, len(value or b"")
        yield self.cut(start, len(self)) if start else self

    def cut(self, start: int, stop: int) -> "Chunk":
        """Return the records at positions ``start`` to ``stop``."""
        return Chunk(
            self.topic,
            self.partition,
            self.offsets[start:stop],
            self.keys[start:stop],
            self.values[start:stop],
            self.timestamps[start:stop],
            self.headers[start:stop] if self.headers is not None else None,
        )


class Body(msgspec.Struct, array_like=True):
    """The blob of a stored row. ``offsets`` is None while they are dense."""

    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps: float | list[float]
    headers: list[Headers] | None = None
    offsets: list[int] | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Body)


def encode_body(body: Body) -> tuple[bytes, int]:
    """Return the blob and its CRC-32."""
    blob = _encoder.encode(body)
    return blob, zlib.crc32(blob)


def decode_chunk(place: TopicPartition, base: int, crc: int, blob: bytes) -> Chunk:
    """Return a stored row as a chunk.

    Raises:
        LogCorrupt: the blob does not match its checksum, or is not what was written.
    """
    topic, partition = place
    if zlib.crc32(blob) != crc:
        raise LogCorrupt(f"records of {topic!r} partition {partition} from offset {base}: checksum differs")
    try:
        body = _decoder.decode(blob)
    except msgspec.DecodeError as exc:
        raise LogCorrupt(f"records of {topic!r} partition {partition} from offset {base}: {exc}") from exc
    count = len(body.values)
    times = body.timestamps if isinstance(body.timestamps, list) else [body.timestamps] * count
    offsets: Sequence[int] = body.offsets if body.offsets is not None else range(base, base + count)
    return Chunk(topic, partition, offsets, body.keys, body.values, times, body.headers)
