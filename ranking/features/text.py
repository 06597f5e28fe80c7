"""What a video is called: title, description and tags as 96 numbers (D5).

Word and character n-grams are hashed, then projected by a fixed random matrix: the same words land in the
same place without a vocabulary, and cosines survive the projection (Johnson-Lindenstrauss).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float64]

DIMENSIONS: Final = 96
_HASHES: Final = 4_096
_SEED: Final = 512
_MAX_CHARACTERS: Final = 5_000
_TAGS_WEIGHT, _TITLE_WEIGHT, _DESCRIPTION_WEIGHT = 1.0, 0.8, 0.5


def features(title: str, description: str, tags: Sequence[str]) -> Block | None:
    """Return the text vector, float64[96], unit length, or None when there are no words."""
    parts = (
        (" ".join(tag.lstrip("#") for tag in tags), _TAGS_WEIGHT),
        (title, _TITLE_WEIGHT),
        (description, _DESCRIPTION_WEIGHT),
    )
    used = [(text[:_MAX_CHARACTERS], weight) for text, weight in parts if text.strip()]
    if not used:
        return None
    hashed = _hashed([text for text, _ in used])
    summed = np.array([weight for _, weight in used]) @ hashed
    projection = np.random.default_rng(_SEED).standard_normal((2 * _HASHES, DIMENSIONS))
    vector: Block = summed @ projection
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 1e-9 else None


def _hashed(texts: Sequence[str]) -> Block:
    """Return [len(texts), 8192]: hashed words beside hashed character n-grams, each half unit length."""
    # Imported here: it costs half a second and 60 MB, and only the child process pays it.
    from sklearn.feature_extraction.text import HashingVectorizer

    words = HashingVectorizer(n_features=_HASHES, ngram_range=(1, 2), norm="l2", stop_words="english")
    letters = HashingVectorizer(n_features=_HASHES, analyzer="char_wb", ngram_range=(3, 4), norm="l2")
    halves = [vectorizer.transform(texts).toarray() for vectorizer in (words, letters)]
    stacked: Block = np.concatenate([halves[0], 0.5 * halves[1]], axis=1)
    return stacked
