"""Run one encoding job: fetch, encode in a child, store, describe (B3, B36, B41, B49, B50)."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from media import captions, layout
from media.child import ChildCrashed, ChildError, Message, run_child
from media.delivery import content_type
from media.h264 import SOFTWARE
from media.ladder import rungs
from media.limits import ENCODE_CHILD, ChildLimits, SourceLimits
from media.negotiation import chosen_encoder, limits_for
from media.storing import JobStore, Progress, is_plain, outputs, store_outputs
from tables.errors import AppError, ContentNotFound
from tables.records import Asset, MediaJob

log = logging.getLogger(__name__)

OnPlayable = Callable[["MediaOutcome"], Awaitable[None]]

WORKER = "media.workers.encode"
TRANSCODE_ERROR, STORAGE_ERROR = "TRANSCODE_ERROR", "STORAGE_ERROR"
TOO_LONG, STOOD_STILL = "Converting the video took too long.", "Converting the video stood still."
CRASHES = {"timeout": TOO_LONG, "silence": STOOD_STILL}
MANY_TRIES = 1_000
"""As often as whoever runs jobs tries at all."""
OUT, FIRST, CAPTIONS = "out", "first", "captions"
"""Folders of a job: all outputs, those of the rung that is stored first, caption files."""
EARLY = frozenset(f"thumbs/{name}.jpg" for name in ("poster", *layout.THUMBNAILS))
STEP = 1.0
"""Percent between two reports of one stage: each becomes a record on a topic and a push to a socket."""


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """How to encode.

    ``encoder`` is one of ``media.h264``, or ``auto``; ``preset`` is x264's; ``upscale`` false ends the ladder
    at the source (X14); ``exact_bitrate`` pads to the exact rate (B22); ``dash`` adds the DASH set;
    ``min_free_bytes`` must stay free on the work disk.
    ``first_rung_seconds``: from this length on, in seconds of a 1080p30 source on the core ladder, the
    lowest rung is encoded and stored before the others (Y5), None for never. ``loudness_lufs`` is the
    integrated loudness that sound is brought to (EBU R 128), None to leave it. ``per_title`` leaves out rungs
    that show nothing more than the one below. ``source_captions`` false leaves text tracks of the source
    alone: once a video plays, its caption files say what it has.
    """

    encoder: str = SOFTWARE
    preset: str = "veryfast"
    upscale: bool = True
    exact_bitrate: bool = False
    dash: bool = True
    first_rung_seconds: float | None = 10.0
    loudness_lufs: float | None = -14.0
    per_title: bool = False
    source_captions: bool = True
    min_free_bytes: int = 512 * 1024 * 1024
    limits: ChildLimits = ENCODE_CHILD
    source: SourceLimits = field(default_factory=SourceLimits)


@dataclass(frozen=True, slots=True)
class MediaOutcome:
    """What a finished job made: the source's displayed size and length, and the stored assets.

    ``notes`` say what is not as the source's owner may expect, such as damaged sound.
    """

    duration_seconds: float
    width: int
    height: int
    assets: tuple[Asset, ...]
    notes: tuple[str, ...] = ()


class MediaError(Exception):
    """A job failed: a code (O3 or TRANSCODE_ERROR), a reason for the owner, and whether to try again.

    ``tries`` bounds how often. ``said`` is what a child said of it, ``made`` what there was of outputs,
    names and sizes in bytes: for operators only (B10).
    """

    def __init__(
        self, code: str, reason: str, *, retryable: bool, tries: int = MANY_TRIES, said: str = ""
    ) -> None:
        """Keep what apply_failed records."""
        self.code = code
        self.reason = reason
        self.retryable = retryable
        self.tries = tries
        self.said = said
        self.made: list[tuple[str, int]] = []
        super().__init__(f"{code}: {reason}")


class DiskTooFull(MediaError):
    """Nothing was done, because less than ``needed_bytes`` are free on the work disk (B14)."""

    def __init__(self, needed_bytes: int) -> None:
        """Keep what is needed, in bytes, with what has to stay free."""
        super().__init__(STORAGE_ERROR, "There is not enough disk space to process this.", retryable=True)
        self.needed_bytes = needed_bytes


async def run_job(
    job: MediaJob,
    store: JobStore,
    workdir: Path,
    settings: MediaSettings,
    progress: Progress,
    on_playable: OnPlayable | None = None,
) -> MediaOutcome:
    """Encode a stored source and store its outputs; a rerun overwrites only its own outputs (B41).

    Args:
        job: What to encode; ``ladder`` is a selection of ``media.ladder``.
        store: Holds the source and takes the outputs.
        workdir: Scratch space; the job's folder in it is always removed.
        settings: How to encode.
        progress: Awaited with percent (0..100, never falling) and stage.
        on_playable: Awaited at most once, when a first rung is stored and can be played (Y5): its outcome
            is a whole set of its own, and its keys are among those of the final outcome. Not awaited for
            short work, which is done in one pass. Give None when the video plays already: the first set's
            master names one rung only.

    Raises:
        MediaError: With code, reason and whether a retry can help.
    """
    try:
        rungs(job.ladder)
    except KeyError:
        reason = f"There is no ladder named {job.ladder!r}."
        raise MediaError(TRANSCODE_ERROR, reason, retryable=False) from None
    folder = workdir / f"{job.video_id}-{job.job_id}"
    report = _Monotone(progress)
    try:
        async with _foreseen(folder):
            await asyncio.to_thread(_fresh, folder, settings.min_free_bytes)
            await report(0.0, "probing")
            source = await _local_source(job, store, folder)
            await _fetch_captions(job, store, folder / CAPTIONS)
            relay = _Relay(job, store, folder, report, on_playable)
            result = await _encode(job, source, folder, settings, relay)
            await store_outputs(job.video_id, store, folder / OUT, report)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, True))
    return _outcome(job, result)


@asynccontextmanager
async def _foreseen(folder: Path) -> AsyncIterator[None]:
    """Turn failures of store, disk and child into the job's, with what it had made by then."""
    try:
        try:
            yield
        except AppError as error:
            raise MediaError(error.code, error.message, retryable=error.status >= 500) from error
        except OSError as error:
            reason = f"The work disk failed: {error.strerror}."
            raise MediaError(STORAGE_ERROR, reason, retryable=True) from error
    except MediaError as error:
        error.made = await asyncio.to_thread(outputs, folder)
        raise


