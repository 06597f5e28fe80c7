"""What the upload service takes and answers: plain values. Times are seconds since the epoch, UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media.parts import PartInfo
from media.policies import UploadPolicy
from tables.lifecycle import UploadStatus

PART_BYTES = 5 * 1024 * 1024
"""Size of every part but the last (A31)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a client wants to upload.

    Attributes:
        provider: how the bytes come: API_CHUNKS, S3_MULTIPART or TUS (A25).
        policy: limits that apply (X1).
        size_bytes: declared size; None when it is told later (tus Upload-Defer-Length).
        video_id: the video that waits for its source (document 001); None when one is made at the end.
        part_count: number of chunks that the client announced; None when they follow from the size, or
            when there are none.
        mime: declared type; None when nothing was declared.
        filename: the client's name for it; never part of a path.
        sha256: declared checksum in hex (A16).
        about: title, description, tags, visibility, when they are known already.
        partial: one piece of a tus concatenation, which becomes no video by itself.
    """

    provider: str
    policy: UploadPolicy
    size_bytes: int | None
    video_id: str | None = None
    part_count: int | None = None
    mime: str | None = None
    filename: str | None = None
    sha256: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSession:
    """An upload session as its owner sees it (A13, A25, A27).

    ``video_id`` is None until there is a video; ``parts`` are the confirmed ones by number;
    ``bytes_arriving`` are those of parts that are on their way (A39).
    """

    id: str
    video_id: str | None
    owner_id: str
    provider: str
    status: UploadStatus
    fail_code: str | None
    policy: str
    filename: str | None
    mime: str | None
    sha256: str | None
    size_bytes: int | None
    bytes_uploaded: int
    bytes_arriving: int
    part_size_bytes: int
    part_count: int | None
    partial: bool
    about: Mapping[str, Any]
    parts: tuple[PartInfo, ...]
    created_at: float
    updated_at: float
    expires_at: float | None

    @property
    def progress(self) -> float:
        """Return how much has arrived, 0 to 100 (A39)."""
        return percent(self.bytes_uploaded + self.bytes_arriving, self.size_bytes)

    @property
    def missing(self) -> int | None:
        """Return how many parts have not arrived; None when they are not numbered."""
        return None if self.part_count is None else self.part_count - len(self.parts)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A form's file that has arrived whole; ``path`` is ours and may be moved."""

    path: Path
    sha256: str
    policy: UploadPolicy
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What the store tells of an upload (A42); ``status`` is COMPLETED or FAILED."""

    session_id: str
    video_id: str
    status: str
    source_key: str | None = None
    size_bytes: int | None = None
    mime: str | None = None


@dataclass(frozen=True, slots=True)
class PartUrl:
    """Where one part may be sent by PUT until ``expires_at`` (A28)."""

    number: int
    url: str
    size_bytes: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Received:
    """A part that is durable, and what is left to send (A18, A52)."""

    part: PartInfo
    received: int
    remaining: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about all the bytes of an upload; kept in its row before the object stands."""

    sha256: str
    size_bytes: int
    container: str
    mime: str
    duration_seconds: float
    width: int
    height: int
    needs_review: bool = False


def percent(sent: int, total: int | None) -> float:
    """Return progress in percent, two decimals (A39).

    >>> percent(1, 3), percent(5, None), percent(9, 3)
    (33.33, 0.0, 100.0)
    """
    return round(100 * min(sent, total) / total, 2) if total else 0.0
