"""Engagement in two stages, as pure folds (DESIGN section 5, invariant 1).

Stage one, keyed by user, decides what an event really changed: its state is monotone for watching, and
remembers event ids for the actions that are not. Stage two, keyed by content, adds up those changes and
skips a change whose origin it has already applied. Nothing here knows a clock, a log or a database.
"""

import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from tables.records import Action, EngagementDelta, EngagementEvent

VIEW_WINDOW_SECONDS = 24 * 3600.0
"""A view counts once per viewer and video in this much event time (F21)."""
HISTORY_VIDEOS = 500
"""Videos remembered per user; the least recently watched goes first."""
REMEMBERED_IDS = 1024
"""Event ids remembered per user for actions that are not monotone."""
HALF_LIFE_SECONDS = 6 * 3600.0
"""Half-life of the decayed engagement counter (E16, research/ranking.md section 5)."""
HOURLY_BUCKETS = 24 * 7
"""Hours of trajectory kept per video (F9, F31)."""

STEP_FRACTION = {
    Action.WATCH_START: 0.0,
    Action.WATCH_25: 0.25,
    Action.WATCH_50: 0.50,
    Action.WATCH_75: 0.75,
    Action.WATCH_COMPLETE: 1.0,
}
WEIGHTS = {"views": 1.0, "completes": 1.0, "likes": 2.0, "saves": 2.0, "comments": 3.0, "shares": 3.0}
"""What one of each adds to the decayed counter."""

_COUNTERS = {
    Action.LIKE: ("likes", 1),
    Action.UNLIKE: ("likes", -1),
    Action.SAVE: ("saves", 1),
    Action.UNSAVE: ("saves", -1),
    Action.SHARE: ("shares", 1),
    Action.UNCOMMENT: ("comments", -1),
}


class Watched(msgspec.Struct, frozen=True, array_like=True):
    """What one user saw of one video. Fractions are 0..1, times are event times in seconds."""

    fraction: float = 0.0
    watch_ms: int = 0  # longest watch of the view that was counted last
    viewed_at: float = 0.0  # when that view was counted
    completed_at: float = -1.0  # `viewed_at` of the view whose completion was counted last
    seen_at: float = 0.0


class WatchHistory(msgspec.Struct, array_like=True):
    """Table ``watch_history``: one user's videos, and the source offset applied last (F7)."""

    videos: dict[str, Watched] = {}
    event_ids: list[bytes] = []
    applied: int = -1

    def copy(self) -> "WatchHistory":
        """Return a copy that can be changed without touching what the table holds."""
        return WatchHistory(videos=dict(self.videos), event_ids=list(self.event_ids), applied=self.applied)


def digest(event_id: str) -> bytes:
    """Return eight bytes that stand for an event id.

    >>> len(digest("0b6a..."))
    8
    """
    return blake2b(event_id.encode(), digest_size=8).digest()


def observe(
    history: WatchHistory, event: EngagementEvent, partition: int, offset: int
) -> EngagementDelta | None:
    """Fold one event into its user's history and say what it changed.

    Args:
        history: the user's own copy, changed in place.
        event: the next event of that user in log order.
        partition: source partition; with ``offset`` it becomes the delta's origin.
        offset: source offset; not newer than ``history.applied`` means a replay, which changes nothing.

    Returns:
        The change of the video's counters, or None when there is none (F6, F21, F26, F27).
    """
    if offset <= history.applied:
        return None
    history.applied = offset
    changes = _watch(history, event) if event.action in STEP_FRACTION else _act(history, event)
    if not changes:
        return None
    return EngagementDelta(
        content_id=event.video_id,
        origin_partition=partition,
        origin_offset=offset,
        at=event.occurred_at,
        federated=event.federated,
        **changes,
    )


def _act(history: WatchHistory, event: EngagementEvent) -> dict[str, Any]:
    """Count an action once per event id; which relation changed was decided where the row is."""
    counter = _COUNTERS.get(event.action)
    if event.action is Action.COMMENT and event.relation_seq is not None:
        counter = ("comments", 1)  # a client's comment event counts nothing: comments are rows
    if counter is None:
        return {}
    mark = digest(event.event_id)
    if mark in history.event_ids:
        return {}
    history.event_ids.append(mark)
    del history.event_ids[:-REMEMBERED_IDS]
    name, change = counter
    return {name: change}


