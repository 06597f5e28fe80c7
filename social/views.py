"""What services answer: plain values, no database rows. Times are seconds since the epoch, UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tables.lifecycle import JobStatus, ModerationStatus, VideoStatus, Visibility
from tables.records import Asset

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request, as the access token says (N3, N11)."""

    user_id: str
    username: str
    role: str
    session_id: str

    @property
    def is_operator(self) -> bool:
        """Tell whether this caller runs the instance."""
        return self.role in OPERATING_ROLES


OPERATING_ROLES = frozenset({"operator", "service"})


@dataclass(frozen=True, slots=True)
class User:
    """An account as others and its owner see it; ``email`` is for its owner only."""

    id: str
    username: str
    email: str
    role: str
    display_name: str
    bio: str
    avatar_key: str | None
    did: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Session:
    """What signing in gives: tokens, and the life of the access token in seconds."""

    user: User
    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Video:
    """A video with its outputs. ``progress`` is 0..100; ``assets`` is empty unless READY (C13).

    ``job`` is the encode that is queued or at work, also of a READY video that gets more rungs (Y5, B44);
    ``notes`` say what the last one that ended found wrong with the source, such as damaged sound.
    """

    id: str
    owner_id: str
    owner_username: str
    title: str
    description: str
    tags: tuple[str, ...]
    visibility: Visibility
    hashtags: tuple[str, ...]
    content_type: str
    audio_url: str | None
    policy: str
    status: VideoStatus
    fail_code: str | None
    fail_reason: str | None
    moderation_status: ModerationStatus
    moderation_reason: str | None
    progress: float
    stage: str
    source_key: str | None
    source_mime: str | None
    source_size_bytes: int | None
    duration_seconds: float | None
    width: int | None
    height: int | None
    assets: tuple[Asset, ...]
    is_federated: bool
    origin_instance: str | None
    origin_actor_did: str | None
    activitypub_id: str | None
    view_count: int
    like_count: int
    comment_count: int
    share_count: int
    save_count: int
    created_at: float
    updated_at: float
    processing_started_at: float | None
    processing_completed_at: float | None
    published_at: float | None
    notes: tuple[str, ...] = ()
    job: "EncodingJob | None" = None

    def asset(self, kind: str, quality: str | None = None) -> Asset | None:
        """Return the first asset of a type, and of a quality when one is named."""
        for asset in self.assets:
            if asset.type == kind and (quality is None or asset.quality == quality):
                return asset
        return None


@dataclass(frozen=True, slots=True)
class EncodingJob:
    """An encode (B4); ``progress`` is 0..100 and never falls.

    ``qualities`` and ``preset`` are what was asked for, empty for the ladder's and the server's own (B44).
    """

    id: str
    video_id: str
    status: JobStatus
    progress: float
    stage: str
    ladder: str
    outputs: tuple[str, ...]
    error_code: str | None
    error: str | None
    attempts: int
    priority: int
    qualities: tuple[str, ...]
    preset: str
    created_at: float
    started_at: float | None
    completed_at: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment or a reply (H4). A deleted one that has replies remains, with no text."""

    id: str
    video_id: str
    user_id: str
    username: str
    parent_id: str | None
    text: str
    deleted: bool
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class Relation:
    """A like or save after a request: whether it stands, whether the request changed it, the new count."""

    active: bool
    changed: bool
    count: int


@dataclass(frozen=True, slots=True)
class Relations:
    """Which of the videos asked about a viewer likes and has saved."""

    liked: frozenset[str]
    saved: frozenset[str]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; ``next_cursor`` is None on the last page."""

    items: Sequence[T]
    next_cursor: str | None
