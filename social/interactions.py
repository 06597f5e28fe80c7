"""What people do to videos: like, save, share, comment; idempotent, row and event together (H2-H8, H13)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from social import paging, relations
from social.comments import Comments
from social.ids import canonical, new_id
from social.remembered import RememberedRelations
from social.videos import reading
from social.videos.access import seen_row, visible
from social.views import Page, Principal, Relation, Relations, Video
from tables.records import Action, EngagementEvent
from tables.relational.engine import Database
from tables.relational.models import LikeRow, RelationEventRow, SaveRow, VideoRow, moment

REMEMBER_EVENTS = timedelta(days=30)  # as long as the intake accepts late events


@dataclass(frozen=True, slots=True)
class Share:
    """A share after a request: its event id, whether it is new, the new count."""

    event_id: str
    changed: bool
    count: int


class Interactions:
    """Likes, saves, shares; ``comments`` is the service of comments."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self.remembered = RememberedRelations(database, clock)
        self.comments = Comments(database, clock)

    async def like(self, viewer: Principal, video_id: str) -> Relation:
        """Like a video; twice is once (H3).

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND when the viewer cannot see it.
            ContentAlreadyDeleted: CONTENT_ALREADY_DELETED (X34).
        """
        return await self._relate(viewer, video_id, Action.LIKE)

    async def unlike(self, viewer: Principal, video_id: str) -> Relation:
        """Take a like back; errors as for :meth:`like`."""
        return await self._relate(viewer, video_id, Action.UNLIKE)

    async def save(self, viewer: Principal, video_id: str) -> Relation:
        """Save a video for later; errors as for :meth:`like`."""
        return await self._relate(viewer, video_id, Action.SAVE)

    async def unsave(self, viewer: Principal, video_id: str) -> Relation:
        """Remove a video from the saved ones; errors as for :meth:`like`."""
        return await self._relate(viewer, video_id, Action.UNSAVE)

    async def share(self, viewer: Principal, video_id: str, event_id: str | None = None) -> Share:
        """Record a share; the same event id is the same share; errors as for :meth:`like`."""
        shared = event_id or new_id()
        now = self._clock()

        async def write(session: AsyncSession) -> Share:
            video = await seen_row(session, video_id, viewer)
            await relations.lock_user(session, viewer.user_id)
            event = _event(viewer, video, Action.SHARE, now, shared)
            applied = await relations.apply(session, viewer.user_id, [event], now, remember=True)
            await session.refresh(video, ["share_count"])
            return Share(shared, shared in applied.changed, video.share_count)

        return await self._database.run(write)

    async def apply_client_events(self, user_id: str, events: Sequence[EngagementEvent]) -> list[bool]:
        """Apply one user's like, unlike, save, unsave and share events in order, all or none (F3, H8).

        Args:
            user_id: The bearer.
            events: Of videos that the bearer may see, with owner and duration filled in.

        Returns:
            For each event whether its id was known already.
        """
        now = self._clock()

        async def write(session: AsyncSession) -> list[bool]:
            await relations.lock_user(session, user_id)
            ids = {event.video_id for event in events}
            there = set(await session.scalars(select(VideoRow.id).where(VideoRow.id.in_(ids))))
            # A video that was deleted since the edge looked takes no relation any more.
            kept = [event for event in events if event.video_id in there]
            applied = await relations.apply(session, user_id, kept, now, remember=True)
            known = iter(applied.known)
            return [next(known) if event.video_id in there else False for event in events]

        try:
            return await self._database.run(write)
        finally:
            self.remembered.forget(user_id)

    async def saves(self, viewer: Principal, cursor: str | None = None, limit: int = 20) -> Page[Video]:
        """Return the viewer's saved videos that can still be seen, last saved first (H13).

        Raises:
            ValidationFailed: VALIDATION_ERROR for a bad cursor or limit.
        """
        position, size = paging.decode(cursor), paging.clamp(limit)

        async def query(session: AsyncSession) -> Page[Video]:
            rows = select(SaveRow).where(SaveRow.user_id == viewer.user_id)
            older = paging.before(SaveRow.created_at, SaveRow.video_id, position)
            if older is not None:
                rows = rows.where(older)
            ordered = rows.order_by(SaveRow.created_at.desc(), SaveRow.video_id.desc()).limit(size + 1)
            found = list(await session.scalars(ordered))
            shown = found[:size]
            saved = await reading.load(session, [row.video_id for row in shown])
            seen = await visible(session, viewer, saved)
            items = [seen[row.video_id] for row in shown if row.video_id in seen]
            more = len(found) > size
            following = paging.encode((shown[-1].created_at, shown[-1].video_id)) if more else None
            return Page(items, following)

        return await self._database.read(query)

    async def relations(self, viewer_id: str, video_ids: Sequence[str]) -> Relations:
        """Return which of the videos the viewer likes and has saved."""
        known = await self.remembered.of(viewer_id)
        if known is not None:
            asked = frozenset(video_ids)
            return Relations(liked=known.liked & asked, saved=known.saved & asked)
        ids = [found for found in map(canonical, video_ids) if found]

        async def query(session: AsyncSession) -> Relations:
            found = []
            for row in (LikeRow, SaveRow):
                mine = select(row.video_id).where(row.user_id == viewer_id, row.video_id.in_(ids))
                found.append(frozenset(await session.scalars(mine)))
            return Relations(liked=found[0], saved=found[1])

        return await self._database.read(query)

    async def forget_old_events(self) -> int:
        """Forget event ids that no client may send any more; returns how many."""
        limit = moment(self._clock()) - REMEMBER_EVENTS

        async def write(session: AsyncSession) -> int:
            done = await session.execute(delete(RelationEventRow).where(RelationEventRow.created_at < limit))
            return cast("CursorResult[object]", done).rowcount

        return await self._database.run(write)

    async def _relate(self, viewer: Principal, video_id: str, action: Action) -> Relation:
        now = self._clock()

        async def write(session: AsyncSession) -> Relation:
            video = await seen_row(session, video_id, viewer)
            await relations.lock_user(session, viewer.user_id)
            column = "like_count" if action in (Action.LIKE, Action.UNLIKE) else "save_count"
            event = _event(viewer, video, action, now, new_id())
            applied = await relations.apply(session, viewer.user_id, [event], now, remember=False)
            await session.refresh(video, [column])
            active = action in (Action.LIKE, Action.SAVE)
            return Relation(active, bool(applied.changed), int(getattr(video, column)))

        try:
            return await self._database.run(write)
        finally:
            self.remembered.forget(viewer.user_id)


def _event(viewer: Principal, video: VideoRow, action: Action, at: float, event_id: str) -> EngagementEvent:
    return EngagementEvent(
        event_id=event_id,
        user_id=viewer.user_id,
        video_id=video.id,
        action=action,
        occurred_at=at,
        owner_id=video.owner_id,
        duration_seconds=video.duration_seconds or 0.0,
    )
