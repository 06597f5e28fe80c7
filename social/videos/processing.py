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
from tables.records import Asset, MediaJob, MediaResult, Notification
from tables.relational.models import EncodingJobRow, VideoAssetRow, VideoRow, moment, seconds

log = structlog.get_logger(__name__)

MASTER, CAPTIONS = "HLS_MASTER", "CAPTIONS"
WORKING = (JobStatus.QUEUED, JobStatus.PROCESSING)
ENCODED = (VideoStatus.TRANSCODING, VideoStatus.READY)
"""States in which a video may have a job that works: READY while rungs are added (Y5, B44)."""
PRIORITIES = {"short": 10, "long": 0}
"""Of a job by its upload's policy: short clips are quick, and their people wait."""
# Progress reaches 100 with READY only: a bar that is full while nothing plays would lie.
MAX_RUNNING_PROGRESS = 99.0
# Smaller steps are not worth a synced write.
MIN_PROGRESS_STEP = 0.5


async def locked_video(session: AsyncSession, video_id: str) -> VideoRow | None:
    """Return a video that no other transaction changes until this one ends."""
    return await session.get(VideoRow, video_id, with_for_update=True)


async def unfinished(session: AsyncSession) -> list[MediaJob]:
    """Return the jobs that are queued or begun, oldest first."""
    rows = await session.execute(
        select(EncodingJobRow, VideoRow)
        .join(VideoRow, VideoRow.id == EncodingJobRow.video_id)
        .where(EncodingJobRow.status.in_(WORKING), VideoRow.status.in_(ENCODED))
        .order_by(EncodingJobRow.created_at, EncodingJobRow.id)
    )
    return [facts.media_job(job, video) for job, video in rows]


async def newest_job(session: AsyncSession, video_id: str) -> EncodingJobRow | None:
    """Return the latest encoding job of a video."""
    query = select(EncodingJobRow).where(EncodingJobRow.video_id == video_id)
    return (await session.scalars(query.order_by(EncodingJobRow.created_at.desc()).limit(1))).first()


def new_job(
    session: AsyncSession, video_id: str, ladder: str, at: float, *, priority: int = 0, **parameters: object
) -> EncodingJobRow:
    """Add a job that is QUEUED; ``parameters`` are ``qualities`` and ``preset`` of its own (B44)."""
    job = EncodingJobRow(
        id=new_id(),
        video_id=video_id,
        status=JobStatus.QUEUED,
        progress=0.0,
        stage="",
        ladder=ladder,
        parameters=parameters,
        priority=priority,
        attempts=0,
        rescues=0,
        created_at=moment(at),
    )
    session.add(job)
    return job


async def start_encoding(session: AsyncSession, video_id: str, ladder: str, at: float) -> bool:
    """Move UPLOADED to TRANSCODING with one job (C5, B1); False when it is not waiting for one (B8)."""
    video = await locked_video(session, video_id)
    if video is None or video.status != VideoStatus.UPLOADED:
        return False
    _move(video, VideoStatus.TRANSCODING, at)
    video.processing_started_at = moment(at)
    job = new_job(session, video_id, ladder, at, priority=PRIORITIES.get(video.policy, 0))
    facts.ask_encode(session, job, video, at)
    facts.tell_status(session, video, at)
    facts.tell_job(session, "job_created", job, video, at)
    return True


async def progressed(session: AsyncSession, result: MediaResult, at: float) -> list[Notification]:
    """Record progress, which never falls (B5, A38); returns frames for the owner, none when nothing moved."""
    job = await session.get(EncodingJobRow, result.job_id, with_for_update=True)
    if job is None or job.status not in WORKING:
        return []
    video = await session.get(VideoRow, job.video_id)
    if video is None or video.status not in ENCODED:
        return []
    reported = min(result.progress or 0.0, MAX_RUNNING_PROGRESS)
    stage = result.stage or job.stage
    started = job.status == JobStatus.QUEUED
    if not started and stage == job.stage and reported - job.progress < MIN_PROGRESS_STEP:
        return []
    if started:
        _move_job(job, JobStatus.PROCESSING, at)
    job.progress, job.stage, job.seen_at = max(job.progress, reported), stage, moment(at)
    notes = [facts.job_note("progress_update", job, video, at)]
    if video.status == VideoStatus.TRANSCODING:  # one that is READY has no progress of its own any more
        shown = {**notes[0].data, "status": str(video.status)}
        notes.append(Notification(recipient_id=video.owner_id, event="video_progress", data=shown, at=at))
    return notes


