"""What a video looks like, from sampled frames: 352 numbers in seven groups (D2, D23).

Each group is scaled by constants that are the same for every video, so that the cosine of two vectors
means something: histograms become square roots (Hellinger) less the square root of an even histogram, and
each group is divided by its own length, or by a floor below which it is noise.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
Block = NDArray[np.float64]

SIDE: Final = 96
DIMENSIONS: Final = 352

_GREY_SATURATION, _GREY_VALUE = 0.15, 0.10
_ORIENTATIONS: Final = 8
_GRID: Final = 3
_LBP_STEPS: Final = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
_LUMA: Final = np.array([0.299, 0.587, 0.114])

# Group, its share of the visual vector, and the length below which it is scaled down instead of up.
GROUPS: Final = (
    ("colour", 0.22, 0.10),
    ("layout", 0.20, 0.30),
    ("edges", 0.20, 0.10),
    ("coarse", 0.12, 0.20),
    ("texture", 0.13, 0.10),
    ("motion", 0.08, 0.30),
    ("statistics", 0.05, 0.30),
)


def features(frames: Frames, following: Frames) -> Block:
    """Return the visual vector, float64[352], of unit length; zero only when there is no frame.

    Args:
        frames: Sampled frames, uint8[t, 96, 96, 3] RGB.
        following: For each one the frame right after it, same shape, for motion.
    """
    if not len(frames):
        return np.zeros(DIMENSIONS)
    rgb = frames.astype(np.float64) / 255.0
    luma = rgb @ _LUMA
    after = (following.astype(np.float64) / 255.0) @ _LUMA
    blocks = {
        "colour": _centred(_colour(rgb).mean(axis=0)),
        "layout": _layout(rgb, luma),
        "edges": _centred(_edges(luma).mean(axis=0)),
        "coarse": _coarse(luma.mean(axis=0)),
        "texture": _centred(_texture(luma).mean(axis=0)),
        "motion": _motion(luma, after),
        "statistics": _statistics(rgb, luma),
    }
    parts = [np.sqrt(share) * _scaled(blocks[name], floor) for name, share, floor in GROUPS]
    vector = np.concatenate(parts)
    unit: Block = vector / np.linalg.norm(vector)
    return unit


def _scaled(block: Block, floor: float) -> Block:
    scaled: Block = block / max(float(np.linalg.norm(block)), floor)
    return scaled


def _centred(histogram: Block) -> Block:
    """Return the Hellinger form of a histogram, zero for an even one."""
    total = histogram.sum()
    even = 1.0 / len(histogram)
    share = histogram / total if total > 0 else np.full(len(histogram), even)
    centred: Block = np.sqrt(share) - np.sqrt(even)
    return centred


def _colour(rgb: Block) -> Block:
    """Return histograms [t, 72]: 8 hues x 2 saturations x 4 values, and 8 greys."""
    value, chroma = rgb.max(axis=-1), rgb.max(axis=-1) - rgb.min(axis=-1)
    saturation = chroma / np.maximum(value, 1e-6)
    hue = _hue(rgb, value, chroma)
    grey = (saturation < _GREY_SATURATION) | (value < _GREY_VALUE)
    level = np.minimum((value * 4).astype(int), 3)
    tint = (np.minimum((hue * 8).astype(int), 7) * 2 + (saturation > 0.5)) * 4 + level
    bins = np.where(grey, 64 + np.minimum((value * 8).astype(int), 7), tint)
    flat = bins.reshape(len(rgb), -1)
    shares: Block = np.stack([np.bincount(row, minlength=72) for row in flat]) / flat.shape[1]
    return shares


def _hue(rgb: Block, value: Block, chroma: Block) -> Block:
    red, green, blue = np.moveaxis(rgb, -1, 0)
    safe = np.where(chroma > 1e-6, chroma, 1.0)
    sector = np.where(
        value == red,
        ((green - blue) / safe) % 6.0,
        np.where(value == green, (blue - red) / safe + 2.0, (red - green) / safe + 4.0),
    )
    hue: Block = np.where(chroma > 1e-6, sector / 6.0, 0.0)
    return hue


def _cells(images: Block) -> Block:
    """Cut [t, 96, 96, ...] into the cells of a 3 x 3 grid: [t, 9, 1024, ...]."""
    size = images.shape[1] // _GRID
    cut = images.reshape(len(images), _GRID, size, _GRID, size, *images.shape[3:])
    cut = np.moveaxis(cut, 3, 2)
    return cut.reshape(len(images), _GRID * _GRID, size * size, *images.shape[3:])


def _layout(rgb: Block, luma: Block) -> Block:
    """Return [36]: luma, blue and red difference and contrast of each cell, against middle grey."""
    cells = _cells(luma)
    level = cells.mean(axis=(0, 2)) - 0.45
    contrast = cells.std(axis=2).mean(axis=0) - 0.15
    blue = _cells(rgb[..., 2] - luma).mean(axis=(0, 2))
    red = _cells(rgb[..., 0] - luma).mean(axis=(0, 2))
    return np.concatenate([level, 2.0 * blue, 2.0 * red, 2.0 * contrast])


def _edges(luma: Block) -> Block:
    """Return [t, 72]: gradient magnitude by orientation in each cell of a 3 x 3 grid."""
    dy, dx = np.gradient(luma, axis=(1, 2))
    magnitude = np.hypot(dx, dy)
    angle = (np.arctan2(dy, dx) % np.pi) / np.pi * _ORIENTATIONS
    low = np.floor(angle)
    result = np.zeros((len(luma), _GRID * _GRID, _ORIENTATIONS))
    # Shared between two neighbouring bins: a hard border would move mass on every re-encode.
    for index, weight in ((low, 1.0 - (angle - low)), (low + 1, angle - low)):
        cells = _cells(np.stack([index % _ORIENTATIONS, weight * magnitude], axis=-1))
        for bin_number in range(_ORIENTATIONS):
            result[:, :, bin_number] += np.where(cells[..., 0] == bin_number, cells[..., 1], 0.0).sum(axis=2)
    return result.reshape(len(luma), -1) + 1e-3


def _coarse(mean: Block) -> Block:
    """Return [64]: the low 8 x 8 cosine coefficients of the mean picture, without its mean."""
    small = mean.reshape(32, SIDE // 32, 32, SIDE // 32).mean(axis=(1, 3))
    basis = np.cos(np.pi / 32 * (np.arange(32) + 0.5)[None, :] * np.arange(8)[:, None])
    coefficients: Block = (basis @ (small - small.mean()) @ basis.T) / 256.0
    return coefficients.ravel()


def _texture(luma: Block) -> Block:
    """Return [t, 59]: uniform local binary patterns."""
    centre = luma[:, 1:-1, 1:-1]
    height, width = centre.shape[1:]
    codes = np.zeros(centre.shape, np.int64)
    for bit, (top, left) in enumerate(_LBP_STEPS):
        neighbour = luma[:, top : top + height, left : left + width]
        # The margin keeps flat areas flat in spite of coding noise.
        codes |= (neighbour > centre + 0.02).astype(np.int64) << bit
    bins = _UNIFORM[codes].reshape(len(luma), -1)
    return np.stack([np.bincount(row, minlength=59) for row in bins]) / bins.shape[1]


def _uniform_patterns() -> NDArray[np.int64]:
    table = np.full(256, 58, np.int64)
    following = 0
    for code in range(256):
        bits = [(code >> bit) & 1 for bit in range(8)]
        if sum(bits[bit] != bits[bit - 1] for bit in range(8)) <= 2:
            table[code] = following
            following += 1
    return table


_UNIFORM: Final = _uniform_patterns()


def _motion(luma: Block, after: Block) -> Block:
    """Return [24]: how much changes to the next frame, where, how unevenly, and between samples."""
    change = np.abs(after - luma)
    amount = np.log10(change.mean(axis=(1, 2)) + 1e-4) / 4.0 + 0.6
    cells = np.log10(_cells(change).mean(axis=(0, 2)) + 1e-4) / 4.0 + 0.6
    shares = np.array([(change > threshold).mean() for threshold in (0.02, 0.05, 0.1, 0.2)])
    jumps = np.abs(np.diff(luma, axis=0)).mean(axis=(1, 2)) if len(luma) > 1 else np.zeros(1)
    cuts = np.array([(jumps > threshold).mean() for threshold in (0.05, 0.1, 0.2)])
    spread = [amount.mean(), amount.std(), amount.max(), amount.min()]
    steps = [jumps.mean() * 3, jumps.std() * 3, jumps.max(), jumps.min()]
    return np.concatenate([cells, shares, cuts, spread, steps])


def _statistics(rgb: Block, luma: Block) -> Block:
    """Return [25]: brightness, contrast, colourfulness, sharpness and their change over time."""
    flat = rgb.reshape(len(rgb), -1, 3)
    red_green = flat[..., 0] - flat[..., 1]
    yellow_blue = (flat[..., 0] + flat[..., 1]) / 2.0 - flat[..., 2]
    brightness, contrast = luma.mean(axis=(1, 2)), luma.std(axis=(1, 2))
    saturation = (flat.max(axis=-1) - flat.min(axis=-1)).mean(axis=1)
    sharpness = np.abs(np.diff(luma, axis=2)).mean(axis=(1, 2)) * 5.0
    colourful = np.hypot(red_green.std(axis=1), yellow_blue.std(axis=1))
    series = [brightness - 0.45, contrast - 0.22, saturation - 0.2, sharpness - 0.2, colourful - 0.2]
    over_time = [function(values) for values in series for function in (np.mean, np.std)]
    histogram = np.bincount(np.minimum((luma * 12).astype(int), 11).ravel(), minlength=12) / luma.size
    lines = [luma.mean(axis=0).std(axis=axis).mean() - 0.1 for axis in (0, 1)]
    return np.concatenate([over_time, np.sqrt(histogram) - np.sqrt(1 / 12), lines, [red_green.mean()]])
