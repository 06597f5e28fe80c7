"""HDR to SDR: a colour cube for libav's ``lut3d`` filter.

libav's own conversion (swscale with ``out_transfer``) costs 30 ms for a frame of 320x180; a cube costs a
few milliseconds at 1080p and is the same on every machine. ITU-R BT.2100 gives the transfer functions,
BT.2408 the reference white of 203 cd/m2, BT.2087 the primaries.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PQ = 16
HLG = 18
HDR_TRANSFERS = frozenset({PQ, HLG})
POINTS = 33
REFERENCE_WHITE = 203.0
PEAK = 1000.0
KNEE = 0.5
DISPLAY_GAMMA = 2.2
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
BT2020_LUMA = np.array([0.2627, 0.6780, 0.0593])

Colours = NDArray[np.float64]


def write_cube(path: Path, transfer: int) -> None:
    """Write the ``.cube`` file that turns BT.2020 PQ or HLG into BT.709; red varies fastest."""
    axis = np.linspace(0.0, 1.0, POINTS)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    mapped = to_sdr(np.stack([red, green, blue], axis=-1).reshape(-1, 3), transfer)
    with path.open("w") as file:
        file.write(f"LUT_3D_SIZE {POINTS}\n")
        np.savetxt(file, mapped, fmt="%.6f")


def to_sdr(code: Colours, transfer: int) -> Colours:
    """Map R'G'B' code values, float64[n, 3] in 0..1, to BT.709 code values in 0..1."""
    light = (_pq(code) if transfer == PQ else _hlg(code)) / REFERENCE_WHITE
    brightest = np.maximum(light.max(axis=1, keepdims=True), 1e-6)
    # One factor for all three channels keeps the hue of highlights.
    light = light * (_roll_off(brightest, PEAK / REFERENCE_WHITE) / brightest)
    narrow = np.clip(light @ BT2020_TO_BT709.T, 0.0, 1.0)
    return np.asarray(narrow ** (1 / DISPLAY_GAMMA))


def _pq(code: Colours) -> Colours:
    """Return cd/m2 (BT.2100 table 4)."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = code ** (1 / m2)
    return np.asarray(10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1))


def _hlg(code: Colours) -> Colours:
    """Return cd/m2 on a display of 1000 cd/m2 (BT.2100 table 5, system gamma 1.2)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    luma = np.maximum(scene @ BT2020_LUMA, 1e-9)[:, np.newaxis]
    return np.asarray(PEAK * luma**0.2 * scene)


def _roll_off(x: Colours, peak: float) -> Colours:
    """Keep what is below the knee, bend the rest so that ``peak`` becomes 1 (Moebius curve)."""
    j = KNEE
    a = -j * j * (peak - 1) / (j * j - 2 * j + peak)
    b = (j * j - 2 * j * peak + peak) / (peak - 1)
    bent = (b * b + 2 * b * j + j * j) / (b - a) * (x + a) / (x + b)
    return np.where(x <= j, x, np.minimum(bent, 1.0))
