"""Fetches a video's row for somebody, or says why not (C23, H7, O7, X34)."""

from sqlalchemy.ext.asyncio import AsyncSession

from social.ids import canonical
from social.views import Principal
from social.visibility import can_view
from tables.errors import ContentAlreadyDeleted, ContentNotFound, NotContentOwner
from tables.relational.models import TombstoneRow, VideoRow


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
    if row is None or not can_view(viewer, row):
        raise ContentNotFound
    return row
