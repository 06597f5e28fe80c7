"""How engagement events change what a feed knows of a viewer (D15-D17, X24, Y4).

A preference is opened once for all events of a slice, changed in place, and closed to the next row of
``user_preference``; the vectors of all viewers of a slice are summed at once. Pure; time is an argument. A
video's contribution is replaced, never added to: that is why events that come again change nothing.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

import msgspec
import numpy as np

from tables.records import Action, Card, EngagementEvent
from tables.reducers.history import reached
from tables.reducers.preferences import (
    ALL,
    COMMENT,
    COMPLETE,
    DIMENSIONS,
    EMPTY,
    LIKE,
    MAX_CREATORS,
    MAX_POSITIVES,
    MAX_SEEN,
    MAX_TAGS,
    RULES,
    SAVE,
    SEEN_BYTES,
    SHARE,
    TASTE_HALF_LIFE_SECONDS,
    VIEW,
    WINDOW_SECONDS,
    Decayed,
    Positive,
    Rules,
    UserPreference,
    decayed_value,
    strength,
    video_hash,
    with_wish,
)

EMBEDDING_BYTES: Final = 2 * DIMENSIONS  # float16
_SPARE: Final = 40  # of creators and tags: cut by this much at once, so that not every new one sorts all
_GIVES: Final[Mapping[Action, int]] = {
    Action.WATCH_START: VIEW,
    Action.WATCH_25: VIEW,
    Action.WATCH_50: VIEW,
    Action.WATCH_75: VIEW,
    Action.WATCH_COMPLETE: VIEW | COMPLETE,
    Action.LIKE: LIKE,
    Action.SHARE: SHARE,
    Action.COMMENT: COMMENT,
    Action.SAVE: SAVE,
}
_TAKES: Final[Mapping[Action, int]] = {
    Action.UNLIKE: LIKE,
    Action.UNSAVE: SAVE,
    Action.UNCOMMENT: COMMENT,
    Action.NOT_INTERESTED: ALL,
}
_WATCHED: Final = frozenset(action for action, bits in _GIVES.items() if bits & VIEW)


def step(
    state: UserPreference | None,
    event: EngagementEvent,
    card: Card | None,
    now: float,
    rules: Rules = RULES,
) -> UserPreference:
    """Fold one engagement event into a viewer's preference (D15-D17, X24, Y4).

    Events of the future count as of ``now``. A repeated event returns an equal state. ``card`` is None
    when the catalogue does not know the video: taste, tags and creator then learn nothing, the entry and
    the seen ring do. The caller sets ``applied``.
    """
    taste = Taste(state or EMPTY)
    taste.fold([event], card, now, rules)
    return taste.close()


class Taste:
    """A viewer's preference, opened: its parts are copied once for everything that is folded into them."""

    def __init__(self, state: UserPreference) -> None:
        """Args: what is known so far; it stays as it is."""
        self._state = state
        self._model, self._weight, self._updated_at = state.model_version, state.weight, state.updated_at
        self._keeps = bool(state.vector)  # whether the stored sum still counts
        self._gains: list[tuple[bytes, float, float]] = []  # embedding, factor, and the time it is as of
        self._changes = 0
        self.positives = dict(state.positives)
        self._creators, self._tags = dict(state.creators), dict(state.tags)
        self._seen = state.seen

    def close(self, **offsets: int) -> UserPreference:
        """Return the preference as it is now, with these fields set; the very same when nothing changed."""
        return self._closed(summed([self])[0], offsets)

    def _closed(self, vector: bytes | None, fields: Mapping[str, object]) -> UserPreference:
        changed = dict(fields)
        if self._changes:
            changed |= {
                "positives": self.positives,
                "creators": self._creators,
                "tags": self._tags,
                "seen": self._seen,
                "version": self._state.version + self._changes,
            }
        if vector is not None:
            changed |= {
                "vector": vector,
                "weight": self._weight,
                "updated_at": self._updated_at,
                "model_version": self._model,
            }
        return msgspec.structs.replace(self._state, **changed) if changed else self._state

    def fold(
        self, run: Sequence[EngagementEvent], card: Card | None, now: float, rules: Rules = RULES
    ) -> tuple[Positive | None, Positive] | None:
        """Fold events of one video that came one after the other: as ``step``, changed once for all.

        Returns:
            What stood between viewer and video and what stands now; None when that is the same.
        """
        video_id = run[0].video_id
        old = new = self.positives.get(video_id)
        if run[0].action in _WATCHED:
            if not self._state.hidden or f"video:{video_id}" not in self._state.hidden:
                new = _watched(old, run, now)
        else:
            for event in run:
                at = min(event.occurred_at, now)
                if event.action is Action.NOT_INTERESTED:
                    self._state = with_wish(self._state, "hidden", f"video:{video_id}", at)
                new = _changed(new, event, at)
        if new is None or new == old:
            return None
        if card:
            self._learn(old, new, card, rules)
        _place(self.positives, video_id, new, now)
        if new.actions & VIEW:
            self._seen = _remember(self._seen, video_id)
        self._changes += 1
        return old, new

    def _learn(self, old: Positive | None, new: Positive, card: Card, rules: Rules) -> None:
        """Replace what a video contributed to taste, creator and tags by what it contributes now."""
        before, after = strength(old, rules), strength(new, rules)
        changes = [(after, new.at)] if after else []
        if old and before:
            changes.insert(0, (-before, old.at))
        _bump(self._creators, card.creator_id, changes)
        for tag in {tag.lower(): None for tag in card.tags}:
            _bump(self._tags, tag, changes)
        self._creators, self._tags = _cut(self._creators, MAX_CREATORS), _cut(self._tags, MAX_TAGS)
        if len(card.embedding) == EMBEDDING_BYTES:
            self._shift(card, changes)

    def _shift(self, card: Card, changes: Sequence[Decayed]) -> None:
        """Note what is to be added to the vector, and bring weight and time to where that leaves them."""
        if self._model != card.model_version:
            # Vectors of two models do not add up; the exact mean bridges the gap from the catalogue.
            self._model, self._weight, self._keeps = card.model_version, 0.0, False
            self._gains.clear()
            changes = [(amount, at) for amount, at in changes if amount > 0]
        reference = max([self._updated_at, *(at for amount, at in changes if amount > 0)])
        gain = sum(amount * _fade(reference - at) for amount, at in changes)
        self._weight = max(0.0, self._weight * _fade(reference - self._updated_at) + gain)
        self._updated_at = reference
        self._gains.append((card.embedding, gain, reference))


