"""Deletes a person with all that is theirs (C25): videos, images, likes, comments, follows, the account.

One step at a time, each in its own transaction with its facts, so that counters and tables follow. What a
crash leaves is an account with less; asking again goes on from there.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from social.graph import Graph
from social.images import ImageService
from social.interactions import Interactions
from social.videos import VideoService
from social.views import Principal
from tables.errors import ContentNotFound, UserNotFound
from tables.records import UserFact
from tables.relational.engine import Database
from tables.relational.models import (
    CommentRow,
    FollowRow,
    ImageRow,
    LikeRow,
    SaveRow,
    SessionRow,
    TombstoneRow,
    UserRow,
    VideoRow,
    moment,
)
from tables.relational.outbox import enqueue

AT_ONCE = 100


class Leaving:
    """Deletes accounts."""

    def __init__(
        self,
        database: Database,
        videos: VideoService,
        interactions: Interactions,
        graph: Graph,
        images: ImageService,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._videos = videos
        self._interactions = interactions
        self._graph = graph
        self._images = images
        self._clock = clock

    async def delete(self, user_id: str) -> None:
        """Delete an account and everything of it; a tombstone and the facts remain.

        Raises:
            UserNotFound: USER_NOT_FOUND, also the second time.
        """
        # With the rights of an operator: what was hidden meanwhile is taken back as well.
        who = Principal(user_id, await self._begin(user_id), "operator", "")
        while not await self._finish(user_id):
            for video_id in await self._ids(select(VideoRow.id).where(VideoRow.owner_id == user_id)):
                await _once(self._videos.delete(video_id, who))
            for image_id in await self._images.of_owner(user_id):
                await _once(self._images.delete(image_id, who))
            await self._take_back(who)
            await self._part(who)

    async def _begin(self, user_id: str) -> str:
        """End the account's sessions, so that nothing new comes; returns its name."""
        at = moment(self._clock())

        async def write(session: AsyncSession) -> str:
            row = await session.get(UserRow, user_id)
            if row is None:
                raise UserNotFound
            mine = (SessionRow.user_id == user_id) & SessionRow.revoked_at.is_(None)
            await session.execute(
                update(SessionRow).where(mine).values(revoked_at=at, revoked_reason="account deleted")
            )
            return row.username

        return await self._database.run(write)

    async def _take_back(self, who: Principal) -> None:
        for video_id in await self._ids(select(LikeRow.video_id).where(LikeRow.user_id == who.user_id)):
            await _once(self._interactions.unlike(who, video_id))
        for video_id in await self._ids(select(SaveRow.video_id).where(SaveRow.user_id == who.user_id)):
            await _once(self._interactions.unsave(who, video_id))
        for comment_id in await self._ids(_threads(who.user_id)):
            await _once(self._interactions.comments.remove(who, comment_id))

    async def _part(self, who: Principal) -> None:
        mine = select(FollowRow.following_id).where(FollowRow.follower_id == who.user_id)
        for other in await self._ids(mine):
            await _once(self._graph.unfollow(who, other))
        theirs = select(FollowRow.follower_id).where(FollowRow.following_id == who.user_id)
        for other in await self._ids(theirs):
            await _once(self._graph.unfollow(Principal(other, "", "user", ""), who.user_id))

    async def _finish(self, user_id: str) -> bool:
        """Delete the account once nothing hangs on it; False while something does."""
        at = self._clock()
        left = (
            select(VideoRow.id).where(VideoRow.owner_id == user_id),
            select(ImageRow.id).where(ImageRow.owner_id == user_id),
            select(LikeRow.video_id).where(LikeRow.user_id == user_id),
            select(SaveRow.video_id).where(SaveRow.user_id == user_id),
            select(FollowRow.follower_id).where(FollowRow.following_id == user_id),
            select(FollowRow.following_id).where(FollowRow.follower_id == user_id),
            _threads(user_id),
        )

        async def write(session: AsyncSession) -> bool:
            row = await session.get(UserRow, user_id, with_for_update=True)
            if row is None:
                return True
            for query in left:
                if await session.scalar(query.limit(1)) is not None:
                    return False
            for kind in ("feed.reset", "user.deleted"):
                enqueue(session, "events.user", user_id, UserFact(kind=kind, user_id=user_id, at=at), at=at)
            await session.merge(TombstoneRow(id=user_id, kind="user", deleted_at=moment(at)))
            await session.delete(row)
            return True

        return await self._database.run(write)

    async def _ids(self, query: Select[Any]) -> Sequence[str]:
        async def read(session: AsyncSession, query: Select[Any]) -> list[str]:
            return list(await session.scalars(query.limit(AT_ONCE)))

        return await self._database.read(partial(read, query=query))


def _threads(user_id: str) -> Select[Any]:
    """Return the comments of a person that stand, and all below them: a thread goes with its root."""
    below = select(CommentRow.id).where(CommentRow.user_id == user_id).cte("below", recursive=True)
    below = below.union(select(CommentRow.id).join(below, CommentRow.parent_id == below.c.id))
    standing = CommentRow.deleted_at.is_(None)
    return select(CommentRow.id).join(below, below.c.id == CommentRow.id).where(standing)


async def _once(step: Any) -> None:
    """Await a step; what is gone already needs none."""
    try:
        await step
    except (ContentNotFound, UserNotFound):
        return
