"""What a viewer's feed knows about them: positives, taste, affinity and wishes (table ``user_preference``).

Pure: state and fact in, new state out; time is an argument. The state is small and bounded in every
part, because each change of it is a changelog record.

A video is *one* positive per viewer, however often it is watched: the entry remembers which actions
stand (a bit each), so a repeated event changes nothing and a stronger action upgrades the entry
(X24). The exact 30-day mean of D15 is taken from the entries and the vectors of the catalogue when it
is read, so it also follows re-embedded, late and deleted videos; the decayed sum is kept in the state.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tables.records import UserFact

DIMENSIONS: Final = 512
DAY_SECONDS: Final = 86_400.0
WINDOW_SECONDS: Final = 30 * DAY_SECONDS  # E2: history of a feed
TASTE_HALF_LIFE_SECONDS: Final = 3 * DAY_SECONDS  # research/ranking.md 6: 1-7 days
AFFINITY_HALF_LIFE_SECONDS: Final = 14 * DAY_SECONDS
MAX_POSITIVES: Final = 200
MAX_SEEN: Final = 1_000
MAX_CREATORS: Final = 200
MAX_TAGS: Final = 200
MAX_WISHES: Final = 500
SEEN_BYTES: Final = 8

Vector = NDArray[np.float32]
Lookup = Callable[[Sequence[str]], tuple[NDArray[np.int64], Vector]]
"""Given ids, return the positions in them that have a vector, and those vectors, float32[n, 512]."""

Mode = Literal["mean", "completion_weighted", "decayed"]
Decayed = tuple[float, float]  # a sum, and the time it is decayed to

VIEW: Final = 1
COMPLETE: Final = 2
LIKE: Final = 4
SHARE: Final = 8
COMMENT: Final = 16
SAVE: Final = 32
ALL: Final = 63

# How much an action says about taste; an entry has the strength of its strongest one.
_STRENGTH: Final[Mapping[int, float]] = {
    COMPLETE: 0.8,
    COMMENT: 0.9,
    LIKE: 1.0,
    SAVE: 1.0,
    SHARE: 1.0,
}
# the same for every set of actions, so that it is looked up
_STRONGEST: Final = tuple(
    max([0.0, *(value for bit, value in _STRENGTH.items() if actions & bit)]) for actions in range(ALL + 1)
)
_VIEW_FLOOR, _VIEW_SPAN = 0.2, 0.5  # a view weighs by how much was watched


class Positive(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What stands between a viewer and one video.

    ``at`` is the time of the latest action that changed it, ``seq`` the highest outbox sequence applied,
    ``completion`` the best fraction watched, 0..1. No bit set means: taken back, kept to outlive replays.
    """

    at: float
    actions: int = 0
    completion: float = 0.0
    seq: int = -1


