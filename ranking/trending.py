"""Tags that move now, as they are shown: the rows of ``tag_trends`` of all partitions (E37, E38).

Owned by one event loop. A tag is shown while a video that everybody may see carries it, so that what is
flagged or gone takes its tags along (L5, E52).
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ranking.columns import HIDDEN_MODERATION
from tables.records import Card
from tables.reducers.trends import TagTrend, tag_hours, tag_score, tag_weight

KEPT_SECONDS: Final = 5.0
"""Everybody gets the same answer; it is made again after this long."""
MAX_TAGS: Final = 100
LOOKED_AT: Final = 100
"""Tags looked at for one that is idle, at each slice of changes."""
SPARE: Final = 5
"""So many times the tags shown are looked at, for those that are not to be shown."""


def public_tags(card: Card | None) -> Sequence[str]:
    """Return the tags that engagement with a video counts for: none unless everybody may see it."""
    if card is None or card.visibility != "PUBLIC" or card.moderation_status in HIDDEN_MODERATION:
        return ()
    return tuple(dict.fromkeys(tag.lower() for tag in card.tags))


@dataclass(frozen=True, slots=True)
class MovingTag:
    """One tag: ``score`` 0..1 (F22), views and actions of the last 24 hours, public videos with it."""

    tag: str
    score: float
    hours: tuple[tuple[int, int], ...]
    videos: int

    @property
    def events(self) -> int:
        """Views and actions of the last 24 hours."""
        return sum(amount for _, amount in self.hours)


class TrendingTags:
    """What was counted of every tag, the one that something was added to last at the end."""

    def __init__(self, videos_with: Callable[[str], int]) -> None:
        """Args: how many videos with a tag everybody may see."""
        self._videos_with = videos_with
        self._rows: OrderedDict[str, TagTrend] = OrderedDict()
        self._top: tuple[MovingTag, ...] = ()
        self._made_at = -KEPT_SECONDS

    def show(self, tag: str, row: TagTrend | None) -> None:
        """Take over a tag's row, None when it went."""
        if row is None:
            self._rows.pop(tag, None)
        else:
            self._rows[tag] = row
            self._rows.move_to_end(tag)

    def fill(self, rows: Iterable[tuple[str, TagTrend]]) -> None:
        """Take over all rows, as they were recovered."""
        for tag, row in sorted(rows, key=lambda pair: pair[1].decayed_at):
            self.show(tag, row)

    def oldest(self) -> Sequence[str]:
        """Return some tags that nothing was added to for longest."""
        return list(islice(self._rows, LOOKED_AT))

    def top(self, now: float, limit: int) -> tuple[MovingTag, ...]:
        """Return the tags that move most, at most 100; only those with something in the last 24 hours."""
        if not 0 <= now - self._made_at < KEPT_SECONDS:
            self._top, self._made_at = self._find(now), now
        return self._top[:limit]

    def _find(self, now: float) -> tuple[MovingTag, ...]:
        weights = ((tag_weight(row, now), tag) for tag, row in self._rows.items())
        # ties by name, so that the same rows give the same order (E26)
        hottest = heapq.nsmallest(MAX_TAGS * SPARE, weights, key=lambda pair: (-pair[0], pair[1]))
        found = []
        for weight, tag in hottest:
            hours = tag_hours(self._rows[tag], now)
            videos = self._videos_with(tag) if weight > 0 and hours else 0
            if videos:
                found.append(MovingTag(tag, tag_score(self._rows[tag], now), hours, videos))
            if len(found) == MAX_TAGS:
                break
        return tuple(found)
