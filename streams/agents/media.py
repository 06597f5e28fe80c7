"""Agents of the media pipeline: queue, encode, apply, embed (B1-B18, D1, D9, D10).

Encodes are long: their events are acknowledged when the outcome is on its topic, so a crash or a stop
in between delivers the job again. What a job means is decided by the video service alone (X71).
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import structlog

from media.pipeline import MediaError, MediaOutcome, MediaSettings, run_job
from media.stores import ObjectStore
from ranking.embedding import Embedding, EmbeddingError, Encoder, Source
from social.videos import VideoService
from social.videos.embedding import publish_embedding, source_key, wants_encode
from streams.log.commit import LogWriter, Outgoing
from streams.log.errors import LogError
from streams.log.slices import Slice
from streams.topics import MEDIA_RESULTS, NOTIFICATIONS
from tables.errors import AppError
from tables.records import Card, ContentFact, MediaJob, MediaResult, VideoUploaded
from tables.relational.engine import Database

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode

RETRY_SECONDS = (5.0, 12.0, 30.0)
"""Pauses before an encode is tried again (B9)."""
EMBED_RETRY_SECONDS = (1.0, 2.0, 4.0)
"""Pauses before an embedding is tried again (D10)."""
WANTED_SECONDS = 3.0
"""How often a running encode asks whether its video is still there."""
MIN_PROGRESS_SECONDS = 0.5
"""A progress report is a synced write: at most two a second and job."""


async def enqueue(batch: Slice[VideoUploaded], videos: VideoService, ladder: str) -> None:
    """Queue one encode for each stored source (B1)."""
    for uploaded in batch.records:
        await videos.enqueue_encoding(uploaded.video_id, ladder)


@dataclass(frozen=True)
class EncodeTools:
    """What encoding needs; ``slots`` bounds how many run at once in this process."""

    store: ObjectStore
    workdir: Path
    settings: MediaSettings
    writer: LogWriter
    database: Database
    videos: VideoService
    slots: asyncio.Semaphore
    clock: Callable[[], float]
    observed: Callable[[str, float], None]  # outcome, seconds


async def encode(job: MediaJob, tools: EncodeTools) -> None:
    """Run one job and put its outcome on ``media.results``; a passing failure queues it again."""
    report = _Reporter(job, tools)
    try:
        async with tools.slots:
            if not await wants_encode(tools.database, job):
                log.info("media_job_ignored", job_id=job.job_id, video_id=job.video_id)
                return
            started = tools.clock()
            outcome = await _while_wanted(_run(job, tools, report), job, tools)
    except NotWanted:
        log.info("media_job_given_up", job_id=job.job_id, video_id=job.video_id)
        return
    except MediaError as error:
        tools.observed("failed", tools.clock() - started)
        log.warning("media_job_failed", video_id=job.video_id, code=error.code, reason=error.reason)
        if not (error.retryable and await _queued_again(job, error, tools.videos)):
            await report.send("failed", fail_code=error.code, fail_reason=error.reason)
        return
    tools.observed("completed", tools.clock() - started)
    await report.send(
        "completed",
        duration_seconds=outcome.duration_seconds,
        width=outcome.width,
        height=outcome.height,
        assets=outcome.assets,
    )


async def _while_wanted(
    work: Coroutine[Any, Any, MediaOutcome], job: MediaJob, tools: EncodeTools
) -> MediaOutcome:
    """Run a job, and end it with its child when its video is deleted meanwhile (C24, C25).

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
            if not await _is_wanted(job, tools):
                raise NotWanted
    finally:
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _is_wanted(job: MediaJob, tools: EncodeTools) -> bool:
    """Ask whether anybody still waits for a job; while the database is down, somebody may."""
    try:
        return await wants_encode(tools.database, job)
    except AppError:
        return True


class NotWanted(Exception):
    """Nobody waits for a job any more."""


async def _run(job: MediaJob, tools: EncodeTools, report: "_Reporter") -> MediaOutcome:
    """Run a job; what nobody foresaw is a failure of the job too, or its owner would wait for ever."""
    try:
        return await run_job(job, tools.store, tools.workdir, tools.settings, report.progress)
    except (MediaError, LogError):
        raise
    except Exception as error:
        log.exception("media_job_broke", video_id=job.video_id, job_id=job.job_id)
        raise MediaError(AppError.code, "The video could not be processed.", retryable=True) from error


