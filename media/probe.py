"""Ask a bounded child what a file is (A3-A7, A58, B34)."""

import asyncio
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from media.child import ChildCrashed, ChildError, run_child
from media.limits import ProbeLimits
from media.policies import UploadPolicy
from media.sniff import Container, sniff_file
from tables.errors import AppError, CorruptedFile, DurationExceeded, InvalidFormat, ServiceUnavailable

log = logging.getLogger(__name__)

WORKER = "media.workers.probe"
REFUSALS: dict[str, type[AppError]] = {
    error.code: error for error in (InvalidFormat, CorruptedFile, DurationExceeded)
}


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source is.

    Sizes are as displayed (upright, square pixels); ``rotation`` is libav's, in degrees; ``fps`` is the
    constant rate that renditions get; ``duration_seconds`` is the longest stream's, measured by demuxing;
    ``audio_language`` is a BCP 47 tag, None when the source says none.
    """

    container: str
    mime: str
    duration_seconds: float
    width: int
    height: int
    rotation: int
    fps: float
    video_codec: str
    audio_codec: str | None
    size_bytes: int
    audio_language: str | None = None


async def probe_file(
    path: Path, policy: UploadPolicy, *, limits: ProbeLimits | None = None, filename: str = ""
) -> SourceInfo:
    """Decide whether a stored upload is acceptable, and describe it.

    Args:
        path: The file as received, absolute; its name means nothing.
        policy: Size, length and formats that apply.
        limits: Bounds of the child and of the source.
        filename: The client's name for it: unknown bytes are "of another kind" when it has the ending of
            one, and else "damaged", also where the way of the upload has no names.

    Raises:
        FileTooLarge: FILE_TOO_LARGE.
        InvalidFormat: INVALID_FORMAT with ``details.supported``, or naming an unknown codec.
        CorruptedFile: CORRUPTED_FILE for an empty file and for one that cannot be decoded.
        DurationExceeded: DURATION_EXCEEDED.
    """
    limits = limits or ProbeLimits()
    size, container = await asyncio.to_thread(_look, path)
    if not size:
        raise CorruptedFile("The file is empty.")
    policy.check_size(size)
    if container is Container.UNKNOWN and _claims_video(filename, policy):
        raise CorruptedFile("The file is of no format that is known.")
    policy.check_format(container)
    request = {
        "path": str(path),
        "max_seconds": policy.max_seconds,
        "source": asdict(limits.source),
    }
    try:
        found = await run_child(WORKER, request, limits.child)
    except ChildError as error:
        raise _refusal(error, policy) from error
    except ChildCrashed as error:
        raise _crash(error) from error
    return _info(found)


def _look(path: Path) -> tuple[int, Container]:
    return path.stat().st_size, sniff_file(path)


def _claims_video(filename: str, policy: UploadPolicy) -> bool:
    """Say whether the name has the ending of a listed format, or none: unknown bytes are damage then (A7)."""
    return Path(filename).suffix.lower().lstrip(".") in {"", *policy.supported()}


def _refusal(error: ChildError, policy: UploadPolicy) -> AppError:
    if error.code not in REFUSALS:
        log.error("probe failed unexpectedly: %s", error.details.get("traceback"))
        return CorruptedFile()
    refusal = REFUSALS[error.code]
    details = error.details | ({"supported": policy.supported()} if refusal is InvalidFormat else {})
    return refusal(error.reason, details=details)


def _crash(error: ChildCrashed) -> AppError:
    """A signal or a timeout is the file's doing; a plain exit is our own fault, so ask to try again."""
    if error.cause == "timeout" or error.cause.startswith("signal"):
        return CorruptedFile("The file could not be read within bounds.", details={"cause": error.cause})
    log.error("probe child ended with %s: %s", error.cause, error.stderr_tail)
    return ServiceUnavailable(details={"cause": error.cause})


def _info(found: dict[str, Any]) -> SourceInfo:
    return SourceInfo(**{name: found[name] for name in SourceInfo.__dataclass_fields__})
