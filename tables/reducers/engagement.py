"""Engagement in two stages, as pure folds (DESIGN section 5, invariant 1).

Stage one, keyed by user, is in ``tables.reducers.history``; its names are here too. Stage two, keyed by
content, adds up its changes and skips a change whose origin it has already applied. Nothing here knows a
clock, a log or a database.
"""

import math
from collections.abc import Iterable

import msgspec

from tables.records import EngagementDelta
from tables.reducers.history import (
    BINS,
    HISTORY_VIDEOS,
    HOUR_SECONDS,
    REMEMBERED_IDS,
    STEP_FRACTION,
    VIEW_WINDOW_SECONDS,
    Watched,
    WatchHistory,
    digest,
    fold_history,
    observe,
    reached,
)

__all__ = [
    "BINS",
    "HISTORY_VIDEOS",
    "REMEMBERED_IDS",
    "STEP_FRACTION",
    "VIEW_WINDOW_SECONDS",
    "WatchHistory",
    "Watched",
    "digest",
    "fold_history",
    "observe",
    "reached",
]

HALF_LIFE_SECONDS = 6 * 3600.0
"""Half-life of the decayed engagement counter (E16, research/ranking.md section 5)."""
DAY_SECONDS = 86_400
HOURLY_BUCKETS = 24 * 7
"""Hours of trajectory kept per video (F9, F31)."""
DAILY_BUCKETS = 90
"""Days of views kept per video, as many as an analysis may go back (F13)."""
WEIGHTS = {"views": 1.0, "completes": 1.0, "likes": 2.0, "saves": 2.0, "comments": 3.0, "shares": 3.0}
"""What one of each adds to the decayed counter."""


class Counters(msgspec.Struct, array_like=True, gc=False):
    """Sums of one origin, local or federated."""

    views: int = 0
    viewers: int = 0
    likes: int = 0
    comments: int = 0
    shares: int = 0
    saves: int = 0
    completes: int = 0
    completion: float = 0.0
    watch_ms: int = 0
    switches: int = 0


class VideoEngagement(msgspec.Struct, gc=False):
    """Table ``video_engagement``: one video's counters (F4, F5, F9).

    ``applied`` holds, per source partition of stage one, the newest origin offset that was added.
    ``decayed`` is the weighted count that halves every six hours, as of ``decayed_at``.
    """

    local: Counters = msgspec.field(default_factory=Counters)
    federated: Counters = msgspec.field(default_factory=Counters)
    decayed: float = 0.0
    decayed_at: float = 0.0
    hourly: dict[int, int] = {}  # hour since the epoch -> views and actions in it
    updated_at: float = 0.0
    applied: dict[int, int] = {}
    bins: dict[int, int] = {}  # tenth of the video -> viewers whose best fraction lies in it
    daily: dict[int, int] = {}  # day since the epoch -> views in it, newest 90

    def copy(self) -> "VideoEngagement":
        """Return a copy that can be changed without touching what the table holds."""
        return VideoEngagement(
            local=msgspec.structs.replace(self.local),
            federated=msgspec.structs.replace(self.federated),
            decayed=self.decayed,
            decayed_at=self.decayed_at,
            hourly=dict(self.hourly),
            updated_at=self.updated_at,
            applied=dict(self.applied),
            bins=dict(self.bins),
            daily=dict(self.daily),
        )

    @property
    def views(self) -> int:
        """Views, local and federated."""
        return self.local.views + self.federated.views

    @property
    def likes(self) -> int:
        """Likes, local and federated, never below zero (F32)."""
        return max(0, self.local.likes + self.federated.likes)

    @property
    def comments(self) -> int:
        """Comments, local and federated, never below zero."""
        return max(0, self.local.comments + self.federated.comments)

    @property
    def shares(self) -> int:
        """Shares, local and federated."""
        return self.local.shares + self.federated.shares

    @property
    def saves(self) -> int:
        """Saves, never below zero."""
        return max(0, self.local.saves + self.federated.saves)

    @property
    def completes(self) -> int:
        """Views that were watched to the end."""
        return self.local.completes + self.federated.completes


def add(state: VideoEngagement, delta: EngagementDelta) -> bool:
    """Add one change to its video's counters, unless its origin was added before.

    Args:
        state: the video's own copy, changed in place.
        delta: the next change of that video in log order.

    Returns:
        False when the change is a repetition and nothing was added.
    """
    if delta.origin_offset <= state.applied.get(delta.origin_partition, -1):
        return False
    state.applied[delta.origin_partition] = delta.origin_offset
    _sum(state, delta)
    for part in delta.more:
        _sum(state, part)
    return True


