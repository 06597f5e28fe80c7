"""The agent that encodes, and what it follows while it does (B1-B18, B42, Y5, Y14).

Encodes are long: their events are acknowledged when the outcome is on its topic, so a crash or a stop in
between delivers the job again. Meanwhile they wait their turn in ``streams.scheduling``. What a job means is
decided by the video service alone (X71).
"""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from media.partials import FILES_LISTED, SAID_CHARACTERS, Partials
from media.pipeline import DiskTooFull, MediaError, MediaOutcome, MediaSettings, run_job
from media.stores import ObjectStore
from social.videos import VideoService
from social.videos.jobs import EncodingJobs, Wish
from streams.dead_letters import Unrepeatable
from streams.log.commit import LogWriter, Outgoing
from streams.log.errors import LogError
from streams.scheduling import Scheduler
from streams.topics import MEDIA_RESULTS
from tables.errors import AppError
from tables.records import MediaJob, MediaResult

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode

RETRY_SECONDS: Final = (5.0, 12.0, 30.0)
"""Pauses before an encode is tried again (B9)."""
WANTED_SECONDS: Final = 3.0
"""How often a running encode asks whether its video is still there."""
MIN_PROGRESS_SECONDS: Final = 0.5
"""A progress report is a synced write: at most two a second and job."""
FOLLOW_SECONDS: Final = 2.0
"""How often a worker asks what operators decided, and looks at its disk."""
HELD_SECONDS: Final = 1_800.0
"""How often it says which jobs it holds."""
STARTING, PAUSED, DISK = "starting", "paused", "disk"
"""Reasons for which nothing begins: nothing is known yet, operators said so, no space (B14, B15)."""


class Space:
    """Holds the queue while the work disk has too little room, and says so once (B14)."""

    def __init__(self, queue: Scheduler, workdir: Path, min_free_bytes: int) -> None:
        """Args: what is held, the work disk, and what has to stay free on it, in bytes."""
        self._queue = queue
        self._workdir = workdir
        self._least = min_free_bytes
        self._wanted = min_free_bytes
        self._short = False

    async def want(self, needed_bytes: int) -> bool:
        """Hold everything until so much is free; False when the disk is smaller than that."""
        if needed_bytes > (await asyncio.to_thread(shutil.disk_usage, self._workdir)).total:
            return False
        self._wanted = max(self._wanted, needed_bytes)
        await self.look()
        return True

    async def look(self) -> None:
        """Hold the queue, or let it go on."""
        free = (await asyncio.to_thread(shutil.disk_usage, self._workdir)).free
        if free < self._wanted:
            if not self._short:
                log.error("media_disk_full", free_bytes=free, wanted_bytes=self._wanted)
            self._short = True
            self._queue.hold(DISK)
            return
        if self._short:
            log.warning("media_disk_has_room", free_bytes=free)
        self._short, self._wanted = False, self._least
        self._queue.release(DISK)


@dataclass(frozen=True)
class EncoderQueue:
    """What of the queue is in this process: who is next, what rows say, room, what is left of failures."""

    scheduler: Scheduler
    jobs: EncodingJobs
    space: Space
    partials: Partials


@dataclass(frozen=True)
class EncodeTools:
    """What encoding needs."""

    store: ObjectStore
    workdir: Path
    settings: MediaSettings
    writer: LogWriter
    videos: VideoService
    queue: EncoderQueue
    clock: Callable[[], float]
    observed: Callable[[str, float], None]  # outcome, seconds


async def follow(parts: EncoderQueue, slots: int, kept: Callable[[MediaJob], bool] | None = None) -> None:
    """Keep a worker's queue as operators and the disk want it, for ever.

    Args:
        parts: the queue and what it is led by.
        slots: jobs at once that the worker is set to.
        kept: tells whether a job's partition is still this worker's; None where there is only one worker.
    """
    queue, jobs = parts.scheduler, parts.jobs
    held_at = float("-inf")
    loop = asyncio.get_running_loop()
    while True:
        try:
            control = await jobs.control()
            (queue.hold if control.paused else queue.release)(PAUSED)
            # Where nothing is encoded, the throttle of the others changes nothing.
            queue.resize((control.slots or slots) if slots else 0)
            await parts.space.look()
            if kept is not None:
                queue.abandon(kept)
            if asked := queue.known():
                queue.update(await jobs.open_jobs(asked), asked)
                if loop.time() - held_at >= HELD_SECONDS:
                    await jobs.held(asked)
                    held_at = loop.time()
            queue.release(STARTING)
        except (AppError, OSError) as error:
            log.warning("media_queue_unknown", error=repr(error))
        await asyncio.sleep(FOLLOW_SECONDS)


async def encode(job: MediaJob, tools: EncodeTools) -> None:
    """Run one job when its turn comes and put its outcome on ``media.results``.

    A passing failure queues it again; where the disk is full it waits on.

    Raises:
        Unrepeatable: it failed for good, which its owner has been told: for the dead letters (B9).
    """
    if await tools.queue.jobs.wish(job) is Wish.NOTHING:
        log.info("media_job_ignored", job_id=job.job_id, video_id=job.video_id)
        return
    while not await _take_turn(job, tools):
        pass


async def _take_turn(job: MediaJob, tools: EncodeTools) -> bool:
    """Wait for the job's turn and do it; False when there was no room for it and it has to wait again."""
    try:
        async with tools.queue.scheduler.turn(job) as lease:
            if lease is not None:
                await _work(job, tools)
    except NotWanted:
        log.info("media_job_given_up", job_id=job.job_id, video_id=job.video_id)
        await tools.videos.drop_outputs(job.video_id)
    except DiskTooFull as error:
        if await tools.queue.space.want(error.needed_bytes):
            return False
        error.retryable = False
        await _failed(job, error, tools)
    except MediaError as error:
        await _failed(job, error, tools)
    return True


