"""Which videos the same people liked: decayed counts of pairs (table ``co_occurrence``).

Whoever finds a video good makes a pair of it with each of the last ten that they found good. Weights halve
in three days: pairs need a slow decay, or rare ones win (research/ranking.md section 6). They are kept as
of a landmark that moves seldom, so that an event costs its own pairs and not the whole row. The user's
agent decides what is a pair, the content's adds up and skips what it has added. Pure; time is an argument.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from tables.records import EngagementEvent, PairChange, PairDelta
from tables.reducers.preferences import ALL, VIEW, Positive, UserPreference, strength

HALF_LIFE_SECONDS: Final = 3 * 86_400.0
PAIRED_WITH: Final = 10
"""How many of a viewer's latest positives a new one is paired with."""
GOOD: Final = 0.45
"""Strength from which a video counts as found good: half watched, or liked, saved, shared, commented."""
_GOOD_ALONE: Final = ALL & ~VIEW  # any action but watching is, whatever was watched
NEIGHBOURS: Final = 100
CHANGES: Final = 200
"""Changes in one delta, about 100 KB: a record of the log is read and decoded at once."""
_SPARE: Final = 20  # a row is cut when it is this much over, so that not every event sorts
_MOVE_AFTER_HALVES: Final = 40.0  # keeps the stored numbers far from overflow


class CoOccurrence(msgspec.Struct, array_like=True, gc=False):
    """Table ``co_occurrence``: one video's neighbours and how often people found it good.

    ``neighbours`` and ``positives`` are decayed sums as of ``since`` (epoch seconds, the landmark).
    ``applied`` holds, per partition of the source, the newest origin offset that was added.
    """

    neighbours: dict[str, float] = {}
    positives: float = 0.0
    since: float = 0.0
    applied: dict[int, int] = {}

    def copy(self) -> "CoOccurrence":
        """Return a copy that can be changed without touching what the table holds."""
        return CoOccurrence(dict(self.neighbours), self.positives, self.since, dict(self.applied))


def latest_good(state: UserPreference, count: int = PAIRED_WITH) -> list[str]:
    """Return the videos that a viewer found good last, newest first."""
    return list(islice(_good(state.positives), count))


def _good(positives: dict[str, Positive]) -> Iterator[str]:
    return (
        video_id
        for video_id, entry in reversed(positives.items())
        if entry.actions & _GOOD_ALONE or strength(entry) >= GOOD
    )


def newly_good(before: UserPreference, after: UserPreference, video_id: str) -> bool:
    """Tell whether this step made the viewer find the video good; taking it back makes no unpairing."""
    return becomes_good(before.positives.get(video_id), after.positives.get(video_id))


def becomes_good(before: Positive | None, after: Positive | None) -> bool:
    """Tell whether an entry came to mean that the viewer found the video good."""
    return strength(before) < GOOD <= strength(after)


