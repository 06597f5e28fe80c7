"""One ranking: candidates gathered, scored in one array operation, ordered, each with its explanation."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ranking import ordering, profiles
from ranking.candidates import facts, gather
from ranking.catalogue import Catalogue
from ranking.profiles import Array, Facts, Profile
from ranking.vectors import Numbers
from ranking.viewer import Viewer

FEW_VIEWS: Final = 1_000  # research/ranking.md 6: exploration is for videos under 1,000 impressions
WATCHED_PENALTY: Final = -1.0

REASONS: Final = {
    "similarity": "deep_recall",
    "deep_model": "deep_recall",
    "ml_score": "deep_recall",
    "personalisation": "interests",
    "recency": "fresh",
    "freshness": "fresh",
    "engagement": "popular",
    "completion": "popular",
    "quality": "quality",
    "affinity": "creator",
    "creator_affinity": "creator",
    "author_affinity": "creator",
    "relationship": "following",
    "following": "following",
    "trending": "trending",
    "together": "liked_together",
}
# Part of a signal that everything has, and that therefore explains nothing.
_BASELINES: Final = {"relationship": profiles.STRANGER, "deep_model": 0.5, "ml_score": 0.5}


@dataclass(frozen=True, slots=True)
class Ranking:
    """Videos in order. ``values`` is float32[n, signals]; ``names`` and ``weights`` are its columns.

    A score is the sum of value times weight. ``hashes`` tell whether a dense number still means the video
    that was ranked; ``complete`` that nothing which may be shown was left out;
    ``failure`` is why it is by recency only, when the index failed (O25). Only the first
    ``documented`` signals always stand; extra ones of weight 1 (wishes, watched, author_repeat) stand
    where they are not zero.
    """

    profile: str
    numbers: Numbers
    hashes: NDArray[np.uint64]
    scores: Array
    reasons: tuple[str, ...]
    values: NDArray[np.float32]
    names: tuple[str, ...]
    weights: tuple[float, ...]
    documented: int
    failure: Exception | None
    complete: bool

    def signals(self, position: int) -> dict[str, dict[str, float]]:
        """Return what made up the score at a position (E9)."""
        row = self.values[position].tolist()
        return {
            name: {"value": value, "weight": weight}
            for place, (name, value, weight) in enumerate(zip(self.names, row, self.weights, strict=True))
            if place < self.documented or value
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What to rank: the profile in effect, one page's length, the seed, and what may be shown."""

    profile: Profile
    limit: int
    seed: int
    allowed: NDArray[np.bool_]
    cold: bool


def rank(catalogue: Catalogue, viewer: Viewer, asked: Asked) -> Ranking:
    """Gather, score and order (E4, E6, E9, E26); a failing index degrades to recency (O25)."""
    profile = profiles.TRENDING if asked.cold else asked.profile
    gathered = gather(catalogue, viewer, profile, asked.allowed)
    if gathered.failure is not None:
        profile = profiles.CHRONOLOGICAL
    known = facts(catalogue, viewer, gathered)
    values = profiles.signals(profile, known)
    scores = profiles.score(profile, values)
    rows = catalogue.columns.take(gathered.numbers)
    extra = _extras(catalogue, viewer, profile, gathered.numbers)
    for change in extra.values():
        scores = scores + change

    def ids() -> list[str]:
        return [card.video_id if (card := catalogue.shown(n)) else "" for n in gathered.numbers.tolist()]

    if profile.author_decay < 1.0:
        first = ordering.by_score(scores, known.created_at, ids)
        lost = ordering.author_decay(
            first, scores, rows["creator"], profile.author_decay, profile.author_floor
        )
        extra["author_repeat"] = lost
        scores = scores + lost
    order = ordering.by_score(scores, known.created_at, ids)
    order = ordering.share_pages(order, rows["creator"], asked.limit, profile.creator_share)
    order, explored = _explored(order, known, extra, profile, asked)
    reasons = _reasons(profile, values, explored)
    matrix = np.stack([*values.values(), *extra.values()], axis=1) if len(order) else np.zeros((0, 1))
    return Ranking(
        profile=profile.name,
        numbers=gathered.numbers[order],
        hashes=rows["hash"][order],
        scores=scores[order],
        reasons=tuple(reasons[place] for place in order.tolist()),
        values=matrix[order].astype(np.float32),
        names=(*values, *extra),
        weights=(*profile.weights.values(), *(1.0 for _ in extra)),
        documented=len(values),
        failure=gathered.failure,
        complete=len(order) >= int(asked.allowed.sum()),
    )


def _extras(catalogue: Catalogue, viewer: Viewer, profile: Profile, numbers: Numbers) -> dict[str, Array]:
    """Return what is added to the profile's own sum: the viewer's wishes, and what watching costs."""
    extra: dict[str, Array] = {"wishes": viewer.wishes(catalogue, numbers)}
    if profile.watched == "demote":
        watched = viewer.watched(catalogue.columns.take(numbers)["hash"])
        extra["watched"] = WATCHED_PENALTY * watched.astype(np.float64)
    return extra


def _explored(
    order: ordering.Order, known: Facts, extra: dict[str, Array], profile: Profile, asked: Asked
) -> tuple[ordering.Order, ordering.Order]:
    unwatched = extra["watched"] == 0 if "watched" in extra else np.ones(len(order), np.bool_)
    eligible = (known.views < FEW_VIEWS) & unwatched
    return ordering.explore(order, eligible, asked.limit, profile.exploration, asked.seed)


def _reasons(profile: Profile, values: dict[str, Array], explored: ordering.Order) -> list[str]:
    """Name for each candidate the signal that contributed most above what everything has (E9)."""
    names = list(values)
    if not len(values[names[0]]):
        return []
    parts = [profile.weights[name] * (values[name] - _BASELINES.get(name, 0.0)) for name in names]
    leading = np.argmax(np.stack(parts), axis=0)
    reasons = [REASONS[names[place]] for place in leading.tolist()]
    if profile.name == "trending":
        reasons = ["trending"] * len(reasons)
    for place in explored.tolist():
        reasons[place] = "exploration"
    return reasons
