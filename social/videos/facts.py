"""What the rest of the system is told of a video, each in the transaction of the change (C43, Z12)."""

from sqlalchemy.ext.asyncio import AsyncSession

from social.videos.reading import load_card
from tables.lifecycle import JobStatus, VideoStatus
from tables.records import CatalogueChange, ContentFact, MediaJob, Notification, UserFact, VideoUploaded
from tables.relational.models import EncodingJobRow, VideoRow, moment
from tables.relational.outbox import enqueue, enqueue_numbered


def tell_uploaded(session: AsyncSession, fact: VideoUploaded) -> None:
    """Tell agents of a stored source, and its owner's day of a new video (B1, F12)."""
    enqueue(session, "video.uploaded", fact.video_id, fact, at=fact.at)
    made = UserFact(kind="user.created", user_id=fact.owner_id, at=fact.at, target=fact.video_id)
    enqueue(session, "events.user", fact.owner_id, made, at=fact.at)


def tell_status(session: AsyncSession, video: VideoRow, at: float) -> None:
    """Tell agents and the owner's sockets of the video's new status; READY is the fact ``video.ready``."""
    ready = video.status == VideoStatus.READY
    fact = ContentFact(
        kind="video.ready" if ready else "video.status",
        video_id=video.id,
        owner_id=video.owner_id,
        at=at,
        status=video.status,
        fail_code=video.fail_code,
        fail_reason=video.fail_reason,
    )
    enqueue(session, "events.content", video.id, fact, at=at)
    data: dict[str, object] = {
        "video_id": video.id,
        "status": str(video.status),
        "title": video.title,
        "updated_at": moment(at).replace(tzinfo=None).isoformat() + "Z",  # orders the frames of a stream
    }
    if video.fail_code:
        data |= {"fail_code": video.fail_code, "fail_reason": video.fail_reason}
    notification = Notification(recipient_id=video.owner_id, event="video_status", data=data, at=at)
    enqueue(session, "notifications", video.owner_id, notification, at=at)


def tell_edited(session: AsyncSession, video: VideoRow, at: float) -> None:
    """Tell that what is said of a video has changed; peers are told of READY ones (C19)."""
    fact = ContentFact(
        kind="video.updated", video_id=video.id, owner_id=video.owner_id, at=at, status=video.status
    )
    enqueue(session, "events.content", video.id, fact, at=at)


async def tell_card(session: AsyncSession, video_id: str, at: float) -> None:
    """Send the card of a READY video to the catalogue; flush the video's changes first."""
    card = await load_card(session, video_id)
    if card is not None:
        await enqueue_numbered(
            session,
            "catalogue.changes",
            video_id,
            lambda seq: CatalogueChange(video_id=video_id, at=at, seq=seq, card=card),
            at=at,
        )


async def tell_deleted(session: AsyncSession, video: VideoRow, at: float) -> None:
    """Tell that a video is gone: the fact, and the tombstone of its card (C24)."""
    video_id = video.id
    fact = ContentFact(kind="video.deleted", video_id=video_id, owner_id=video.owner_id, at=at)
    enqueue(session, "events.content", video_id, fact, at=at)
    await enqueue_numbered(
        session,
        "catalogue.changes",
        video_id,
        lambda seq: CatalogueChange(video_id=video_id, at=at, seq=seq),
        at=at,
    )


def media_job(job: EncodingJobRow, video: VideoRow) -> MediaJob:
    """Return the record that asks for an encode (B2)."""
    return MediaJob(
        job_id=job.id,
        video_id=video.id,
        source_key=video.source_key or "",
        ladder="+".join(job.parameters.get("qualities", ())) or job.ladder,
        title=video.title,
        attempt=job.attempts,
        owner_id=video.owner_id,
        priority=job.priority,
        preset=job.parameters.get("preset", ""),
        pixels=(video.width or 0) * (video.height or 0),
    )


def ask_encode(session: AsyncSession, job: EncodingJobRow, video: VideoRow, at: float) -> None:
    """Put the encode on the media queue (B1)."""
    enqueue(session, "media.jobs", video.id, media_job(job, video), at=at)


def job_note(event: str, job: EncodingJobRow, video: VideoRow, at: float) -> Notification:
    """Return a frame of a job (B6, B7): job_created, progress_update or job_completed.

    A job that failed ends with ``job_completed`` too, its status ``failed``.
    """
    data: dict[str, object] = {
        "job_id": job.id,
        "video_id": video.id,
        "status": str(job.status),
        "progress": round(job.progress, 1),
        "stage": job.stage,
        "at": moment(at).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z",
    }
    if job.status == JobStatus.FAILED:
        data |= {"fail_code": job.error_code, "fail_reason": job.error}
    return Notification(recipient_id=video.owner_id, event=event, data=data, at=at)


def tell_job(session: AsyncSession, event: str, job: EncodingJobRow, video: VideoRow, at: float) -> None:
    """Tell the owner's sockets that a job began or ended."""
    enqueue(session, "notifications", video.owner_id, job_note(event, job, video, at), at=at)
