"""The video service: the only writer of a video's status (C12, DESIGN invariant 4)."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from social import paging
from social.ids import canonical, new_id
from social.videos import arriving, editing, facts, processing, reading, repairs, uploads
from social.videos.access import own_row, visible
from social.videos.metadata import VideoMetadata
from social.videos.objects import ObjectKeeper, SourceStore, schedule, video_prefix, withdraw
from social.videos.polling import Polled
from social.videos.reconcile import Repair
from social.videos.uploads import StoredUpload
from social.views import EncodingJob, Page, Principal, Video
from social.visibility import can_view, publicly_visible
from tables.errors import (
    AppError,
    ContentAlreadyDeleted,
    ContentNotFound,
    InvalidStateTransition,
    StorageFailure,
    UserNotFound,
    ValidationFailed,
)
from tables.lifecycle import VideoStatus
from tables.records import Card, MediaJob, MediaResult, Notification
from tables.relational.engine import Database
from tables.relational.models import (
    TombstoneRow,
    UserRow,
    VideoRow,
    moment,
)

DEFAULT_LADDER = "core"
MAX_RETRIES = 3  # automatic tries after the first (B9)
EMBEDDING_STATES = ("pending", "ready", "failed")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Change(Protocol[T_co]):
    """A transition of processing; ``at`` is when it is made."""

    def __call__(self, session: AsyncSession, *, at: float) -> Awaitable[T_co]:
        """Make it in the caller's transaction."""