def _sum(state: VideoEngagement, delta: EngagementDelta) -> None:
    side = state.federated if delta.federated else state.local
    side.views += delta.views
    side.viewers += delta.viewers
    side.likes += delta.likes
    side.comments += delta.comments
    side.shares += delta.shares
    side.saves += delta.saves
    side.completes += delta.completes
    side.completion += delta.completion
    side.watch_ms += delta.watch_ms
    side.switches += delta.switches
    for bin_, change in delta.bins.items():
        state.bins[bin_] = state.bins.get(bin_, 0) + change
    if delta.views:
        count_in(state.daily, int(delta.at // DAY_SECONDS), delta.views, DAILY_BUCKETS)
    weight = weight_of(delta)
    if weight:
        _decay_in(state, weight, delta.at)
        count_in(state.hourly, int(delta.at // HOUR_SECONDS), amount_of(delta), HOURLY_BUCKETS)
    state.updated_at = max(state.updated_at, delta.at)


def amount_of(delta: EngagementDelta) -> int:
    """Return the views and actions that a change adds to its hour; taking back subtracts none."""
    return delta.views + max(0, delta.likes + delta.comments + delta.shares + delta.saves)


def weight_of(delta: EngagementDelta) -> float:
    """Return what a change adds to the decayed counter, by ``WEIGHTS``."""
    return (
        delta.views * WEIGHTS["views"]
        + delta.completes * WEIGHTS["completes"]
        + delta.likes * WEIGHTS["likes"]
        + delta.saves * WEIGHTS["saves"]
        + delta.comments * WEIGHTS["comments"]
        + delta.shares * WEIGHTS["shares"]
    )


def _decay_in(state: VideoEngagement, weight: float, at: float) -> None:
    """Add a weight at its event time; a late one counts what is left of it by now."""
    now = max(state.decayed_at, at)
    state.decayed = max(0.0, decayed(state, now) + weight * left_after(now - at))
    state.decayed_at = now


def count_in(buckets: dict[int, int], bucket: int, amount: int, kept: int) -> None:
    """Add an amount to its hour or day, and drop those more than ``kept`` behind the newest (F31)."""
    if not amount:
        return
    known = buckets.get(bucket)
    buckets[bucket] = amount + (known or 0)
    if known is None:  # only a new one is too old itself, or makes others so
        newest = max(buckets)
        for old in [one for one in buckets if one <= newest - kept]:
            del buckets[old]


def left_after(seconds: float) -> float:
    """Return what is left of a decayed weight after so many seconds, 0..1 (E16).

    >>> left_after(HALF_LIFE_SECONDS)
    0.5
    """
    return math.exp2(-seconds / HALF_LIFE_SECONDS)


def decayed(state: VideoEngagement, now: float) -> float:
    """Return the decayed engagement as of ``now`` (seconds since the epoch), 0 or more.

    >>> decayed(VideoEngagement(decayed=8.0, decayed_at=0.0), HALF_LIFE_SECONDS)
    4.0
    """
    return state.decayed * left_after(max(0.0, now - state.decayed_at))


def completion_rate(state: VideoEngagement) -> float | None:
    """Return the mean completion over viewers with a view, 0..1, two decimals; None without viewers.

    >>> completion_rate(VideoEngagement(local=Counters(viewers=2, completion=1.25)))
    0.62
    """
    viewers = state.local.viewers + state.federated.viewers
    if viewers <= 0:
        return None
    return round(min(1.0, (state.local.completion + state.federated.completion) / viewers), 2)


def average_watch_seconds(state: VideoEngagement) -> float | None:
    """Return the mean watched seconds per view, two decimals; None without views (F4)."""
    if state.views <= 0:
        return None
    return round((state.local.watch_ms + state.federated.watch_ms) / 1000 / state.views, 2)


def engagement_score(state: VideoEngagement) -> float:
    """Return the weighted all-time count; 0 for a video nobody touched (C22, T6).

    >>> engagement_score(VideoEngagement())
    0.0
    """
    return (
        state.views * WEIGHTS["views"]
        + state.completes * WEIGHTS["completes"]
        + state.likes * WEIGHTS["likes"]
        + state.saves * WEIGHTS["saves"]
        + state.comments * WEIGHTS["comments"]
        + state.shares * WEIGHTS["shares"]
    )


def distribution(state: VideoEngagement) -> tuple[int, ...]:
    """Return the viewers by the best tenth of the video that they reached, never below zero (F9, F32).

    >>> distribution(VideoEngagement(bins={9: 3, 0: 1}))
    (1, 0, 0, 0, 0, 0, 0, 0, 0, 3)
    """
    return tuple(max(0, state.bins.get(bin_, 0)) for bin_ in range(BINS))


def trajectory(state: VideoEngagement, now: float) -> tuple[tuple[int, int], ...]:
    """Return (hour since the epoch, views and actions) of the last seven days, oldest first (F9, F31)."""
    first = int(now // HOUR_SECONDS) - HOURLY_BUCKETS + 1
    return tuple(sorted((hour, amount) for hour, amount in state.hourly.items() if hour >= first))


def views_between(state: VideoEngagement, first_day: int, last_day: int) -> int:
    """Return the views of some days since the epoch, both included (F13)."""
    return sum(views for day, views in state.daily.items() if first_day <= day <= last_day)


def switches_per_thousand_views(state: VideoEngagement) -> float | None:
    """Return how often viewers changed the rung, per thousand views, one decimal; None without views (F23).

    >>> switches_per_thousand_views(VideoEngagement(local=Counters(views=400, switches=10)))
    25.0
    """
    if state.views <= 0:
        return None
    return round((state.local.switches + state.federated.switches) * 1000 / state.views, 1)


def trending_score(state: VideoEngagement, now: float) -> float:
    """Return the decayed engagement squashed to 0..1 (F22): x / (1 + x)."""
    x = decayed(state, now)
    return x / (1.0 + x)


def fold_engagement(states: dict[str, VideoEngagement], deltas: Iterable[EngagementDelta]) -> int:
    """Fold deltas in order; ``states`` holds a copy per video and gets new videos.

    Returns:
        How many deltas were new.
    """
    added = 0
    for delta in deltas:
        state = states.get(delta.content_id)
        if state is None:
            state = states[delta.content_id] = VideoEngagement()
        added += add(state, delta)
    return added
