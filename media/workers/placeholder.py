"""What stands in for a picture until it has come: a BlurHash and its dominant colour. Pure numpy.

The format is that of https://blurha.sh (Wolt, 2020), which fediverse servers send with attachments
(``blurhash``) and apps can draw.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from media.workers.icc import from_linear, to_linear

Pixels = NDArray[np.uint8]
SIDE: Final = 64
"""A picture of this size says all that either needs."""
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_BINS: Final = 4


def blurhash(pixels: Pixels, columns: int = 4, rows: int = 3) -> str:
    """Return the BlurHash of a small picture, uint8[h, w, 3]: the first terms of its cosines."""
    light = to_linear(pixels)
    height, width = light.shape[:2]
    across = np.cos(np.pi * np.outer(np.arange(columns), np.arange(width)) / width)
    down = np.cos(np.pi * np.outer(np.arange(rows), np.arange(height)) / height)
    terms = np.einsum("jy,ix,yxc->jic", down, across, light, optimize=True) / (width * height)
    terms[1:] *= 2
    terms[0, 1:] *= 2
    mean, waves = terms[0, 0], terms.reshape(-1, 3)[1:]
    strongest = float(np.abs(waves).max(initial=0.0))
    scale = max(0, min(82, math.floor(strongest * 166 - 0.5))) if len(waves) else 0
    red, green, blue = (int(value) for value in from_linear(mean))
    text = _base83(columns - 1 + (rows - 1) * 9, 1) + _base83(scale, 1)
    text += _base83((red << 16) + (green << 8) + blue, 4)
    return text + "".join(_base83(_wave(wave, (scale + 1) / 166), 2) for wave in waves)


def _wave(wave: NDArray[np.float64], most: float) -> int:
    """Quantise one term to 19 steps a channel, finer near zero."""
    root = np.sign(wave) * np.sqrt(np.abs(wave) / most)
    red, green, blue = (int(step) for step in np.clip(np.floor(root * 9 + 9.5), 0, 18))
    return (red * 19 + green) * 19 + blue


def _base83(value: int, length: int) -> str:
    return "".join(_DIGITS[value // 83**place % 83] for place in reversed(range(length)))


def dominant(pixels: Pixels) -> str:
    """Return the mean of the largest group of like colours, ``#rrggbb``: four steps a channel.

    >>> dominant(np.full((2, 2, 3), 128, np.uint8))
    '#808080'
    """
    flat = pixels.reshape(-1, 3)
    group = flat // (256 // _BINS) @ np.array([_BINS * _BINS, _BINS, 1])
    largest = flat[group == np.bincount(group).argmax()].mean(axis=0)
    return "#" + "".join(f"{round(float(value)):02x}" for value in largest)
