"""Bytes on their way in: parts and appended streams (A16, A36, A39, A50-A53)."""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from media.parts import Incoming, PartInfo
from media.policies import policy_named
from social.uploads import live, rows, rules
from social.uploads.cleaning import Cleaner
from social.uploads.model import PartUrl, Received, percent
from social.uploads.states import OPEN, Operation
from social.uploads.tools import UploadTools
from social.views import Principal
from tables.errors import (
    AppError,
    Conflict,
    DatabaseFailure,
    FileTooLarge,
    InvalidChunkSequence,
    InvalidStateTransition,
    SignatureRefused,
    StorageFailure,
    ValidationFailed,
)
from tables.lifecycle import UploadStatus
from tables.relational.models import UploadSessionRow

T = TypeVar("T")
log = structlog.get_logger(__name__)
MAX_URLS = 1_000
"""Part URLs in one answer: more than the largest upload has parts."""
READS_AT_ONCE = 3
WRITES_AT_ONCE = 2
"""Reads and writes of parts at a time: a burst queues here, and keeps no other request from the database."""
STREAM = 0  # the number under which an appended stream is locked


class Admitted(NamedTuple):
    """A session that may receive, its upload in the store, and its confirmed parts by number."""

    row: UploadSessionRow
    upload: Incoming
    confirmed: list[PartInfo]


