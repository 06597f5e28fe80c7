"""The upload session service: one set of sessions behind every way in (A12, A18, A25-A37, A49-A56, X11).

    create      a session: for a video that waits, or for one that is made at the end
    part_urls   where parts may be sent; receive takes one
    append      one growing stream instead of parts (tus): offset says how far it is, concatenate joins some
    complete    all bytes checked, then the source of a video; finalize says what the video is called
    pause, resume, cancel; reported is what the store tells of a session
    take        a form that arrived whole: a session of one chunk

``caller`` is who asks, checked against the owner (A55); None is the server itself, after another proof.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from media.policies import extension
from media.sniff import Container
from social.ids import canonical
from social.uploads import opening, rows, rules
from social.uploads.cleaning import Cleaner, close
from social.uploads.completing import Ask, Completer
from social.uploads.examining import Declared, Examiner
from social.uploads.model import Arrived, PartUrl, Received, Report, UploadSession, Wanted
from social.uploads.receiving import Receiver
from social.uploads.states import OPEN, Operation
from social.uploads.tools import UploadTools
from social.videos import StoredUpload, VideoMetadata
from social.views import Principal, Video
from tables.errors import AppError, ContentNotFound, InvalidChunkSequence, ValidationFailed
from tables.lifecycle import UploadStatus
from tables.relational.models import UploadSessionRow

log = structlog.get_logger(__name__)


class UploadSessions:
    """Uploads from the first word about them to the source of a video."""

    def __init__(self, tools: UploadTools) -> None:
        """Take the tools; nothing starts."""
        self._tools = tools
        self._settings = tools.settings
        self.links = tools.links
        self.cleaner = Cleaner(tools)
        self.completer = Completer(tools, self.cleaner)
        self._receiver = Receiver(tools, self.cleaner)
        self._examine = Examiner(tools.probe, tools.scanner)
        self._completing: dict[str, asyncio.Task[None]] = {}

    async def create(self, owner: Principal, wanted: Wanted) -> UploadSession:
        """Open a session; its id is unique and its expiry in the future (A14, A18, A26).

        Raises:
            ValidationFailed: VALIDATION_ERROR: size, number of chunks, checksum or name make no sense.
            FileTooLarge: FILE_TOO_LARGE with the limit.
            InvalidFormat: INVALID_FORMAT with the list, when type or name are declared and not on it.
            RateLimitExceeded: RATE_LIMIT_EXCEEDED past the day's uploads, with Retry-After (A24).
            ContentNotFound: CONTENT_NOT_FOUND; NotContentOwner: NOT_CONTENT_OWNER.
            InvalidStateTransition: INVALID_STATE_TRANSITION: the video has its source (X10).
        """
        now, settings = self._tools.clock(), self._settings

        async def write(session: AsyncSession) -> UploadSession:
            row = opening.draft(owner, wanted, settings, now)
            return rows.view(await opening.insert(session, row, owner, settings, now), ())

        return await self._tools.database.run(write, whole=True)

    async def check_quota(self, owner: Principal) -> None:
        """Refuse a form before its bytes are read when the day's uploads are used up (A24).

        Raises:
            RateLimitExceeded: RATE_LIMIT_EXCEEDED, with Retry-After.
        """
        now = self._tools.clock()
        await self._tools.database.read(
            lambda session: opening.check_quota(session, owner.user_id, self._settings, now)
        )

    async def get(self, session_id: str, caller: Principal | None) -> UploadSession:
        """Return a session with its parts; those that went straight to the store are asked for there (A52).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND; NotContentOwner: NOT_CONTENT_OWNER.
        """
        # Asked first: what is confirmed meanwhile is counted twice for a moment, not lost for one.
        coming = await self._tools.live.arriving(canonical(session_id) or "")

        query = partial(rows.find_with_parts, session_id=session_id, caller=caller)
        row, parts = await self._tools.database.read(query, whole=True)
        if row.status in OPEN and row.provider_upload_id and row.verdict is None:
            row, parts = await self._receiver.refresh(row, parts)
        return rows.view(row, parts, sum(coming.values()) if row.status in OPEN else 0)

    async def latest(self, video_id: str) -> UploadSession | None:
        """Return the newest session of a video, None without one; the caller checked who asks (A23)."""
        newest = (
            select(UploadSessionRow)
            .where(UploadSessionRow.video_id == video_id)
            .order_by(UploadSessionRow.created_at.desc())
            .limit(1)
        )

        async def query(session: AsyncSession) -> UploadSession | None:
            row = (await session.scalars(newest)).first()
            return None if row is None else rows.view(row, ())

        found = await self._tools.database.read(query)
        return None if found is None or found.status not in OPEN else await self.get(found.id, None)

    async def part_urls(self, session_id: str, caller: Principal, numbers: Sequence[int]) -> list[PartUrl]:
        """Return where parts may be sent, several at once (A28, A50, A51).

        Raises:
            InvalidChunkSequence: INVALID_CHUNK_SEQUENCE: a number outside 1 to the number of parts.
            InvalidStateTransition: INVALID_STATE_TRANSITION, also while PAUSED (A53).
            SessionExpired: SESSION_EXPIRED.
            ValidationFailed: VALIDATION_ERROR: none, or more than 1,000 numbers.
            ContentNotFound, NotContentOwner, Conflict.
        """
        return await self._receiver.urls(session_id, caller, numbers)

    async def receive(
        self,
        session_id: str,
        caller: Principal | None,
        number: int,
        body: AsyncIterator[bytes],
        declared_bytes: int | None = None,
    ) -> Received:
        """Take one part, whole or not at all; durable when it returns (A16, A36, A52, A53).

        A chunk that comes again is compared with the first; a part of 001 replaces it, as in an S3 store.

        Raises:
            InvalidChunkSequence: INVALID_CHUNK_SEQUENCE: no such number, other bytes under a number that was
                received, an empty part.
            FileTooLarge: FILE_TOO_LARGE: more bytes than were declared, cut off while they arrive.
            SignatureRefused: SIGNATURE_REFUSED: not the size of this part.
            Conflict: CONFLICT: this part is arriving already, or the session is being completed.
            InvalidStateTransition: INVALID_STATE_TRANSITION, also while PAUSED (A53).
            SessionExpired, ContentNotFound, NotContentOwner, StorageFailure.
        """
        return await self._receiver.receive(session_id, caller, number, body, declared_bytes)

    async def append(
        self, session_id: str, caller: Principal | None, offset: int, body: AsyncIterator[bytes]
    ) -> int:
        """Add bytes at the offset and return the new one (A49); for sessions without numbered parts.

        What arrived before the body was cut is durable and counts: ``offset`` says how far it came.

        Raises:
            Conflict: CONFLICT: another offset (``details.offset`` is the right one), another request that
                sends, or a session with numbered parts.
            FileTooLarge: FILE_TOO_LARGE: past the declared size, or the policy's limit.
            InvalidStateTransition: INVALID_STATE_TRANSITION, also while PAUSED.
            SessionExpired, ContentNotFound, NotContentOwner, StorageFailure.
        """
        return await self._receiver.append(session_id, caller, offset, body)

    async def offset(self, session_id: str, caller: Principal | None) -> int:
        """Return how many appended bytes are durable (A49); the whole size of a COMPLETED session.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND; NotContentOwner: NOT_CONTENT_OWNER.
            SessionExpired: SESSION_EXPIRED.
            InvalidStateTransition: INVALID_STATE_TRANSITION: canceled or failed: nothing is left.
        """
        now = self._tools.clock()
        row = await self._tools.database.read(lambda session: rows.find(session, session_id, caller))
        if row.status == UploadStatus.COMPLETED:
            return row.bytes_uploaded
        if row.status not in OPEN or rows.is_over(row, now):
            rows.target(row, Operation.RECEIVE, now)  # says what it is instead
        if row.verdict is not None or not row.provider_upload_id:
            return row.bytes_uploaded
        return await self._tools.parts.offset(rows.incoming(row))

    async def set_length(self, session_id: str, caller: Principal, size_bytes: int) -> UploadSession:
        """Declare the size of a session that was opened without one (tus Upload-Defer-Length).

        Raises:
            ValidationFailed: VALIDATION_ERROR: another size was declared, or fewer bytes than arrived.
            FileTooLarge: FILE_TOO_LARGE.
            SessionExpired, InvalidStateTransition, ContentNotFound, NotContentOwner.
        """
        now = self._tools.clock()

        async def write(session: AsyncSession) -> UploadSession:
            row = await rows.find(session, session_id, caller, lock=True)
            rows.target(row, Operation.RECEIVE, now)
            opening.declare_size(row, size_bytes)
            return rows.view(row, await rows.parts_of(session, row.id))

        return await self._tools.database.run(write)

    async def concatenate(self, owner: Principal, wanted: Wanted, pieces: Sequence[str]) -> UploadSession:
        """Open a session whose bytes are those of whole partial sessions, in order (A49).

        They end when ``finalize`` has made it a video: until then a crash, or a wrong order, costs nothing.

        ``wanted.size_bytes`` is not looked at: the size is the pieces'.

        Raises:
            ValidationFailed: VALIDATION_ERROR: no piece, or one that is not partial.
            InvalidChunkSequence: INVALID_CHUNK_SEQUENCE: a piece has not arrived whole.
            FileTooLarge, InvalidFormat, RateLimitExceeded: as ``create``.
            ContentNotFound, NotContentOwner, SessionExpired, InvalidStateTransition.
        """
        parts = [await self._piece(owner, piece) for piece in pieces]
        size = sum(row.size_bytes or 0 for row in parts)
        session = await self.create(owner, opening.joined(wanted, size, pieces))
        offset = 0
        for row in parts:
            body = self._tools.parts.read(rows.incoming(row), ())
            offset = await self.append(session.id, owner, offset, body)
        return await self.get(session.id, owner)

    async def complete(
        self,
        session_id: str,
        caller: Principal | None,
        named: Mapping[int, str] | None = None,
        metadata: VideoMetadata | None = None,
    ) -> UploadSession:
        """Check all bytes and make them the source of the session's video (A29, A37, A48, A54).

        Answers when it is done, however long that takes; again, or at the same time, it answers the same.
        A client that goes away stops nothing.

        Args:
            session_id: the session.
            caller: who asks.
            named: part numbers and ETags as the client knows them, None to take what is there.
            metadata: what the video is called, when the session makes one.

        Raises:
            InvalidChunkSequence: INVALID_CHUNK_SEQUENCE: parts are missing; the session stays open.
            ChecksumMismatch: CHECKSUM_MISMATCH: another ETag in the list (the session stays open), or other
                bytes, size or type than declared (it is FAILED).
            FileTooLarge, InvalidFormat, CorruptedFile, DurationExceeded, InfectedFile: it is FAILED.
            InvalidStateTransition, SessionExpired, Conflict, ContentNotFound, NotContentOwner.
            StorageFailure, DatabaseFailure, ServiceUnavailable: try again.
        """
        await self._tools.database.read(lambda session: rows.find(session, session_id, caller))
        await self._finish(Ask(session_id, named, metadata))
        return await self.get(session_id, caller)

    async def finalize(
        self, session_id: str, caller: Principal, metadata: VideoMetadata | None = None
    ) -> Video:
        """Complete a session that has no video yet, and make its video (A12, A18).

        ``metadata`` None takes what was said when the session was opened (``Wanted.about``). Errors as
        :meth:`complete`; ValidationFailed (VALIDATION_ERROR, field ``title``) without a title.
        """
        session = await self.complete(session_id, caller, None, metadata)
        for piece in dict.fromkeys(session.about.get(opening.PIECES, ())):
            with contextlib.suppress(AppError):  # ended before, or left to the sweep
                await self.cancel(piece, caller)
        return await self._tools.videos.get(session.video_id or "", caller)

    async def pause(self, session_id: str, caller: Principal) -> UploadSession:
        """Stop taking parts until ``resume`` (A30); errors: INVALID_STATE_TRANSITION, SESSION_EXPIRED."""
        return await self._move(session_id, caller, Operation.PAUSE)

    async def resume(self, session_id: str, caller: Principal) -> UploadSession:
        """Take parts again (A30); errors: INVALID_STATE_TRANSITION, SESSION_EXPIRED."""
        return await self._move(session_id, caller, Operation.RESUME)

    async def cancel(self, session_id: str, caller: Principal) -> UploadSession:
        """End a session; nothing of it is left in the store (A30, A41, X76).

        Raises:
            InvalidStateTransition: INVALID_STATE_TRANSITION; with strict transitions also from INITIATED.
            SessionExpired, ContentNotFound, NotContentOwner.
        """
        return await self._end(session_id, caller, Operation.CANCEL, "UPLOAD_CANCELED")

    async def fail(self, session_id: str, code: str) -> UploadSession:
        """End a session because its provider gave up (A33); errors as :meth:`cancel`."""
        return await self._end(session_id, None, Operation.FAIL, code)

    async def reported(self, report: Report) -> None:
        """Do what the store reports: COMPLETED has the effect of ``complete``, FAILED of ``fail`` (A42).

        A report that comes again, or too late, changes nothing and is no error (A37, X67); neither is a
        fault of the bytes: it is in the session.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND: no such session, or it is another video's.
            ValidationFailed: VALIDATION_ERROR: another key or size than the session's.
            InvalidChunkSequence: INVALID_CHUNK_SEQUENCE: parts are missing.
        """
        session_id = report.session_id
        row = await self._tools.database.read(lambda session: rows.find(session, session_id, None))
        if report.video_id != row.target_id:
            raise ContentNotFound
        if row.status not in OPEN:
            log.info("upload_report_ignored", session_id=row.id, status=row.status, reported=report.status)
            return
        if report.status != "COMPLETED":
            await self.fail(row.id, "PROVIDER_ERROR")
            return
        opening.check_report(row, report)
        try:
            await self._finish(Ask(row.id))
        except InvalidChunkSequence:
            raise
        except AppError as error:
            if error.status >= 500:
                raise
            log.info("upload_report_refused", session_id=row.id, code=error.code)

    async def take(self, owner: Principal, arrived: Arrived, metadata: VideoMetadata) -> Video:
        """Make a form that arrived whole a video: a session of one chunk (A19, A20, X11).

        Raises:
            The errors of the bytes that :meth:`complete` has, RateLimitExceeded, UserNotFound, and
            StorageFailure; then neither row nor object remain.
        """
        await self.check_quota(owner)
        declared = Declared(arrived.policy, rules.clean_name(arrived.filename))
        verdict = await self._examine(arrived.path, arrived.sha256, declared)
        stored = StoredUpload(
            path=arrived.path,
            size_bytes=verdict.size_bytes,
            mime=verdict.mime,
            extension=extension(Container(verdict.container)),
            policy=arrived.policy.name,
            sha256=verdict.sha256,
            duration_seconds=verdict.duration_seconds,
            width=verdict.width,
            height=verdict.height,
            needs_review=verdict.needs_review,
        )
        return await self._tools.videos.create_from_upload(owner, stored, metadata)

    async def sweep(self, *, everything: bool = False) -> int:
        """Expire sessions and remove what ended ones left (A35); see ``Cleaner.sweep``."""
        return await self.cleaner.sweep(everything=everything)

    async def _finish(self, ask: Ask) -> None:
        """Complete in a task of its own: two requests share it, and neither stops it by going away."""
        task = self._completing.get(ask.session_id)
        if task is None:
            task = asyncio.create_task(self.completer.complete(ask), name="upload completion")
            self._completing[ask.session_id] = task
            task.add_done_callback(lambda done: self._forget(ask.session_id, done))
        await asyncio.shield(task)

    def _forget(self, session_id: str, done: asyncio.Task[None]) -> None:
        self._completing.pop(session_id, None)
        if not done.cancelled():
            done.exception()  # seen, also when every request that waited has gone

    async def _move(self, session_id: str, caller: Principal, operation: Operation) -> UploadSession:
        now = self._tools.clock()

        async def write(session: AsyncSession) -> UploadSession:
            row = await rows.find(session, session_id, caller, lock=True)
            rows.move(row, operation, now)
            return rows.view(row, await rows.parts_of(session, row.id))

        return await self._tools.database.run(write)

    async def _end(
        self, session_id: str, caller: Principal | None, operation: Operation, code: str
    ) -> UploadSession:
        now, settings = self._tools.clock(), self._settings
        strict, fails_video = settings.strict_transitions, settings.fail_videos

        async def write(session: AsyncSession) -> UploadSession:
            row = await rows.find(session, session_id, caller, lock=True)
            await close(session, row, operation, now, code=code, strict=strict, fails_video=fails_video)
            return rows.view(row, await rows.parts_of(session, row.id))

        ended = await self._tools.database.run(write)
        await self.cleaner.clean(ended.id)
        return ended

    async def _piece(self, owner: Principal, session_id: str) -> UploadSessionRow:
        row = await self._tools.database.read(lambda session: rows.find(session, session_id, owner))
        offset = await self.offset(session_id, owner)
        if not row.partial:
            raise ValidationFailed("This is no partial upload.", details={"field": "pieces", "value": row.id})
        if row.size_bytes is None or offset < row.size_bytes:
            raise InvalidChunkSequence("A piece has not arrived whole.", details={"piece": row.id})
        return row
