"""Videos and uploads (INTERFACE Video, C13, C17, C18, C34, C45)."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from web.schemas.base import Answer, Body, LiveQuery, Page, Query, Time
from web.schemas.captions import CaptionLink

ContentType = Literal["original", "challenge", "duet", "reaction"]
Status = Literal["DRAFT", "UPLOADING", "UPLOADED", "TRANSCODING", "READY", "FAILED"]


class UploadForm(BaseModel):
    """The multipart form; parts may come in any order."""

    file: bytes = Field(json_schema_extra={"format": "binary"})
    title: str = Field(max_length=200)
    description: str = Field("", max_length=2000)
    tags: list[str] = Field([], max_length=10, description="Repeated, or one value with commas.")
    visibility: Literal["PUBLIC", "FOLLOWERS_ONLY", "PRIVATE"] = "PUBLIC"
    policy: Literal["short", "long"] = "short"
    hashtags: list[str] = Field([], max_length=10, description="Tags too.")
    content_type: ContentType = "original"
    audio_url: str | None = Field(None, max_length=2048, description="Where the sound is from.")


class VideoPatch(Body):
    """What is to be said of a video from now on; what is left out stays (C19)."""

    title: str = ""
    description: str = ""
    tags: list[str] = Field([], max_length=100)
    visibility: str = "PUBLIC"
    hashtags: list[str] = Field([], max_length=100)
    content_type: str = "original"
    audio_url: str | None = None


class IfMatch(Query):
    """The header that guards against lost updates (C19)."""

    if_match: str | None = Field(
        None, alias="If-Match", description="`*`, or the tag of the answer that the change is made from."
    )


class VideoPut(VideoPatch):
    """All that is to be said of a video; what is left out is empty (X48)."""

    title: str


class TransitionsAnswer(Answer):
    """What may become of a video (C42)."""

    video_id: str
    status: Status
    allowed: list[Status] = Field(description="The states that it may be in next.")


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
    hls_cmaf_url: str | None = Field(None, description="The same rungs in fragmented mp4.")
    dash_url: str | None = None
    mp4_url: str | None = None
    poster_url: str | None = None
    preview_url: str | None = None
    preview_webp_url: str | None = Field(None, description="The preview in its small form.")
    storyboard_url: str | None = Field(None, description="WebVTT that cuts the sheet into pictures.")
    storyboard_image_url: str | None = None
    qualities: list[str] = Field(default_factory=list)
    drm: dict[str, str] | None = Field(None, description="What a player needs for a licence.")


class Creator(Answer):
    """Who made it."""

    id: str
    username: str


class Source(Answer):
    """What the source is, or is going to be."""

    mime: str | None
    size_bytes: int | None


class VideoAnswer(Answer):
    """A video with its state."""

    id: str
    owner_id: str
    owner: Creator
    title: str
    description: str
    tags: list[str]
    hashtags: list[str]
    visibility: str
    content_type: ContentType
    audio_url: str | None
    policy: str
    source: Source
    status: Status
    fail_reason: str | None
    fail_code: str | None
    duration_seconds: float | None
    width: int | None
    height: int | None
    progress: float = Field(ge=0, le=100)
    processing_more: bool = Field(False, description="It plays, and more qualities are being made.")
    thumbnails: Thumbnails
    playback: Playback
    captions: list[CaptionLink] = Field(description="By language; none unless READY.")
    available_qualities: list[str] = Field(description="Those of the playlists, best first.")
    is_federated: bool
    origin_instance: str | None
    origin_actor_did: str | None
    activitypub_id: str | None
    moderation_status: str
    moderation_reason: str | None
    engagement_score: float = Field(description="Likes, comments, shares, saves and views in one number.")
    view_count: int
    like_count: int
    comment_count: int
    share_count: int
    liked: bool = Field(description="By the caller.")
    saved: bool = Field(description="By the caller.")
    created_at: Time
    updated_at: Time
    processing_started_at: Time | None
    processing_completed_at: Time | None
    published_at: Time | None


class VideoList(Answer):
    """A page of the caller's own videos, newest first (C18)."""

    items: list[VideoAnswer]
    next_cursor: str | None


class VideoQuery(Page):
    """Which of the own videos."""

    status: Status | None = None


class VideoEventsQuery(LiveQuery):
    """Credentials, and where to go on, for clients that cannot set a header on a stream."""

    last_event_id: str | None = Field(None, max_length=64, description="As the header Last-Event-ID.")


class EncodingAnswer(Answer):
    """How far the processing is; the numbers are measured, never guessed."""

    video_id: str
    status: Status
    job_status: Literal["queued", "processing", "completed", "failed"] | None = Field(
        description="In document 004's words; null before there is a source."
    )
    progress: float
    stage: str | None
    fail_code: str | None
    fail_reason: str | None
    notes: list[str] = Field(description="What is not as expected of what was made, such as damaged sound.")


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
    origin_actor_did: str | None
    activity_id: str | None
    engagement_score: float
    like_count: int
    comment_count: int
    share_count: int
    view_count: int
    moderation_status: str
    moderation_reason: str | None
    created_at: Time
    updated_at: Time
    processing_started_at: Time | None
    processing_completed_at: Time | None
