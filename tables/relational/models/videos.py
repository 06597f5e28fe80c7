"""Videos, their outputs, uploads and encoding jobs (C21, B4, B33, A25, R11, R18)."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tables.lifecycle import JobStatus, ModerationStatus, UploadStatus, VideoStatus, Visibility
from tables.relational.models.base import ID_LENGTH, Base, UtcDateTime, one_of

CONTENT_TYPES = ("original", "challenge", "duet", "reaction")  # A9
EMBEDDING_STATES = ("pending", "ready", "failed")
PROVIDERS = ("FORM", "API_CHUNKS", "S3_MULTIPART", "TUS")  # A25; a form is a one-chunk session (X11)


class VideoRow(Base):
    """A video (C21). Thumbnails and qualities are its assets; its counts are what the tables fall back to."""

    __tablename__ = "videos"
    __table_args__ = (
        one_of("status", VideoStatus),
        one_of("visibility", Visibility),
        one_of("moderation_status", ModerationStatus),
        one_of("content_type", CONTENT_TYPES),
        one_of("embedding_state", EMBEDDING_STATES),
        Index("idx_videos_owner_created", "owner_id", "created_at", "id"),
        Index("idx_videos_status_visibility", "status", "visibility"),
        Index("idx_videos_views_count", "view_count"),
        Index("idx_videos_created_at", "created_at"),
        Index("idx_videos_duration", "duration_seconds"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)
    hashtags: Mapped[list[str]] = mapped_column(JSON, default=list)
    visibility: Mapped[str] = mapped_column(String(16), default=Visibility.PUBLIC)
    content_type: Mapped[str] = mapped_column(String(16), default="original")
    audio_url: Mapped[str | None] = mapped_column(String(2048), default=None)
    policy: Mapped[str] = mapped_column(String(16), default="short")

    status: Mapped[str] = mapped_column(String(16), default=VideoStatus.DRAFT)
    fail_code: Mapped[str | None] = mapped_column(String(64), default=None)
    fail_reason: Mapped[str | None] = mapped_column(Text, default=None)
    moderation_status: Mapped[str] = mapped_column(String(16), default=ModerationStatus.PENDING)
    moderation_reason: Mapped[str | None] = mapped_column(Text, default=None)
    needs_review: Mapped[bool] = mapped_column(default=False)  # X46: a scanner did not answer

    source_key: Mapped[str | None] = mapped_column(String(255), default=None)
    source_size_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    source_mime: Mapped[str | None] = mapped_column(String(127), default=None)
    source_sha256: Mapped[str | None] = mapped_column(String(64), default=None)
    duration_seconds: Mapped[float | None] = mapped_column(default=None)
    width: Mapped[int | None] = mapped_column(default=None)
    height: Mapped[int | None] = mapped_column(default=None)

    is_federated: Mapped[bool] = mapped_column(default=False)
    origin_instance: Mapped[str | None] = mapped_column(String(255), default=None)
    origin_actor_did: Mapped[str | None] = mapped_column(String(255), default=None)
    activitypub_id: Mapped[str | None] = mapped_column(String(2048), default=None)

    view_count: Mapped[int] = mapped_column(BigInteger, default=0)
    like_count: Mapped[int] = mapped_column(BigInteger, default=0)
    comment_count: Mapped[int] = mapped_column(BigInteger, default=0)
    share_count: Mapped[int] = mapped_column(BigInteger, default=0)
    save_count: Mapped[int] = mapped_column(BigInteger, default=0)

    embedding_state: Mapped[str] = mapped_column(String(16), default="pending")
    embedding_model: Mapped[str | None] = mapped_column(String(64), default=None)
    embedding_error: Mapped[str | None] = mapped_column(Text, default=None)

    processing_started_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    processing_completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class VideoRegionRow(Base):
    """A region that a video is not shown in (C36): ISO 3166 letters such as DE or US-CA."""

    __tablename__ = "video_regions"

    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"), primary_key=True)
    region: Mapped[str] = mapped_column(String(8), primary_key=True)


class VideoAssetRow(Base):
    """One stored output (B33). Empty strings stand for "none" so that the unique index holds for them too."""

    __tablename__ = "video_assets"
    __table_args__ = (
        Index("uq_video_assets_identity", "video_id", "type", "quality", "container", unique=True),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(32))
    quality: Mapped[str] = mapped_column(String(32), default="")
    container: Mapped[str] = mapped_column(String(32), default="")
    file_key: Mapped[str] = mapped_column(String(512))
    bandwidth: Mapped[int | None] = mapped_column(BigInteger, default=None)
    width: Mapped[int | None] = mapped_column(default=None)
    height: Mapped[int | None] = mapped_column(default=None)
    codec: Mapped[str | None] = mapped_column(String(127), default=None)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UploadSessionRow(Base):
    """How the bytes of a source arrive (A13, A25).

    ``target_id`` is the video's id, also before there is a video; ``source_key`` is where the bytes will
    stand. ``verdict`` is what was found out about all the bytes, written before the object is: a crash after
    it loses nothing. ``lease_until`` says how long one process completes the session; ``sweep_at`` when the
    sweep looks at it next, none when nothing of it is left in the store.
    """

    __tablename__ = "upload_sessions"
    __table_args__ = (
        one_of("status", UploadStatus),
        one_of("provider", PROVIDERS),
        Index("idx_upload_sessions_video_id", "video_id"),
        Index("idx_upload_sessions_owner_created", "owner_id", "created_at"),  # the quota of A24
        Index("idx_upload_sessions_sweep_at", "sweep_at"),  # the sweep of A35
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    video_id: Mapped[str | None] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"), default=None)
    target_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    provider: Mapped[str] = mapped_column(String(16))
    provider_upload_id: Mapped[str | None] = mapped_column(String(255), default=None)
    source_key: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16))
    fail_code: Mapped[str | None] = mapped_column(String(64), default=None)
    policy: Mapped[str] = mapped_column(String(16), default="short")
    filename: Mapped[str | None] = mapped_column(String(255), default=None)
    mime: Mapped[str | None] = mapped_column(String(127), default=None)
    sha256: Mapped[str | None] = mapped_column(String(64), default=None)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    bytes_uploaded: Mapped[int] = mapped_column(BigInteger, default=0)
    part_size_bytes: Mapped[int] = mapped_column(BigInteger)
    part_count: Mapped[int | None] = mapped_column(default=None)
    partial: Mapped[bool] = mapped_column(default=False)
    about: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    verdict: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    version: Mapped[int] = mapped_column(default=1)
    lease_id: Mapped[str | None] = mapped_column(String(ID_LENGTH), default=None)
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    sweep_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)

    # Compare and set (A36): a write on an older version than the stored one is refused.
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class UploadPartRow(Base):
    """One confirmed part of a session (A52). Numbers start at 1."""

    __tablename__ = "upload_parts"

    session_id: Mapped[str] = mapped_column(
        ForeignKey("upload_sessions.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    etag: Mapped[str] = mapped_column(String(127))
    sha256: Mapped[str | None] = mapped_column(String(64), default=None)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EncodingJobRow(Base):
    """One encode of a video (B4). Progress lives here, not in the video's row (A38), and never falls.

    ``parameters`` is what was asked for beside the ladder (B44). ``seen_at`` is the last sign of life of an
    encoder, ``rescues`` how often the watchdog has queued the job again (B42). ``notes`` is what the owner
    should know of what was made.
    """

    __tablename__ = "encoding_jobs"
    __table_args__ = (
        one_of("status", JobStatus),
        CheckConstraint("progress >= 0 AND progress <= 100", name="progress"),
        Index("idx_encoding_jobs_video_created", "video_id", "created_at"),
        Index("idx_encoding_jobs_status", "status"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(16), default=JobStatus.QUEUED)
    progress: Mapped[float] = mapped_column(default=0.0)
    stage: Mapped[str] = mapped_column(String(32), default="")
    ladder: Mapped[str] = mapped_column(String(16))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    priority: Mapped[int] = mapped_column(default=0)
    outputs: Mapped[list[str]] = mapped_column(JSON, default=list)
    notes: Mapped[list[str]] = mapped_column(JSON, default=list)
    error_code: Mapped[str | None] = mapped_column(String(64), default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)
    attempts: Mapped[int] = mapped_column(default=0)
    rescues: Mapped[int] = mapped_column(default=0)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)


class EncodingQueueRow(Base):
    """What operators decided about the queue of encodes, for every worker (B15): one row, or none yet.

    ``slots`` is how many jobs a worker runs at once, none for each worker's own setting.
    """

    __tablename__ = "encoding_queue"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    paused: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str] = mapped_column(String(255), default="")
    slots: Mapped[int | None] = mapped_column(default=None)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
