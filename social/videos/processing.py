"""What processing reports about a video: the transitions of C5-C10 and B51, each in one transaction.

Every function may see the same report again and reports that come late; what has no place in the
transition table is passed over, never an error loop (B8, X67).
"""

from collections.abc import Sequence

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from social.ids import new_id
from social.videos import facts
from social.videos.reading import qualities
from social.views import Video
from tables.errors import InvalidStateTransition
from tables.lifecycle import JOB, VIDEO, JobStatus, VideoStatus, check, may
from tables.records import Asset, MediaResult, Notification
from tables.relational.models import EncodingJobRow, VideoAssetRow, VideoRow, moment

log = structlog.get_logger(__name__)

MASTER = "HLS_MASTER"
# Progress reaches 100 with READY only: a bar that is full while nothing plays would lie.
MAX_RUNNING_PROGRESS = 99.0
# Smaller steps are not worth a synced write.
MIN_PROGRESS_STEP = 0.5


async def locked_video(session: AsyncSession, video_id: str) -> VideoRow | None:
    """Return a video that no other transaction changes until this one ends."""
    return await session.get(VideoRow, video_id, with_for_update=True)


async def newest_job(session: AsyncSession, video_id: str) -> EncodingJobRow | None:
    """Return the latest encoding job of a video."""
    query = select(EncodingJobRow).where(EncodingJobRow.video_id == video_id)
    return (await session.scalars(query.order_by(EncodingJobRow.created_at.desc()).limit(1))).first()


async def start_encoding(session: AsyncSession, video_id: str, ladder: str, at: float) -> bool:
    """Move UPLOADED to TRANSCODING with one job (C5, B1); False when it is not waiting for one (B8)."""
    video = await locked_video(session, video_id)
    if video is None or video.status != VideoStatus.UPLOADED:
        return False
    _move(video, VideoStatus.TRANSCODING, at)
    video.processing_started_at = moment(at)
    job = EncodingJobRow(
        id=new_id(),
        video_id=video_id,
        status=JobStatus.QUEUED,
        progress=0.0,
        ladder=ladder,
        attempts=0,
        created_at=moment(at),
    )
    session.add(job)
    facts.ask_encode(session, job, video, at)
    facts.tell_status(session, video, at)
    return True


async def progressed(session: AsyncSession, result: MediaResult, at: float) -> Notification | None:
    """Record progress, which never falls (B5, A38); returns the owner's frame, None when nothing moved."""
    job = await session.get(EncodingJobRow, result.job_id, with_for_update=True)
    if job is None or job.status in (JobStatus.COMPLETED, JobStatus.FAILED):
        return None
    video = await session.get(VideoRow, job.video_id)
    if video is None or video.status != VideoStatus.TRANSCODING:
        return None
    reported = min(result.progress or 0.0, MAX_RUNNING_PROGRESS)
    stage = result.stage or job.stage
    started = job.status == JobStatus.QUEUED
    if not started and stage == job.stage and reported - job.progress < MIN_PROGRESS_STEP:
        return None
    if started:
        _move_job(job, JobStatus.PROCESSING, at)
    job.progress, job.stage = max(job.progress, reported), stage
    data: dict[str, object] = {
        "video_id": video.id,
        "job_id": job.id,
        "status": str(video.status),
        "progress": round(job.progress, 1),
        "stage": job.stage,
    }
    return Notification(recipient_id=video.owner_id, event="video_progress", data=data, at=at)


async def completed(session: AsyncSession, result: MediaResult, at: float) -> bool:
    """Write the assets and move TRANSCODING to READY (C6); False when that changes nothing.

    Raises:
        InvalidStateTransition: INVALID_STATE_TRANSITION when there are no assets to play (O36).
    """
    video = await locked_video(session, result.video_id)
    if video is None or not may(VIDEO, VideoStatus(video.status), VideoStatus.READY):
        log.info("media_result_ignored", video_id=result.video_id, status=video.status if video else None)
        return False
    if not any(asset.type == MASTER for asset in result.assets):
        raise InvalidStateTransition(
            "A video cannot be READY without its playlist.",
            details={"from": video.status, "to": str(VideoStatus.READY), "reason": "no assets"},
        )
    await _replace_assets(session, video.id, result.assets, at)
    _move(video, VideoStatus.READY, at)
    video.duration_seconds = result.duration_seconds or video.duration_seconds
    video.width, video.height = result.width or video.width, result.height or video.height
    video.processing_completed_at = moment(at)
    video.published_at = video.published_at or moment(at)
    await _close_job(session, video.id, result, JobStatus.COMPLETED, at)
    await session.flush()
    facts.tell_status(session, video, at)
    await facts.tell_card(session, video.id, at)
    return True


async def failed(session: AsyncSession, result: MediaResult, at: float) -> bool:
    """Move TRANSCODING to FAILED with its code and reason (C7, O32); False when that changes nothing.

    READY wins over a later failure (X67).
    """
    video = await locked_video(session, result.video_id)
    if video is None or video.status != VideoStatus.TRANSCODING:
        log.info("media_result_ignored", video_id=result.video_id, status=video.status if video else None)
        return False
    _move(video, VideoStatus.FAILED, at)
    video.fail_code = (result.fail_code or "TRANSCODE_ERROR")[:64]
    video.fail_reason = result.fail_reason or "The video could not be processed."
    video.processing_completed_at = moment(at)
    await _close_job(session, video.id, result, JobStatus.FAILED, at)
    facts.tell_status(session, video, at)
    return True


