"""How engagement events change what a feed knows of a viewer (D15-D17, X24, Y4).

A preference is opened once for all events of a slice, changed in place, and closed to the next row of
``user_preference``. Pure; time is an argument. A video's contribution is replaced, never added to: that is
why events that come again change nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

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
        self._vector: NDArray[np.float64] | None = None
        self._changes = 0
        self.positives = dict(state.positives)
        self._creators, self._tags = dict(state.creators), dict(state.tags)
        self._seen = state.seen

    def close(self, **offsets: int) -> UserPreference:
        """Return the preference as it is now, with these fields set; the very same when nothing changed."""
        changed: dict[str, object] = dict(offsets)
        if self._changes:
            changed |= {
                "positives": self.positives,
                "creators": self._creators,
                "tags": self._tags,
                "seen": self._seen,
                "version": self._state.version + self._changes,
            }
        if self._vector is not None:
            changed["vector"] = self._vector.astype(np.float32).tobytes()
        return msgspec.structs.replace(self._state, **changed) if changed else self._state

    def fold(
        self, run: Sequence[EngagementEvent], card: Card | None, now: float, rules: Rules = RULES
    ) -> tuple[Positive | None, Positive] | None:
        """Fold events of one video that came one after the other: as ``step``, changed once for all.

        Returns:
            What stood between viewer and video and what stands now; None when that is the same.
        """
        video_id = run[0].video_id
        target = f"video:{video_id}"
        old = new = self.positives.get(video_id)
        if run[0].action in _WATCHED:
            if target not in self._state.hidden:
                new = _watched(old, run, now)
        else:
            for event in run:
                at = min(event.occurred_at, now)
                if event.action is Action.NOT_INTERESTED:
                    self._state = with_wish(self._state, "hidden", target, at)
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
        changes = [(-before, old.at if old else 0.0), (after, new.at)]
        _bump(self._creators, card.creator_id, changes)
        for tag in {tag.lower(): None for tag in card.tags}:
            _bump(self._tags, tag, changes)
        self._creators, self._tags = _cut(self._creators, MAX_CREATORS), _cut(self._tags, MAX_TAGS)
        if card.embedding:
            self._shift(card, changes)

    def _shift(self, card: Card, changes: Sequence[Decayed]) -> None:
        vector = np.frombuffer(card.embedding, np.float16)
        if vector.size != DIMENSIONS:
            return
        state = self._state
        total = self._vector
        if state.model_version != card.model_version:
            # Vectors of two models do not add up; the exact mean bridges the gap from the catalogue.
            total = np.zeros(DIMENSIONS)
            state = msgspec.structs.replace(state, weight=0.0, model_version=card.model_version)
            changes = changes[1:]
        elif total is None:
            total = np.frombuffer(state.vector, np.float32).astype(np.float64) if state.vector else None
        reference = max([state.updated_at, *(at for amount, at in changes if amount > 0)])
        fade = _fade(reference - state.updated_at)
        gain = sum(amount * _fade(reference - at) for amount, at in changes)
        gained = vector.astype(np.float64) * gain
        self._vector = gained if total is None else total * fade + gained
        self._state = msgspec.structs.replace(
            state, weight=max(0.0, state.weight * fade + gain), updated_at=reference
        )


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
            when = min(event.occurred_at, now)
            at = when if at is None else max(at, when)
            actions, completion = given, max(completion, fraction)
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
    value, at = table.get(key, (0.0, -math.inf))
    reference = max([at, *(t for amount, t in changes if amount)])
    if reference == -math.inf:
        return
    total = decayed_value((value, at), reference) if at > -math.inf else 0.0
    total += sum(decayed_value((amount, t), reference) for amount, t in changes if amount)
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
