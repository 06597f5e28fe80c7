"""What embedding agents ask of a video, and tell of it (D8, D26)."""

from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncSession

from social.videos.processing import locked_video
from social.videos.reading import load_card
from tables.errors import ContentNotFound
from tables.records import CatalogueChange
from tables.relational.engine import Database
from tables.relational.models import VideoRow
from tables.relational.outbox import enqueue_numbered


async def publish_embedding(
    database: Database, video_id: str, vector: bytes, model_version: str, at: float
) -> bool:
    """Mark a video as embedded and send its card with the vector to the catalogue, in one transaction.

    Args:
        database: where the video is.
        video_id: the video; locked, so that a deletion comes before or after, never between.
        vector: float16[512] as bytes, unit length.
        model_version: encoder that made it; a newer one replaces an older one (D8).
        at: seconds since the epoch.

    Returns:
        False when the video is gone or not playable; then nothing is sent.
    """

    async def write(session: AsyncSession) -> bool:
        video = await locked_video(session, video_id)
        card = await load_card(session, video_id) if video is not None else None
        if video is None or card is None:
            return False
        video.embedding_state, video.embedding_model, video.embedding_error = "ready", model_version, None
        card = replace(card, embedding=vector, model_version=model_version)
        await enqueue_numbered(
            session,
            "catalogue.changes",
            video_id,
            lambda seq: CatalogueChange(video_id=video_id, at=at, seq=seq, card=card),
            at=at,
        )
        return True

    return await database.run(write)


async def source_key(database: Database, video_id: str) -> str:
    """Return the store key of a video's source.

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND when the video or its source is gone.
    """
    row = await database.read(lambda session: session.get(VideoRow, video_id))
    if row is None or row.source_key is None:
        raise ContentNotFound
    return row.source_key
