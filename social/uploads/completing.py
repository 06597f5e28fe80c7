"""From all parts to a video, so that a crash between any two steps loses nothing (A19, A29, A48, A54).

    leased     the row names who completes, until when; a second complete waits for the first
    assembled  all bytes in one file beside the store
    judged     what they are stands in the row: from here on a retry needs no part any more
    stored     the object stands at its key; the row is the note that it must go or become a source
    committed  video, session and facts in one transaction
    cleaned    nothing else is left

A fault of the bytes fails the session; a missing part, a wrong list or a fault of ours leaves it open.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from media.layout import source_key
from media.parts import PartInfo
from media.policies import extension, policy_named
from media.sniff import Container
from social.uploads import rows, rules
from social.uploads.cleaning import Cleaner, close
from social.uploads.examining import Declared, Examiner
from social.uploads.model import Verdict
from social.uploads.states import OPEN, Operation
from social.uploads.tools import UploadTools
from social.videos import VideoMetadata, arriving, uploads
from social.videos.metadata import from_plain, plain
from social.views import Principal
from tables.errors import (
    AppError,
    BadRequest,
    Conflict,
    ContentNotFound,
    InvalidChunkSequence,
    UserNotFound,
    ValidationFailed,
)
from tables.lifecycle import VIDEO, UploadStatus, VideoStatus, check
from tables.relational.models import UploadSessionRow, UserRow, VideoRow, moment

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.25
SUFFIX: Final = ".part"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to complete: ``named`` is the client's list of part number and ETag (A29)."""

    session_id: str
    named: Mapping[int, str] | None = None
    metadata: VideoMetadata | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """An object that stands; ``clean`` when nothing else of the upload is left in the store."""

    key: str
    verdict: Verdict
    clean: bool