class VideoService:
    """Videos from upload to deletion."""

    def __init__(self, database: Database, store: SourceStore, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._objects = ObjectKeeper(database, store, clock)
        self._polled = Polled(clock)

    async def create_from_upload(
        self, owner: Principal, upload: StoredUpload, metadata: VideoMetadata
    ) -> Video:
        """Store a source and make it a video in UPLOADED, or leave neither object nor row (A19, A20, A46).

        Raises:
            StorageFailure: STORAGE_ERROR.
            DatabaseFailure: DATABASE_ERROR.
            UserNotFound: USER_NOT_FOUND when the owner's account is gone.
        """
        video_id = new_id()
        key = f"{video_prefix(video_id)}source.{upload.extension}"
        try:
            await self._objects.put_source(video_id, key, upload.path, upload.mime)
        except asyncio.CancelledError:
            await asyncio.shield(self._objects.discard(video_id))
            raise
        # Once the source is stored a client that hangs up stops nothing: half a commit is no state.
        return await asyncio.shield(self._commit_upload(video_id, key, owner, upload, metadata))

    async def create_draft(
        self,
        owner: Principal,
        metadata: VideoMetadata,
        policy: str,
        declared: tuple[str | None, int | None] = (None, None),
    ) -> Video:
        """Make a video without a source, in DRAFT; ``declared`` is the type and size to come (C16, X12).

        Raises:
            UserNotFound: USER_NOT_FOUND when the owner's account is gone.
        """
        now = self._clock()

        async def write(session: AsyncSession) -> Video:
            if await session.get(UserRow, owner.user_id) is None:
                raise UserNotFound
            video = uploads.draft_row(owner, metadata, policy, declared, now)
            session.add(video)
            await session.flush()
            return (await reading.load(session, [video.id]))[video.id]

        return await self._database.run(write, whole=True)

    async def enqueue_encoding(self, video_id: str, ladder: str = DEFAULT_LADDER) -> bool:
        """Move UPLOADED to TRANSCODING and queue its one job; a second call changes nothing (B1, B8, C5)."""
        now = self._clock()
        return await self._database.run(
            lambda session: processing.start_encoding(session, video_id, ladder, now)
        )

    async def apply_progress(self, result: MediaResult) -> list[Notification]:
        """Record progress; returns the frames to push to the owner, none when nothing moved (B5, B6).

        The frames are not in the outbox: one that is lost is made up for by the next.
        """
        return await self.change(result.video_id, partial(processing.progressed, result=result))

    async def apply_playable(self, result: MediaResult) -> bool:
        """Move TRANSCODING to READY with a first rung; False when that changes nothing (Y5, B8).

        Raises:
            InvalidStateTransition: INVALID_STATE_TRANSITION when there are no assets.
        """
        return await self._settle(result, processing.playable)

    async def apply_completed(self, result: MediaResult) -> bool:
        """Move TRANSCODING to READY with its assets, or add them; False when that changes nothing (C6, X67).

        Raises:
            InvalidStateTransition: INVALID_STATE_TRANSITION when there are no assets.
        """
        return await self._settle(result, processing.completed)

    async def apply_failed(self, result: MediaResult) -> bool:
        """Move TRANSCODING to FAILED with code and reason; False when that changes nothing (C7, X67)."""
        changed = await self._settle(result, processing.failed)
        await self.drop_outputs(result.video_id)
        return changed

    async def change(self, video_id: str, work: "Change[T]") -> T:
        """Run a transition of a video's processing in a transaction; ``work`` takes the time too."""
        now = self._clock()
        done = await self._database.run(lambda session: work(session, at=now))
        self._polled.forget(video_id)
        return done

    async def drop_outputs(self, video_id: str) -> None:
        """Remove what encodes stored for a video that FAILED: nothing names it; the source stays (B41)."""
        known = canonical(video_id)
        row = await self._database.read(lambda session: session.get(VideoRow, known)) if known else None
        if row is not None and row.status == VideoStatus.FAILED:
            await self._objects.discard_outputs(row.id)

    async def requeue_job(self, job_id: str, fail_code: str, fail_reason: str) -> bool:
        """Queue a job again after a passing failure (B9).

        Returns:
            False when its three tries are used up, or nobody waits for it: then report the failure.
        """
        now, error = self._clock(), (fail_code, fail_reason)
        return await self._database.run(
            lambda session: processing.requeued(session, job_id, error, MAX_RETRIES, now)
        )

    async def retry(self, video_id: str, caller: Principal) -> Video:
        """Process a FAILED video again: owner and operators, source required (C48, B16, C9).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND.
            NotContentOwner: NOT_CONTENT_OWNER.
            InvalidStateTransition: INVALID_STATE_TRANSITION unless it is FAILED and its source is there.
        """
        row = await self._database.read(lambda session: own_row(session, video_id, caller))
        if row.status == VideoStatus.FAILED and not await self._objects.has(row.source_key):
            raise InvalidStateTransition(
                "The source is gone; upload it again.",
                details={"from": row.status, "to": str(VideoStatus.TRANSCODING), "reason": "no source"},
            )
        now = self._clock()

        async def write(session: AsyncSession) -> Video:
            video = await own_row(session, video_id, caller, lock=True)
            await processing.retried(session, video, DEFAULT_LADDER, now)
            await session.flush()
            return (await reading.load(session, [video.id]))[video.id]

        again = await self._database.run(write)
        self._polled.forget(again.id)
        return again

    async def repair(self, video_id: str, found: VideoStatus, repair: Repair) -> bool:
        """Repair drift that was found while a video was in a state (C41); False when it has gone."""
        now = self._clock()
        done = await self._database.run(
            lambda session: repairs.apply(session, video_id, found, repair, DEFAULT_LADDER, now)
        )
        self._polled.forget(video_id)
        return done

    async def edit(
        self,
        video_id: str,
        caller: Principal,
        changes: Mapping[str, Any],
        expected: Collection[str] | None = None,
    ) -> Video:
        """Change what is said of a video: ``changes`` are of ``check_fields``, ``expected`` editions (C19).

        Raises:
            ContentNotFound, ContentAlreadyDeleted, NotContentOwner, PreconditionFailed: as ``editing.edit``.
        """
        now = self._clock()

        async def write(session: AsyncSession) -> Video:
            known = await editing.edit(session, video_id, caller, changes, expected, now)
            await session.flush()
            return (await reading.load(session, [known]))[known]

        video = await self._database.run(write)
        self._polled.forget(video.id)
        return video

    async def delete(self, video_id: str, caller: Principal, expected: Collection[str] | None = None) -> None:
        """Delete rows, then objects; a tombstone and the facts remain (C20, C23, C24, X35).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND, also the second time (X34).
            NotContentOwner: NOT_CONTENT_OWNER.
            PreconditionFailed: PRECONDITION_FAILED when it is of none of the ``expected`` editions.
        """
        now = self._clock()

        async def write(session: AsyncSession) -> str:
            row = await own_row(session, video_id, caller, lock=True)
            editing.check_edition(row, expected)
            await facts.tell_deleted(session, row, now)
            session.add(TombstoneRow(id=row.id, kind="video", deleted_at=moment(now)))
            await schedule(session, row.id, now)
            await session.delete(row)
            return row.id

        try:
            deleted = await self._database.run(write)
        except ContentAlreadyDeleted:
            raise ContentNotFound from None
        self._polled.forget(deleted)
        # The note stays until the sweep has been here once more: an encode under way may still write.
        await self._objects.discard(deleted)

    async def get(self, video_id: str, viewer: Principal | None) -> Video:
        """Return a video that the viewer may see; in TRANSCODING as it was in the last second (C17, C26).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND when there is none, or none for this viewer (O7).
        """
        known = self._polled.find(canonical(video_id) or "")
        if known is not None and can_view(viewer, known):
            return known
        begun = self._polled.begin()
        found = await self.get_many([video_id], viewer)
        if not found:
            raise ContentNotFound
        video = next(iter(found.values()))
        self._polled.keep(video, begun)
        return video

    async def get_many(self, video_ids: Sequence[str], viewer: Principal | None) -> dict[str, Video]:
        """Return those of the videos that exist and that the viewer may see, by id."""
        ids = [known for known in map(canonical, video_ids) if known]

        async def query(session: AsyncSession) -> dict[str, Video]:
            return await visible(session, viewer, await reading.load(session, ids))

        return await self._database.read(query)

    async def list_own(
        self, owner: Principal, status: str | None = None, cursor: str | None = None, limit: int = 20
    ) -> Page[Video]:
        """Return the owner's videos, newest first, of one status if named (C1, C18, C44).

        Raises:
            ValidationFailed: VALIDATION_ERROR for a bad status, cursor or limit.
        """
        condition = VideoRow.owner_id == owner.user_id
        if status is not None:
            if status not in set(VideoStatus):
                raise ValidationFailed(
                    "There is no such status.",
                    details={"field": "status", "value": status, "allowed": list(VideoStatus)},
                )
            condition &= VideoRow.status == status
        position, size = paging.decode(cursor), paging.clamp(limit)
        return await self._database.read(
            lambda session: reading.load_page(session, condition, position, size)
        )

    async def changed_since(self, owner_id: str, since: float, limit: int) -> Sequence[Video]:
        """Return an owner's videos that changed after a time, the earliest change first (C43)."""
        changed = (VideoRow.owner_id == owner_id) & (VideoRow.updated_at > moment(since))
        ids = select(VideoRow.id).where(changed).order_by(VideoRow.updated_at).limit(limit)

        async def query(session: AsyncSession) -> list[Video]:
            found = await reading.load(session, list(await session.scalars(ids)))
            return sorted(found.values(), key=lambda video: video.updated_at)

        return await self._database.read(query)

    async def list_public(self, owner_id: str, cursor: str | None = None, limit: int = 20) -> Page[Video]:
        """Return what the world may see of a user's videos, newest first (C44)."""
        condition = (VideoRow.owner_id == owner_id) & publicly_visible()
        position, size = paging.decode(cursor), paging.clamp(limit)
        return await self._database.read(
            lambda session: reading.load_page(session, condition, position, size)
        )

    async def encoding_job(self, video_id: str, viewer: Principal | None) -> EncodingJob | None:
        """Return the newest encoding job of a video, None before there is one (B5).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND.
        """
        video = await self.get(video_id, viewer)
        jobs = await self._database.read(lambda session: reading.latest_jobs(session, [video.id]))
        return jobs.get(video.id)

    async def record_embedding(
        self, video_id: str, state: str, model_version: str | None, error: str | None = None
    ) -> None:
        """Note whether a video has an embedding, by which model, or why not; ``state`` as in the column."""
        if state not in EMBEDDING_STATES:
            raise ValueError(f"no embedding state {state!r}")

        async def write(session: AsyncSession) -> None:
            row = await session.get(VideoRow, video_id)
            if row is not None:
                row.embedding_state, row.embedding_model, row.embedding_error = state, model_version, error

        await self._database.run(write)

    async def card(self, video_id: str) -> Card | None:
        """Return what ranking knows of a video, without its embedding; None unless it is READY."""
        return await self._database.read(lambda session: reading.load_card(session, video_id))

    async def unfinished_jobs(self) -> list[MediaJob]:
        """Return the jobs that a restart finds queued or begun, oldest first."""
        return await self._database.read(processing.unfinished)

    async def sweep_objects(self, *, everything: bool = False) -> int:
        """Remove objects that no video owns: at the start of the only process ``everything``, then by time.

        Returns:
            How many prefixes were settled.
        """
        return await self._objects.sweep(everything=everything)

    async def _commit_upload(
        self, video_id: str, key: str, owner: Principal, upload: StoredUpload, metadata: VideoMetadata
    ) -> Video:
        now = self._clock()

        async def write(session: AsyncSession) -> Video:
            if not await withdraw(session, video_id):
                raise StorageFailure("Storing the file took too long.")
            if await session.get(UserRow, owner.user_id) is None:
                raise UserNotFound
            video = uploads.video_row(video_id, key, owner, upload, metadata, now)
            session.add(video)
            await session.flush()
            for row in uploads.session_rows(key, video, upload, now):
                session.add(row)
                await session.flush()
            arriving.tell_uploaded(session, video, now)
            return (await reading.load(session, [video_id]))[video_id]

        try:
            return await self._database.run(write)
        except AppError:
            await self._objects.discard(video_id)
            raise

    async def _settle(self, result: MediaResult, work: Callable[..., Awaitable[bool]]) -> bool:
        changed = await self.change(result.video_id, partial(work, result=result))
        if not changed:
            await self._drop_orphans(result.video_id)
        return changed

    async def _drop_orphans(self, video_id: str) -> None:
        """Remove what an encode wrote for a video that was deleted meanwhile."""
        if canonical(video_id):
            await self._objects.discard(video_id)
