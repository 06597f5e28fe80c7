"""Encoding jobs as operators, owners and encoders see them (B15, B42-B44).

Rows say which jobs there are and what was decided about them; workers ask every few seconds. What a decision
means for a video is one of the transitions of ``processing``, made by the video service.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

import structlog
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from social import paging
from social.ids import canonical
from social.videos import processing
from social.videos.access import own_row
from social.videos.objects import SourceStore
from social.videos.reading import job_view
from social.videos.reencoding import Encoding, ask, check_encoding, check_priority, refusal
from social.videos.reports import Report, check_assets, result_of
from social.videos.service import VideoService
from social.views import EncodingJob, Page, Principal
from tables.errors import ContentNotFound, InvalidStateTransition, Missing, ValidationFailed
from tables.lifecycle import JobStatus, VideoStatus
from tables.records import MediaJob, MediaResult
from tables.relational.engine import Database
from tables.relational.models import EncodingJobRow, EncodingQueueRow, VideoRow, moment

log = structlog.get_logger(__name__)
QUEUE: Final = "media"
CANCELED: Final = "CANCELED"
RESCUED_AT_ONCE: Final = 100
LOST_SECONDS: Final = 24 * 3600.0
"""A queued job that no worker has held for so long is not on the log any more."""


class Wish(Enum):
    """What is wanted of a job that was delivered (B8)."""

    NOTHING = "nothing"
    """It has ended, or a newer try of it is under way."""
    PLAYABLE = "playable"
    """Nothing of the video plays yet: a first rung at once would be welcome (Y5)."""
    MORE = "more"
    """The video is READY; it gets more."""


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job with whose it is."""

    job: EncodingJob
    owner_id: str
    title: str
    video_status: VideoStatus


@dataclass(frozen=True, slots=True)
class QueueControl:
    """What operators decided: whether new jobs begin, why not, and how many a worker runs at once."""

    paused: bool = False
    reason: str = ""
    slots: int | None = None


