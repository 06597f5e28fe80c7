"""What the server answers, typed. Fields that a client does not know are left out. Times are RFC 3339 UTC."""

from typing import Any

import msgspec


class Account(msgspec.Struct, frozen=True):
    """Who is signed in."""

    id: str
    username: str
    role: str


class Tokens(msgspec.Struct, frozen=True):
    """A session: the access token lives ``expires_in`` seconds, the refresh token is good once."""

    user: Account
    access_token: str
    refresh_token: str
    expires_in: int


class Policy(msgspec.Struct, frozen=True):
    """What one upload policy takes; limits are included, None is no limit."""

    name: str
    max_bytes: int
    max_seconds: float | None
    formats: tuple[str, ...]


class Limits(msgspec.Struct, frozen=True):
    """What may be uploaded, known before the first byte (Y5)."""

    items: tuple[Policy, ...]
    max_title: int
    max_description: int
    max_tags: int


class Opened(msgspec.Struct, frozen=True):
    """A new upload session; all parts but the last have ``chunk_size`` bytes."""

    session_id: str
    total_chunks: int
    chunk_size: int
    expires_at: str


class Session(msgspec.Struct, frozen=True):
    """An upload session (A27); ``state`` is INITIATED, IN_PROGRESS, PAUSED, COMPLETED, FAILED, ..."""

    session_id: str
    state: str
    video_id: str | None
    fail_code: str | None
    part_size_bytes: int
    part_count: int | None
    received_chunks: tuple[int, ...]
    bytes_uploaded: int
    expires_at: str | None


class Playback(msgspec.Struct, frozen=True):
    """How to play; every URL is None unless the video is READY."""

    ready: bool
    hls_url: str | None
    dash_url: str | None
    mp4_url: str | None
    poster_url: str | None


class Caption(msgspec.Struct, frozen=True):
    """Captions in a language, a BCP 47 tag; ``name`` is its name for people, ``url`` that of the WebVTT."""

    language: str
    name: str
    url: str
    size_bytes: int


class Video(msgspec.Struct, frozen=True):
    """A video; ``status`` is DRAFT, UPLOADING, UPLOADED, TRANSCODING, READY or FAILED."""

    id: str
    title: str
    description: str
    tags: tuple[str, ...]
    status: str
    fail_code: str | None
    fail_reason: str | None
    progress: float | None
    duration_seconds: float | None
    playback: Playback

    @property
    def is_settled(self) -> bool:
        """Tell whether processing is over."""
        return self.status in {"READY", "FAILED"}


class Frame(msgspec.Struct, frozen=True):
    """What the server tells by itself: ``video_status``, ``video_progress``, ``upload_progress``, ..."""

    event: str
    data: dict[str, Any]


class Words(msgspec.Struct, frozen=True):
    """What a person says of a video."""

    title: str
    description: str = ""
    tags: tuple[str, ...] = ()
    visibility: str = "PUBLIC"