class UserPreference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The value of ``user_preference``. Vectors are float32[512] as bytes; times are epoch seconds.

    ``applied`` and ``applied_facts`` are the last offsets applied from ``events.engagement`` and
    ``events.user``. ``version`` grows with every change that may reorder the viewer's feed.
    """

    vector: bytes = b""
    weight: float = 0.0
    updated_at: float = 0.0
    model_version: str = ""
    positives: dict[str, Positive] = {}
    seen: bytes = b""  # the last watched videos as 64-bit hashes, oldest first
    creators: dict[str, Decayed] = {}
    tags: dict[str, Decayed] = {}
    hidden: dict[str, float] = {}  # "video:ID", "creator:ID", "tag:NAME" -> when
    less: dict[str, float] = {}
    more: dict[str, float] = {}
    applied: int = -1
    applied_facts: int = -1
    version: int = 0


class Rules(msgspec.Struct, frozen=True):
    """Settings of the reducer. ``view_threshold``: a view below this completion says nothing (X24)."""

    view_threshold: float = 0.0


RULES: Final = Rules()
EMPTY: Final = UserPreference()


def video_hash(video_id: str) -> int:
    """Return the unsigned 64-bit hash under which a video is remembered as seen or shown."""
    return int.from_bytes(blake2b(video_id.encode(), digest_size=SEEN_BYTES).digest(), "little")


def apply_fact(state: UserPreference | None, fact: UserFact) -> UserPreference:
    """Fold ``feed.feedback`` and ``feed.reset`` facts; others change nothing (Y4).

    ``target`` is ``video:ID``, ``creator:ID`` or ``tag:NAME``; ``detail`` is ``not_interested``,
    ``less`` or ``more``. The last wish about a target wins. A reset forgets taste, history and wishes.
    """
    before = state or EMPTY
    if fact.kind == "feed.reset":
        return UserPreference(
            applied=before.applied, applied_facts=before.applied_facts, version=before.version + 1
        )
    kinds = {"not_interested": "hidden", "less": "less", "more": "more"}
    if fact.kind != "feed.feedback" or fact.detail not in kinds or not fact.target:
        return before
    return with_wish(before, kinds[fact.detail], fact.target, fact.at)


def is_positive(entry: Positive, rules: Rules = RULES) -> bool:
    """Tell whether an entry counts as a positive interaction (X24)."""
    if entry.actions & ~(VIEW | COMPLETE):
        return True
    return bool(entry.actions) and entry.completion >= rules.view_threshold


def strength(entry: Positive | None, rules: Rules = RULES) -> float:
    """Return how much an entry says about taste, 0..1; 0 when it is not positive."""
    if entry is None or not is_positive(entry, rules):
        return 0.0
    strongest = _STRONGEST[entry.actions]
    if not entry.actions & VIEW:
        return strongest
    watched = _VIEW_FLOOR + _VIEW_SPAN * entry.completion
    return watched if watched > strongest else strongest


def positives_within(state: UserPreference, now: float, rules: Rules = RULES) -> dict[str, Positive]:
    """Return the positive entries of the last 30 days, oldest first (E2)."""
    return {
        video_id: entry
        for video_id, entry in state.positives.items()
        if now - entry.at <= WINDOW_SECONDS and is_positive(entry, rules)
    }


def interactions(state: UserPreference | None, now: float) -> int:
    """Count interactions of the last 30 days for the cold-start rule (E3).

    Watching a video is one, however far; a like, share, comment or save of it is one more each.
    """
    if state is None:
        return 0
    recent = positives_within(state, now).values()
    return sum(bool(e.actions & VIEW) + (e.actions & ~(VIEW | COMPLETE)).bit_count() for e in recent)


def preference_vector(
    state: UserPreference | None, now: float, lookup: Lookup | None = None, mode: Mode = "mean"
) -> Vector | None:
    """Return the viewer's unit preference vector, float32[512], or None when nothing is known.

    ``mean`` is the normalised average over the positives of the last 30 days (D15, property 19),
    ``completion_weighted`` weighs them by completion (D16); both need ``lookup``. ``decayed`` is the
    stored sum, half-life three days, and needs none.
    """
    if state is None:
        return None
    if mode == "decayed" or lookup is None:
        recent = state.vector and now - state.updated_at <= WINDOW_SECONDS
        return _unit(np.frombuffer(state.vector, np.float32)) if recent else None
    recent_entries = positives_within(state, now)
    found, vectors = lookup(list(recent_entries))
    if not len(found):
        return None
    if mode == "mean":
        return _unit(vectors.mean(axis=0, dtype=np.float64))
    completion = np.array([entry.completion for entry in recent_entries.values()])[found]
    return _unit(completion @ vectors)


def seen_hashes(state: UserPreference | None) -> NDArray[np.uint64]:
    """Return the hashes of the videos watched lately, oldest first."""
    return np.frombuffer(state.seen if state else b"", np.uint64)


def decayed_value(pair: Decayed, now: float, half_life_seconds: float = AFFINITY_HALF_LIFE_SECONDS) -> float:
    """Return a decayed sum as of ``now``; a time before the sum's own leaves it as it is."""
    value, at = pair
    return float(value * 2.0 ** (-max(0.0, now - at) / half_life_seconds))


def with_wish(state: UserPreference, kind: str, target: str, at: float) -> UserPreference:
    """Return the preference with a wish (hidden, less, more) set; the last one about a target wins."""
    tables = {name: dict(getattr(state, name)) for name in ("hidden", "less", "more")}
    if any(target in table and table[target] >= at for table in tables.values()):
        return state
    for table in tables.values():
        table.pop(target, None)
    tables[kind][target] = at
    bounded = {
        name: dict(sorted(table.items(), key=lambda pair: (pair[1], pair[0]))[-MAX_WISHES:])
        for name, table in tables.items()
    }
    return msgspec.structs.replace(state, version=state.version + 1, **bounded)


def _unit(vector: NDArray[np.floating]) -> Vector | None:
    norm = float(np.linalg.norm(vector))
    return (vector / norm).astype(np.float32) if norm > 1e-9 else None
