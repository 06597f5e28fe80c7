"""What the upload service works with; the composition root hands it in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from media.parts import PartStore
from media.policies import UploadPolicy
from media.probe import SourceInfo
from media.scanner import MalwareScanner, NoScanner
from media.stores import ObjectStore
from social.uploads.links import UploadLinks
from social.uploads.live import LiveState, MemoryLive
from social.videos import VideoService
from tables.relational.engine import Database

DAY_SECONDS = 86_400.0


class Probe(Protocol):
    """Looks into a stored file in a bounded child process (A3-A7)."""

    async def __call__(self, path: Path, policy: UploadPolicy, *, filename: str = "") -> SourceInfo:
        """Return what the source is, or raise the O3 error that refuses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSettings:
    """What an operator chooses (A24, A56, C8, X76).

    ``session_seconds`` is the life of a session and ``url_seconds`` that of a part's URL; ``daily`` is the
    number of uploads of one person in 24 hours, None for no limit; ``strict_transitions`` leaves document
    001's bare table; ``fail_videos`` marks the video FAILED when its upload fails.
    """

    session_seconds: float = DAY_SECONDS
    url_seconds: float = 3_600.0
    daily: int | None = 100
    strict_transitions: bool = False
    fail_videos: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTools:
    """Everything that uploads need; ``notify`` pushes (user id, event, data) to open sockets (A40)."""

    database: Database
    videos: VideoService
    store: ObjectStore
    parts: PartStore
    probe: Probe
    links: UploadLinks
    clock: Callable[[], float]
    folder: Path
    """Where files lie while they are examined; swept with what form uploads leave."""
    scanner: MalwareScanner = field(default_factory=NoScanner)
    live: LiveState = field(default_factory=MemoryLive)
    notify: Callable[[str, str, Mapping[str, Any]], object] = lambda user_id, event, data: None
    settings: UploadSettings = field(default_factory=UploadSettings)
