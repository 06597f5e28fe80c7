"""Frames, sound and words become one vector of 512 numbers and unit length (D2-D4, D28)."""

from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ranking.features import audio, text, visual

Block = NDArray[np.float64]

MODEL_VERSION: Final = "freewill-statistics-1"
DIMENSIONS: Final = 512
VISUAL_SHARE, AUDIO_SHARE, TEXT_SHARE = 0.60, 0.15, 0.25

assert visual.DIMENSIONS + audio.DIMENSIONS + text.DIMENSIONS == DIMENSIONS


def combine(seen: Block, heard: Block | None, said: Block | None) -> NDArray[np.float32]:
    """Return the embedding, float32[512], unit length.

    Each part is a unit vector or None (or zero, for no frames); a missing one leaves its place empty and
    the others are scaled up. With nothing at all the vector is a fixed one: valid, and similar to nothing.
    """
    empty_audio, empty_text = np.zeros(audio.DIMENSIONS), np.zeros(text.DIMENSIONS)
    vector = np.concatenate(
        [
            np.sqrt(VISUAL_SHARE) * seen,
            np.sqrt(AUDIO_SHARE) * (empty_audio if heard is None else heard),
            np.sqrt(TEXT_SHARE) * (empty_text if said is None else said),
        ]
    )
    norm = float(np.linalg.norm(vector))
    if norm < 1e-9 or not np.isfinite(norm):
        vector, norm = _nothing(), 1.0
    return (vector / norm).astype(np.float32)


def _nothing() -> Block:
    seed = int.from_bytes(blake2b(MODEL_VERSION.encode(), digest_size=8).digest(), "little")
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS)
    return vector / np.linalg.norm(vector)