class Pairs:
    """Collects what a slice of source records pairs, and makes one delta per video of it."""

    def __init__(self, now: float) -> None:
        """Args: ``now`` bounds the times of events, epoch seconds."""
        self.now = now
        self._found: dict[str, list[PairChange]] = {}

    def note(
        self, before: UserPreference, after: UserPreference, event: EngagementEvent, offset: int
    ) -> None:
        """Add the pairs that one event made, of the record at ``offset``."""
        video_id = event.video_id
        if before is after or not newly_good(before, after, video_id):
            return
        self.add(video_id, event.occurred_at, before.positives, offset)

    def add(self, video_id: str, at: float, positives: dict[str, Positive], offset: int) -> None:
        """Pair a video that was found good just now with the latest of the others that were.

        Offsets of records come in order; those of different users may take turns.
        """
        at = min(at, self.now)
        latest = [found for found in islice(_good(positives), PAIRED_WITH + 1) if found != video_id]
        partners = dict.fromkeys(latest[:PAIRED_WITH], 1.0)
        self._append(video_id, PairChange(offset, at, 1.0, partners))
        theirs = PairChange(offset, at, 0.0, {video_id: 1.0})
        for partner in partners:
            self._append(partner, theirs)

    def _append(self, video_id: str, change: PairChange) -> None:
        """Keep one change per video and record: they are guarded, and deltas cut, by offset."""
        changes = self._found.get(video_id)
        if changes is None:
            self._found[video_id] = [change]
            return
        if changes[-1].offset == change.offset:
            last = changes.pop()
            partners = dict(last.partners)
            for partner, weight in change.partners.items():
                partners[partner] = partners.get(partner, 0.0) + weight
            positives = last.positives + change.positives
            change = PairChange(change.offset, max(last.at, change.at), positives, partners)
        changes.append(change)

    def deltas(self, partition: int) -> list[PairDelta]:
        """Return one delta per video, more when there are many changes; ``partition`` is the records'."""
        return [
            PairDelta(
                content_id=video_id,
                origin_partition=partition,
                origin_offset=first.offset,
                at=first.at,
                positives=first.positives,
                partners=first.partners,
                more=tuple(rest),
            )
            for video_id, changes in self._found.items()
            for first, *rest in _cut(changes)
        ]


def _cut(changes: list[PairChange]) -> Iterator[list[PairChange]]:
    return (changes[at : at + CHANGES] for at in range(0, len(changes), CHANGES))


def add_pairs(state: CoOccurrence, delta: PairDelta) -> bool:
    """Add what is new of a delta to its video's row: what comes from origins that were not added before.

    Args:
        state: the video's own copy, changed in place.
        delta: the next delta of that video in log order.

    Returns:
        False when all is a repetition and nothing was added.
    """
    before = state.applied.get(delta.origin_partition, -1)
    newest = before
    if delta.origin_offset > before:
        newest = delta.origin_offset
        _add(state, delta.at, delta.positives, delta.partners)
    for change in delta.more:
        if change.offset > before:
            newest = change.offset
            _add(state, change.at, change.positives, change.partners)
    if newest == before:
        return False
    state.applied[delta.origin_partition] = newest
    if len(state.neighbours) > NEIGHBOURS + _SPARE:
        strongest = sorted(state.neighbours.items(), key=lambda pair: (-pair[1], pair[0]))
        state.neighbours = dict(strongest[:NEIGHBOURS])
    return True


def _add(state: CoOccurrence, at: float, positives: float, partners: dict[str, float]) -> None:
    if not state.since:
        state.since = at
    if at - state.since > _MOVE_AFTER_HALVES * HALF_LIFE_SECONDS:
        _move(state, at)
    worth = math.exp2((at - state.since) / HALF_LIFE_SECONDS)
    state.positives += positives * worth
    neighbours = state.neighbours
    for video_id, weight in partners.items():
        neighbours[video_id] = neighbours.get(video_id, 0.0) + weight * worth


def _move(state: CoOccurrence, since: float) -> None:
    left = math.exp2((state.since - since) / HALF_LIFE_SECONDS)
    state.neighbours = {
        video_id: weight * left for video_id, weight in state.neighbours.items() if weight * left > 1e-9
    }
    state.positives *= left
    state.since = since


def fold_pairs(states: dict[str, CoOccurrence], deltas: Iterable[PairDelta]) -> int:
    """Fold deltas in order; ``states`` holds a copy per video and gets new videos.

    Returns:
        How many deltas were new.
    """
    added = 0
    for delta in deltas:
        state = states.get(delta.content_id)
        if state is None:
            state = states[delta.content_id] = CoOccurrence()
        added += add_pairs(state, delta)
    return added


def left(state: CoOccurrence, now: float) -> float:
    """Return the factor that turns the row's sums into those as of ``now``.

    >>> left(CoOccurrence(since=0.0), HALF_LIFE_SECONDS)
    0.5
    """
    return math.exp2(min(1000.0, (state.since - now) / HALF_LIFE_SECONDS))
