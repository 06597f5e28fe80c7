"""The playable videos as ranking sees them: cards, feature columns, vectors and their index.

One per process, fed by the agent on ``catalogue.changes`` and by the engagement agent. Reads and writes
happen on the event loop; only an index rebuild leaves it (D6, D7, D11-D14, D18, D27).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ranking.columns import Columns, without_vector
from ranking.index import AnnoyIndex, ExactIndex, VectorIndex
from ranking.vectors import DIMENSIONS, Numbers, Vector, VectorStore
from tables.records import Card
from tables.reducers.engagement import VideoEngagement
from tables.reducers.together import CoOccurrence

EXACT_UP_TO: Final = 20_000
MAX_SIMILAR: Final = 100  # D18
EngagementReader = Callable[[str], VideoEngagement | None]
TogetherReader = Callable[[str], CoOccurrence | None]


class Catalogue:
    """Cards by id, and everything that scoring needs by dense number."""

    def __init__(
        self,
        index_folder: Path | None = None,
        engagement: EngagementReader | None = None,
        exact_up_to: int = EXACT_UP_TO,
    ) -> None:
        """Start empty.

        Args:
            index_folder: Where Annoy files go; None keeps the search exact at any size.
            engagement: Read once when a video is new here, so that the order of recovery does not matter.
            exact_up_to: Vectors up to which the search stays exact.
        """
        self.columns = Columns()
        self.vectors = VectorStore()
        self.version = 0  # grows when a video is added, changed or removed
        self._numbers: dict[str, int] = {}
        self._cards: list[Card | None] = []
        self._shown: list[Card | None] = []  # the same without vectors, so that a page makes no objects
        self._holes: list[int] = []
        self._tag_members: dict[str, set[int]] = {}
        self._index: VectorIndex = ExactIndex(self.vectors)
        self._index_folder = index_folder
        self._engagement = engagement
        self._exact_up_to = exact_up_to
        self.together: TogetherReader = lambda video_id: None

    def __len__(self) -> int:
        """Return the number of videos."""
        return len(self._numbers)

    def __contains__(self, video_id: str) -> bool:
        """Tell whether a video is here."""
        return video_id in self._numbers

    def upsert(self, card: Card) -> None:
        """Add a video or replace its card; a card without embedding keeps the vector it had.

        A broken embedding counts as none: the video is shown by its other merits, and
        ``inconsistencies`` names it.
        """
        vector = _decode(card.embedding)
        number = self._numbers.get(card.video_id)
        if number is None:
            number = self._new_number()
            self._numbers[card.video_id] = number
            self._set_card(number, card)
            state = self._engagement(card.video_id) if self._engagement else None
            if state is not None:
                self.columns.count(number, state)
            row = self.together(card.video_id)
            if row is not None:
                self._set_positives(number, row)
        else:
            self._untag(number)
            self._set_card(number, card)
        if vector is not None:
            self.vectors.put(number, vector)
            self._index.changed(number)
        self.version += 1

    def remove(self, video_id: str) -> None:
        """Take a video out of every result at once (D14); an unknown one is no error."""
        number = self._numbers.pop(video_id, None)
        if number is None:
            return
        self._untag(number)
        self._cards[number] = self._shown[number] = None
        self.columns.clear(number)
        self.vectors.drop(number)
        self._index.changed(number)
        self._holes.append(number)
        self.version += 1

    def set_engagement(self, video_id: str, state: VideoEngagement) -> None:
        """Take over the counters of a video; an unknown video is no error."""
        number = self._numbers.get(video_id)
        if number is not None:
            self.columns.count(number, state)

    def read_together(self, reader: TogetherReader) -> None:
        """Read neighbours of videos with ``reader`` from now on."""
        self.together = reader

    def set_positives(self, video_id: str, row: CoOccurrence) -> None:
        """Take over how often people found a video good; an unknown video is no error."""
        number = self._numbers.get(video_id)
        if number is not None:
            self._set_positives(number, row)

    def _set_positives(self, number: int, row: CoOccurrence) -> None:
        self.columns["positives"][number] = row.positives
        self.columns["positives_at"][number] = row.since

    def get(self, video_id: str) -> Card | None:
        """Return the card of a video, or None."""
        number = self._numbers.get(video_id)
        return None if number is None else self._cards[number]

    def number(self, video_id: str) -> int | None:
        """Return the dense number of a video, or None. Numbers of removed videos are used again."""
        return self._numbers.get(video_id)

    def shown(self, number: int) -> Card | None:
        """Return the card under a dense number, without its vector, or None."""
        return self._shown[number] if 0 <= number < len(self._shown) else None

    def vector(self, video_id: str) -> Vector | None:
        """Return the embedding of a video, float32[512], or None (D7)."""
        number = self._numbers.get(video_id)
        if number is None or not self.vectors.has(number):
            return None
        row: Vector = self.vectors.rows(np.array([number]))[0]
        return row

    def lookup(self, video_ids: Sequence[str]) -> tuple[Numbers, Vector]:
        """Return the positions in ``video_ids`` that have a vector, and those vectors (D15)."""
        numbers = np.array([self._numbers.get(video_id, -1) for video_id in video_ids], np.int64)
        known = np.flatnonzero(numbers >= 0)
        found = known[self.vectors.present(numbers[known])]
        return found, self.vectors.rows(numbers[found])

    def nearest(self, vector: Vector, k: int = MAX_SIMILAR) -> tuple[list[str], Vector]:
        """Return the ids and cosines of the nearest videos, best first, at most ``k`` (D18)."""
        numbers, similarities = self.nearest_numbers(vector, k)
        ids = [card.video_id for n in numbers.tolist() if (card := self._cards[n])]
        return ids, similarities

    def nearest_numbers(self, vector: Vector, k: int = MAX_SIMILAR) -> tuple[Numbers, Vector]:
        """Return the dense numbers and cosines of the nearest videos, best first."""
        return self._index.search(vector, k)

    def with_tag(self, tag: str) -> NDArray[np.bool_]:
        """Return a mask over the columns of the videos with a tag, whatever its case (E49)."""
        mask = np.zeros(self.columns.size, np.bool_)
        mask[list(self._tag_members.get(tag.lower(), ()))] = True
        return mask

    def public_videos(self, tag: str) -> int:
        """Return how many videos with a tag everybody may see."""
        return int(self.columns["public"][list(self._tag_members.get(tag, ()))].sum())

    def videos_of(self, creator_id: str) -> list[Card]:
        """Return the cards of a creator's videos, without their vectors, whoever may see them."""
        creator = self.columns.creators.get(creator_id)
        numbers = np.flatnonzero((self.columns["creator"] == creator) & self.columns["alive"])
        return [card for number in numbers.tolist() if (card := self._shown[number])]

    async def maintain(self, now: float) -> bool:
        """Move to Annoy when the catalogue has grown, rebuild when due; tell whether a build was made.

        Raises:
            IndexRefused: The build failed or its recall was too low; search goes on as before.
        """
        if self._index_folder is None or len(self.vectors) <= self._exact_up_to:
            return False
        annoy = self._index
        if not isinstance(annoy, AnnoyIndex):
            # Searches exactly until its first build is in.
            annoy = self._index = AnnoyIndex(self.vectors, self._index_folder)
        if not annoy.stale:
            return False
        await annoy.rebuild(now)
        return True

    @property
    def index_recall(self) -> float | None:
        """Recall@100 of the approximate index; None while the search is exact."""
        return self._index.recall if isinstance(self._index, AnnoyIndex) else None

    def inconsistencies(self) -> tuple[list[str], list[int]]:
        """Return ids whose card has an embedding that is not indexed, and vectors without a card (D27)."""
        have = set(self.vectors.numbers().tolist())
        missing = [
            video_id
            for video_id, number in self._numbers.items()
            if number not in have and (card := self._cards[number]) and card.embedding
        ]
        return missing, sorted(have.difference(self._numbers.values()))

    def _new_number(self) -> int:
        if self._holes:
            return self._holes.pop()
        self._cards.append(None)
        self._shown.append(None)
        return len(self._cards) - 1

    def _set_card(self, number: int, card: Card) -> None:
        self._cards[number], self._shown[number] = card, without_vector(card)
        self.columns.put(number, card)
        for tag in card.tags:
            self._tag_members.setdefault(tag.lower(), set()).add(number)

    def _untag(self, number: int) -> None:
        card = self._cards[number]
        for tag in card.tags if card else ():
            members = self._tag_members.get(tag.lower(), set())
            members.discard(number)
            if not members:
                self._tag_members.pop(tag.lower(), None)


def _decode(embedding: bytes) -> Vector | None:
    """Return the unit vector of a card, renormalised after float16; None when there is none to use."""
    if len(embedding) != 2 * DIMENSIONS:
        return None
    vector = np.frombuffer(embedding, np.float16).astype(np.float32)
    norm = float(np.linalg.norm(vector))
    if not 1e-6 < norm < np.inf:
        return None
    return vector / np.float32(norm)