def _outcome(job: MediaJob, found: Message) -> MediaOutcome:
    assets = tuple(_asset(job.video_id, asset) for asset in found["assets"])
    # The child reads hostile bytes: what it says is a few words.
    notes = tuple(str(note)[:300] for note in found.get("notes", ())[:8])
    return MediaOutcome(found["duration_seconds"], found["width"], found["height"], assets, notes)


class _Monotone:
    """Progress that never falls and repeats itself only for a new stage (B5, B49)."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._best = 0.0
        self._stage = ""

    async def __call__(self, percent: float | None, stage: str) -> None:
        """Pass a step on when it says something new."""
        reached = self._best if percent is None else max(self._best, round(min(100.0, percent), 1))
        finished = reached == 100 and self._best < 100
        if stage == self._stage and reached < self._best + STEP and not finished:
            return
        self._best, self._stage = reached, stage
        await self._progress(reached, stage)


@dataclass(slots=True)
class _Relay:
    """Takes the child's messages: progress, early pictures (B30), the set of the first rung (Y5)."""

    job: MediaJob
    store: JobStore
    folder: Path
    report: _Monotone
    on_playable: OnPlayable | None
    """None once the video plays."""

    async def __call__(self, message: Message) -> None:
        """Handle one message of the child."""
        if message["kind"] == "progress":
            await self.report(message["percent"], message["stage"])
        elif message["kind"] == "early":
            # The child reads hostile bytes: it may only name the pictures that it is known to make early.
            for path in EARLY.intersection(message["paths"]):
                key, file = layout.prefix(self.job.video_id) + path, self.folder / message["folder"] / path
                if message["folder"] in {OUT, FIRST} and await asyncio.to_thread(is_plain, file):
                    await self.store.put_file(key, file, content_type=content_type(key))
        elif message["kind"] == "rung" and self.on_playable is not None:
            # The child has left this folder: all of it is a set of its own, and moves into the store.
            await store_outputs(self.job.video_id, self.store, self.folder / FIRST)
            tell, self.on_playable = self.on_playable, None
            await tell(_outcome(self.job, message))


def _fresh(folder: Path, min_free_bytes: int) -> None:
    """Start from an empty folder, with room: an earlier attempt may have been killed in the middle."""
    _empty(folder.parent, (folder.name,))
    _empty(folder, (OUT, FIRST, CAPTIONS))
    if shutil.disk_usage(folder).free < min_free_bytes:
        raise DiskTooFull(min_free_bytes)


