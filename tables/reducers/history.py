"""Stage one of engagement, keyed by user: what an event really changed (DESIGN section 5, invariant 1).

The state is monotone for watching, and remembers event ids for the actions that are not.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

from tables.records import Action, EngagementDelta, EngagementEvent, events_of

VIEW_WINDOW_SECONDS = 24 * 3600.0
"""A view counts once per viewer and video in this much event time (F21)."""
HISTORY_VIDEOS = 500
"""Videos remembered per user; the least recently watched goes first."""
REMEMBERED_IDS = 1024
"""Event ids remembered per user for actions that are not monotone."""
BINS = 10
"""Bins of the distribution of completion, a tenth of the video each (F9)."""
HOUR_SECONDS = 3600

STEP_FRACTION = {
    Action.WATCH_START: 0.0,
    Action.WATCH_25: 0.25,
    Action.WATCH_50: 0.50,
    Action.WATCH_75: 0.75,
    Action.WATCH_COMPLETE: 1.0,
}

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
    history: WatchHistory, record: EngagementEvent, partition: int, offset: int
) -> list[EngagementDelta]:
    """Fold one record, an event or an envelope of many, into its user's history and say what it changed.

    Args:
        history: the user's own copy, changed in place.
        record: the next record of that user in log order.
        partition: source partition; with ``offset`` it becomes the deltas' origin.
        offset: source offset; not newer than ``history.applied`` means a replay, which changes nothing.

    Returns:
        The changes, at most one per video, because they share an origin (F6, F21, F26, F27).
    """
    if offset <= history.applied:
        return []
    history.applied = offset
    changed: dict[str, dict[int, dict[str, Any]]] = {}
    for event in events_of(record):
        changes = _watch(history, event) if event.action in STEP_FRACTION else _act(history, event)
        if changes:
            hours = changed.setdefault(event.video_id, {})
            _merge(hours.setdefault(int(event.occurred_at // HOUR_SECONDS), {}), changes, event.occurred_at)
    origin: dict[str, Any] = {
        "origin_partition": partition,
        "origin_offset": offset,
        "federated": record.federated,
    }
    deltas = []
    for content_id, hours in changed.items():
        first, *rest = (
            EngagementDelta(content_id=content_id, **origin, **changes) for changes in hours.values()
        )
        deltas.append(msgspec.structs.replace(first, more=tuple(rest)) if rest else first)
    return deltas


def _merge(sums: dict[str, Any], changes: dict[str, Any], at: float) -> None:
    """Add up what the events of one envelope changed of one video in one hour."""
    if not sums:
        sums.update(changes, at=at)
        return
    sums["at"] = max(sums["at"], at)
    bins = changes.pop("bins", None)
    for name, change in changes.items():
        sums[name] = sums.get(name, 0) + change
    if bins:
        known = sums.get("bins", {})
        summed = {bin_: known.get(bin_, 0) + bins.get(bin_, 0) for bin_ in {**known, **bins}}
        sums["bins"] = {bin_: change for bin_, change in summed.items() if change}


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
        "bins": _moved(before, fraction),
    }
    return {name: change for name, change in changes.items() if change}


def _moved(before: Watched | None, fraction: float) -> dict[int, int]:
    """Return how a viewer moves in the distribution: into a bin, and out of the one before."""
    now = min(BINS - 1, int(fraction * BINS))
    if before is None:
        return {now: 1}
    old = min(BINS - 1, int(before.fraction * BINS))
    return {old: -1, now: 1} if now != old else {}


def reached(event: EngagementEvent) -> float:
    """Return the fraction of the video that a watch event proves, 0..1.

    The step, or the watched seconds over the duration when that says more (INTERFACE, settled readings).
    """
    by_seconds = event.watch_seconds / event.duration_seconds if event.duration_seconds > 0 else 0.0
    return min(1.0, max(STEP_FRACTION.get(event.action, 0.0), by_seconds))


def fold_history(
    states: dict[str, WatchHistory], events: Iterable[tuple[EngagementEvent, int, int]]
) -> list[EngagementDelta]:
    """Fold (record, partition, offset) in order; ``states`` holds a copy per user and gets new users.

    Returns:
        The deltas in order; empty when nothing changed.
    """
    deltas: list[EngagementDelta] = []
    for event, partition, offset in events:
        history = states.get(event.user_id)
        if history is None:
            history = states[event.user_id] = WatchHistory()
        deltas += observe(history, event, partition, offset)
    return deltas