class Receiver:
    """Takes in the bytes of open sessions."""

    def __init__(self, tools: UploadTools, cleaner: Cleaner) -> None:
        """Take the tools and what removes leftovers."""
        self._tools = tools
        self._cleaner = cleaner
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._writes = asyncio.Semaphore(WRITES_AT_ONCE)

    async def admit(self, session_id: str, caller: Principal | None) -> Admitted:
        """Let a session receive: INITIATED becomes IN_PROGRESS with its upload begun in the store (A53).

        Raises:
            ContentNotFound, NotContentOwner, SessionExpired, InvalidStateTransition.
            Conflict: CONFLICT: it is being completed.
        """
        now = self._tools.clock()
        row, confirmed = await self._read(partial(rows.find_with_parts, session_id=session_id, caller=caller))
        rows.target(row, Operation.RECEIVE, now)
        if row.verdict is not None or rows.is_leased(row, now):
            raise Conflict("All bytes are here and this upload is being completed.", retry_after_seconds=1.0)
        if row.status != UploadStatus.INITIATED and row.provider_upload_id:
            return Admitted(row, rows.incoming(row), confirmed)
        upload = await self._tools.parts.begin(row.id, row.source_key, content_type=row.mime or "")

        async def begin(session: AsyncSession) -> UploadSessionRow:
            locked = await rows.find(session, session_id, caller, lock=True)
            rows.move(locked, Operation.RECEIVE, now)
            locked.provider_upload_id = upload.provider_upload_id
            return locked

        try:
            return Admitted(await self._run(begin), upload, confirmed)
        except AppError:
            await self._cleaner.clean(row.id)  # canceled meanwhile
            raise

    async def receive(
        self,
        session_id: str,
        caller: Principal | None,
        number: int,
        body: AsyncIterator[bytes],
        declared_bytes: int | None = None,
    ) -> Received:
        """Take one part; see ``UploadSessions.receive``."""
        row, upload, confirmed = await self.admit(session_id, caller)
        rules.check_number(number, row.part_count)
        known = next((part for part in confirmed if part.number == number), None)
        limit = self._limit(row, number, known, declared_bytes)
        async with live.arriving(self._tools.live, row.id, number, partial(self._tell, row)) as arrival:
            watched = arrival.watch(body)
            if known is not None and row.provider == "API_CHUNKS":
                part = await _same(known, watched, limit)
            else:
                part = await self._tools.parts.put(upload, number, watched, max_bytes=limit)
            return await self._confirm(row, part, declared_bytes)

    async def append(
        self, session_id: str, caller: Principal | None, offset: int, body: AsyncIterator[bytes]
    ) -> int:
        """Add to a stream; see ``UploadSessions.append``."""
        row, upload, _ = await self.admit(session_id, caller)
        if row.part_count is not None:
            raise Conflict("This upload takes numbered parts.", details={"provider": row.provider})
        limit = (row.size_bytes or policy_named(row.policy).max_bytes) - offset
        async with live.arriving(self._tools.live, row.id, STREAM, partial(self._tell, row)) as arrival:
            try:
                return await self._tools.parts.append(
                    upload, offset, arrival.watch(body), max_bytes=max(0, limit)
                )
            finally:  # what came before a cut counts, too
                await self._note_offset(row, upload)

    async def urls(self, session_id: str, caller: Principal, numbers: Sequence[int]) -> list[PartUrl]:
        """Return where parts may be sent; see ``UploadSessions.part_urls``."""
        if not 1 <= len(numbers) <= MAX_URLS:
            raise ValidationFailed("Ask for 1 to 1,000 parts.", details={"field": "part_numbers"})
        row, upload, _ = await self.admit(session_id, caller)
        if row.provider != "S3_MULTIPART":
            raise InvalidStateTransition(
                "This upload is sent through the API.", details={"provider": row.provider}
            )
        urls = []
        for number in numbers:
            rules.check_number(number, row.part_count)
            size = rules.size_of_part(number, row.size_bytes or 0)
            seconds, expires_at = self._url_life(row)
            url = await self._tools.parts.sign_put(upload, number, size_bytes=size, expires_seconds=seconds)
            url = url or self._tools.links.url(row.id, number, size, expires_at)
            urls.append(PartUrl(number, url, size, float(expires_at)))
        return urls

    async def refresh(
        self, row: UploadSessionRow, confirmed: list[PartInfo]
    ) -> tuple[UploadSessionRow, list[PartInfo]]:
        """Note the parts that the store received by itself, or how far an appended stream is.

        Returns the row and its parts as they are then; where the store has nothing else, nothing is written,
        and where it cannot be written, they are as they were.
        """
        if row.part_count is not None and (row.provider == "API_CHUNKS" or not self._tools.parts.direct):
            return row, confirmed  # nothing comes past us
        upload, now = rows.incoming(row), self._tools.clock()
        try:
            if row.part_count is None:
                offset, stored = await self._tools.parts.offset(upload), list[PartInfo]()
            else:
                offset, stored = 0, await self._tools.parts.parts(upload)
        except (InvalidStateTransition, StorageFailure) as error:  # ended, or down: the row is what we know
            log.info("upload_not_refreshed", session_id=row.id, error=repr(error))
            return row, confirmed
        fitting = [part for part in stored if part.number <= (row.part_count or 0)]
        if rules.are_same(fitting, confirmed) and (
            row.part_count is not None or offset == row.bytes_uploaded
        ):
            return row, confirmed

        async def write(session: AsyncSession) -> tuple[UploadSessionRow, list[PartInfo]]:
            locked = await rows.find(session, row.id, None, lock=True)
            if locked.status in OPEN and locked.verdict is None:
                if locked.part_count is None:
                    locked.bytes_uploaded = offset
                else:
                    await rows.adopt(session, locked, fitting, now)
                await session.flush()
            return locked, await rows.parts_of(session, locked.id)

        try:
            return await self._run(write)
        except DatabaseFailure as error:  # as when the disk is full: who only reads is answered
            log.info("upload_not_refreshed", session_id=row.id, error=repr(error))
            return row, confirmed

    async def _run(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async with self._writes:
            return await self._tools.database.run(work, whole=True)

    async def _read(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        async with self._reads:
            return await self._tools.database.read(work, whole=True)

    def _url_life(self, row: UploadSessionRow) -> tuple[int, int]:
        """Return for how many seconds a part URL is good, and until when: never past its session's end."""
        now = self._tools.clock()
        left = math.inf if row.expires_at is None else row.expires_at.timestamp() - now
        seconds = max(1, math.floor(min(self._tools.settings.url_seconds, left)))
        return seconds, math.floor(now) + seconds

    def _limit(
        self, row: UploadSessionRow, number: int, known: PartInfo | None, declared_bytes: int | None
    ) -> int:
        """Return the most bytes that this part may have."""
        size = row.size_bytes or 0
        if row.provider == "S3_MULTIPART":
            exact = rules.size_of_part(number, size)
            if declared_bytes is not None and declared_bytes != exact:
                raise SignatureRefused("This link is for a part of another size.")
            return exact
        if known is not None:
            return known.size_bytes
        return size - row.bytes_uploaded

    async def _confirm(self, row: UploadSessionRow, part: PartInfo, declared_bytes: int | None) -> Received:
        """Write down a part that is durable; a session that ended meanwhile keeps nothing of it."""
        now = self._tools.clock()

        async def write(session: AsyncSession) -> tuple[UploadSessionRow, int]:
            locked = await rows.find(session, row.id, None, lock=True)
            _check_open(locked)
            if part.size_bytes == 0 or (declared_bytes is not None and part.size_bytes != declared_bytes):
                raise InvalidChunkSequence(
                    "The part has another size.",
                    details={"part_number": part.number, "size": part.size_bytes},
                )
            await rows.put_part(session, locked, part, now)
            if locked.bytes_uploaded > (locked.size_bytes or 0):
                raise FileTooLarge(details={"field": "body", "limit": locked.size_bytes, "unit": "bytes"})
            await session.flush()
            return locked, await rows.count_parts(session, row.id)

        try:
            locked, received = await self._run(write)
        except AppError:
            await self._cleaner.clean(row.id)
            raise
        await self._tell(locked, done=part.number)
        return Received(part, received, None if row.part_count is None else row.part_count - received)

    async def _note_offset(self, row: UploadSessionRow, upload: Incoming) -> None:
        """Copy the store's offset into the row, for those who only read (A38)."""
        try:
            offset = await self._tools.parts.offset(upload)

            async def write(session: AsyncSession) -> UploadSessionRow:
                locked = await rows.find(session, row.id, None, lock=True)
                if locked.status in OPEN:
                    locked.bytes_uploaded = offset
                return locked

            await self._tell(await self._run(write), done=STREAM)
        except AppError as error:  # the store's own offset is the truth
            log.warning("upload_offset_not_noted", session_id=row.id, error=repr(error))

    async def _tell(self, row: UploadSessionRow, done: int | None = None) -> None:
        """Push how far an upload is to its owner's sockets (A39, A40); part ``done`` is in the row now."""
        coming = await self._tools.live.arriving(row.id)
        sent = row.bytes_uploaded + sum(size for number, size in coming.items() if number != done)
        self._tools.notify(
            row.owner_id,
            "upload_progress",
            {
                "upload_session_id": row.id,
                "video_id": row.video_id,
                "status": str(row.status),
                "bytes_uploaded": min(sent, row.size_bytes or sent),
                "size_bytes": row.size_bytes,
                "progress": percent(sent, row.size_bytes),
            },
        )


def _check_open(row: UploadSessionRow) -> None:
    """Refuse a part that arrived after its session ended; one that was paused meanwhile still counts."""
    if row.status != UploadStatus.PAUSED:
        rows.target(row, Operation.RECEIVE, 0.0)


async def _same(known: PartInfo, body: AsyncIterator[bytes], limit: int) -> PartInfo:
    """Compare a repeated chunk with the confirmed one, keeping the confirmed (A16, A17).

    Raises:
        InvalidChunkSequence: INVALID_CHUNK_SEQUENCE: other bytes under the same number.
    """
    digest, size = hashlib.sha256(), 0
    async for chunk in body:
        size += len(chunk)
        if size > limit:
            break
        digest.update(chunk)
    if size != known.size_bytes or digest.hexdigest() != known.sha256:
        raise InvalidChunkSequence(
            "This chunk was received already, with other bytes.", details={"chunk_number": known.number}
        )
    return known
