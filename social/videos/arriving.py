"""A video waits for its source, gets it, or does not (C3, C4, C8, X10). Each in its caller's transaction."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from social.videos import facts
from social.videos.access import own_row
from social.views import Principal
from tables.errors import InvalidStateTransition
from tables.lifecycle import VIDEO, VideoStatus, check
from tables.records import VideoUploaded
from tables.relational.models import VideoRow, moment


@dataclass(frozen=True, slots=True)
class Source:
    """A source that stands in the store and passed the probe; sizes in bytes and pixels."""

    key: str
    size_bytes: int
    mime: str
    sha256: str
    policy: str
    duration_seconds: float
    width: int
    height: int
    needs_review: bool = False


async def expect(session: AsyncSession, video_id: str, caller: Principal, at: float) -> VideoRow:
    """Let a video of the caller's wait for a source: DRAFT or FAILED without one becomes UPLOADING (C3, X10).

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND.
        NotContentOwner: NOT_CONTENT_OWNER.
        InvalidStateTransition: INVALID_STATE_TRANSITION when it has a source already.
    """
    video = await own_row(session, video_id, caller, lock=True)
    if video.status == VideoStatus.UPLOADING:
        return video
    if video.source_key is not None:
        raise InvalidStateTransition(
            "This video has its source already.",
            details={"from": video.status, "to": str(VideoStatus.UPLOADING), "allowed": []},
        )
    _move(session, video, VideoStatus.UPLOADING, at)
    video.fail_code = video.fail_reason = None
    return video


def arrived(session: AsyncSession, video: VideoRow, source: Source, at: float) -> None:
    """Move UPLOADING to UPLOADED with the source, and tell (C4, A46).

    Raises:
        InvalidStateTransition: INVALID_STATE_TRANSITION unless it is UPLOADING (A48).
    """
    _move(session, video, VideoStatus.UPLOADED, at)
    video.source_key, video.source_sha256 = source.key, source.sha256
    video.source_size_bytes, video.source_mime = source.size_bytes, source.mime
    video.duration_seconds, video.width, video.height = source.duration_seconds, source.width, source.height
    video.policy, video.needs_review = source.policy, source.needs_review
    tell_uploaded(session, video, at)


def tell_uploaded(session: AsyncSession, video: VideoRow, at: float) -> None:
    """Tell that a source is ready to be processed (A46, A47)."""
    fact = VideoUploaded(
        video_id=video.id,
        owner_id=video.owner_id,
        source_key=video.source_key or "",
        size_bytes=video.source_size_bytes or 0,
        mime=video.source_mime or "",
        policy=video.policy,
        at=at,
    )
    facts.tell_uploaded(session, fact)


def broke_off(session: AsyncSession, video: VideoRow, code: str, at: float) -> None:
    """Move UPLOADING to FAILED: the optional policy of C8; any other state stays."""
    if video.status == VideoStatus.UPLOADING:
        video.fail_code, video.fail_reason = code, "The upload did not finish."
        _move(session, video, VideoStatus.FAILED, at)


def _move(session: AsyncSession, video: VideoRow, status: VideoStatus, at: float) -> None:
    check(VIDEO, VideoStatus(video.status), status)
    video.status, video.updated_at = status, moment(at)
    facts.tell_status(session, video, at)