def _empty(parent: Path, names: tuple[str, ...]) -> None:
    for name in names:
        shutil.rmtree(parent / name, ignore_errors=True)
        (parent / name).mkdir(parents=True)


async def _local_source(job: MediaJob, store: JobStore, folder: Path) -> Path:
    """Return the source as a local file; it is only ever read."""
    local = await asyncio.to_thread(store.local_path, job.source_key)
    if local is not None:
        return local
    path = folder / "source"
    try:
        await store.fetch(job.source_key, path)
    except ContentNotFound as error:
        raise MediaError("CORRUPTED_FILE", "The source is not in the store.", retryable=False) from error
    return path


async def _fetch_captions(job: MediaJob, store: JobStore, folder: Path) -> None:
    """Fetch the caption files that the video has (Y6): the playlists will name them."""
    async for found in store.list(layout.captions_prefix(job.video_id)):
        name = found.key.rpartition("/")[2]
        if layout.is_caption(found.key) and found.size_bytes <= captions.MAX_BYTES and not found.archived:
            await store.fetch(found.key, folder / name)


async def _encode(
    job: MediaJob, source: Path, folder: Path, settings: MediaSettings, relay: _Relay
) -> dict[str, Any]:
    """Encode, and return what the child says; where hardware fails, the software does it again."""
    encoder = await chosen_encoder(settings.encoder)
    try:
        return await _run(job, source, folder, settings, relay, encoder)
    except MediaError as error:
        if encoder == SOFTWARE or error.code != TRANSCODE_ERROR:
            raise
        log.warning("%s failed with %s: %s", encoder, job.video_id, error.said or error.reason)
        await asyncio.to_thread(_empty, folder, (OUT, FIRST, CAPTIONS))
        await _fetch_captions(job, relay.store, folder / CAPTIONS)
        if relay.on_playable is None:  # it plays: from then on the caption files are their owner's
            settings = replace(settings, source_captions=False)
        return await _run(job, source, folder, settings, relay, SOFTWARE)


async def _run(  # what one child is given
    job: MediaJob, source: Path, folder: Path, settings: MediaSettings, relay: _Relay, encoder: str
) -> dict[str, Any]:
    """Run one encode child."""
    request = {
        "path": str(source),
        "out": str(folder / OUT),
        "first": str(folder / FIRST) if relay.on_playable is not None else None,
        "captions": str(folder / CAPTIONS),
        "source_captions": settings.source_captions,
        "first_rung_seconds": settings.first_rung_seconds,
        "loudness_lufs": settings.loudness_lufs,
        "per_title": settings.per_title,
        "ladder": job.ladder,
        "encoder": encoder,
        "preset": job.preset or settings.preset,
        "upscale": settings.upscale,
        "exact_bitrate": settings.exact_bitrate,
        "dash": settings.dash,
        "min_free_bytes": settings.min_free_bytes,
        "source": asdict(settings.source),
    }
    try:
        return await run_child(WORKER, request, limits_for(encoder, settings.limits), relay)
    except ChildError as error:
        raise _refused(job, error, settings.min_free_bytes) from error
    except ChildCrashed as error:
        log.error("encode of %s ended with %s: %s", job.video_id, error.cause, error.stderr_tail)
        reason = CRASHES.get(error.cause, f"The converter ended unexpectedly ({error.cause}).")
        again = error.cause != "timeout"
        tries = 1 if error.cause == "silence" else MANY_TRIES
        said = error.stderr_tail
        raise MediaError(TRANSCODE_ERROR, reason, retryable=again, tries=tries, said=said) from error


def _refused(job: MediaJob, error: ChildError, min_free_bytes: int) -> MediaError:
    if error.code == "UNEXPECTED":
        said = str(error.details.get("traceback"))
        log.error("encode of %s failed unexpectedly: %s", job.video_id, said)
        return MediaError(TRANSCODE_ERROR, "The video could not be converted.", retryable=True, said=said)
    if "needed_bytes" in error.details:
        return DiskTooFull(int(error.details["needed_bytes"]) + min_free_bytes)
    return MediaError(error.code, error.reason, retryable=error.retryable)


def _asset(video_id: str, found: dict[str, Any]) -> Asset:
    return Asset(**(found | {"key": layout.prefix(video_id) + found["key"]}))


def remove_leftovers(workdir: Path) -> int:
    """Remove what killed jobs left in the scratch space; call at start-up, before any job runs."""
    folders = [path for path in workdir.iterdir() if path.is_dir()] if workdir.is_dir() else []
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return len(folders)