def close_all(tastes: Mapping[str, tuple[Taste, int]]) -> dict[str, UserPreference]:
    """Return the preferences of many viewers, by key, each with its ``applied`` set; see ``Taste.close``."""
    vectors = summed([taste for taste, _ in tastes.values()])
    return {
        key: taste._closed(vector, {"applied": applied})
        for (key, (taste, applied)), vector in zip(tastes.items(), vectors, strict=True)
    }


def summed(tastes: Sequence[Taste]) -> list[bytes | None]:
    """Return the new sum vector of each, float32[512] as bytes; None where nothing was added.

    All gains of all viewers are one float32[n, 512]: what numpy costs a call is paid once.
    """
    grown = [taste for taste in tastes if taste._gains]
    if not grown:
        return [None] * len(tastes)
    gains = list(chain.from_iterable(taste._gains for taste in grown))
    until = [taste._updated_at for taste in grown for _ in taste._gains]
    factors = [gain * _fade(end - at) for (_, gain, at), end in zip(gains, until, strict=True)]
    rows = np.frombuffer(b"".join([embedding for embedding, _, _ in gains]), np.float16)
    contributions = rows.reshape(-1, DIMENSIONS) * np.array(factors, np.float32)[:, None]
    firsts = np.cumsum([0, *(len(taste._gains) for taste in grown[:-1])])
    sums = np.add.reduceat(contributions, firsts, axis=0)
    kept = [at for at, taste in enumerate(grown) if taste._keeps]
    if kept:
        states = [grown[at]._state for at in kept]
        known = np.frombuffer(b"".join([state.vector for state in states]), np.float32)
        fades = [
            _fade(grown[at]._updated_at - state.updated_at) for at, state in zip(kept, states, strict=True)
        ]
        sums[kept] += known.reshape(-1, DIMENSIONS) * np.array(fades, np.float32)[:, None]
    found = iter(sums)
    return [next(found).tobytes() if taste._gains else None for taste in tastes]


