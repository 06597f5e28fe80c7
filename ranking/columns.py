"""Features of videos as columns by dense number, so that scoring never touches a Python object per video."""

import math
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ranking.vectors import Numbers
from tables.records import Card
from tables.reducers.engagement import HALF_LIFE_SECONDS, VideoEngagement, completion_rate
from tables.reducers.preferences import video_hash

HIDDEN_MODERATION: Final = frozenset({"rejected", "flagged"})
TAGS_PER_VIDEO: Final = 8
NO_TAG: Final = -1
_FIRST_ROWS: Final = 1_024
_FULL_QUALITY_LINES: Final = 1_080

ROW: Final = np.dtype(
    [
        ("hash", "u8"),
        ("created_at", "f8"),
        ("decayed", "f8"),
        ("decayed_at", "f8"),
        # log2(decayed) + decayed_at / half-life: the order of decayed engagement, at any time.
        ("heat", "f8"),
        ("duration", "f4"),
        ("quality", "f4"),
        ("views", "f4"),
        ("likes", "f4"),
        ("comments", "f4"),
        ("shares", "f4"),
        ("saves", "f4"),
        ("completion", "f4"),
        # How often people found it good: a sum that halves in three days, as of a time.
        ("positives", "f8"),
        ("positives_at", "f8"),
        ("creator", "i4"),
        ("alive", "?"),
        ("allowed", "?"),  # moderation lets it be shown
        ("public", "?"),
        ("followers", "?"),
        ("tags", "i4", (TAGS_PER_VIDEO,)),
    ]
)


class Names:
    """Dense numbers for strings, in order of appearance; numbers are never reused."""

    def __init__(self) -> None:
        """Start empty."""
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many names are known."""
        return len(self._numbers)

    def add(self, name: str) -> int:
        """Return the number of a name, giving it one when it is new."""
        return self._numbers.setdefault(name, len(self._numbers))

    def get(self, name: str) -> int:
        """Return the number of a name, or -1."""
        return self._numbers.get(name, -1)

    def find(self, names: Any) -> NDArray[np.int32]:
        """Return the numbers of those names that are known."""
        found = [number for name in names if (number := self._numbers.get(name)) is not None]
        return np.array(found, np.int32)


class Columns:
    """One structured row per dense number, growing by doubling."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows = np.zeros(_FIRST_ROWS, ROW)
        self.size = 0
        self.creators = Names()
        self.tags = Names()
        self.tag_counts = np.zeros(64, np.int64)

    def __getitem__(self, field: str) -> NDArray[Any]:
        """Return a whole column, length ``size``."""
        return self._rows[field][: self.size]

    def take(self, numbers: Numbers | slice) -> NDArray[np.void]:
        """Return some rows: a copy for numbers, a view for a slice."""
        taken: NDArray[np.void] = self._rows[numbers]
        return taken

    def put(self, number: int, card: Card) -> None:
        """Set the card's part of a row; counters of an existing row stay."""
        self._reserve(number + 1)
        self.size = max(self.size, number + 1)
        row = self._rows[number]
        if row["alive"]:
            self._count_tags(row["tags"], -1)
        else:
            row["decayed"], row["heat"], row["completion"] = 0.0, -np.inf, np.nan
        row["hash"] = video_hash(card.video_id)
        row["created_at"], row["duration"] = card.created_at, card.duration_seconds
        row["quality"], row["creator"] = quality(card), self.creators.add(card.creator_id)
        allowed = card.moderation_status not in HIDDEN_MODERATION
        row["alive"], row["allowed"] = True, allowed
        row["public"] = allowed and card.visibility == "PUBLIC"
        row["followers"] = allowed and card.visibility == "FOLLOWERS_ONLY"
        row["tags"] = NO_TAG
        numbers = [self.tags.add(tag.lower()) for tag in dict.fromkeys(card.tags)][:TAGS_PER_VIDEO]
        row["tags"][: len(numbers)] = numbers
        self._count_tags(row["tags"], 1)

    def count(self, number: int, state: VideoEngagement) -> None:
        """Set the counters of a row."""
        row = self._rows[number]
        row["decayed"], row["decayed_at"] = state.decayed, state.decayed_at
        warm = state.decayed > 0
        row["heat"] = math.log2(state.decayed) + state.decayed_at / HALF_LIFE_SECONDS if warm else -np.inf
        for name in ("views", "likes", "comments", "shares", "saves"):
            row[name] = getattr(state, name)
        rate = completion_rate(state)
        row["completion"] = np.nan if rate is None else rate

    def clear(self, number: int) -> None:
        """Empty a row."""
        self._count_tags(self._rows[number]["tags"], -1)
        self._rows[number] = np.zeros((), ROW)
        self._rows[number]["heat"] = -np.inf

    def _count_tags(self, tags: NDArray[np.int32], change: int) -> None:
        if len(self.tags) > len(self.tag_counts):
            grown = np.zeros(2 * len(self.tags), np.int64)
            grown[: len(self.tag_counts)] = self.tag_counts
            self.tag_counts = grown
        self.tag_counts[tags[tags != NO_TAG]] += change

    def _reserve(self, rows: int) -> None:
        capacity = len(self._rows)
        if rows <= capacity:
            return
        while capacity < rows:
            capacity *= 2
        grown = np.zeros(capacity, ROW)
        grown[: self.size] = self._rows[: self.size]
        self._rows = grown


def quality(card: Card) -> float:
    """Return 0.8 of the source's resolution + 0.2 of the best rung, both against 1080 lines (E19).

    >>> quality(Card(video_id="v", creator_id="c", creator_username="n", title="", created_at=0.0,
    ...     duration_seconds=1.0, width=1920, height=1080, qualities=("1080p", "360p")))
    1.0
    """
    source = min(1.0, min(card.width, card.height) / _FULL_QUALITY_LINES)
    rungs = [int(digits) for name in card.qualities if (digits := name.rstrip("pP")).isdigit()]
    return 0.8 * source + 0.2 * min(1.0, max(rungs, default=0) / _FULL_QUALITY_LINES)


def without_vector(card: Card) -> Card:
    """Return the card without its embedding, as it is shown."""
    return msgspec.structs.replace(card, embedding=b"") if card.embedding else card
