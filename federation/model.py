"""What federation knows of people and videos, free of rows and of JSON.

The directory fills these from the relational store, the vocabulary turns them into documents. Times are
aware UTC datetimes, sizes pixels and bytes, durations seconds.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Picture:
    """A still image: ``url`` is absolute and lasting."""

    url: str
    media_type: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Author:
    """A person who publishes here (J8).

    Attributes:
        did: ``did:key`` of the Ed25519 identity key (K1).
        public_key_pem: SPKI PEM of the RSA signing key (X42, X43).
    """

    user_id: str
    did: str
    username: str
    display_name: str
    public_key_pem: str
    created_at: datetime
    summary: str = ""
    icon: Picture | None = None


@dataclass(frozen=True, slots=True)
class Mp4:
    """A progressive file that any player can fetch in one go."""

    quality: str
    url: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Rung:
    """One rendition of the adaptive ladder, by its media playlist."""

    quality: str
    playlist_url: str
    width: int
    height: int
    bandwidth: int


@dataclass(frozen=True, slots=True)
class Subtitle:
    """Captions in one language, a BCP 47 tag; ``url`` is absolute and lasting, of WebVTT."""

    language: str
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What others did with a video, here and elsewhere together (J31)."""

    views: int = 0
    likes: int = 0
    shares: int = 0
    comments: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicVideo:
    """A video that the world may see: PUBLIC, READY, and not hidden by moderation (X46, X47).

    Attributes:
        files: progressive files, best first. Empty while none was made.
        rungs: renditions of the HLS ladder, best first.
        hls_url: the master playlist, None without one.
        pictures: thumbnails, largest first.
        subtitles: captions, by language.
    """

    video_id: str
    author: Author
    title: str
    published_at: datetime
    updated_at: datetime
    duration_seconds: float
    width: int
    height: int
    description: str = ""
    tags: tuple[str, ...] = ()
    files: tuple[Mp4, ...] = ()
    rungs: tuple[Rung, ...] = ()
    hls_url: str | None = None
    pictures: tuple[Picture, ...] = ()
    subtitles: tuple[Subtitle, ...] = ()
    counts: Counts = Counts()