def _place(positives: dict[str, Positive], video_id: str, entry: Positive, now: float) -> None:
    """Set an entry and keep the rest: oldest first, without the expired and beyond the bound."""
    positives.pop(video_id, None)
    while positives and now - positives[first := next(iter(positives))].at > WINDOW_SECONDS:
        del positives[first]
    in_order = not positives or positives[next(reversed(positives))].at < entry.at
    positives[video_id] = entry
    if not in_order:  # a late event, or two at once: then the id decides, so that arrival does not
        ordered = sorted(positives.items(), key=lambda pair: (pair[1].at, pair[0]))
        positives.clear()
        positives.update(ordered)
    while len(positives) > MAX_POSITIVES:
        del positives[next(iter(positives))]


def _remember(seen: bytes, video_id: str) -> bytes:
    mark = video_hash(video_id).to_bytes(SEEN_BYTES, "little")
    at = seen.find(mark)
    while at % SEEN_BYTES and at >= 0:  # across two of them
        at = seen.find(mark, at + 1)
    return seen if at >= 0 else seen[-SEEN_BYTES * (MAX_SEEN - 1) :] + mark


def _watched(old: Positive | None, run: Sequence[EngagementEvent], now: float) -> Positive:
    """Return the entry after steps of watching; its time is that of the latest that said something new."""
    actions, completion, seq = (old.actions, old.completion, old.seq) if old else (0, 0.0, -1)
    at = old.at if old else None
    for event in run:
        given, fraction = actions | _GIVES[event.action], reached(event)
        if at is None or given != actions or fraction > completion:
            when = event.occurred_at if event.occurred_at < now else now
            if at is None or when > at:
                at = when
            actions = given
            if fraction > completion:
                completion = fraction
    assert at is not None
    return Positive(at, actions, completion, seq)


def _changed(old: Positive | None, event: EngagementEvent, at: float) -> Positive | None:
    """Return the entry after a like, save, share, comment or a wish, or when one is taken back."""
    if old and event.relation_seq is not None and event.relation_seq <= old.seq:
        return old
    taken = _TAKES.get(event.action, 0)
    if taken and old is None and event.relation_seq is None:
        return None
    before = old or Positive(at)
    seq = max(before.seq, -1 if event.relation_seq is None else event.relation_seq)
    after = (before.actions | _GIVES.get(event.action, 0)) & ~taken
    if after == before.actions:
        # Nothing new was said, but a relation's sequence must not move back.
        return Positive(before.at, after, before.completion, seq)
    return Positive(max(before.at, at) if after else at, after, before.completion, seq)


def _bump(table: dict[str, Decayed], key: str, changes: Sequence[Decayed]) -> None:
    """Add changes at their times to the decayed sum of a key; a sum of nothing goes."""
    if not changes:
        return
    known = table.get(key)
    if known is None and len(changes) == 1:
        total, reference = changes[0]
    else:
        summands = [known, *changes] if known else changes
        reference = max([at for _, at in summands])
        total = sum([decayed_value(summand, reference) for summand in summands])
    if total > 1e-9:
        table[key] = (total, reference)
    else:
        table.pop(key, None)


def _cut(table: dict[str, Decayed], limit: int) -> dict[str, Decayed]:
    """Return a table within its limit: the strongest stay."""
    if len(table) <= limit:
        return table
    newest = max(at for _, at in table.values())
    strongest = sorted(table, key=lambda key: (-decayed_value(table[key], newest), key))
    return {key: table[key] for key in strongest[: limit - _SPARE]}


def _fade(age_seconds: float) -> float:
    # The bounds keep the power finite for absurd times.
    return math.exp2(min(60.0, max(-1000.0, -age_seconds / TASTE_HALF_LIFE_SECONDS)))
