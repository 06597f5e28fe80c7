"""Fetches a video's row for somebody, or says why not (C23, H7, O7, X34)."""

from collections.abc import Mapping
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from social.ids import canonical
from social.views import Principal
from social.visibility import Visible, can_view
from tables.errors import ContentAlreadyDeleted, ContentNotFound, NotContentOwner
from tables.lifecycle import Visibility
from tables.relational.models import FollowRow, TombstoneRow, VideoRow

V = TypeVar("V", bound=Visible)


async def own_row(session: AsyncSession, video_id: str, caller: Principal, *, lock: bool = False) -> VideoRow:
    """Return a video's row for its owner or an operator (C23, H7).

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND, also when the caller may not even see it.
        ContentAlreadyDeleted: CONTENT_ALREADY_DELETED while its tombstone is kept (X34).
        NotContentOwner: NOT_CONTENT_OWNER.
    """
    row = await seen_row(session, video_id, caller, lock=lock)
    if row.owner_id != caller.user_id and not caller.is_operator:
        raise NotContentOwner
    return row


async def seen_row(
    session: AsyncSession, video_id: str, viewer: Principal | None, *, lock: bool = False
) -> VideoRow:
    """Return a video's row for somebody who may see it.

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND.
        ContentAlreadyDeleted: CONTENT_ALREADY_DELETED while its tombstone is kept (X34).
    """
    known = canonical(video_id)
    if known is None:
        raise ContentNotFound
    row = await session.get(VideoRow, known, with_for_update=lock)
    if row is None and await session.get(TombstoneRow, known) is not None:
        raise ContentAlreadyDeleted
    if row is None or not await visible(session, viewer, {row.id: row}):
        raise ContentNotFound
    return row


async def visible(session: AsyncSession, viewer: Principal | None, videos: Mapping[str, V]) -> dict[str, V]:
    """Return those of the videos that the viewer may see, by id; the graph is asked only where it decides."""
    owners = {video.owner_id for video in videos.values() if video.visibility == Visibility.FOLLOWERS_ONLY}
    followed: set[str] = set()
    if viewer is not None and owners:
        mine = FollowRow.follower_id == viewer.user_id, FollowRow.following_id.in_(owners)
        followed = set(await session.scalars(select(FollowRow.following_id).where(*mine)))
    return {
        video_id: video
        for video_id, video in videos.items()
        if can_view(viewer, video, follows=video.owner_id in followed)
    }
