"""Goes through the videos that can be played, a page at a time."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from tables.lifecycle import VideoStatus
from tables.relational.engine import Database
from tables.relational.models import VideoRow, seconds

PAGE = 500
Found = tuple[str, datetime]


async def _page(session: AsyncSession, query: Select[str, datetime]) -> Sequence[Found]:
    return [(video_id, at) for video_id, at in await session.execute(query)]


async def ready_videos(database: Database) -> AsyncIterator[tuple[str, float]]:
    """Yield every READY video's id and when it became so, in seconds since the epoch, in order of ids."""
    became = func.coalesce(VideoRow.processing_completed_at, VideoRow.updated_at)
    after = ""
    while True:
        query = (
            select(VideoRow.id, became)
            .where(VideoRow.status == VideoStatus.READY, VideoRow.id > after)
            .order_by(VideoRow.id)
            .limit(PAGE)
        )

        rows = await database.read(partial(_page, query=query))
        for video_id, at in rows:
            yield video_id, seconds(at)
        if len(rows) < PAGE:
            return
        after = rows[-1][0]