async def requeued(
    session: AsyncSession, job_id: str, error: tuple[str, str], retries: int, at: float
) -> bool:
    """Put a job whose attempt failed for a passing reason back in the queue (B9); False when out of tries."""
    job = await session.get(EncodingJobRow, job_id, with_for_update=True)
    if job is None or job.status not in (JobStatus.QUEUED, JobStatus.PROCESSING) or job.attempts >= retries:
        return False
    video = await session.get(VideoRow, job.video_id)
    if video is None or video.status != VideoStatus.TRANSCODING:
        return False
    if job.status == JobStatus.QUEUED:
        _move_job(job, JobStatus.PROCESSING, at)
    _move_job(job, JobStatus.FAILED, at)
    job.error_code, job.error = error[0][:64], error[1]
    _queue_again(job)
    job.attempts += 1
    facts.ask_encode(session, job, video, at)
    return True


async def retried(session: AsyncSession, video: VideoRow, ladder: str, at: float) -> None:
    """Move FAILED to TRANSCODING and queue its job again (B16, C9, C48); progress stays where it was.

    Raises:
        InvalidStateTransition: INVALID_STATE_TRANSITION from any other state, UPLOADED too.
    """
    if video.status != VideoStatus.FAILED:
        # The table lets UPLOADED become TRANSCODING, but that is for the queue to do, once (C5).
        raise InvalidStateTransition(
            "Only a FAILED video is processed again.",
            details={"from": video.status, "to": str(VideoStatus.TRANSCODING), "allowed": allowed(video)},
        )
    resume(video, at)
    job = await waiting_job(session, video.id, ladder, at)
    job.attempts = 0  # somebody asked: the automatic tries start afresh
    facts.ask_encode(session, job, video, at)
    facts.tell_status(session, video, at)


def resume(video: VideoRow, at: float) -> None:
    """Move FAILED to TRANSCODING, the failure forgotten (C9).

    Raises:
        InvalidStateTransition: INVALID_STATE_TRANSITION where the table has no such move.
    """
    _move(video, VideoStatus.TRANSCODING, at)
    video.fail_code = video.fail_reason = None
    video.processing_started_at, video.processing_completed_at = moment(at), None


async def waiting_job(session: AsyncSession, video_id: str, ladder: str, at: float) -> EncodingJobRow:
    """Return a job of the video that is QUEUED: its newest one, or a new one where that has COMPLETED."""
    job = await newest_job(session, video_id)
    if job is None or job.status == JobStatus.COMPLETED:
        job = EncodingJobRow(
            id=new_id(),
            video_id=video_id,
            status=JobStatus.QUEUED,
            progress=0.0,
            ladder=ladder,
            attempts=0,
            created_at=moment(at),
        )
        session.add(job)
        return job
    if job.status == JobStatus.PROCESSING:
        _move_job(job, JobStatus.FAILED, at)
    if job.status == JobStatus.FAILED:
        _queue_again(job)
    return job


def allowed(video: Video | VideoRow) -> list[str]:
    """Return the states that a video may be in next: the table, and whether it has a source (C42, B16, X10).

    A FAILED video is processed again when it has a source, and waits for one when it has none.
    """
    following = VIDEO[VideoStatus(video.status)]
    if video.status == VideoStatus.FAILED:
        source = VideoStatus.UPLOADING if video.source_key else VideoStatus.TRANSCODING
        following -= {source}
    return sorted(following)


def _move(video: VideoRow, status: VideoStatus, at: float) -> None:
    check(VIDEO, VideoStatus(video.status), status)
    video.status, video.updated_at = status, moment(at)


def _move_job(job: EncodingJobRow, status: JobStatus, at: float) -> None:
    check(JOB, JobStatus(job.status), status)
    job.status = status
    if status is JobStatus.PROCESSING:
        job.started_at = job.started_at or moment(at)
    elif status is not JobStatus.QUEUED:
        job.completed_at = moment(at)


def _queue_again(job: EncodingJobRow) -> None:
    check(JOB, JobStatus(job.status), JobStatus.QUEUED)
    job.status, job.completed_at = JobStatus.QUEUED, None


async def _close_job(
    session: AsyncSession, video_id: str, result: MediaResult, status: JobStatus, at: float
) -> None:
    job = await newest_job(session, video_id)
    if job is None or job.status not in (JobStatus.QUEUED, JobStatus.PROCESSING):
        return
    if job.status == JobStatus.QUEUED:
        # No progress was ever reported: the job ran all the same.
        _move_job(job, JobStatus.PROCESSING, at)
    _move_job(job, status, at)
    if status is JobStatus.COMPLETED:
        job.progress, job.stage, job.outputs = 100.0, "", list(qualities(result.assets))
        job.error_code = job.error = None
    else:
        job.error_code, job.error = (result.fail_code or "TRANSCODE_ERROR")[:64], result.fail_reason


async def _replace_assets(session: AsyncSession, video_id: str, assets: Sequence[Asset], at: float) -> None:
    await session.execute(delete(VideoAssetRow).where(VideoAssetRow.video_id == video_id))
    session.add_all(
        VideoAssetRow(
            id=new_id(),
            video_id=video_id,
            type=asset.type,
            quality=asset.quality or "",
            container=asset.container or "",
            file_key=asset.key,
            bandwidth=asset.bandwidth,
            width=asset.width,
            height=asset.height,
            codec=asset.codec,
            size_bytes=asset.size_bytes,
            created_at=moment(at),
        )
        for asset in assets
    )
