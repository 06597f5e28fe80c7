"""The parts of unfinished uploads: one protocol, a folder (``media.file_parts``) and S3 (``media.s3_parts``).

An upload is fed in one of two ways: as numbered parts in any order (``put``, or the store's own signed URLs),
or as one growing stream (``append``). Either way nothing stands at the upload's key before ``complete``, and
nothing is left after ``abort`` (A28, A31, A41, A49, A50, A52, A54).

The caller keeps one writer per part, or per appended upload, over all processes; a store refuses a second
appender that it sees itself.
"""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Protocol

from media.stores import FileStore, ObjectInfo, ObjectStore
from tables.errors import (
    ChecksumMismatch,
    Conflict,
    ContentNotFound,
    FileTooLarge,
    InvalidChunkSequence,
    InvalidStateTransition,
)

MAX_PARTS: Final = 10_000
"""S3's own limit of parts in an upload."""
MIN_PART_BYTES: Final = 5 * 1024 * 1024
"""S3's least size of a part that is not the last, which is also A31's part size."""
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One stored part; numbers start at 1. ``sha256`` is None where the store does not keep it."""

    number: int
    size_bytes: int
    etag: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """One unfinished upload; ``begun_at`` in seconds since the epoch.

    What ``unfinished`` finds may have an empty key and content type: the session id names it.
    """

    session_id: str
    key: str
    provider_upload_id: str
    content_type: str
    begun_at: float = 0.0


class PartStore(Protocol):
    """Where bytes wait until an upload is complete.

    Every method raises StorageFailure (STORAGE_ERROR) when the store is down, full or failing, and
    InvalidStateTransition when the upload is unknown: never begun, aborted, or completed.
    """

    direct: ClassVar[bool]
    """Whether clients can send parts past the server, to URLs of the store's own."""

    async def begin(self, session_id: str, key: str, *, content_type: str) -> Incoming:
        """Open an upload that will stand at ``key``; again with the same arguments, it is the same upload.

        Raises:
            Conflict: the session has an upload for another key, where the store knows keys (CONFLICT).
        """

    async def put(
        self, upload: Incoming, number: int, body: AsyncIterator[bytes], *, max_bytes: int
    ) -> PartInfo:
        """Receive a part whole or not at all; the same number again replaces it. Durable when it returns.

        Raises:
            FileTooLarge: more than ``max_bytes`` (FILE_TOO_LARGE).
            InvalidChunkSequence: a number outside 1 to 10,000 (INVALID_CHUNK_SEQUENCE).
        """

    async def append(
        self, upload: Incoming, offset: int, body: AsyncIterator[bytes], *, max_bytes: int
    ) -> int:
        """Add at most ``max_bytes`` at the offset and return the new one; how a tus PATCH works.

        What arrived before the body, the task or the limit cut it is durable and counts: ``offset`` says
        how much that is.

        Raises:
            Conflict: this is not the offset (``details.offset`` is), or another append goes on (CONFLICT).
            FileTooLarge: more than ``max_bytes`` (FILE_TOO_LARGE).
        """

    async def offset(self, upload: Incoming) -> int:
        """Return how many appended bytes are stored."""

    async def sign_put(
        self, upload: Incoming, number: int, *, size_bytes: int, expires_seconds: int
    ) -> str | None:
        """Return a URL that takes a PUT of exactly this part and size, until it expires (A28).

        None: this store has no front of its own and the server's route receives (A50). The store is not
        asked, so hundreds of URLs cost nothing; that of an upload which has ended is refused when used.
        """

    async def parts(self, upload: Incoming) -> list[PartInfo]:
        """Return the stored parts by number, however they came; what was appended is no part."""

    def read(self, upload: Incoming, parts: Sequence[PartInfo]) -> AsyncIterator[bytes]:
        """Yield the bytes of the parts in order; without parts, what was appended.

        Parts that came through signed URLs cannot be read before ``assemble``.

        Raises:
            InvalidChunkSequence, ChecksumMismatch: as ``complete``.
        """

    async def assemble(self, upload: Incoming, parts: Sequence[PartInfo], path: Path) -> str:
        """Write all bytes to a local file, for probing, and return their SHA-256 in hex.

        Arguments and errors as ``complete``. The file may share its blocks with the store's own: read it,
        remove it, never write to it.
        """

    async def complete(self, upload: Incoming, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Let the object stand at ``upload.key``; without parts, it is what was appended.

        Idempotent: again, at the same time or after a crash half-way, it answers the same object.

        Raises:
            InvalidChunkSequence: a part is missing, or the numbers are not 1, 2, 3, ...
                (INVALID_CHUNK_SEQUENCE; ``details.missing``). The upload can go on.
            ChecksumMismatch: the stored part has another size or ETag (CHECKSUM_MISMATCH).
        """

    async def abort(self, upload: Incoming) -> None:
        """Leave nothing of an unfinished upload; the object of a completed one stays. Idempotent."""

    def unfinished(self) -> AsyncIterator[Incoming]:
        """Yield every upload that has something stored, for the sweep of what no row knows."""


def parts_for(store: ObjectStore, folder: Path) -> PartStore:
    """Return the part store that belongs to an object store.

    Args:
        store: where completed uploads go.
        folder: ``uploads`` of the data folder: unfinished uploads, or what is on its way to S3.
    """
    if isinstance(store, FileStore):
        from media.file_parts import FileParts

        return FileParts(folder, store)
    from media.s3 import S3Store
    from media.s3_parts import S3Parts

    if not isinstance(store, S3Store):
        raise TypeError(f"no part store for {type(store).__name__}")
    return S3Parts(store, folder)


def check_session(session_id: str) -> str:
    """Return the session id, or refuse one that is no name for a folder (CONTENT_NOT_FOUND)."""
    if not _SESSION.fullmatch(session_id):
        raise ContentNotFound
    return session_id


def check_number(number: int) -> int:
    """Return the part number when it is one.

    >>> check_number(1)
    1

    Raises:
        InvalidChunkSequence: outside 1 to 10,000 (INVALID_CHUNK_SEQUENCE).
    """
    if not 1 <= number <= MAX_PARTS:
        raise InvalidChunkSequence(details={"part_number": number, "limit": MAX_PARTS})
    return number


def match_parts(given: Sequence[PartInfo], stored: Sequence[PartInfo]) -> list[PartInfo]:
    """Return the stored parts that a completion names, in order (A29, A54).

    >>> one = PartInfo(1, 3, '"a"', "ff")
    >>> match_parts([PartInfo(1, 3, "a")], [one, PartInfo(2, 9, '"b"')]) == [one]
    True

    Raises:
        InvalidChunkSequence: not 1, 2, 3, ..., or one of them is not stored (INVALID_CHUNK_SEQUENCE).
        ChecksumMismatch: one is stored with another size or ETag (CHECKSUM_MISMATCH).
    """
    by_number = {part.number: part for part in stored}
    wanted = [part.number for part in given]
    missing = [number for number in wanted if number not in by_number]
    if missing or wanted != list(range(1, len(wanted) + 1)):
        raise InvalidChunkSequence(details={"missing": missing, "parts": len(wanted)})
    for part in given:
        found = by_number[part.number]
        if bare(part.etag) != bare(found.etag) or part.size_bytes != found.size_bytes:
            raise ChecksumMismatch(details={"part_number": part.number})
    return [by_number[number] for number in wanted]


def bare(etag: str) -> str:
    """Return an ETag without its quotes: clients send it either way (RFC 9110 section 8.8.3)."""
    return etag.strip().strip('"')


def ended() -> InvalidStateTransition:
    """Return the refusal for an upload that the store does not have (any more)."""
    return InvalidStateTransition("The upload has ended.")


def over_limit(max_bytes: int) -> FileTooLarge:
    """Return the refusal of a body over its limit."""
    return FileTooLarge(details={"field": "body", "limit": max_bytes, "unit": "bytes"})


def wrong_offset(offset: int) -> Conflict:
    """Return the refusal of an append at another offset than the stored one."""
    return Conflict("The upload is at another offset.", details={"offset": offset})
