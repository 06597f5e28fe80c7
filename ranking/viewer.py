"""One viewer's preference turned into arrays over the dense numbers of the catalogue, for one ranking."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranking.catalogue import Catalogue
from ranking.columns import NO_TAG, Names
from ranking.profiles import Array, Profile
from ranking.vectors import Numbers, Vector
from tables.reducers import together
from tables.reducers.preferences import (
    UserPreference,
    decayed_value,
    preference_vector,
    seen_hashes,
    video_hash,
)

SHRINKAGE = 10.0
"""Added below the cosine of pairs, so that few pairs say little (research/ranking.md section 6)."""
LESS = -0.25
MORE = 0.15
"""What a wish adds to a score, as a signal of weight 1: enough to move a page, not to hide (Y4)."""


@dataclass(frozen=True, slots=True)
class Sparse:
    """Values by dense number, sorted; 0 for every number that is not in it."""

    numbers: NDArray[np.int64]
    values: Array

    @classmethod
    def of(cls, names: Names, values: Mapping[str, float]) -> "Sparse":
        """Take over the values of those names that have a number."""
        found = sorted((names.get(name), value) for name, value in values.items())
        known = [(number, value) for number, value in found if number >= 0]
        return cls(np.array([n for n, _ in known], np.int64), np.array([v for _, v in known], np.float64))

    def at(self, numbers: NDArray[np.integer]) -> Array:
        """Return the value of each number, float64, same shape."""
        if not len(self.numbers):
            return np.zeros(numbers.shape)
        places = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[places] == numbers, self.values[places], 0.0)


@dataclass(frozen=True, slots=True)
class Viewer:
    """What filters and signals need to know of the one who asks; anonymous is None everywhere."""

    number: int  # as a creator; -1 when they have no video
    state: UserPreference | None
    following: Sparse
    blocked: Sparse
    now: float

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        viewer_id: str | None,
        state: UserPreference | None,
        graph: tuple[Iterable[str], Iterable[str]],
        now: float,
    ) -> "Viewer":
        """Build from a preference and the graph: creators followed, creators blocked or muted."""
        creators = catalogue.columns.creators
        following, blocked = (Sparse.of(creators, dict.fromkeys(ids, 1.0)) for ids in graph)
        number = creators.get(viewer_id) if viewer_id else -1
        return cls(number, state, following, blocked, now)

    def may_see(
        self, catalogue: Catalogue, profile: Profile, numbers: Numbers | None = None
    ) -> NDArray[np.bool_]:
        """Tell which candidates, or all rows, may be shown to this viewer at all (E5, E45, Y4)."""
        rows = catalogue.columns.take(slice(catalogue.columns.size) if numbers is None else numbers)
        own = rows["creator"] == self.number if self.number >= 0 else np.zeros(len(rows), np.bool_)
        visible = rows["public"] | (rows["followers"] & (self.following.at(rows["creator"]) > 0))
        shown = rows["alive"] & rows["allowed"] & (visible | own) & ~(self.blocked.at(rows["creator"]) > 0)
        if profile.exclude_own:
            shown &= ~own
        if self.state is None:
            return np.asarray(shown)
        if self.state.hidden:
            shown &= ~np.logical_or.reduce(self._kinds(catalogue, rows, self.state.hidden))
        if profile.watched == "exclude":
            shown &= ~self.watched(rows["hash"])
        return np.asarray(shown)

    def watched(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell which videos the viewer has watched lately."""
        return np.isin(hashes, seen_hashes(self.state))

    def vector(self, catalogue: Catalogue, profile: Profile) -> Vector | None:
        """Return the preference vector in the profile's mode (X23)."""
        mode = {"video": "completion_weighted", "blend": "decayed"}.get(profile.name, "mean")
        vector = preference_vector(self.state, self.now, catalogue.lookup, mode)  # type: ignore[arg-type]
        if vector is None and mode != "mean":
            return preference_vector(self.state, self.now, catalogue.lookup)
        return vector

    def together(self, catalogue: Catalogue) -> Sparse:
        """Return by video how much it goes with what the viewer found good last, 0 or more.

        The sum of the shrunk cosines of pairs, w / (sqrt(n m) + 10), all as of now.
        """
        sums: dict[int, float] = {}
        for video_id in together.latest_good(self.state) if self.state else ():
            row = catalogue.together(video_id)
            if row is None:
                continue
            found = [
                (number, weight)
                for other, weight in row.neighbours.items()
                if (number := catalogue.number(other)) is not None
            ]
            if not found:
                continue
            left = together.left(row, self.now)
            numbers = np.array([number for number, _ in found])
            theirs = catalogue.columns.take(numbers)
            fade = np.exp2((theirs["positives_at"] - self.now) / together.HALF_LIFE_SECONDS)
            norm = np.sqrt(np.maximum(0.0, row.positives * left * theirs["positives"] * fade))
            cosines = np.array([weight for _, weight in found]) * left / (norm + SHRINKAGE)
            for number, cosine in zip(numbers.tolist(), cosines.tolist(), strict=True):
                sums[number] = sums.get(number, 0.0) + cosine
        ordered = sorted(sums.items())
        return Sparse(
            np.array([number for number, _ in ordered], np.int64),
            np.array([value for _, value in ordered], np.float64),
        )

    def affinity(self, catalogue: Catalogue, creators: NDArray[np.int32]) -> Array:
        """Return the decayed history with each candidate's creator, 0 or more (E23)."""
        if self.state is None:
            return np.zeros(len(creators))
        values = {name: decayed_value(pair, self.now) for name, pair in self.state.creators.items()}
        return Sparse.of(catalogue.columns.creators, values).at(creators)

    def tag_match(self, catalogue: Catalogue, tags: NDArray[np.int32]) -> Array:
        """Return the TF-IDF cosine of the viewer's tags and each candidate's, NaN without tags (E20)."""
        count = len(tags)
        if self.state is None or not self.state.tags:
            return np.full(count, np.nan)
        # The smooth form of scikit-learn: a tag that every video has still says a little.
        idf = np.log((1.0 + len(catalogue)) / (1.0 + catalogue.columns.tag_counts)) + 1.0
        names = catalogue.columns.tags
        weights = {
            name: decayed_value(pair, self.now) * idf[names.get(name)]
            for name, pair in self.state.tags.items()
            if names.get(name) >= 0
        }
        mine = np.sqrt(sum(value * value for value in weights.values()))
        has = tags != NO_TAG
        theirs = np.where(has, idf[tags], 0.0)
        norms = np.linalg.norm(theirs, axis=1) * mine
        dots = (Sparse.of(names, weights).at(tags) * theirs * has).sum(axis=1)
        return np.where(norms > 0, dots / np.where(norms > 0, norms, 1.0), np.nan)

    def wishes(self, catalogue: Catalogue, numbers: Numbers) -> Array:
        """Return what "less" and "more" add to each candidate's score (Y4)."""
        if self.state is None or not (self.state.less or self.state.more):
            return np.zeros(len(numbers))
        rows = catalogue.columns.take(numbers)
        less = sum(mask.astype(np.float64) for mask in self._kinds(catalogue, rows, self.state.less))
        more = sum(mask.astype(np.float64) for mask in self._kinds(catalogue, rows, self.state.more))
        return np.asarray(LESS * less + MORE * more)

    @staticmethod
    def _kinds(
        catalogue: Catalogue, rows: NDArray[np.void], wishes: Mapping[str, float]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which rows a wish names by video, by creator, by tag."""
        named: dict[str, list[str]] = {"video": [], "creator": [], "tag": []}
        for target in wishes:
            kind, _, name = target.partition(":")
            named.get(kind, []).append(name)
        hashes = np.array([video_hash(name) for name in named["video"]], np.uint64)
        creators = catalogue.columns.creators.find(named["creator"])
        tags = catalogue.columns.tags.find(name.lower() for name in named["tag"])
        return (
            np.isin(rows["hash"], hashes),
            np.isin(rows["creator"], creators),
            np.asarray(np.isin(rows["tags"], tags).any(axis=1)),
        )
