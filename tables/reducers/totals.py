"""Sums per day of what happened to a creator's videos and of what a user did (F12, F13).

Stage one knows what each source record really changed; from that it makes one delta per slice and creator,
and one per slice and user. A row keeps 90 days and skips origins that it has added. Sums are of integers: any
order gives the same row. Pure.
"""

from collections.abc import Iterable, Sequence
from operator import add, attrgetter
from typing import Final

import msgspec

from tables.records import (
    DayCounts,
    EngagementDelta,
    EngagementEvent,
    TotalsChange,
    TotalsDelta,
    UserFact,
    events_of,
)
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


Told = Iterable[tuple[int, EngagementEvent, Sequence[EngagementDelta]]]
"""By source record in order: its offset, the record, and what it changed of each video."""


def of_creators(told: Told, partition: int) -> list[TotalsDelta]:
    """Return what a slice changed for each creator; events without a known owner count for none."""
    found: dict[str, list[TotalsChange]] = {}
    for offset, record, deltas in told:
        if not deltas:
            continue
        owners = {event.video_id: event.owner_id for event in events_of(record)}
        for delta in deltas:
            owner = owners.get(delta.content_id)
            if owner:
                changes = found.setdefault(owner, [])
                if not changes or changes[-1].offset != offset:
                    changes.append(TotalsChange(offset, {}))
                _collect(changes[-1].days, delta)
    return _deltas(found, partition)


def of_users(told: Told, partition: int) -> list[TotalsDelta]:
    """Return what a slice says of each user's days: every event, and what they really changed.

    A row's fact changes something unless the relay sent it again after a crash: then it is told already.
    """
    found: dict[str, list[TotalsChange]] = {}
    for offset, record, deltas in told:
        if not deltas and record.relation_seq is not None:
            continue
        told_on: dict[int, int] = {}
        for event in events_of(record):
            day = int(event.occurred_at // DAY_SECONDS)
            told_on[day] = told_on.get(day, 0) + 1
        days = {day: DayCounts(number) for day, number in told_on.items()}
        for delta in deltas:
            _collect(days, delta)
        found.setdefault(record.user_id, []).append(TotalsChange(offset, days))
    return _deltas(found, partition)


def _deltas(found: dict[str, list[TotalsChange]], partition: int) -> list[TotalsDelta]:
    return [
        TotalsDelta(
            key=key,
            origin_partition=partition,
            origin_offset=first.offset,
            days=first.days,
            more=tuple(rest),
        )
        for key, (first, *rest) in found.items()
    ]


def _collect(days: dict[int, DayCounts], delta: EngagementDelta) -> None:
    for part in (delta, *delta.more) if delta.more else (delta,):
        day = int(part.at // DAY_SECONDS)
        known = days.get(day)
        changed = DayCounts(0, *_counted(part))
        days[day] = changed if known is None else plus(known, changed)


def plus(one: DayCounts | None, other: DayCounts) -> DayCounts:
    """Return the sum of two days.

    >>> plus(DayCounts(views=1), DayCounts(views=2)).views
    3
    """
    if one is None:
        return other
    return DayCounts(*map(add, _values(one), _values(other)))


def add_totals(state: Totals, delta: TotalsDelta) -> bool:
    """Add what is new of a delta to a row, in place: what comes from origins that were not added before.

    Returns:
        False when all is a repetition and nothing was added.
    """
    before = state.applied.get(delta.origin_partition, -1)
    changes = (TotalsChange(delta.origin_offset, delta.days), *delta.more)
    new = [change for change in changes if change.offset > before]
    if not new:
        return False
    for change in new:
        for day, counts in change.days.items():
            _add_day(state, day, counts)
    state.applied[delta.origin_partition] = new[-1].offset
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