class Completer:
    """Completes sessions."""

    def __init__(self, tools: UploadTools, cleaner: Cleaner) -> None:
        """Take the tools and what removes leftovers."""
        self._tools = tools
        self._cleaner = cleaner
        self._examine = Examiner(tools.probe, tools.scanner)

    async def complete(self, ask: Ask) -> None:
        """Complete a session, or find that it is COMPLETED; see the module.

        Raises:
            InvalidStateTransition: INVALID_STATE_TRANSITION.
            SessionExpired: SESSION_EXPIRED.
            InvalidChunkSequence: INVALID_CHUNK_SEQUENCE: parts are missing; the session stays open.
            Conflict: CONFLICT: another session of the video is being completed (A48).
            ChecksumMismatch, FileTooLarge, InvalidFormat, CorruptedFile, DurationExceeded, InfectedFile:
                the session is FAILED and its bytes are gone.
            ValidationFailed: VALIDATION_ERROR: no title for the video that this would become.
        """
        lease = uuid4().hex
        row = await self._lease(ask, lease)
        if row is None:
            return
        self._at("leased")
        path = self._tools.folder / f"{lease}{SUFFIX}"
        try:
            async with self._renewed(row.id, lease):
                await self._work(row, lease, ask, path)
        except AppError as error:
            log.info("upload_not_completed", session_id=row.id, code=error.code)
            await self._let_go(row.id, lease)
            raise
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def _work(self, row: UploadSessionRow, lease: str, ask: Ask, path: Path) -> None:
        verdict = Verdict(**row.verdict) if row.verdict else None
        parts: Sequence[PartInfo] | None = None
        if verdict is None:
            parts = await self._arrived(row, ask.named)
            verdict = await self._judge(row, lease, parts, path)
            self._at("judged")
        key = source_key(row.target_id, extension(Container(verdict.container)))
        clean = await self._store(row, key, verdict, parts, path)
        self._at("stored")
        await self._commit(row, lease, Placed(key, verdict, clean))
        self._at("committed")
        if not clean:
            await self._cleaner.clean(row.id)
        self._at("cleaned")

    async def _lease(self, ask: Ask, lease: str) -> UploadSessionRow | None:
        """Take the right to complete; None when there is nothing left to do (A37)."""
        take = partial(_lease, ask=ask, lease=lease, clock=self._tools.clock)
        while (row := await self._tools.database.run(take)) is not None and row.lease_id != lease:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        return row

    async def _arrived(self, row: UploadSessionRow, named: Mapping[int, str] | None) -> list[PartInfo]:
        """Return the parts that make up the upload, none for an appended one, when all is there."""
        upload, size = rows.incoming(row), row.size_bytes
        if size is None:
            raise InvalidChunkSequence("The size of this upload was not told yet.", details={"field": "size"})
        if row.part_count is None:
            offset = await self._tools.parts.offset(upload)
            if offset < size:
                raise InvalidChunkSequence("Bytes are missing.", details={"offset": offset, "size": size})
            return []
        stored = {part.number: part for part in await self._tools.parts.parts(upload)}
        if row.provider == "S3_MULTIPART":
            found = [stored[number] for number in sorted(stored) if number <= row.part_count]
            if named is not None:
                rules.check_named(named, found)
        else:
            confirmed = await self._tools.database.read(lambda session: rows.parts_of(session, row.id))
            found = [part for part in confirmed if rules.is_same(part, stored.get(part.number))]
        there = {part.number for part in found}
        if missing := [number for number in range(1, row.part_count + 1) if number not in there]:
            raise rules.missing_parts(missing)
        return found

    async def _judge(
        self, row: UploadSessionRow, lease: str, parts: Sequence[PartInfo], path: Path
    ) -> Verdict:
        """Find out what the bytes are and note it; a fault of theirs fails the session."""
        said = Declared(policy_named(row.policy), row.filename, row.size_bytes, row.mime, row.sha256)
        try:
            if parts:
                rules.check_total(sum(part.size_bytes for part in parts), row.size_bytes or 0)
            sha256 = await self._tools.parts.assemble(rows.incoming(row), parts, path)
            self._at("assembled")
            verdict = await self._examine(path, sha256, said)
        except InvalidChunkSequence:
            raise  # a part went away meanwhile: it can be sent again
        except BadRequest as error:
            await self._fail(row.id, lease, error.code)
            raise

        async def note(session: AsyncSession) -> None:
            (await _leased(session, row.id, lease)).verdict = asdict(verdict)

        await self._tools.database.run(note)
        return verdict

    async def _store(
        self,
        row: UploadSessionRow,
        key: str,
        verdict: Verdict,
        parts: Sequence[PartInfo] | None,
        path: Path,
    ) -> bool:
        """Let the object stand at its key; False when the parts are still there as well."""
        found = await self._tools.store.stat(key)
        if found is not None and found.size_bytes == verdict.size_bytes:
            return False  # a crash came after it was stored
        upload = rows.incoming(row)
        if parts is None:  # a crash came after the verdict
            parts = await self._arrived(row, None)
        if key == row.source_key:
            await self._tools.parts.complete(upload, parts)
            return True
        # The bytes are of another format than the name said: the key is the format's (A43, N23).
        if not await asyncio.to_thread(path.exists):
            await self._tools.parts.assemble(upload, parts, path)
        await self._tools.store.put_file(key, path, content_type=verdict.mime, move=True)
        return False

    async def _commit(self, row: UploadSessionRow, lease: str, placed: "Placed") -> None:
        now = self._tools.clock()
        try:
            await self._tools.database.run(lambda session: _commit(session, row.id, lease, placed, now))
        except ContentNotFound:  # session, video or account were deleted meanwhile
            await self._tools.store.delete(placed.key)
            raise

    async def _fail(self, session_id: str, lease: str, code: str) -> None:
        now, fails_video = self._tools.clock(), self._tools.settings.fail_videos

        async def write(session: AsyncSession) -> None:
            row = await _leased(session, session_id, lease)
            await close(session, row, Operation.FAIL, now, code=code, fails_video=fails_video)

        await self._tools.database.run(write)

    async def _let_go(self, session_id: str, lease: str) -> None:
        """Give the lease back; remove what is left when the session cannot go on."""

        async def write(session: AsyncSession) -> bool:
            row = await session.get(UploadSessionRow, session_id, with_for_update=True)
            if row is not None and row.lease_id == lease:
                row.lease_id = row.lease_until = None
            return row is not None and row.status not in OPEN

        try:
            if await self._tools.database.run(write):
                await self._cleaner.clean(session_id)
        except AppError as failure:  # the lease ends by itself, and the sweep comes by
            log.warning("upload_not_let_go", session_id=session_id, error=repr(failure))

    @asynccontextmanager
    async def _renewed(self, session_id: str, lease: str) -> AsyncIterator[None]:
        """Keep the lease for as long as the block runs: hashing and probing 1.5 GB takes its time."""

        mine = (UploadSessionRow.id == session_id) & (UploadSessionRow.lease_id == lease)

        async def prolong(session: AsyncSession) -> None:
            until = moment(self._tools.clock() + LEASE_SECONDS)
            await session.execute(update(UploadSessionRow).where(mine).values(lease_until=until))

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_SECONDS / 3)
                with contextlib.suppress(AppError):  # the next round comes before the lease ends
                    await self._tools.database.run(prolong)

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _at(self, step: str) -> None:
        log.debug("upload_step", step=step)


