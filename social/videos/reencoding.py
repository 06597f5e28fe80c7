"""Encodes of what is READY: more rungs, other parameters (B44). It never leaves READY."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from media.ladder import RUNGS, SELECTIONS, rungs
from social.videos import facts, processing
from social.videos.access import own_row
from social.videos.reading import load_assets, qualities
from social.views import Principal
from tables.errors import InvalidStateTransition, ValidationFailed
from tables.lifecycle import VideoStatus
from tables.relational.models import VideoRow

REENCODE_PRIORITY: Final = -10
"""Of a job that adds to what plays already: after everything that nobody can watch yet."""
MOST_PRIORITY: Final = 100
PRESETS: Final = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a re-encode is to make: rungs or a ladder, the encoder's preset, and how urgent it is (B44)."""

    qualities: Sequence[str] = ()
    ladder: str = "core"
    preset: str = ""
    priority: int = REENCODE_PRIORITY


def check_priority(priority: int) -> None:
    """Refuse what is no priority: VALIDATION_ERROR."""
    if not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
        raise ValidationFailed(
            f"A priority is {-MOST_PRIORITY} to {MOST_PRIORITY}.",
            details={"field": "priority", "value": priority},
        )


def check_encoding(wanted: Encoding) -> None:
    """Refuse what no encoder can make: VALIDATION_ERROR, ``details.field`` names it."""
    check_priority(wanted.priority)
    for field, value, known in (
        *(("qualities", quality, tuple(RUNGS)) for quality in wanted.qualities),
        ("ladder", wanted.ladder, tuple(SELECTIONS)),
        ("preset", wanted.preset, ("", *PRESETS)),
    ):
        if value not in known:
            raise ValidationFailed(
                f"There is no such {field}.", details={"field": field, "value": value, "allowed": list(known)}
            )


def refusal(video: VideoRow, reason: str) -> InvalidStateTransition:
    """Return why a video is not encoded again."""
    return InvalidStateTransition(
        "Only a READY video with its source, and without a job at work, is encoded again.",
        details={"from": video.status, "to": video.status, "reason": reason},
    )


async def ask(session: AsyncSession, *, video_id: str, caller: Principal, wanted: Encoding, at: float) -> str:
    """Queue it in the caller's transaction and return the job's id; errors as ``EncodingJobs.reencode``."""
    video = await own_row(session, video_id, caller, lock=True)
    newest = await processing.newest_job(session, video.id)
    if video.status != VideoStatus.READY:
        raise refusal(video, "not READY")
    if newest is not None and newest.status in processing.WORKING:
        raise refusal(video, "a job is at work")
    assets = (await load_assets(session, [video.id])).get(video.id, ())
    asked = wanted.qualities or [rung.name for rung in rungs(wanted.ladder)]
    # The master playlist is written anew: what it names has to be of one make.
    names = [rung.name for rung in rungs("+".join({*asked, *qualities(assets)} & set(RUNGS)))]
    parameters: dict[str, object] = {"qualities": names}
    if wanted.preset:
        parameters["preset"] = wanted.preset
    job = processing.new_job(session, video.id, wanted.ladder, at, priority=wanted.priority, **parameters)
    await session.flush()
    facts.ask_encode(session, job, video, at)
    facts.tell_job(session, "job_created", job, video, at)
    return job.id
