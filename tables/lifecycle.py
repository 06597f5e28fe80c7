"""Which state may follow which: videos, upload sessions, encoding jobs. Pure tables and one check.

The tables below are the only place that knows a transition (requirements C1-C11, A33-A35, X10, X76,
B51). Services ask :func:`check` before they write; the database checks the vocabulary again (R22).
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from tables.errors import InvalidStateTransition


class VideoStatus(StrEnum):
    """The canonical states of a video (C1)."""

    DRAFT = "DRAFT"
    UPLOADING = "UPLOADING"
    UPLOADED = "UPLOADED"
    TRANSCODING = "TRANSCODING"
    READY = "READY"
    FAILED = "FAILED"


class UploadStatus(StrEnum):
    """The states of an upload session (X9)."""

    INITIATED = "INITIATED"
    IN_PROGRESS = "IN_PROGRESS"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


class JobStatus(StrEnum):
    """The states of an encoding job (B4)."""

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class ImageStatus(StrEnum):
    """The states of an image, which its upload leaves once (B38)."""

    PENDING = "PENDING"
    READY = "READY"
    FAILED = "FAILED"


class ModerationStatus(StrEnum):
    """The moderation column, apart from the lifecycle (C15, X8)."""

    PENDING = "pending"
    APPROVED = "approved"
    FLAGGED = "flagged"
    REJECTED = "rejected"


class Visibility(StrEnum):
    """Who may see content (H6)."""

    PUBLIC = "PUBLIC"
    FOLLOWERS_ONLY = "FOLLOWERS_ONLY"
    PRIVATE = "PRIVATE"


State = TypeVar("State", VideoStatus, UploadStatus, JobStatus)
Transitions = Mapping[State, frozenset[State]]

V, U, J = VideoStatus, UploadStatus, JobStatus

# FAILED -> UPLOADING is X10's single extension: a new session after a failure that left no source.
VIDEO: Transitions[VideoStatus] = MappingProxyType(
    {
        V.DRAFT: frozenset({V.UPLOADING}),  # C3
        V.UPLOADING: frozenset({V.UPLOADED, V.FAILED}),  # C4, C8
        V.UPLOADED: frozenset({V.TRANSCODING}),  # C5
        V.TRANSCODING: frozenset({V.READY, V.FAILED}),  # C6, C7
        V.READY: frozenset(),  # C10
        V.FAILED: frozenset({V.TRANSCODING, V.UPLOADING}),  # C9, X10
    }
)

# EXPIRED is A35's: every session that is still open can expire. INITIATED -> CANCELED is X76's.
UPLOAD_STRICT: Transitions[UploadStatus] = MappingProxyType(
    {
        U.INITIATED: frozenset({U.IN_PROGRESS, U.EXPIRED}),
        U.IN_PROGRESS: frozenset({U.PAUSED, U.COMPLETED, U.FAILED, U.CANCELED, U.EXPIRED}),
        U.PAUSED: frozenset({U.IN_PROGRESS, U.CANCELED, U.EXPIRED}),
        U.COMPLETED: frozenset(),
        U.FAILED: frozenset(),
        U.CANCELED: frozenset(),
        U.EXPIRED: frozenset(),
    }
)
UPLOAD: Transitions[UploadStatus] = MappingProxyType(
    {**UPLOAD_STRICT, U.INITIATED: UPLOAD_STRICT[U.INITIATED] | {U.CANCELED}}
)

JOB: Transitions[JobStatus] = MappingProxyType(
    {
        J.QUEUED: frozenset({J.PROCESSING}),
        J.PROCESSING: frozenset({J.COMPLETED, J.FAILED}),
        J.COMPLETED: frozenset(),
        J.FAILED: frozenset({J.QUEUED}),
    }
)


def may(table: Transitions[State], old: State, new: State) -> bool:
    """Tell whether ``table`` lists the move from ``old`` to ``new``.

    >>> may(VIDEO, VideoStatus.UPLOADED, VideoStatus.TRANSCODING)
    True
    """
    return new in table[old]


def check(table: Transitions[State], old: State, new: State) -> None:
    """Refuse a move that is not in the table (C11, A34, C42).

    Raises:
        InvalidStateTransition: INVALID_STATE_TRANSITION with ``from``, ``to`` and what is allowed.
    """
    if not may(table, old, new):
        raise InvalidStateTransition(
            f"{old} cannot become {new}.",
            details={"from": str(old), "to": str(new), "allowed": sorted(table[old])},
        )


_DOCUMENT_000 = {V.READY: "ready", V.FAILED: "failed"}
_DOCUMENT_002 = {V.DRAFT: "uploading", V.UPLOADING: "uploading", V.READY: "published", V.FAILED: "failed"}
_DOCUMENT_004 = {
    V.UPLOADED: "queued",
    V.TRANSCODING: "processing",
    V.READY: "completed",
    V.FAILED: "failed",
}
_SESSION_000 = {
    U.INITIATED: "active",
    U.IN_PROGRESS: "active",
    U.PAUSED: "active",
    U.COMPLETED: "completed",
    U.EXPIRED: "expired",
    U.FAILED: "failed",
    U.CANCELED: "failed",
}


def status_000(status: VideoStatus, moderation: ModerationStatus) -> str:
    """Render a status in document 000's words: processing, ready, failed, rejected (C2, X7, X8)."""
    if moderation is ModerationStatus.REJECTED:
        return "rejected"
    return _DOCUMENT_000.get(status, "processing")


def status_002(status: VideoStatus, moderation: ModerationStatus) -> str:
    """Render a status in document 002's words: uploading, processing, published, failed (C2)."""
    if moderation is ModerationStatus.REJECTED:
        return "failed"
    return _DOCUMENT_002.get(status, "processing")


def job_status_004(status: VideoStatus) -> str | None:
    """Render a status as document 004's job status; None before there is a job (C2)."""
    return _DOCUMENT_004.get(status)


def session_000(status: UploadStatus) -> str:
    """Render a session status in document 000's words: active, completed, expired, failed (X9)."""
    return _SESSION_000[status]
