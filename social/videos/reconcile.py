"""What to do about a video whose status and whose possessions do not agree (C41). Pure.

Drift comes from lost logs, restored backups and hands in the database; nothing here happens by itself. Every
repair is a move of the table of states, made by the video service; a READY video never goes back (C10), so
what it lacks is found with the objects, and is for a person with a backup.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tables.lifecycle import VideoStatus

SETTLED_SECONDS: Final = 900.0
"""What changed less than this ago may still be on its way through outbox and log."""
LOST_SECONDS: Final = 24 * 3600.0
"""After this nobody waits any more: for an upload, or for an encode that nobody reports of."""


class Repair(StrEnum):
    """What is done about a video."""

    ENQUEUE = "enqueue"
    """UPLOADED and nobody was told: queue its encode."""
    REQUEUE = "requeue"
    """TRANSCODING without a job that runs or waits: queue it again."""
    FINISH = "finish"
    """Everything to play it is there: READY."""
    FAIL_UPLOAD = "fail_upload"
    """UPLOADING and no session will ever bring the source: FAILED, which a new session leaves (X10)."""
    FAIL_SOURCE = "fail_source"
    """TRANSCODING, without a job and without its source: FAILED."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a video.

    Attributes:
        status: its state.
        quiet_seconds: how long its row has not changed.
        has_session: an upload session may still bring its source.
        has_job: its newest encoding job is queued or being processed.
        has_source: its source is in the store.
        playable: rows name a master playlist and other outputs, and the store has all of them.
    """

    status: VideoStatus
    quiet_seconds: float
    has_session: bool = False
    has_job: bool = False
    has_source: bool = False
    playable: bool = False


def decide(facts: Facts) -> Repair | None:
    """Return what to do, None when all is well or may still become so.

    >>> decide(Facts(VideoStatus.UPLOADED, quiet_seconds=3600.0, has_source=True))
    <Repair.ENQUEUE: 'enqueue'>
    """
    if facts.quiet_seconds < SETTLED_SECONDS:
        return None
    match facts.status:
        case VideoStatus.UPLOADING:
            lost = not facts.has_session and facts.quiet_seconds >= LOST_SECONDS
            return Repair.FAIL_UPLOAD if lost else None
        case VideoStatus.UPLOADED:
            return Repair.ENQUEUE
        case VideoStatus.TRANSCODING:
            return _decide_transcoding(facts)
        case VideoStatus.FAILED:
            return Repair.FINISH if facts.playable else None
        case VideoStatus.DRAFT | VideoStatus.READY:
            return None


def _decide_transcoding(facts: Facts) -> Repair | None:
    if facts.playable:
        return Repair.FINISH
    if facts.has_job and facts.quiet_seconds < LOST_SECONDS:
        return None
    return Repair.REQUEUE if facts.has_source else Repair.FAIL_SOURCE
