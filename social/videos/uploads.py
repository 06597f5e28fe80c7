"""Sources that arrived, and the rows that they become (A19, A20, A25)."""

from dataclasses import dataclass
from pathlib import Path

from social.ids import new_id
from social.videos.metadata import VideoMetadata
from social.views import Principal, UploadSession
from tables.lifecycle import UploadStatus, VideoStatus
from tables.relational.models import UploadSessionRow, VideoRow, moment, seconds


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
        policy=upload.policy,
        status=VideoStatus.UPLOADED,
        source_key=key,
        source_size_bytes=upload.size_bytes,
        source_mime=upload.mime,
        source_sha256=upload.sha256,
        duration_seconds=upload.duration_seconds,
        width=upload.width,
        height=upload.height,
        created_at=moment(at),
        updated_at=moment(at),
    )


def session_row(video_id: str, owner: Principal, upload: StoredUpload, at: float) -> UploadSessionRow:
    """Build the row of the one-chunk session that a form upload is (X11)."""
    return UploadSessionRow(
        id=new_id(),
        video_id=video_id,
        owner_id=owner.user_id,
        provider=upload.provider,
        status=UploadStatus.COMPLETED,
        size_bytes=upload.size_bytes,
        bytes_uploaded=upload.size_bytes,
        part_size_bytes=upload.size_bytes,
        created_at=moment(at),
        updated_at=moment(at),
    )


def session_view(row: UploadSessionRow) -> UploadSession:
    """Turn a session's row into what services answer."""
    return UploadSession(
        id=row.id,
        video_id=row.video_id,
        provider=row.provider,
        status=UploadStatus(row.status),
        size_bytes=row.size_bytes,
        bytes_uploaded=row.bytes_uploaded,
        created_at=seconds(row.created_at),
    )