async def playable(session: AsyncSession, result: MediaResult, at: float) -> bool:
    """Move TRANSCODING to READY with its first rung, its job goes on (Y5); False when nothing changes.

    Raises:
        InvalidStateTransition: as ``completed``.
    """
    video = await locked_video(session, result.video_id)
    job = await session.get(EncodingJobRow, result.job_id, with_for_update=True)
    if video is None or video.status != VideoStatus.TRANSCODING or job is None or job.status not in WORKING:
        return False
    await _publish(session, video, result, at)
    if job.status == JobStatus.QUEUED:
        _move_job(job, JobStatus.PROCESSING, at)
    job.seen_at, job.outputs = moment(at), list(qualities(result.assets))
    facts.tell_status(session, video, at)
    await _tell_card(session, video, at)
    return True


async def completed(session: AsyncSession, result: MediaResult, at: float) -> bool:
    """Write the assets and move TRANSCODING to READY (C6); False when that changes nothing.

    A video that is READY already gets what its job adds, and stays READY (Y5, B44).

    Raises:
        InvalidStateTransition: INVALID_STATE_TRANSITION when there are no assets to play (O36).
    """
    video = await locked_video(session, result.video_id)
    job = await _job_of(session, result)
    if video is not None and video.status == VideoStatus.READY and job is not None:
        _require_master(video, result)
        # The source's captions came with the first rung: those that are missing now were taken back (Y6).
        outputs = [asset for asset in result.assets if asset.type != CAPTIONS]
        await _replace_assets(session, video.id, outputs, at)
        video.updated_at = video.processing_completed_at = moment(at)
        facts.tell_edited(session, video, at)
    elif video is not None and may(VIDEO, VideoStatus(video.status), VideoStatus.READY):
        await _publish(session, video, result, at)
        video.processing_completed_at = moment(at)
        facts.tell_status(session, video, at)
    else:
        log.info("media_result_ignored", video_id=result.video_id, status=video.status if video else None)
        return False
    _close_job(session, job, video, result, at)
    await _tell_card(session, video, at)
    return True


async def failed(session: AsyncSession, result: MediaResult, at: float) -> bool:
    """Move TRANSCODING to FAILED with its code and reason (C7, O32); False when that changes nothing.

    READY wins over a later failure (X67): the video keeps the rungs that it has, and only its job fails.
    """
    video = await locked_video(session, result.video_id)
    job = await _job_of(session, result)
    if video is None or (video.status != VideoStatus.TRANSCODING and not (job and video.status in ENCODED)):
        log.info("media_result_ignored", video_id=result.video_id, status=video.status if video else None)
        return False
    if video.status == VideoStatus.TRANSCODING:
        _move(video, VideoStatus.FAILED, at)
        video.fail_code = (result.fail_code or "TRANSCODE_ERROR")[:64]
        video.fail_reason = result.fail_reason or "The video could not be processed."
        video.processing_completed_at = moment(at)
        facts.tell_status(session, video, at)
    _close_job(session, job, video, result, at)
    return True


async def requeued(
    session: AsyncSession, job_id: str, error: tuple[str, str], retries: int, at: float
) -> bool:
    """Put a job whose attempt failed for a passing reason back in the queue (B9); False when out of tries."""
    job = await session.get(EncodingJobRow, job_id, with_for_update=True)
    if job is None or job.status not in WORKING or job.attempts >= retries:
        return False
    video = await session.get(VideoRow, job.video_id)
    if video is None or video.status not in ENCODED:
        return False
    _fail_job(job, error, at)
    _queue_again(job)
    job.attempts += 1  # whoever still works on an older try finds that it is not wanted
    facts.ask_encode(session, job, video, at)
    return True


