"""Videos and uploads (INTERFACE Video, C13, C17, C18, C34, C45)."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from web.schemas.base import Answer, Page, Time

Status = Literal["DRAFT", "UPLOADING", "UPLOADED", "TRANSCODING", "READY", "FAILED"]


class UploadForm(BaseModel):
    """The multipart form; parts may come in any order."""

    file: bytes = Field(json_schema_extra={"format": "binary"})
    title: str = Field(max_length=200)
    description: str = Field("", max_length=2000)
    tags: list[str] = Field([], max_length=10, description="Repeated, or one value with commas.")
    visibility: Literal["PUBLIC", "FOLLOWERS_ONLY", "PRIVATE"] = "PUBLIC"
    policy: Literal["short", "long"] = "short"


class Policy(Answer):
    """What one upload policy takes; the limits are included."""

    name: str
    max_bytes: int
    max_seconds: float | None
    formats: list[str]
    extensions: list[str]


class PoliciesAnswer(Answer):
    """What may be uploaded, known before the first byte (Y5)."""

    items: list[Policy]
    max_title: int
    max_description: int
    max_tags: int


class Thumbnails(Answer):
    """The three sizes of B27; null until they exist."""

    small: str | None = None
    medium: str | None = None
    large: str | None = None


class Playback(Answer):
    """How to play; every URL is null unless READY (C13)."""

    ready: bool = False
    state: Literal["processing", "failed", "ready", "archived", "restoring", "geo_blocked"] = Field(
        "processing", description="Why it can or cannot be played now; lists tell of the processing only."
    )
    stream_url: str | None = None
    hls_url: str | None = None
    dash_url: str | None = None
    mp4_url: str | None = None
    poster_url: str | None = None
    preview_url: str | None = None
    storyboard_url: str | None = None
    qualities: list[str] = Field(default_factory=list)
    drm: dict[str, str] | None = Field(None, description="What a player needs for a licence.")


class Creator(Answer):
    """Who made it."""

    id: str
    username: str


class VideoAnswer(Answer):
    """A video with its state."""

    id: str
    owner_id: str
    owner: Creator
    title: str
    description: str
    tags: list[str]
    visibility: str
    policy: str
    status: Status
    fail_reason: str | None
    fail_code: str | None
    duration_seconds: float | None
    width: int | None
    height: int | None
    progress: float = Field(ge=0, le=100)
    thumbnails: Thumbnails
    playback: Playback
    view_count: int
    like_count: int
    comment_count: int
    share_count: int
    liked: bool = Field(description="By the caller.")
    saved: bool = Field(description="By the caller.")
    created_at: Time
    updated_at: Time


class VideoList(Answer):
    """A page of the caller's own videos, newest first (C18)."""

    items: list[VideoAnswer]
    next_cursor: str | None


class VideoQuery(Page):
    """Which of the own videos."""

    status: Status | None = None


class EncodingAnswer(Answer):
    """How far the processing is; the numbers are measured, never guessed."""

    video_id: str
    status: Status
    progress: float
    stage: str | None
    fail_code: str | None
    fail_reason: str | None


class VideoPost(Answer):
    """Document 000's video post (C45): processing, ready, failed or rejected."""

    id: str
    user_id: str
    title: str
    description: str
    tags: list[str]
    duration: float | None
    status: Literal["processing", "ready", "failed", "rejected"]
    thumbnails: list[str]
    resolutions: list[dict[str, Any]]
    is_federated: bool
    origin_server: str | None
    activity_id: str | None
    like_count: int
    comment_count: int
    share_count: int
    view_count: int
    moderation_status: str
    created_at: Time
    updated_at: Time
