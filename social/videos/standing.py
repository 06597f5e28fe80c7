"""Who may be served a video's bytes now: asked for every file, so it is remembered for a moment (C36-C38).

A link says whom it was made for. It opens as long as the video is for at least them: one made while the
video was public ends when it is hidden, flagged or deleted. A change made by this process counts at once,
one made by another worker at once over the bus and after ``WINDOW_SECONDS`` without it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from media.urls import Audience
from social.ids import canonical
from social.videos.access import own_row
from social.videos.ready import want
from social.views import Principal
from social.visibility import Visible, can_view
from tables.relational.engine import Database
from tables.relational.models import VideoRegionRow, VideoRow

WINDOW_SECONDS = 5.0
REMEMBERED = 20_000
_REACH = {Audience.PUBLIC: 2, Audience.FOLLOWERS: 1, Audience.OWNER: 0}


@dataclass(frozen=True, slots=True)
class Standing:
    """Whom a video is for, at most, and the regions that it is not shown in."""

    audience: Audience
    regions: frozenset[str] = frozenset()

    def admits(self, audience: Audience) -> bool:
        """Say whether a link made for somebody still opens.

        >>> followers = Standing(Audience.FOLLOWERS)
        >>> followers.admits(Audience.PUBLIC), followers.admits(Audience.OWNER)
        (False, True)
        """
        return _REACH[audience] <= _REACH[self.audience]


def audience_of(video: Visible) -> Audience:
    """Return the widest audience of a video, by the one decision that every surface asks for."""
    if can_view(None, video):
        return Audience.PUBLIC
    return Audience.FOLLOWERS if can_view(None, video, follows=True) else Audience.OWNER


class Standings:
    """Answers by video id, from memory for ``window_seconds``."""

    def __init__(
        self, database: Database, clock: Callable[[], float], *, window_seconds: float = WINDOW_SECONDS
    ) -> None:
        self._database = database
        self._clock = clock
        self._window = window_seconds
        self._known: OrderedDict[str, tuple[float, Standing | None]] = OrderedDict()
        self._forgotten = 0

    async def of(self, video_id: str) -> Standing | None:
        """Return a video's standing, None when there is no such video (any more).

        Raises:
            DatabaseFailure: DATABASE_ERROR.
        """
        known = self._known.get(video_id)
        if known is not None and self._clock() - known[0] < self._window:
            return known[1]
        asked_at, forgotten = self._clock(), self._forgotten
        standing = await self._database.read(lambda session: _load(session, video_id))
        if forgotten == self._forgotten:  # else it may be from before the change that was told meanwhile
            self._known[video_id] = (asked_at, standing)
            self._known.move_to_end(video_id)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return standing

    def forget(self, video_id: str) -> None:
        """Ask again the next time: the video has changed."""
        self._known.pop(video_id, None)
        self._forgotten += 1

    async def block(self, video_id: str, caller: Principal, regions: Sequence[str]) -> None:
        """Set the regions that a video is not shown in; for its owner and operators.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND.
            NotContentOwner: NOT_CONTENT_OWNER.
        """

        async def write(session: AsyncSession) -> str:
            row = await own_row(session, video_id, caller, lock=True)
            await session.execute(delete(VideoRegionRow).where(VideoRegionRow.video_id == row.id))
            listed = [{"video_id": row.id, "region": region} for region in sorted(set(regions))]
            if listed:
                await session.execute(insert(VideoRegionRow), listed)
            return row.id

        self.forget(await self._database.run(write))

    async def want(self, video_id: str, caller: Principal) -> None:
        """Note that a video is wanted at hand; errors as ``block``."""
        await want(self._database, video_id, caller, self._clock())


async def _load(session: AsyncSession, video_id: str) -> Standing | None:
    known = canonical(video_id)
    row = await session.get(VideoRow, known) if known else None
    if row is None:
        return None
    regions = await session.scalars(select(VideoRegionRow.region).where(VideoRegionRow.video_id == row.id))
    return Standing(audience_of(row), frozenset(regions))
