"""Where candidates come from: the viewer's taste, what the same people liked, trends or is new (E4, D18)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ranking.catalogue import MAX_SIMILAR, Catalogue
from ranking.profiles import HOUR_SECONDS, Facts, Profile
from ranking.vectors import Numbers, Vector
from ranking.viewer import Sparse, Viewer

MAX_TRENDING: Final = 100
MAX_PAIRED: Final = 100
MAX_RANKED: Final = 400
"""Candidates in one ranking: with fewer videos than this, all of them."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Candidate numbers, each once; ``failure`` is why taste played no part, when the index failed (O25)."""

    numbers: Numbers
    vector: Vector | None
    failure: Exception | None = None
    together: Sparse | None = None


def gather(catalogue: Catalogue, viewer: Viewer, profile: Profile, allowed: NDArray[np.bool_]) -> Gathered:
    """Return up to 400 candidates from all sources, among those that ``allowed`` marks.

    Similar ones first (at most 100), then what goes with the viewer's latest positives (at most 100, where
    the profile weighs it), then what trends (at most 100), then the newest.
    """
    vector: Vector | None = None
    failure: Exception | None = None
    similar = np.empty(0, np.int64)
    if profile.name not in {"trending", "chronological"}:
        try:
            vector = viewer.vector(catalogue, profile)
            if vector is not None:
                similar = _similar(catalogue, vector, allowed)
        except Exception as error:  # a broken index must not break the feed: it is ranked by recency
            vector, failure = None, error
    newest_only = profile.name == "chronological" or failure is not None
    trending = np.empty(0, np.int64) if newest_only else hottest(catalogue, viewer.now, allowed)
    together = viewer.together(catalogue) if profile.weights.get("together") and not newest_only else None
    paired = _paired(together, allowed) if together is not None else np.empty(0, np.int64)
    chosen = allowed.copy()
    chosen[similar] = False
    chosen[paired] = False
    chosen[trending] = False
    room = MAX_RANKED - int(allowed.sum() - chosen.sum())
    newest = _top(catalogue.columns["created_at"], chosen, room)
    numbers = np.unique(np.concatenate([similar, paired, trending, newest]))
    return Gathered(numbers, vector, failure, together)


def hottest(
    catalogue: Catalogue, now: float, allowed: NDArray[np.bool_], count: int = MAX_TRENDING
) -> Numbers:
    """Return the videos with the highest decayed engagement of the last 24 hours, highest first (E3)."""
    columns = catalogue.columns
    recent = allowed & (columns["decayed_at"] >= now - 24 * HOUR_SECONDS) & (columns["decayed"] > 0)
    return _top(columns["heat"], recent, count)


def facts(catalogue: Catalogue, viewer: Viewer, gathered: Gathered) -> Facts:
    """Return everything the profiles' formulas need, one array each, over the candidates."""
    numbers = gathered.numbers
    rows = catalogue.columns.take(numbers)
    plain = ("created_at", "decayed", "decayed_at", "views", "likes", "comments", "shares")
    columns = {name: rows[name].astype(np.float64) for name in (*plain, "completion", "quality")}
    return Facts(
        now=viewer.now,
        cosine=_cosine(catalogue, numbers, gathered.vector),
        affinity=viewer.affinity(catalogue, rows["creator"]),
        follows=viewer.following.at(rows["creator"]) > 0,
        tag_match=viewer.tag_match(catalogue, rows["tags"]),
        together=gathered.together.at(numbers) if gathered.together else None,
        **columns,
    )


def _similar(catalogue: Catalogue, vector: Vector, allowed: NDArray[np.bool_]) -> Numbers:
    # Twice as many, because some of the nearest may not be shown to this viewer.
    numbers, _ = catalogue.nearest_numbers(vector, 2 * MAX_SIMILAR)
    return numbers[allowed[numbers]][:MAX_SIMILAR]


def _paired(together: Sparse, allowed: NDArray[np.bool_]) -> Numbers:
    known = allowed[together.numbers]
    numbers, values = together.numbers[known], together.values[known]
    return numbers[np.lexsort((numbers, -values))][:MAX_PAIRED]


def _cosine(catalogue: Catalogue, numbers: Numbers, vector: Vector | None) -> NDArray[np.float64]:
    if vector is None:
        return np.full(len(numbers), np.nan)
    cosines = (catalogue.vectors.rows(numbers) @ vector).astype(np.float64)
    return np.where(catalogue.vectors.present(numbers), cosines, np.nan)


def _top(column: NDArray[np.floating], mask: NDArray[np.bool_], count: int) -> Numbers:
    """Return the numbers with the highest values among those marked, highest first."""
    numbers = np.flatnonzero(mask)
    if count <= 0:
        return np.empty(0, np.int64)
    if len(numbers) > count:
        values = column[numbers]
        # Everything that ties with the last one comes in, then the order decides: deterministic.
        limit = np.partition(values, len(values) - count)[len(values) - count]
        numbers = numbers[values >= limit]
    order = np.lexsort((numbers, -column[numbers]))
    return numbers[order][:count]