async def rescued(session: AsyncSession, job_id: str, silent_since: float, at: float) -> bool | None:
    """Queue a job again of which nobody has heard, once; then it fails (B42).

    Returns:
        Whether it was queued again; None when it has shown life, or ended, meanwhile.
    """
    known = await session.get(EncodingJobRow, job_id)
    # The video first, as reports lock them, too.
    video = await locked_video(session, known.video_id) if known is not None else None
    job = await session.get(EncodingJobRow, job_id, with_for_update=True, populate_existing=True)
    if job is None or job.status not in WORKING or last_seen(job) > silent_since:
        return None
    if video is None or video.status not in ENCODED:
        return None
    if job.status == JobStatus.PROCESSING and job.rescues > 0:
        reason = "Processing stopped, and stopped again when it was repeated."
        lost = MediaResult(job_id=job.id, video_id=video.id, outcome="failed", at=at, fail_reason=reason)
        await failed(session, lost, at)
        return False
    if job.status == JobStatus.PROCESSING:
        _fail_job(job, ("TRANSCODE_ERROR", "Nothing was heard of the encoder."), at)
        _queue_again(job)
        job.rescues, job.attempts = job.rescues + 1, job.attempts + 1
    job.seen_at = moment(at)
    facts.ask_encode(session, job, video, at)
    return True


def last_seen(job: EncodingJobRow) -> float:
    """Return when anything was heard of a job, in seconds since the epoch."""
    return seconds(job.seen_at or job.started_at or job.created_at)


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
    job.attempts = job.rescues = 0  # somebody asked: the automatic tries start afresh
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
        return new_job(session, video_id, ladder, at)
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


def _fail_job(job: EncodingJobRow, error: tuple[str, str], at: float) -> None:
    if job.status == JobStatus.QUEUED:
        # No progress was ever reported: the job ran all the same.
        _move_job(job, JobStatus.PROCESSING, at)
    _move_job(job, JobStatus.FAILED, at)
    job.error_code, job.error = error[0][:64], error[1]


async def _job_of(session: AsyncSession, result: MediaResult) -> EncodingJobRow | None:
    """Return the job that a report is of, when it is open; of an outside worker's, the newest one (B35)."""
    named = await session.get(EncodingJobRow, result.job_id, with_for_update=True) if result.job_id else None
    job = named or await newest_job(session, result.video_id)
    if job is None or job.video_id != result.video_id or job.status not in WORKING:
        return None
    return job


def _close_job(
    session: AsyncSession, job: EncodingJobRow | None, video: VideoRow, result: MediaResult, at: float
) -> None:
    if job is None:
        return
    if result.outcome == "failed":
        _fail_job(job, (result.fail_code or "TRANSCODE_ERROR", result.fail_reason or ""), at)
    else:
        if job.status == JobStatus.QUEUED:
            _move_job(job, JobStatus.PROCESSING, at)
        _move_job(job, JobStatus.COMPLETED, at)
        job.progress, job.stage, job.outputs = 100.0, "", list(qualities(result.assets))
        job.error_code = job.error = None
        job.notes = list(result.notes)
    facts.tell_job(session, "job_completed", job, video, at)


async def _publish(session: AsyncSession, video: VideoRow, result: MediaResult, at: float) -> None:
    """Make a video READY with what a report brings (C6, B17)."""
    _require_master(video, result)
    await _replace_assets(session, video.id, result.assets, at)
    _move(video, VideoStatus.READY, at)
    video.duration_seconds = result.duration_seconds or video.duration_seconds
    video.width, video.height = result.width or video.width, result.height or video.height
    video.published_at = video.published_at or moment(at)


def _require_master(video: VideoRow, result: MediaResult) -> None:
    if not any(asset.type == MASTER for asset in result.assets):
        raise InvalidStateTransition(
            "A video cannot be READY without its playlist.",
            details={"from": video.status, "to": str(VideoStatus.READY), "reason": "no assets"},
        )


async def _tell_card(session: AsyncSession, video: VideoRow, at: float) -> None:
    await session.flush()
    await facts.tell_card(session, video.id, at)


async def _replace_assets(session: AsyncSession, video_id: str, assets: Sequence[Asset], at: float) -> None:
    """Let a video have these outputs and no others; captions stay: people give them, too (Y6)."""
    mine = VideoAssetRow.video_id == video_id
    await session.execute(delete(VideoAssetRow).where(mine, VideoAssetRow.type != CAPTIONS))
    kept = set(await session.scalars(select(VideoAssetRow.quality).where(mine)))
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
        if asset.type != CAPTIONS or (asset.quality or "") not in kept
    )
