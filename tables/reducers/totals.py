"""Sums per day of what happened to a creator's videos and of what a user did (F12, F13).

Stage one knows what each source record really changed; from that it makes one delta per creator and one per
user. A row keeps 90 days and skips an origin that it has added. Sums are of integers: any order gives the
same row. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import add, attrgetter
from typing import Final

import msgspec

from tables.records import DayCounts, EngagementDelta, EngagementEvent, TotalsDelta, UserFact, events_of
from tables.reducers.history import digest

DAY_SECONDS: Final = 86_400
DAYS: Final = 90
"""Days kept, counted back from the newest with anything in it."""
COUNTED: Final = ("views", "likes", "comments", "shares", "saves", "completes", "watch_ms")
_counted = attrgetter(*COUNTED)
_values = msgspec.structs.astuple


class Totals(msgspec.Struct, array_like=True, gc=False):
    """Tables ``creator_totals`` and ``user_day``: sums by day since the epoch (UTC), and what was applied.

    ``applied_facts`` is the last offset applied of the user's own partition of ``events.user``, ``noted`` are
    marks of the newest facts: the relay sends a row again after a crash, at another offset.
    """

    days: dict[int, DayCounts] = {}
    applied: dict[int, int] = {}
    applied_facts: int = -1
    noted: list[bytes] = []

    def copy(self) -> "Totals":
        """Return a copy that can be changed without touching what the table holds."""
        return Totals(dict(self.days), dict(self.applied), self.applied_facts, list(self.noted))


def of_creators(
    record: EngagementEvent, deltas: Sequence[EngagementDelta], partition: int, offset: int
) -> list[TotalsDelta]:
    """Return what a source record changed for each creator; events without a known owner count for none."""
    owners = {event.video_id: event.owner_id for event in events_of(record)}
    found: dict[str, dict[int, DayCounts]] = {}
    for delta in deltas:
        owner = owners.get(delta.content_id)
        if owner:
            _collect(found.setdefault(owner, {}), delta)
    return [
        TotalsDelta(key=owner, origin_partition=partition, origin_offset=offset, days=days)
        for owner, days in found.items()
    ]


def of_user(
    record: EngagementEvent, deltas: Sequence[EngagementDelta], partition: int, offset: int
) -> TotalsDelta:
    """Return what a source record says of its user's days: every event, and what they really changed."""
    told = Counter(int(event.occurred_at // DAY_SECONDS) for event in events_of(record))
    days = {day: DayCounts(events=number) for day, number in told.items()}
    for delta in deltas:
        _collect(days, delta)
    return TotalsDelta(key=record.user_id, origin_partition=partition, origin_offset=offset, days=days)


def _collect(days: dict[int, DayCounts], delta: EngagementDelta) -> None:
    for part in (delta, *delta.more):
        day = int(part.at // DAY_SECONDS)
        days[day] = plus(days.get(day), DayCounts(0, *_counted(part)))


def plus(one: DayCounts | None, other: DayCounts) -> DayCounts:
    """Return the sum of two days.

    >>> plus(DayCounts(views=1), DayCounts(views=2)).views
    3
    """
    if one is None:
        return other
    return DayCounts(*map(add, _values(one), _values(other)))


def add_totals(state: Totals, delta: TotalsDelta) -> bool:
    """Add one delta to a row, in place, unless its origin was added before.

    Returns:
        False when it is a repetition and nothing was added.
    """
    if delta.origin_offset <= state.applied.get(delta.origin_partition, -1):
        return False
    state.applied[delta.origin_partition] = delta.origin_offset
    for day, counts in delta.days.items():
        _add_day(state, day, counts)
    return True


def _add_day(state: Totals, day: int, counts: DayCounts) -> None:
    known = state.days.get(day)
    state.days[day] = plus(known, counts)
    if known is None:
        newest = max(state.days)
        for old in [one for one in state.days if one <= newest - DAYS]:
            del state.days[old]


JOURNEY: Final = {
    "user.registered": DayCounts(logins=1),  # opening an account signs in
    "user.logged_in": DayCounts(logins=1),
    "user.created": DayCounts(created=1),
}
"""Facts about a user that count in their day (F12)."""
NOTED: Final = 64
"""Facts remembered of a user, more than one has in a batch of the relay."""


def fold_journeys(states: dict[str, Totals], facts: Iterable[tuple[UserFact, int]]) -> set[str]:
    """Fold (fact, offset) in order; ``states`` holds a copy per user and gets new users.

    Returns:
        The users whose day changed; other facts change nothing.
    """
    changed = set()
    for fact, offset in facts:
        counts = JOURNEY.get(fact.kind)
        if counts is None:
            continue
        state = states.get(fact.user_id)
        if state is None:
            state = states[fact.user_id] = Totals()
        if offset > state.applied_facts:
            state.applied_facts = offset
            changed.add(fact.user_id)
            mark = digest(f"{fact.kind} {fact.target} {fact.detail} {fact.at!r}")
            if mark not in state.noted:
                state.noted = [*state.noted, mark][-NOTED:]
                _add_day(state, int(fact.at // DAY_SECONDS), counts)
    return changed


def fold_totals(states: dict[str, Totals], deltas: Iterable[TotalsDelta]) -> int:
    """Fold deltas in order; ``states`` holds a copy per key and gets new keys.

    Returns:
        How many deltas were new.
    """
    added = 0
    for delta in deltas:
        state = states.get(delta.key)
        if state is None:
            state = states[delta.key] = Totals()
        added += add_totals(state, delta)
    return added


def total(state: Totals, first_day: int, last_day: int) -> DayCounts:
    """Return the sum over days, both included; displayed counts are never negative (F32)."""
    found = DayCounts()
    for day, counts in state.days.items():
        if first_day <= day <= last_day:
            found = plus(found, counts)
    return DayCounts(*(max(0, value) for value in _values(found)))
