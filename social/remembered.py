"""What a viewer likes and has saved, kept for a moment: every feed page asks (DESIGN section 8)."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from social.views import Relations
from tables.relational.engine import Database
from tables.relational.models import LikeRow, SaveRow

VIEWERS = 10_000
SECONDS = 10.0
"""How long a like given in another worker may go unnoticed here when its message is lost."""
MAX_RELATIONS = 2_000
"""A viewer with more is asked for page by page."""


@dataclass(frozen=True, slots=True)
class _Known:
    at: float
    relations: Relations | None  # None: too many to keep


class RememberedRelations:
    """The likes and saves of viewers who were here lately.

    ``changed`` is told of viewers whose relations change here, so that other workers can ``drop`` them, too.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self.changed: Callable[[str], None] = lambda viewer_id: None
        self._database = database
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def of(self, viewer_id: str) -> Relations | None:
        """Return all likes and saves of a viewer; None when they are too many to keep."""
        known = self._known.get(viewer_id)
        if known is not None and self._clock() - known.at < SECONDS:
            return known.relations
        # Noted before the query: a like given while it runs forgets this entry, not the one before.
        asked = self._known[viewer_id] = _Known(self._clock(), None)
        relations = await self._database.read(lambda session: _load(session, viewer_id))
        if self._known.get(viewer_id) is asked:
            self._known[viewer_id] = _Known(asked.at, relations)
            self._known.move_to_end(viewer_id)
        while len(self._known) > VIEWERS:
            self._known.popitem(last=False)
        return relations

    def forget(self, viewer_id: str) -> None:
        """Ask again next time, here and in other workers: the viewer's relations have changed."""
        self.drop(viewer_id)
        self.changed(viewer_id)

    def drop(self, viewer_id: str) -> None:
        """Ask again next time, here."""
        self._known.pop(viewer_id, None)


async def _load(session: AsyncSession, viewer_id: str) -> Relations | None:
    mine = union_all(
        *(
            select(literal(row.__tablename__), row.video_id).where(row.user_id == viewer_id)
            for row in (LikeRow, SaveRow)
        )
    ).limit(MAX_RELATIONS + 1)
    found = (await session.execute(mine)).all()
    if len(found) > MAX_RELATIONS:
        return None
    return Relations(
        liked=frozenset(video_id for table, video_id in found if table == LikeRow.__tablename__),
        saved=frozenset(video_id for table, video_id in found if table == SaveRow.__tablename__),
    )
