"""Sources that arrived, and the rows that they become (A19, A20, A25)."""

from dataclasses import dataclass
from pathlib import Path

from social.ids import new_id
from social.videos.metadata import VideoMetadata
from social.views import Principal
from tables.lifecycle import UploadStatus, VideoStatus
from tables.relational.models import UploadPartRow, UploadSessionRow, VideoRow, moment


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A source that arrived whole and passed the probe; ``path`` is a file of ours that may be moved.

    Sizes in bytes and pixels, duration in seconds. ``extension`` comes from the bytes, never from the
    client's file name (N23).
    """

    path: Path
    size_bytes: int
    mime: str
    extension: str
    policy: str = "short"
    sha256: str | None = None
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    needs_review: bool = False
    provider: str = "FORM"


def video_row(
    video_id: str, key: str, owner: Principal, upload: StoredUpload, metadata: VideoMetadata, at: float
) -> VideoRow:
    """Build the row of a video whose source just arrived."""
    # It is born UPLOADED: a form is a session of one chunk that is complete when it is first seen
    # (X11), so DRAFT and UPLOADING (C3, C4) have passed before there is anything to tell.
    return VideoRow(
        id=video_id,
        owner_id=owner.user_id,
        title=metadata.title,
        description=metadata.description,
        tags=list(metadata.tags),
        visibility=metadata.visibility,
        hashtags=list(metadata.hashtags),
        content_type=metadata.content_type,
        audio_url=metadata.audio_url,
        policy=upload.policy,
        status=VideoStatus.UPLOADED,
        source_key=key,
        source_size_bytes=upload.size_bytes,
        source_mime=upload.mime,
        source_sha256=upload.sha256,
        duration_seconds=upload.duration_seconds,
        width=upload.width,
        height=upload.height,
        needs_review=upload.needs_review,
        created_at=moment(at),
        updated_at=moment(at),
    )


def session_rows(
    key: str, video: VideoRow, upload: StoredUpload, at: float
) -> tuple[UploadSessionRow, UploadPartRow]:
    """Build the rows of the session of one chunk that a form upload is (X11)."""
    session_id, digest = new_id(), upload.sha256 or ""
    session = UploadSessionRow(
        id=session_id,
        video_id=video.id,
        target_id=video.id,
        owner_id=video.owner_id,
        provider=upload.provider,
        source_key=key,
        status=UploadStatus.COMPLETED,
        policy=upload.policy,
        mime=upload.mime,
        sha256=upload.sha256,
        size_bytes=upload.size_bytes,
        bytes_uploaded=upload.size_bytes,
        part_size_bytes=upload.size_bytes,
        part_count=1,
        created_at=moment(at),
        updated_at=moment(at),
    )
    part = UploadPartRow(
        session_id=session_id,
        number=1,
        size_bytes=upload.size_bytes,
        etag=f'"{digest}"',
        sha256=upload.sha256,
        received_at=moment(at),
    )
    return session, part


def draft_row(
    owner: Principal, metadata: VideoMetadata, policy: str, declared: tuple[str | None, int | None], at: float
) -> VideoRow:
    """Build the row of a video that has no source yet (C16, X12); ``declared`` is its type and size."""
    return VideoRow(
        id=new_id(),
        owner_id=owner.user_id,
        title=metadata.title,
        description=metadata.description,
        tags=list(metadata.tags),
        visibility=metadata.visibility,
        hashtags=list(metadata.hashtags),
        content_type=metadata.content_type,
        audio_url=metadata.audio_url,
        policy=policy,
        status=VideoStatus.DRAFT,
        source_mime=declared[0],
        source_size_bytes=declared[1],
        created_at=moment(at),
        updated_at=moment(at),
    )
