"""Colours of an ICC profile to sRGB. Pure numpy.

Profiles of cameras, phones and editors are three curves and a matrix (ICC.1:2022 section 8.3: Display P3,
Adobe RGB, ProPhoto), or one curve for grey; those are applied. Others, such as tables for printing, are not,
and a damaged profile is as none: a picture in slightly other colours is better than no picture.
"""

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Light = NDArray[np.float64]
# sRGB's primaries in the profile connection space, D50 (ICC.1:2022 annex E, IEC 61966-2-1).
XYZ_TO_SRGB: Final = np.linalg.inv(
    np.array(
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
)
STEPS: Final = 4096
SAME: Final = 2.0
"""Profiles that move no colour by more than this, of 255, are sRGB under another name."""
BAND_ROWS: Final = 128


def to_linear(pixels: Pixels) -> Light:
    """Return the light of sRGB code values, 0..1 (IEC 61966-2-1)."""
    return np.asarray(_srgb_curve(np.arange(256) / 255)[pixels])


def from_linear(light: NDArray[np.floating]) -> Pixels:
    """Return sRGB code values of light, which is cut to 0..1."""
    value = np.clip(light, 0.0, 1.0)
    code = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(code * 255), np.uint8)


def to_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """Return a picture, uint8[h, w, 3], in sRGB: itself when its profile says nothing else."""
    try:
        found = _read(profile)
    except (struct.error, ValueError, IndexError, KeyError, ArithmeticError):
        return pixels
    if found is None:
        return pixels
    curves, matrix = found
    if _is_srgb(curves, matrix):
        return pixels
    encode = from_linear(np.arange(STEPS + 1) / STEPS)
    out = np.empty_like(pixels)
    for top in range(
        0, len(pixels), BAND_ROWS
    ):  # bands: the light of a whole picture takes 12 times its memory
        band = pixels[top : top + BAND_ROWS]
        light = np.stack([curve[band[..., channel]] for channel, curve in enumerate(curves)], axis=-1)
        step = np.clip(light @ matrix.T, 0.0, 1.0) * STEPS
        out[top : top + BAND_ROWS] = encode[np.rint(step).astype(np.int32)]
    return out


def _is_srgb(curves: list[NDArray[np.float32]], matrix: NDArray[np.float32]) -> bool:
    axis = np.arange(0, 256, 51)
    colours = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    light = np.stack([curve[colours[:, channel]] for channel, curve in enumerate(curves)], axis=-1)
    return bool(np.abs(from_linear(light @ matrix.T).astype(int) - colours).max() <= SAME)


def _read(profile: bytes) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]] | None:
    """Return three curves of 256 values and the matrix to sRGB's light; None for another kind of profile."""
    if profile[16:20] not in (b"RGB ", b"GRAY") or profile[20:24] != b"XYZ ":
        return None
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for number in range(min(count, 100)):
        name, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        tags[name] = profile[at : at + size]
    if profile[16:20] == b"GRAY":
        return [_curve(tags[b"kTRC"])] * 3, np.eye(3, dtype=np.float32)
    columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return curves, np.asarray(XYZ_TO_SRGB @ np.array(columns).T, np.float32)


def _xyz(tag: bytes) -> tuple[float, ...]:
    return tuple(value / 65536 for value in struct.unpack_from(">3i", tag, 8))


def _curve(tag: bytes) -> NDArray[np.float32]:
    """Return the light of each of 256 code values (section 10.6, 10.18)."""
    axis = np.arange(256) / 255
    evaluate = {b"para": _parametric, b"curv": _sampled}[tag[:4]]
    with np.errstate(all="ignore"):  # what is no number is found below
        light = evaluate(tag, axis)
    if not np.isfinite(light).all():
        raise ValueError("a curve without bounds")
    return np.asarray(np.clip(light, 0.0, 1.0), np.float32)


def _sampled(tag: bytes, x: Light) -> Light:
    """Evaluate a table; of one entry it is a power, of none the identity."""
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return x
    values = np.frombuffer(tag, ">u2", count, 12)
    if count == 1:
        return np.asarray(x ** (values[0] / 256))
    return np.interp(x, np.linspace(0, 1, count), values / 65535)


def _parametric(tag: bytes, x: Light) -> Light:
    """Evaluate function 0 to 4 of section 10.18: a power, above ``d`` where a line goes before it."""
    (kind,) = struct.unpack_from(">H", tag, 8)
    given = [value / 65536 for value in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)]
    g, a, b, c, d, e, f = (given + [0.0] * 7)[:7]
    if kind == 0:
        a = 1.0
    elif kind in (1, 2):
        # c is what is added everywhere; the line before -b/a is level
        c, d, e, f = 0.0, -b / a, c, c
    power = np.maximum(a * x + b, 0.0) ** g + e
    return np.asarray(np.where(x >= d, power, c * x + f))


def _srgb_curve(code: Light) -> Light:
    return np.asarray(np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4))