async def _queued_again(job: MediaJob, error: MediaError, videos: VideoService) -> bool:
    """Pause and queue the job again; False when its tries are used up (B9)."""
    if job.attempt >= len(RETRY_SECONDS):
        return False
    await asyncio.sleep(RETRY_SECONDS[job.attempt])
    return await videos.requeue_job(job.job_id, error.code, error.reason)


class _Reporter:
    """Puts one job's reports on the results topic."""

    def __init__(self, job: MediaJob, tools: EncodeTools) -> None:
        self._job = job
        self._tools = tools
        self._last = ("", float("-inf"))

    async def progress(self, percent: float | None, stage: str) -> None:
        """Report progress, at most twice a second within a stage."""
        now = self._tools.clock()
        if stage == self._last[0] and now - self._last[1] < MIN_PROGRESS_SECONDS:
            return
        self._last = (stage, now)
        await self.send("progress", progress=percent, stage=stage)

    async def send(self, outcome: str, **details: object) -> None:
        """Append one report; durable when it returns."""
        job = self._job
        known = {
            "job_id": job.job_id,
            "video_id": job.video_id,
            "outcome": outcome,
            "at": self._tools.clock(),
        }
        result = msgspec.convert({**known, **details}, MediaResult, from_attributes=True)
        await self._tools.writer.publish([Outgoing(MEDIA_RESULTS.name, job.video_id, _encode(result))])


async def apply_results(batch: Slice[MediaResult], videos: VideoService, writer: LogWriter) -> None:
    """Apply reports in order; of several progress reports of a job in one slice only the last matters."""
    latest = {result.job_id: number for number, result in enumerate(batch.records)}
    for number, result in enumerate(batch.records):
        if result.outcome == "completed":
            await videos.apply_completed(result)
        elif result.outcome == "playable":
            await videos.apply_playable(result)
        elif result.outcome == "failed":
            await videos.apply_failed(result)
        elif number == latest[result.job_id]:
            notes = await videos.apply_progress(result)
            if notes:
                await writer.publish(
                    [Outgoing(NOTIFICATIONS.name, n.recipient_id, _encode(n)) for n in notes]
                )


@dataclass(frozen=True)
class EmbedTools:
    """What embedding needs."""

    store: ObjectStore
    database: Database
    videos: VideoService
    encoder: Encoder
    workdir: Path
    clock: Callable[[], float]


async def embed(fact: ContentFact, tools: EmbedTools) -> None:
    """Embed a video that became READY; other facts are passed over.

    After the last failed try the video is marked, and stays in the catalogue without a vector.
    """
    if fact.kind != "video.ready":
        return
    card = await tools.videos.card(fact.video_id)
    if card is None:
        return  # deleted meanwhile
    problem: Exception | None = None
    for pause in (0.0, *EMBED_RETRY_SECONDS):
        await asyncio.sleep(pause)
        try:
            embedding = await _embedding(fact.video_id, card, tools)
        except (EmbeddingError, AppError, OSError) as error:
            problem = error
            log.warning("embedding_failed", video_id=fact.video_id, error=str(error))
            continue
        await publish_embedding(
            tools.database, fact.video_id, embedding.as_bytes(), embedding.model_version, tools.clock()
        )
        return
    await tools.videos.record_embedding(fact.video_id, "failed", "", error=str(problem))


async def _embedding(video_id: str, card: Card, tools: EmbedTools) -> Embedding:
    """Embed the stored source, from where it lies or from a copy that is removed again."""
    key = await source_key(tools.database, video_id)
    local = tools.store.local_path(key)
    if local is not None:
        return await tools.encoder(Source(local, card.title, card.description, card.tags))
    with TemporaryDirectory(dir=tools.workdir) as folder:
        copy = Path(folder) / "source"
        await tools.store.fetch(key, copy)
        return await tools.encoder(Source(copy, card.title, card.description, card.tags))
