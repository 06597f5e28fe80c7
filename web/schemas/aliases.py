"""Shapes of single documents, kept for their clients (X5-X7, X52): 001 in camelCase, 002's reels."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from web.schemas.base import Answer, Query, Time, cut_to
from web.schemas.feeds import Profile
from web.schemas.uploads import CAMEL, CamelSource
from web.schemas.videos import ContentType, Status, VideoPatch

REELS_LIMIT = 50

ReelStatus = Literal["uploading", "processing", "published", "failed"]


class CamelAnswer(Answer):
    """An answer of document 001."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, from_attributes=True)


class CamelPlayback(CamelAnswer):
    """Whether it plays, and from where."""

    ready: bool
    stream_url: str | None


class CamelListed(CamelAnswer):
    """A video in 001's list (C18)."""

    id: str
    title: str
    description: str
    status: Status
    created_at: Time
    updated_at: Time


class CamelPatched(CamelAnswer):
    """A video after an edit (C19)."""

    id: str
    title: str
    description: str
    status: Status
    updated_at: Time


class CamelVideoPatch(VideoPatch):
    """What is to be said of a video from now on, in 001's words (C19)."""

    model_config = CAMEL


class CamelVideo(CamelListed):
    """A video of 001 (C17)."""

    owner_id: str
    source: CamelSource
    fail_reason: str | None
    duration_seconds: float | None
    width: int | None
    height: int | None
    playback: CamelPlayback


class CamelVideoList(CamelAnswer):
    """A page of 001's list."""

    items: list[CamelListed]
    next_cursor: str | None


class ReelForm(BaseModel):
    """002's upload form (A21)."""

    video: bytes = Field(json_schema_extra={"format": "binary"})
    title: str = Field(max_length=200)
    description: str = Field("", max_length=2000)
    hashtags: list[str] = Field([], max_length=10)
    content_type: ContentType = "original"
    audio_url: str | None = Field(None, max_length=2048)
    visibility: Literal["PUBLIC", "FOLLOWERS_ONLY", "PRIVATE"] = "PUBLIC"
    policy: Literal["short", "long"] = "short"


class ReelUpload(Answer):
    """002's reply to an upload (A21, X52)."""

    video_id: str
    status: ReelStatus
    upload_progress: float


class ReelState(ReelUpload):
    """002's state of a reel (A23, C2)."""

    processing_progress: float


class ReelQuery(Query):
    """Which reels (E28)."""

    limit: Annotated[int, BeforeValidator(cut_to(REELS_LIMIT)), Field(ge=1, le=REELS_LIMIT)] = 30
    cursor: Annotated[str | None, Field(max_length=4096)] = None
    profile: Profile = "video"


class Reel(Answer):
    """One reel of 002's list."""

    video_id: str
    creator_id: str
    title: str
    duration_seconds: float
    view_count: int
    like_count: int
    completion_rate: float | None
    thumbnail_url: str | None
    streaming_url: str | None
    score: float
    reason: str


class ReelList(Answer):
    """002's page (E28)."""

    videos: list[Reel]
    cursor: str | None
    has_more: bool
    cache_hit: bool
    response_time_ms: float