async def _work(job: MediaJob, tools: EncodeTools) -> None:
    wish = await tools.queue.jobs.wish(job)
    if wish is Wish.NOTHING:
        raise NotWanted
    started, report = tools.clock(), Reporter(job, tools.writer, tools.clock)
    try:
        outcome = await _while_wanted(_run(job, tools, report, wish), job, tools)
    except DiskTooFull:
        raise
    except MediaError:
        tools.observed("failed", tools.clock() - started)
        raise
    tools.observed("completed", tools.clock() - started)
    await report.outcome("completed", outcome)


async def _while_wanted(
    work: Coroutine[Any, Any, MediaOutcome], job: MediaJob, tools: EncodeTools
) -> MediaOutcome:
    """Run a job, and end it with its child when its video is deleted or it is canceled (C24, C25, B43).

    Raises:
        NotWanted: it was ended; what it stored is removed with the video's objects.
        MediaError: as the job.
    """
    running = asyncio.create_task(work)
    try:
        while True:
            await asyncio.wait({running}, timeout=WANTED_SECONDS)
            if running.done():
                return running.result()
            if not await is_wanted(job, tools.queue.jobs):
                raise NotWanted
    finally:
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def is_wanted(job: MediaJob, jobs: EncodingJobs) -> bool:
    """Ask whether anybody still waits for a job; while the database is down, somebody may."""
    try:
        return await jobs.wish(job) is not Wish.NOTHING
    except AppError:
        return True


class NotWanted(Exception):
    """Nobody waits for a job any more."""


async def _run(job: MediaJob, tools: EncodeTools, report: "Reporter", wish: Wish) -> MediaOutcome:
    """Run a job; what nobody foresaw is a failure of the job too, or its owner would wait for ever."""
    playable = partial(report.outcome, "playable") if wish is Wish.PLAYABLE else None
    try:
        settings = settings_for(tools.settings, wish)
        return await run_job(job, tools.store, tools.workdir, settings, report.progress, playable)
    except (MediaError, LogError):
        raise
    except Exception as error:
        log.exception("media_job_broke", video_id=job.video_id, job_id=job.job_id)
        raise MediaError(AppError.code, "The video could not be processed.", retryable=True) from error


def settings_for(settings: MediaSettings, wish: Wish) -> MediaSettings:
    """Return what to encode with: a video that plays has its captions; some may be taken back (Y6)."""
    return settings if wish is Wish.PLAYABLE else replace(settings, source_captions=False)


async def _failed(job: MediaJob, error: MediaError, tools: EncodeTools) -> None:
    """Queue a job again whose failure may pass, as often as it is worth it; else tell that it failed (B9)."""
    log.warning("media_job_failed", video_id=job.video_id, code=error.code, reason=error.reason)
    await tools.queue.partials.keep(job.job_id, _left_of(job, error, tools.clock()))
    if error.retryable and job.attempt < min(len(RETRY_SECONDS), error.tries):
        await asyncio.sleep(RETRY_SECONDS[job.attempt])
        if await tools.videos.requeue_job(job.job_id, error.code, error.reason):
            return
        if await tools.queue.jobs.wish(job) is Wish.NOTHING:
            return  # deleted or canceled in the pause
    report = Reporter(job, tools.writer, tools.clock)
    await report.send("failed", fail_code=error.code, fail_reason=error.reason)
    raise Unrepeatable(error.code, error.reason)


def _left_of(job: MediaJob, error: MediaError, at: float) -> dict[str, Any]:
    """Return what operators may want to know of a failed try (B10)."""
    return {
        "at": at,
        "attempt": job.attempt,
        "code": error.code,
        "reason": error.reason,
        "said": error.said[-SAID_CHARACTERS:],
        "files": [{"name": name, "size_bytes": size} for name, size in error.made[:FILES_LISTED]],
    }


class Reporter:
    """Puts one job's reports on the results topic."""

    def __init__(self, job: MediaJob, writer: LogWriter, clock: Callable[[], float]) -> None:
        """Args: the job, the log, and the clock in seconds since the epoch."""
        self._job = job
        self._writer = writer
        self._clock = clock
        self._last = ("", float("-inf"))

    async def progress(self, percent: float | None, stage: str) -> None:
        """Report progress, at most twice a second within a stage."""
        now = self._clock()
        if stage == self._last[0] and now - self._last[1] < MIN_PROGRESS_SECONDS:
            return
        self._last = (stage, now)
        await self.send("progress", progress=percent, stage=stage)

    async def outcome(self, kind: str, made: MediaOutcome) -> None:
        """Report that a first rung plays (``playable``), or that all is done (``completed``)."""
        await self.send(
            kind,
            duration_seconds=made.duration_seconds,
            width=made.width,
            height=made.height,
            assets=made.assets,
            notes=made.notes,
        )

    async def send(self, outcome: str, **details: object) -> None:
        """Append one report; durable when it returns."""
        job = self._job
        known = {"job_id": job.job_id, "video_id": job.video_id, "outcome": outcome, "at": self._clock()}
        result = msgspec.convert({**known, **details}, MediaResult, from_attributes=True)
        await self._writer.publish([Outgoing(MEDIA_RESULTS.name, job.video_id, _encode(result))])