class EncodingJobs:
    """Lists, decides and looks after the jobs of all workers."""

    def __init__(
        self, database: Database, videos: VideoService, store: SourceStore, clock: Callable[[], float]
    ) -> None:
        """Take the rows, the service that moves videos, the store of sources, and the clock."""
        self._database = database
        self._videos = videos
        self._store = store
        self._clock = clock

    async def list(
        self,
        status: str | None = None,
        owner_id: str | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> Page[ListedJob]:
        """Return jobs, newest first, of one status and one person when named (B43).

        Raises:
            ValidationFailed: VALIDATION_ERROR for a bad status, cursor or limit.
        """
        if status is not None and status not in set(JobStatus):
            raise ValidationFailed("There is no such status.", details={"field": "status", "value": status})
        chosen = [EncodingJobRow.status == status] if status else []
        chosen += [VideoRow.owner_id == owner_id] if owner_id else []
        position, size = paging.decode(cursor), paging.clamp(limit)
        return await self._database.read(partial(_page, chosen=chosen, position=position, size=size))

    async def find(self, job_id: str) -> ListedJob:
        """Return a job.

        Raises:
            Missing: NOT_FOUND.
        """
        return await self._database.read(partial(_find, job_id=job_id))

    async def cancel(self, job_id: str) -> ListedJob:
        """End a job: its video FAILED, or READY as it was before; a child at work ends within seconds (B43).

        Raises:
            Missing: NOT_FOUND.
            InvalidStateTransition: INVALID_STATE_TRANSITION when it has ended already.
        """
        job = (await self.find(job_id)).job
        ended = await self._videos.apply_failed(
            MediaResult(
                job_id=job.id,
                video_id=job.video_id,
                outcome="failed",
                at=self._clock(),
                fail_code=CANCELED,
                fail_reason="Processing was canceled by an operator.",
            )
        )
        if not ended:
            raise InvalidStateTransition(
                "The job has ended.", details={"from": str(job.status), "to": str(JobStatus.FAILED)}
            )
        return await self.find(job_id)

    async def prioritise(self, job_id: str, priority: int) -> ListedJob:
        """Say how urgent a job is; workers that hold it waiting know it within seconds (B15).

        Raises:
            Missing: NOT_FOUND.
            ValidationFailed: VALIDATION_ERROR beyond -100..100.
        """
        check_priority(priority)

        async def write(session: AsyncSession) -> None:
            known = canonical(job_id)
            row = await session.get(EncodingJobRow, known, with_for_update=True) if known else None
            if row is None:
                raise Missing("There is no such job.")
            row.priority = priority

        await self._database.run(write)
        return await self.find(job_id)

    async def reencode(self, video_id: str, caller: Principal, wanted: Encoding) -> ListedJob:
        """Queue an encode of a READY video; what it has is made again, so that one playlist names all (B44).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND.
            NotContentOwner: NOT_CONTENT_OWNER.
            ValidationFailed: VALIDATION_ERROR for an unknown rung, ladder, preset or priority.
            InvalidStateTransition: INVALID_STATE_TRANSITION unless READY with its source, and no job open.
        """
        check_encoding(wanted)
        row = await self._database.read(lambda session: own_row(session, video_id, caller))
        if row.source_key is None or await self._store.stat(row.source_key) is None:
            raise refusal(row, "no source")
        job_id = await self._videos.change(
            row.id, partial(ask, video_id=row.id, caller=caller, wanted=wanted)
        )
        return await self.find(job_id)

    async def reported(self, report: Report) -> None:
        """Apply an outside worker's report; one that is late, repeated or early changes nothing (B35, X67).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND.
            ValidationFailed: VALIDATION_ERROR for assets that are not in the store.
            InvalidStateTransition: INVALID_STATE_TRANSITION for READY without a master playlist.
        """
        known = canonical(report.video_id)
        row = await self._database.read(lambda session: session.get(VideoRow, known)) if known else None
        if row is None:
            raise ContentNotFound
        result = result_of(report, self._clock())
        if row.status != VideoStatus.TRANSCODING:
            log.info("report_ignored", video_id=row.id, status=row.status, reported=report.status)
        elif result.outcome == "failed":
            await self._videos.apply_failed(result)
        else:
            await check_assets(report, self._store)
            await self._videos.apply_completed(result)

    async def control(self) -> QueueControl:
        """Return what operators decided of the queue."""
        return await self._database.read(_control)

    async def decide(
        self, *, paused: bool | None = None, reason: str = "", slots: int | None = None
    ) -> QueueControl:
        """Pause, resume or throttle every worker; None leaves it as it is, 0 slots are its own (B15).

        Raises:
            ValidationFailed: VALIDATION_ERROR for slots beyond 0..64.
        """
        if slots is not None and not 0 <= slots <= 64:
            raise ValidationFailed("slots are 0 to 64.", details={"field": "slots", "value": slots})

        async def write(session: AsyncSession) -> QueueControl:
            now = moment(self._clock())
            row = await session.get(EncodingQueueRow, QUEUE, with_for_update=True)
            if row is None:
                row = EncodingQueueRow(name=QUEUE, paused=False, reason="", slots=None, updated_at=now)
                session.add(row)
            if paused is not None:
                row.paused, row.reason = paused, reason[:255] if paused else ""
            row.slots = row.slots if slots is None else slots or None
            row.updated_at = now
            return QueueControl(row.paused, row.reason, row.slots)

        return await self._database.run(write)

    async def counts(self) -> Mapping[str, int]:
        """Return how many jobs are queued and being processed, of all workers."""
        return await self._database.read(_counts)

    async def open_jobs(self, job_ids: Collection[str]) -> Mapping[str, int]:
        """Return the priorities of those of the jobs that are still to be done."""
        return await self._database.read(partial(_priorities, job_ids=job_ids))

    async def held(self, job_ids: Collection[str]) -> None:
        """Note that a worker holds these jobs: they are not lost, however long they wait (B42)."""
        seen = (
            update(EncodingJobRow).where(EncodingJobRow.id.in_(job_ids)).values(seen_at=moment(self._clock()))
        )

        async def write(session: AsyncSession) -> None:
            await session.execute(seen)

        await self._database.run(write)

    async def wish(self, job: MediaJob) -> Wish:
        """Tell what is wanted of a delivered job: it is open, and this is its newest try (B8)."""
        return await self._database.read(partial(_wish, job=job))

    async def rescue(self, silent_seconds: float) -> Mapping[str, bool]:
        """Queue again the jobs at work of which nothing was heard, once each; then they fail (B42).

        Returns:
            The jobs, and whether each was queued again.
        """
        now = self._clock()
        done = {}
        for row in await self._database.read(partial(_silent, now=now, silent_seconds=silent_seconds)):
            limit = silent_seconds if row.status == JobStatus.PROCESSING else LOST_SECONDS
            again = await self._videos.change(
                row.video_id, partial(processing.rescued, job_id=row.id, silent_since=now - limit)
            )
            if again is not None:
                done[row.id] = again
                await self._videos.drop_outputs(row.video_id)
        return done


async def _page(
    session: AsyncSession,
    *,
    chosen: Sequence[ColumnElement[bool]],
    position: paging.Position | None,
    size: int,
) -> Page[ListedJob]:
    older = paging.before(EncodingJobRow.created_at, EncodingJobRow.id, position)
    query = (
        select(EncodingJobRow, VideoRow)
        .join(VideoRow, VideoRow.id == EncodingJobRow.video_id)
        .where(*chosen, *([] if older is None else [older]))
        .order_by(EncodingJobRow.created_at.desc(), EncodingJobRow.id.desc())
        .limit(size + 1)
    )
    rows = list(await session.execute(query))
    shown = rows[:size]
    after = paging.encode((shown[-1][0].created_at, shown[-1][0].id)) if len(rows) > size else None
    return Page([_listed(job, video) for job, video in shown], after)


async def _find(session: AsyncSession, *, job_id: str) -> ListedJob:
    known = canonical(job_id)
    job = await session.get(EncodingJobRow, known) if known else None
    video = await session.get(VideoRow, job.video_id) if job is not None else None
    if job is None or video is None:
        raise Missing("There is no such job.")
    return _listed(job, video)


def _listed(job: EncodingJobRow, video: VideoRow) -> ListedJob:
    return ListedJob(job_view(job), video.owner_id, video.title, VideoStatus(video.status))


async def _control(session: AsyncSession) -> QueueControl:
    row = await session.get(EncodingQueueRow, QUEUE)
    return QueueControl() if row is None else QueueControl(row.paused, row.reason, row.slots)


async def _counts(session: AsyncSession) -> Mapping[str, int]:
    counted = (
        select(EncodingJobRow.status, func.count())
        .where(EncodingJobRow.status.in_(processing.WORKING))
        .group_by(EncodingJobRow.status)
    )
    found: dict[str, int] = {str(status): 0 for status in processing.WORKING}
    return found | dict(list(await session.execute(counted)))


async def _priorities(session: AsyncSession, *, job_ids: Collection[str]) -> Mapping[str, int]:
    query = select(EncodingJobRow.id, EncodingJobRow.priority).where(
        EncodingJobRow.id.in_(job_ids), EncodingJobRow.status.in_(processing.WORKING)
    )
    return dict(list(await session.execute(query)))


async def _wish(session: AsyncSession, *, job: MediaJob) -> Wish:
    row = await session.get(EncodingJobRow, job.job_id)
    if row is None or row.status not in processing.WORKING or job.attempt < row.attempts:
        return Wish.NOTHING
    video = await session.get(VideoRow, job.video_id)
    if video is None or video.status not in processing.ENCODED:
        return Wish.NOTHING
    return Wish.MORE if video.status == VideoStatus.READY else Wish.PLAYABLE


async def _silent(session: AsyncSession, *, now: float, silent_seconds: float) -> Sequence[EncodingJobRow]:
    """Return the jobs that may be lost, but for those that wait while the queue is paused."""
    query = select(EncodingJobRow).where(EncodingJobRow.status.in_(processing.WORKING))
    paused = (await _control(session)).paused
    limits = {
        JobStatus.PROCESSING: silent_seconds,
        JobStatus.QUEUED: float("inf") if paused else LOST_SECONDS,
    }
    found = (
        row
        for row in await session.scalars(query.order_by(EncodingJobRow.created_at))
        if now - processing.last_seen(row) > limits[JobStatus(row.status)]
    )
    return list(found)[:RESCUED_AT_ONCE]
