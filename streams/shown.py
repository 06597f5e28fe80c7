"""Rows that ranking keeps as columns, told of when they change.

In a cluster the copies of the tables tell of every row (``streams/views.py``). Where this process holds all
partitions, the agents do, as soon as what they wrote is durable.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ranking.catalogue import Catalogue
from ranking.trending import TrendingTags
from streams.views import Show
from tables.definitions import CATALOGUE, CO_OCCURRENCE, TAG_TRENDS, VIDEO_ENGAGEMENT
from tables.records import Card
from tables.reducers.engagement import VideoEngagement
from tables.reducers.together import CoOccurrence
from tables.reducers.trends import TagTrend


def _not_told(key: str, row: Any) -> None:
    """Somebody else tells."""


@dataclass(frozen=True)
class Shown:
    """Who is told of a key and its new row."""

    card: Callable[[str, Card | None], None] = _not_told
    engagement: Callable[[str, VideoEngagement], None] = _not_told
    positives: Callable[[str, CoOccurrence], None] = _not_told
    tag: Callable[[str, TagTrend | None], None] = _not_told

    @classmethod
    def to_ranking(cls, catalogue: Catalogue, trending: TrendingTags) -> "Shown":
        """Tell the columns of ranking."""

        def show_card(video_id: str, card: Card | None) -> None:
            if card is None:
                catalogue.remove(video_id)
            else:
                catalogue.upsert(card)

        return cls(show_card, catalogue.set_engagement, catalogue.set_positives, trending.show)

    def by_table(self) -> Mapping[str, Show]:
        """Return what is told of rows as they stand in the tables."""

        def kept(show: Callable[[str, Any], None]) -> Show:
            # counters and neighbours are never deleted; a row that cannot be read changes nothing
            return lambda key, row: show(key, row) if row is not None else None

        return {
            CATALOGUE.name: lambda key, entry: self.card(key, entry.card if entry else None),
            VIDEO_ENGAGEMENT.name: kept(self.engagement),
            CO_OCCURRENCE.name: kept(self.positives),
            TAG_TRENDS.name: self.tag,
        }
