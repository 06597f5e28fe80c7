"""Goes through the videos that can be played, and notes who wants one kept at hand (R32)."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from social.videos.access import own_row
from social.views import Principal
from tables.lifecycle import VideoStatus
from tables.relational.engine import Database
from tables.relational.models import VideoRow, moment, seconds

PAGE = 500
Found = tuple[str, datetime]


async def _page(session: AsyncSession, query: Select[str, datetime]) -> Sequence[Found]:
    return [(video_id, at) for video_id, at in await session.execute(query)]


async def ready_videos(database: Database) -> AsyncIterator[tuple[str, float]]:
    """Yield every READY video's id and when its owner last wanted it, in seconds since the epoch.

    That is when it became READY, was edited, or was asked back from the archive.
    """
    after = ""
    while True:
        query = (
            select(VideoRow.id, VideoRow.updated_at)
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


async def want(database: Database, video_id: str, caller: Principal, now: float) -> None:
    """Note that a video is wanted at hand, so that it is not archived again at once.

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND.
        NotContentOwner: NOT_CONTENT_OWNER for anybody but the owner and operators.
    """

    async def write(session: AsyncSession) -> None:
        row = await own_row(session, video_id, caller, lock=True)
        row.updated_at = moment(now)

    await database.run(write)
