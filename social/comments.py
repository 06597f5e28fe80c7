"""Comments and replies (H4, H5, H13): a row, the counter and the event in one transaction."""

from collections import Counter
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from social import paging, relations
from social.ids import canonical, new_id
from social.videos.access import seen_row
from social.videos.metadata import check_text
from social.views import Comment, Page, Principal
from tables.errors import ContentNotFound, NotContentOwner, ValidationFailed
from tables.records import Action, EngagementEvent
from tables.relational.engine import Database
from tables.relational.models import CommentRow, UserRow, VideoRow, moment, seconds

MAX_COMMENT_CHARS = 2_000


class Comments:
    """The service of comments."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def add(self, author: Principal, video_id: str, text: str, parent_id: str | None = None) -> Comment:
        """Comment on a video, or reply to a comment of the same video (H4).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND when the author cannot see the video.
            ContentAlreadyDeleted: CONTENT_ALREADY_DELETED (X34).
            ContentTooLong: CONTENT_TOO_LONG over 2,000 characters (H5).
            ValidationFailed: VALIDATION_ERROR for an empty text or a parent that is not there.
        """
        clean = check_text("text", text, MAX_COMMENT_CHARS)
        if not clean:
            raise ValidationFailed("A comment needs a text.", details={"field": "text"})
        now, comment_id = self._clock(), new_id()

        async def write(session: AsyncSession) -> Comment:
            video = await seen_row(session, video_id, author)
            row = CommentRow(
                id=comment_id,
                video_id=video.id,
                user_id=author.user_id,
                parent_id=await _parent(session, video.id, parent_id),
                text=clean,
                created_at=moment(now),
                updated_at=moment(now),
            )
            await relations.lock_user(session, author.user_id)
            session.add(row)
            await session.flush()
            await _tell(session, video, row, Action.COMMENT, now)
            return _view(row, author.username)

        return await self._database.run(write)

    async def remove(self, caller: Principal, comment_id: str) -> None:
        """Delete one's own comment; operators delete any (H7). One with replies stays, without its text.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND, also the second time.
            NotContentOwner: NOT_CONTENT_OWNER.
        """
        known, now = canonical(comment_id), self._clock()

        async def write(session: AsyncSession) -> None:
            row = await session.get(CommentRow, known, with_for_update=True) if known else None
            if row is None or row.deleted_at is not None:
                raise ContentNotFound
            video = await seen_row(session, row.video_id, caller)
            if row.user_id != caller.user_id and not caller.is_operator:
                raise NotContentOwner
            row.deleted_at, row.text, row.updated_at = moment(now), "", moment(now)
            await session.flush()
            await _tell(session, video, row, Action.UNCOMMENT, now)
            await _prune(session, row)

        await self._database.run(write)

    async def listing(
        self,
        viewer: Principal | None,
        video_id: str,
        cursor: str | None = None,
        limit: int = 20,
        parent_id: str | None = None,
    ) -> Page[Comment]:
        """Return comments and replies of a video, newest first; with ``parent_id`` only its replies.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND when the viewer cannot see the video.
            ContentAlreadyDeleted: CONTENT_ALREADY_DELETED (X34).
            ValidationFailed: VALIDATION_ERROR for a bad cursor or limit.
        """
        position, size = paging.decode(cursor), paging.clamp(limit)

        async def query(session: AsyncSession) -> Page[Comment]:
            video = await seen_row(session, video_id, viewer)
            rows = select(CommentRow, UserRow.username).join(UserRow, UserRow.id == CommentRow.user_id)
            rows = rows.where(CommentRow.video_id == video.id)
            if parent_id is not None:
                rows = rows.where(CommentRow.parent_id == (canonical(parent_id) or ""))
            older = paging.before(CommentRow.created_at, CommentRow.id, position)
            if older is not None:
                rows = rows.where(older)
            ordered = rows.order_by(CommentRow.created_at.desc(), CommentRow.id.desc()).limit(size + 1)
            found = [_view(row, username) for row, username in await session.execute(ordered)]
            more = len(found) > size
            last = found[:size][-1] if more else None
            following = paging.encode((moment(last.created_at), last.id)) if last else None
            return Page(found[:size], following)

        return await self._database.read(query)


async def _parent(session: AsyncSession, video_id: str, parent_id: str | None) -> str | None:
    if parent_id is None:
        return None
    known = canonical(parent_id)
    row = await session.get(CommentRow, known) if known else None
    if row is None or row.video_id != video_id or row.deleted_at is not None:
        raise ValidationFailed("There is no such comment to reply to.", details={"field": "parent_id"})
    return row.id


async def _tell(session: AsyncSession, video: VideoRow, row: CommentRow, action: Action, at: float) -> None:
    """Count the comment and publish it; comments are one fact each, named by the comment's own id."""
    change = 1 if action is Action.COMMENT else -1
    await relations.count(session, {"comment_count": Counter({video.id: change})})
    event = EngagementEvent(
        event_id=row.id if action is Action.COMMENT else new_id(),
        user_id=row.user_id,
        video_id=video.id,
        action=action,
        occurred_at=at,
        owner_id=video.owner_id,
        duration_seconds=video.duration_seconds or 0.0,
    )
    await relations.publish(session, [event], at)


async def _prune(session: AsyncSession, row: CommentRow | None) -> None:
    """Remove a deleted comment that no reply hangs on, and then its parents of the same kind."""
    while row is not None and row.deleted_at is not None:
        replies = select(CommentRow.id).where(CommentRow.parent_id == row.id).limit(1)
        if await session.scalar(replies) is not None:
            return
        parent_id = row.parent_id
        await session.delete(row)
        await session.flush()
        row = await session.get(CommentRow, parent_id) if parent_id else None


def _view(row: CommentRow, username: str) -> Comment:
    return Comment(
        id=row.id,
        video_id=row.video_id,
        user_id=row.user_id,
        username=username,
        parent_id=row.parent_id,
        text=row.text,
        deleted=row.deleted_at is not None,
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
    )
