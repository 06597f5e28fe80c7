"""What moves now, by tag, and what feeds showed, by day: pure folds (E37, E39, F22, F31, F11).

Stage one knows what each source record really changed of each video; with the tags of the video's card that
becomes one delta per tag and slice. A row skips the offsets that it has added. Sums are kept unclamped, as of
their newest event, so that any order of partitions gives the same row; what is shown is never negative (F32).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from tables.records import EngagementDelta, ImpressionDelta, Impressions, Shown, TagChange, TagDelta
from tables.reducers.engagement import (
    DAILY_BUCKETS,
    DAY_SECONDS,
    HOURLY_BUCKETS,
    amount_of,
    count_in,
    left_after,
    weight_of,
)
from tables.reducers.history import HOUR_SECONDS

IDLE_SECONDS: Final = (HOURLY_BUCKETS + 24) * HOUR_SECONDS
"""A tag without an event for this long has no hour left, and less than a billionth of its weight."""
WINDOW_HOURS: Final = 24
TagsOf = Callable[[str], Sequence[str]]
_fields = msgspec.structs.astuple


class TagTrend(msgspec.Struct, array_like=True, gc=False):
    """Table ``tag_trends``: one tag's decayed engagement and its hours.

    ``decayed`` is the weighted count that halves every six hours, as of ``decayed_at``, which is the time of
    the newest event. ``applied`` holds, per partition of stage one, the newest origin offset that was added.
    """

    decayed: float = 0.0
    decayed_at: float = 0.0
    hourly: dict[int, int] = {}  # hour since the epoch -> views and actions in it
    applied: dict[int, int] = {}

    def copy(self) -> "TagTrend":
        """Return a copy that can be changed without touching what the table holds."""
        return TagTrend(self.decayed, self.decayed_at, dict(self.hourly), dict(self.applied))


class ImpressionDays(msgspec.Struct, array_like=True, gc=False):
    """Table ``impression_days``: how often feeds showed a video, or all videos of a creator.

    ``total`` is of all times, ``daily`` by day since the epoch (UTC), newest 90.
    """

    total: int = 0
    daily: dict[int, int] = {}
    applied: dict[int, int] = {}

    def copy(self) -> "ImpressionDays":
        """Return a copy that can be changed without touching what the table holds."""
        return ImpressionDays(self.total, dict(self.daily), dict(self.applied))


def of_tags(
    told: Iterable[tuple[int, Sequence[EngagementDelta]]], tags_of: TagsOf, partition: int
) -> list[TagDelta]:
    """Return what a slice changed of each tag.

    Args:
        told: by source record in order: its offset, and what it changed of each video.
        tags_of: tags of a video that may be shown to everybody, lower case, each once; none otherwise.
        partition: source partition.
    """
    found: dict[str, list[TagChange]] = {}
    for offset, deltas in told:
        for delta in deltas:
            tags = tags_of(delta.content_id)
            for part in (delta, *delta.more) if tags else ():
                weight = weight_of(part)
                if weight:
                    change = TagChange(offset, part.at, weight, amount_of(part))
                    for tag in tags:
                        found.setdefault(tag, []).append(change)
    return [
        TagDelta(tag=tag, origin_partition=partition, changes=tuple(changes))
        for tag, changes in found.items()
    ]


def add_tag(state: TagTrend, delta: TagDelta) -> bool:
    """Add the changes of a delta that are new to its tag's row, in place; False when none is."""
    before = state.applied.get(delta.origin_partition, -1)
    new = [change for change in delta.changes if change.offset > before]
    if not new:
        return False
    now = max(state.decayed_at, *(change.at for change in new))
    state.decayed *= left_after(now - state.decayed_at)
    hours: dict[int, int] = {}
    for _, at, weight, amount in map(_fields, new):
        state.decayed += weight * left_after(now - at)
        hour = int(at // HOUR_SECONDS)
        hours[hour] = hours.get(hour, 0) + amount
    state.decayed_at = now
    for hour, amount in hours.items():
        count_in(state.hourly, hour, amount, HOURLY_BUCKETS)
    state.applied[delta.origin_partition] = new[-1].offset
    return True


def fold_tags(states: dict[str, TagTrend], deltas: Iterable[TagDelta]) -> int:
    """Fold deltas in order; ``states`` holds a copy per tag and gets new tags; returns how many were new."""
    return sum(add_tag(states.setdefault(delta.tag, TagTrend()), delta) for delta in deltas)


def tag_weight(state: TagTrend, now: float) -> float:
    """Return a tag's decayed engagement as of ``now``, 0 or more."""
    return max(0.0, state.decayed) * left_after(max(0.0, now - state.decayed_at))


def tag_score(state: TagTrend, now: float) -> float:
    """Return the decayed engagement squashed to 0..1: x / (1 + x) (F22)."""
    x = tag_weight(state, now)
    return x / (1.0 + x)


def tag_hours(state: TagTrend, now: float, hours: int = WINDOW_HOURS) -> tuple[tuple[int, int], ...]:
    """Return (hour since the epoch, views and actions) of the last hours, oldest first (E37, F31)."""
    first = int(now // HOUR_SECONDS) - hours + 1
    return tuple(sorted((hour, amount) for hour, amount in state.hourly.items() if hour >= first))


def is_idle(state: TagTrend, now: float) -> bool:
    """Tell whether a row holds nothing that still counts, so that it may go."""
    return now - state.decayed_at > IDLE_SECONDS


def of_pages(pages: Iterable[tuple[int, Impressions]], partition: int) -> list[ImpressionDelta]:
    """Return what a slice of pages, (offset, page) in order, showed of each video and each creator."""
    found: dict[str, list[Shown]] = {}
    for offset, page in pages:
        day = int(page.at // DAY_SECONDS)
        for key, count in Counter((*page.videos, *page.creators)).items():
            found.setdefault(key, []).append(Shown(offset, day, count))
    return [
        ImpressionDelta(key=key, origin_partition=partition, changes=tuple(changes))
        for key, changes in found.items()
    ]


def add_shown(state: ImpressionDays, delta: ImpressionDelta) -> bool:
    """Add what is new of a delta to its row, in place; False when nothing is."""
    before = state.applied.get(delta.origin_partition, -1)
    new = [change for change in delta.changes if change.offset > before]
    for change in new:
        state.total += change.count
        count_in(state.daily, change.day, change.count, DAILY_BUCKETS)
    if new:
        state.applied[delta.origin_partition] = new[-1].offset
    return bool(new)


def fold_shown(states: dict[str, ImpressionDays], deltas: Iterable[ImpressionDelta]) -> int:
    """Fold deltas in order; ``states`` holds a copy per key and gets new keys; returns how many were new."""
    return sum(add_shown(states.setdefault(delta.key, ImpressionDays()), delta) for delta in deltas)


def shown_between(state: ImpressionDays, first_day: int, last_day: int) -> int:
    """Return the impressions of some days since the epoch, both included."""
    return sum(count for day, count in state.daily.items() if first_day <= day <= last_day)
