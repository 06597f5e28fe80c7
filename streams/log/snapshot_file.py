"""The file of one table partition's snapshot: framed, checksummed, put in place whole or not at all.

    magic | frame(header) | frame(keys, values) ... | frame(footer)

A frame is its length and CRC-32 (big endian, 4 bytes each) and msgpack. The footer says how many keys there
are, so a file that was cut off is known. Files are named by their offset; the newest two are kept.
"""

import hashlib
import itertools
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import msgspec

MAGIC: Final = b"FWSNAP\x00"
#: Raised when the layout changes; a file of another number is not read.
FORMAT: Final = 1
#: A frame longer than this is damage, not data.
MAX_FRAME_BYTES: Final = 256 << 20
KEPT: Final = 2
_FRAME: Final = struct.Struct(">II")
_encode = msgspec.msgpack.Encoder().encode
_numbers = itertools.count()


class SnapshotRefused(Exception):
    """A snapshot cannot be used; the message says why."""


class Header(msgspec.Struct, frozen=True):
    """What a snapshot is of.

    The rows contain the changelog up to ``offset``, and maybe more of it, but nothing after the footer's
    ``until``. ``schema`` is ``schema_of`` the row type. ``taken_at`` is in seconds since the epoch.
    """

    format: int
    log: str
    topic: str
    partition: int
    partitions: int
    schema: str
    offset: int
    taken_at: float


class Footer(msgspec.Struct, frozen=True):
    """How a snapshot ended: number of keys, and the last changelog offset that may be in it."""

    keys: int
    until: int


def schema_of(record_type: type[Any]) -> str:
    """Return a digest of a row type's fields: rows of another one are not read.

    >>> class Row(msgspec.Struct):
    ...     n: int
    >>> len(schema_of(Row))
    16
    """
    described = msgspec.json.encode(msgspec.json.schema(record_type), order="deterministic")
    return hashlib.sha256(described).hexdigest()[:16]


class SnapshotWriter:
    """Writes one snapshot beside its place (blocking); ``finish`` puts it in place, ``discard`` does not."""

    def __init__(self, folder: Path, header: Header) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.header = header
        self.path = folder / f"{header.offset:020d}.snapshot"
        self._temporary = folder / f"{header.offset:020d}.{os.getpid()}-{next(_numbers)}.tmp"
        self._file: IO[bytes] = self._temporary.open("xb", buffering=1 << 20)
        self._keys = 0
        self._file.write(MAGIC)
        self._frame(header)

    def _frame(self, content: Any) -> None:
        payload = _encode(content)
        self._file.write(_FRAME.pack(len(payload), zlib.crc32(payload)))
        self._file.write(payload)

    def add(self, keys: Sequence[str], values: Sequence[Any]) -> None:
        """Write rows."""
        self._keys += len(keys)
        self._frame((keys, values))

    def finish(self, until: int) -> None:
        """Write the footer and put the file in place, durable; older ones but one are removed."""
        self._frame(Footer(self._keys, until))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self.path)
        _sync_folder(self.path.parent)
        for old in found(self.path.parent)[KEPT:]:
            old.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what was written."""
        with suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def found(folder: Path) -> list[Path]:
    """Return the snapshots of a partition, newest first."""
    return sorted(folder.glob("*.snapshot"), reverse=True) if folder.is_dir() else []


def read_header(path: Path) -> Header:
    """Return what a snapshot says it is. Raises SnapshotRefused."""
    try:
        with path.open("rb") as file:
            return _header(file)
    except OSError as exc:
        raise SnapshotRefused(f"it cannot be opened: {exc}") from exc


def read_rows(path: Path, record_type: type[Any], end: int) -> dict[str, Any]:
    """Return all rows of a snapshot (blocking, about a second for a million).

    Args:
        path: the file.
        record_type: type of every value.
        end: last offset of the changelog; a snapshot that knows more is of a log that lost its tail.

    Raises:
        SnapshotRefused: damaged, cut off, of another row type, or ahead of the log.
    """
    rows: dict[str, Any] = {}
    decode = msgspec.msgpack.Decoder(tuple[list[str], list[record_type]]).decode  # type: ignore[valid-type]
    try:
        with path.open("rb") as file:
            _header(file)
            frames = _frames(file)
            last = next(frames, None)
            for payload in frames:
                keys, values = decode(last or b"")
                rows.update(zip(keys, values, strict=True))
                last = payload
            footer = msgspec.msgpack.decode(last or b"", type=Footer)
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError) as exc:
        raise SnapshotRefused(f"it is damaged: {exc}") from exc
    if footer.keys != len(rows):
        raise SnapshotRefused(f"it is damaged: {len(rows)} keys of {footer.keys}")
    if footer.until > end:
        raise SnapshotRefused(f"it is at {footer.until}, its changelog ends at {end}")
    return rows


def _header(file: IO[bytes]) -> Header:
    if file.read(len(MAGIC)) != MAGIC:
        raise SnapshotRefused("it is not a snapshot")
    payload = next(_frames(file), None)
    try:
        number = msgspec.msgpack.decode(payload or b"", type=dict[str, Any]).get("format")
        if number != FORMAT:
            raise SnapshotRefused(f"its format is {number}, not {FORMAT}")
        return msgspec.msgpack.decode(payload or b"", type=Header)
    except msgspec.MsgspecError as exc:
        raise SnapshotRefused(f"its header cannot be read: {exc}") from exc


def _frames(file: IO[bytes]) -> Iterator[bytes]:
    while prefix := file.read(_FRAME.size):
        if len(prefix) < _FRAME.size:
            raise SnapshotRefused("it was cut off")
        length, crc = _FRAME.unpack(prefix)
        payload = file.read(length) if length <= MAX_FRAME_BYTES else b""
        if len(payload) != length or zlib.crc32(payload) != crc:
            raise SnapshotRefused("a checksum differs, or it was cut off")
        yield payload
