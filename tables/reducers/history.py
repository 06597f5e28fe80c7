"""Stage one of engagement, keyed by user: what an event really changed (DESIGN section 5, invariant 1).

The state is monotone for watching, and remembers event ids for the actions that are not.
"""

from collections.abc import Iterable, Sequence
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

_START, _COMPLETE = Action.WATCH_START, Action.WATCH_COMPLETE
_COUNTERS = {
    Action.LIKE: ("likes", 1),
    Action.UNLIKE: ("likes", -1),
    Action.SAVE: ("saves", 1),
    Action.UNSAVE: ("saves", -1),
    Action.SHARE: ("shares", 1),
    Action.UNCOMMENT: ("comments", -1),
}


class Watched(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one user saw of one video. Fractions are 0..1, times are event times in seconds."""

    fraction: float = 0.0
    watch_ms: int = 0  # longest watch of the view that was counted last
    viewed_at: float = 0.0  # when that view was counted
    completed_at: float = -1.0  # `viewed_at` of the view whose completion was counted last
    seen_at: float = 0.0
    bitrate: str = ""  # rung of the newest event that named one


_NOTHING = Watched()


class WatchHistory(msgspec.Struct, array_like=True, gc=False):
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


def runs(events: Iterable[EngagementEvent]) -> list[list[EngagementEvent]]:
    """Return events in order, those together that are steps of watching one video one after the other.

    A sitting tells start, quarters and end of a video in a row: a run changes a row once.
    """
    found: list[list[EngagementEvent]] = []
    watching: list[EngagementEvent] | None = None
    for event in events:
        if event.action not in STEP_FRACTION:
            watching = None
            found.append([event])
        elif watching is not None and watching[0].video_id == event.video_id:
            watching.append(event)
        else:
            watching = [event]
            found.append(watching)
    return found


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
    for run in runs(events_of(record)):
        parts = _watch(history, run) if run[0].action in STEP_FRACTION else _act(history, run[0])
        for changes in parts:
            hours = changed.setdefault(run[0].video_id, {})
            hour = int(changes["at"] // HOUR_SECONDS)
            if hour in hours:
                _merge(hours[hour], changes)
            else:
                hours[hour] = changes
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


def _merge(sums: dict[str, Any], changes: dict[str, Any]) -> None:
    """Add up what the events of one envelope changed of one video in one hour."""
    at = max(sums["at"], changes.pop("at"))
    bins = changes.pop("bins", None)
    for name, change in changes.items():
        sums[name] = sums.get(name, 0) + change
    sums["at"] = at
    if bins:
        known = sums.get("bins", {})
        summed = {bin_: known.get(bin_, 0) + bins.get(bin_, 0) for bin_ in {**known, **bins}}
        sums["bins"] = {bin_: change for bin_, change in summed.items() if change}


def _act(history: WatchHistory, event: EngagementEvent) -> list[dict[str, Any]]:
    """Count an action once per event id; which relation changed was decided where the row is."""
    counter = _COUNTERS.get(event.action)
    if event.action is Action.COMMENT and event.relation_seq is not None:
        counter = ("comments", 1)  # a client's comment event counts nothing: comments are rows
    if counter is None:
        return []
    mark = digest(event.event_id)
    if mark in history.event_ids:
        return []
    history.event_ids.append(mark)
    del history.event_ids[:-REMEMBERED_IDS]
    name, change = counter
    return [{name: change, "at": event.occurred_at}]


def _watch(history: WatchHistory, run: Sequence[EngagementEvent]) -> list[dict[str, Any]]:
    """Fold a run of one video; return what changed, hour by hour."""
    run = [event for event in run if event.user_id != event.owner_id]  # the owner's own counts for nobody
    if not run:
        return []
    video_id = run[0].video_id
    seen = history.videos.pop(video_id, None)
    told = []
    for part in _by_hour(run):
        seen, changes = _progress(seen, part)
        if changes:
            told.append(changes)
    assert seen is not None
    history.videos[video_id] = seen
    while len(history.videos) > HISTORY_VIDEOS:
        history.videos.pop(next(iter(history.videos)))
    return told


def _by_hour(run: list[EngagementEvent]) -> list[list[EngagementEvent]]:
    """Cut a run where the hour of event time changes: mostly nowhere."""
    if len({event.occurred_at // HOUR_SECONDS for event in run}) == 1:
        return [run]
    parts: list[list[EngagementEvent]] = []
    current = None
    for event in run:
        hour = event.occurred_at // HOUR_SECONDS
        if hour != current:
            current = hour
            parts.append([])
        parts[-1].append(event)
    return parts


def _progress(before: Watched | None, events: Sequence[EngagementEvent]) -> tuple[Watched, dict[str, Any]]:
    """Return what is seen of a video after events of one hour, and what they changed."""
    known, seen = before is not None, before or _NOTHING
    fraction, watch_ms, seen_at = seen.fraction, seen.watch_ms, seen.seen_at
    viewed_at, completed_at = seen.viewed_at, seen.completed_at
    bitrate, views, completes, switches, grown_ms = seen.bitrate, 0, 0, 0, 0
    changed_at = None
    for event in events:
        at, now_ms, now = event.occurred_at, round(event.watch_seconds * 1000), reached(event)
        new_view = not known or (event.action is _START and at >= viewed_at + VIEW_WINDOW_SECONDS)
        if new_view:
            known, viewed_at, watch_ms = True, at, 0
        completing = event.action is _COMPLETE and completed_at != viewed_at
        if completing:
            completed_at = viewed_at
        rung = event.bitrate if at > seen_at else ""  # a late one says nothing of the rung shown now (F23)
        switching = bool(rung and bitrate) and rung != bitrate and not new_view
        bitrate = rung or bitrate
        if new_view or completing or switching or now > fraction or now_ms > watch_ms:
            if changed_at is None or at > changed_at:
                changed_at = at
            views += new_view
            completes += completing
            switches += switching
            if now > fraction:
                fraction = now
            if now_ms > watch_ms:
                grown_ms += now_ms - watch_ms
                watch_ms = now_ms
        if at > seen_at:
            seen_at = at
    after = Watched(fraction, watch_ms, viewed_at, completed_at, seen_at, bitrate)
    if changed_at is None:
        return after, {}
    changes = {
        "views": views,
        "viewers": int(before is None),
        "completes": completes,
        "completion": fraction - seen.fraction,
        "watch_ms": grown_ms,
        "switches": switches,
        "bins": _moved(before, fraction),
    }
    told: dict[str, Any] = {name: change for name, change in changes.items() if change}
    told["at"] = changed_at
    return after, told


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
    fraction, duration = STEP_FRACTION.get(event.action, 0.0), event.duration_seconds
    if duration > 0:
        watched = event.watch_seconds / duration
        if watched > fraction:
            fraction = watched
    return fraction if fraction < 1.0 else 1.0


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