async def _lease(
    session: AsyncSession, ask: Ask, lease: str, clock: Callable[[], float]
) -> UploadSessionRow | None:
    """Take the lease; the row with another's lease when there is one, None when it is COMPLETED."""
    at = clock()
    row = await rows.find(session, ask.session_id, None, lock=True)
    if row.status == UploadStatus.COMPLETED:
        return None
    if rows.is_leased(row, at):
        return row
    if row.status == UploadStatus.INITIATED and row.provider == "API_CHUNKS" and not rows.is_over(row, at):
        raise rules.missing_parts(range(1, (row.part_count or 0) + 1))  # 000 knows no such state
    rows.target(row, Operation.COMPLETE, at)
    if row.partial:
        raise Conflict("This upload is a piece of another one.", details={"partial": True})
    if row.video_id is not None:
        await _check_video(session, row, at)
    else:
        row.about = plain(ask.metadata) if ask.metadata else row.about
        if not row.about.get("title"):
            raise ValidationFailed("A video needs a title.", details={"field": "title"})
    row.lease_id, row.lease_until = lease, moment(at + LEASE_SECONDS)
    return row


async def _check_video(session: AsyncSession, row: UploadSessionRow, at: float) -> None:
    """Refuse when the video has its source, or another session is about to give it one (A48)."""
    video = await session.get(VideoRow, row.video_id, with_for_update=True)
    if video is None:
        raise ContentNotFound
    check(VIDEO, VideoStatus(video.status), VideoStatus.UPLOADED)
    others = select(UploadSessionRow).where(
        UploadSessionRow.video_id == row.video_id, UploadSessionRow.id != row.id
    )
    for other in await session.scalars(others):
        if other.status != UploadStatus.COMPLETED and (other.verdict or rows.is_leased(other, at)):
            raise Conflict(
                "Another upload of this video is being completed.",
                details={"upload_session_id": other.id},
                retry_after_seconds=LEASE_SECONDS,
            )


async def _leased(session: AsyncSession, session_id: str, lease: str) -> UploadSessionRow:
    """Return the row while it is still ours to complete (CONFLICT)."""
    row = await rows.find(session, session_id, None, lock=True)
    rows.target(row, Operation.COMPLETE, 0.0)
    if row.lease_id != lease:
        raise Conflict("Somebody else completes this upload.", retry_after_seconds=1.0)
    return row


async def _commit(session: AsyncSession, session_id: str, lease: str, placed: Placed, at: float) -> None:
    row, verdict = await _leased(session, session_id, lease), placed.verdict
    if row.video_id is None:
        await _make_video(session, row, placed, at)
    else:
        video = await session.get(VideoRow, row.video_id, with_for_update=True)
        if video is None:
            raise ContentNotFound
        source = arriving.Source(
            placed.key, verdict.size_bytes, verdict.mime, verdict.sha256, row.policy,
            verdict.duration_seconds, verdict.width, verdict.height, verdict.needs_review,
        )  # fmt: skip
        arriving.arrived(session, video, source, at)
    row.status, row.updated_at, row.bytes_uploaded = UploadStatus.COMPLETED, moment(at), verdict.size_bytes
    row.lease_id = row.lease_until = None
    row.source_key = placed.key
    row.sweep_at = None if placed.clean else moment(at)


async def _make_video(session: AsyncSession, row: UploadSessionRow, placed: Placed, at: float) -> None:
    """Make the video that the session was for from the beginning."""
    owner, verdict = await session.get(UserRow, row.owner_id), placed.verdict
    if owner is None:
        raise UserNotFound
    upload = uploads.StoredUpload(
        path=Path(),
        size_bytes=verdict.size_bytes,
        mime=verdict.mime,
        extension=extension(Container(verdict.container)),
        policy=row.policy,
        sha256=verdict.sha256,
        duration_seconds=verdict.duration_seconds,
        width=verdict.width,
        height=verdict.height,
        needs_review=verdict.needs_review,
    )
    said = from_plain(row.about)
    video = uploads.video_row(
        row.target_id, placed.key, Principal(owner.id, owner.username, owner.role, ""), upload, said, at
    )
    session.add(video)
    await session.flush()
    row.video_id = row.target_id
    arriving.tell_uploaded(session, video, at)
