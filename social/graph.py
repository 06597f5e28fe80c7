"""The graph between people: who follows whom (R13, R19, X33)."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from sqlalchemy import CursorResult, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from social.ids import canonical
from social.views import Principal
from tables.errors import DuplicateFollow, SelfFollow, UserNotFound
from tables.records import UserFact
from tables.relational.engine import Database
from tables.relational.models import FollowRow, UserRow, moment
from tables.relational.outbox import enqueue

REMEMBERED_VIEWERS = 10_000
REMEMBER_SECONDS = 10.0
"""How long another process's follow may go unnoticed in a feed here; this one's own counts at once."""


@dataclass(frozen=True, slots=True)
class Following:
    """A follow relation after a request, and the followers that the followed one has now."""

    user_id: str
    following: bool
    follower_count: int


class Graph:
    """Follows, as rows with their facts in the same transaction."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, frozenset[str]]] = OrderedDict()

    async def follow(self, viewer: Principal, user_id: str) -> Following:
        """Follow a person (X33).

        Raises:
            SelfFollow: SELF_FOLLOW.
            DuplicateFollow: DUPLICATE_FOLLOW.
            UserNotFound: USER_NOT_FOUND.
        """
        target, now = self._target(viewer, user_id), self._clock()

        async def write(session: AsyncSession) -> Following:
            if await session.get(UserRow, target) is None:
                raise UserNotFound
            session.add(FollowRow(follower_id=viewer.user_id, following_id=target, created_at=moment(now)))
            try:
                await session.flush()
            except IntegrityError:
                raise DuplicateFollow(details={"field": "user_id", "value": target}) from None
            return await _told(session, viewer, target, "user.followed", now)

        done = await self._database.run(write)
        self._known.pop(viewer.user_id, None)
        return done

    async def unfollow(self, viewer: Principal, user_id: str) -> Following:
        """Stop following a person; once more changes nothing.

        Raises:
            SelfFollow: SELF_FOLLOW.
            UserNotFound: USER_NOT_FOUND.
        """
        target, now = self._target(viewer, user_id), self._clock()

        async def write(session: AsyncSession) -> Following:
            if await session.get(UserRow, target) is None:
                raise UserNotFound
            pair = (FollowRow.follower_id == viewer.user_id, FollowRow.following_id == target)
            removed = cast("CursorResult[object]", await session.execute(delete(FollowRow).where(*pair)))
            if not removed.rowcount:
                return Following(target, False, await _followers(session, target))
            return await _told(session, viewer, target, "user.unfollowed", now)

        done = await self._database.run(write)
        self._known.pop(viewer.user_id, None)
        return done

    async def following(self, viewer_id: str) -> frozenset[str]:
        """Return the ids of those a person follows, at most ``REMEMBER_SECONDS`` old."""
        known = self._known.get(viewer_id)
        now = self._clock()
        if known is not None and now - known[0] < REMEMBER_SECONDS:
            return known[1]

        async def query(session: AsyncSession) -> frozenset[str]:
            mine = select(FollowRow.following_id).where(FollowRow.follower_id == viewer_id)
            return frozenset(await session.scalars(mine))

        found = await self._database.read(query)
        self._known[viewer_id] = (now, found)
        while len(self._known) > REMEMBERED_VIEWERS:
            self._known.popitem(last=False)
        return found

    def _target(self, viewer: Principal, user_id: str) -> str:
        target = canonical(user_id)
        if target is None:
            raise UserNotFound
        if target == viewer.user_id:
            raise SelfFollow
        return target


async def _told(session: AsyncSession, viewer: Principal, target: str, kind: str, at: float) -> Following:
    fact = UserFact(kind=kind, user_id=viewer.user_id, at=at, target=target)
    enqueue(session, "events.user", viewer.user_id, fact, at=at)
    return Following(target, kind == "user.followed", await _followers(session, target))


async def _followers(session: AsyncSession, user_id: str) -> int:
    query = select(func.count()).select_from(FollowRow).where(FollowRow.following_id == user_id)
    return int(await session.scalar(query) or 0)