def _watch(history: WatchHistory, event: EngagementEvent) -> dict[str, Any]:
    if event.user_id == event.owner_id:
        return {}  # the owner's own watching counts for nobody
    before = history.videos.pop(event.video_id, None)
    seen = before or Watched()
    starts = event.action is Action.WATCH_START
    new_view = before is None or (starts and event.occurred_at >= seen.viewed_at + VIEW_WINDOW_SECONDS)
    fraction = max(seen.fraction, reached(event))
    watched_ms = round(event.watch_seconds * 1000)
    base_ms = 0 if new_view else seen.watch_ms
    viewed_at = event.occurred_at if new_view else seen.viewed_at
    completes = event.action is Action.WATCH_COMPLETE and seen.completed_at != viewed_at
    history.videos[event.video_id] = Watched(
        fraction=fraction,
        watch_ms=max(base_ms, watched_ms),
        viewed_at=viewed_at,
        completed_at=viewed_at if completes else seen.completed_at,
        seen_at=max(seen.seen_at, event.occurred_at),
    )
    while len(history.videos) > HISTORY_VIDEOS:
        history.videos.pop(next(iter(history.videos)))
    changes = {
        "views": int(new_view),
        "viewers": int(before is None),
        "completes": int(completes),
        "completion": fraction - seen.fraction,
        "watch_ms": max(0, watched_ms - base_ms),
    }
    return {name: change for name, change in changes.items() if change}


def reached(event: EngagementEvent) -> float:
    """Return the fraction of the video that a watch event proves, 0..1.

    The step, or the watched seconds over the duration when that says more (INTERFACE, settled readings).
    """
    by_seconds = event.watch_seconds / event.duration_seconds if event.duration_seconds > 0 else 0.0
    return min(1.0, max(STEP_FRACTION.get(event.action, 0.0), by_seconds))


class Counters(msgspec.Struct, array_like=True):
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


class VideoEngagement(msgspec.Struct):
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
    weight = _weight(delta)
    if weight:
        _decay_in(state, weight, delta.at)
        _bucket(state.hourly, int(delta.at // 3600), delta.views + max(0, _actions(delta)))
    state.updated_at = max(state.updated_at, delta.at)
    return True


def _actions(delta: EngagementDelta) -> int:
    return delta.likes + delta.comments + delta.shares + delta.saves


def _weight(delta: EngagementDelta) -> float:
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
    state.decayed = max(0.0, decayed(state, now) + weight * _left(now - at))
    state.decayed_at = now


def _bucket(hourly: dict[int, int], hour: int, amount: int) -> None:
    if not amount:
        return
    hourly[hour] = hourly.get(hour, 0) + amount
    newest = max(hourly)
    for old in [h for h in hourly if h <= newest - HOURLY_BUCKETS]:
        del hourly[old]


def _left(seconds: float) -> float:
    return math.exp2(-seconds / HALF_LIFE_SECONDS)


def decayed(state: VideoEngagement, now: float) -> float:
    """Return the decayed engagement as of ``now`` (seconds since the epoch), 0 or more.

    >>> decayed(VideoEngagement(decayed=8.0, decayed_at=0.0), HALF_LIFE_SECONDS)
    4.0
    """
    return state.decayed * _left(max(0.0, now - state.decayed_at))


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


def trending_score(state: VideoEngagement, now: float) -> float:
    """Return the decayed engagement squashed to 0..1 (F22): x / (1 + x)."""
    x = decayed(state, now)
    return x / (1.0 + x)


def fold_history(
    states: dict[str, WatchHistory], events: Iterable[tuple[EngagementEvent, int, int]]
) -> list[EngagementDelta]:
    """Fold (event, partition, offset) in order; ``states`` holds a copy per user and gets new users.

    Returns:
        The deltas in order; empty when nothing changed.
    """
    deltas = []
    for event, partition, offset in events:
        history = states.get(event.user_id)
        if history is None:
            history = states[event.user_id] = WatchHistory()
        delta = observe(history, event, partition, offset)
        if delta is not None:
            deltas.append(delta)
    return deltas


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
