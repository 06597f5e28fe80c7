"""Agents of the media pipeline beside the encoder: queue, apply, embed (B1, B8, X71, D1, D9, D10)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import structlog

from media.stores import ObjectStore
from ranking.embedding import Embedding, EmbeddingError, Encoder, Source
from social.videos import VideoService
from social.videos.captions import Captions
from social.videos.embedding import publish_embedding, source_key
from streams.log.commit import LogWriter, Outgoing
from streams.log.slices import Slice
from streams.topics import NOTIFICATIONS
from tables.errors import AppError
from tables.records import Card, ContentFact, MediaResult, VideoUploaded
from tables.relational.engine import Database

log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode

EMBED_RETRY_SECONDS = (1.0, 2.0, 4.0)
"""Pauses before an embedding is tried again (D10)."""


async def enqueue(batch: Slice[VideoUploaded], videos: VideoService, ladder: str) -> None:
    """Queue one encode for each stored source (B1)."""
    for uploaded in batch.records:
        await videos.enqueue_encoding(uploaded.video_id, ladder)


async def apply_results(
    batch: Slice[MediaResult], videos: VideoService, captions: Captions, writer: LogWriter
) -> None:
    """Apply reports in order; of several progress reports of a job in one slice only the last matters.

    Captions that came while a job was at work are put into what it made (Y6), also when the report is
    delivered again.
    """
    latest = {result.job_id: number for number, result in enumerate(batch.records)}
    for number, result in enumerate(batch.records):
        if result.outcome == "completed":
            await videos.apply_completed(result)
            await captions.publish(result.video_id)
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
