"""Repairs of drift, each in one transaction that looks again before it moves anything (C41)."""

from sqlalchemy.ext.asyncio import AsyncSession

from social.videos import arriving, facts, processing
from social.videos.reading import load_assets
from social.videos.reconcile import Repair
from tables.lifecycle import VideoStatus
from tables.records import MediaResult
from tables.relational.models import VideoRow, moment

UPLOAD_ABANDONED = "UPLOAD_ABANDONED"
SOURCE_MISSING = "SOURCE_MISSING"


async def apply(
    session: AsyncSession, video_id: str, found: VideoStatus, repair: Repair, ladder: str, at: float
) -> bool:
    """Make a repair that was decided while the video was in a state; False when it is not needed any more."""
    video = await processing.locked_video(session, video_id)
    if video is None or video.status != found:
        return False
    match repair:
        case Repair.ENQUEUE:
            return await processing.start_encoding(session, video_id, ladder, at)
        case Repair.REQUEUE:
            job = await processing.waiting_job(session, video_id, ladder, at)
            facts.ask_encode(session, job, video, at)
            video.updated_at = moment(at)  # this try has its time, too
            return True
        case Repair.FINISH:
            return await _finish(session, video, ladder, at)
        case Repair.FAIL_UPLOAD:
            arriving.broke_off(session, video, UPLOAD_ABANDONED, at)
            return True
        case Repair.FAIL_SOURCE:
            return await _fail(session, video, at)


async def _finish(session: AsyncSession, video: VideoRow, ladder: str, at: float) -> bool:
    assets = (await load_assets(session, [video.id])).get(video.id, ())
    job = await processing.waiting_job(session, video.id, ladder, at)
    if video.status == VideoStatus.FAILED:
        processing.resume(video, at)
    await session.flush()
    done = MediaResult(job_id=job.id, video_id=video.id, outcome="completed", at=at, assets=assets)
    return await processing.completed(session, done, at)


async def _fail(session: AsyncSession, video: VideoRow, at: float) -> bool:
    lost = MediaResult(
        job_id="",
        video_id=video.id,
        outcome="failed",
        at=at,
        fail_code=SOURCE_MISSING,
        fail_reason="The source is gone; upload it again.",
    )
    return await processing.failed(session, lost, at)
