"""Moving pictures made of formulas: one class of look per kind. Pure numpy.

A scene is a function of time over a grid; it returns float32[height, width, 3] in 0..1. Coordinates are
centred, the short side runs from -1 to 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Scene = Callable[[float], Array]
TAU = np.float32(2 * np.pi)


@dataclass(frozen=True, slots=True)
class Grid:
    """Pixel coordinates, float32[height, width] each."""

    x: Array
    y: Array

    @classmethod
    def of(cls, width: int, height: int) -> "Grid":
        """Return the grid of a picture size."""
        scale = min(width, height) / 2
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        return cls((x - width / 2) / scale, (y - height / 2) / scale)


def palette(t: Array, base: Array, phase: Array) -> Array:
    """Return cosine colours (Quilez): ``t`` of any shape gives one more axis of RGB."""
    return _picture(base + (1 - base) * np.cos(TAU * (t[..., np.newaxis] + phase)))


def _picture(values: NDArray[Any]) -> Array:
    """Return values as a picture: cut to 0..1, single precision."""
    return np.asarray(np.clip(values, 0, 1), np.float32)


def _colours(rng: np.random.Generator, centre: tuple[float, float, float]) -> tuple[Array, Array]:
    """Return base and phase of a palette near a kind's own hue, moved a little by the seed."""
    base = np.float32(0.52) + rng.uniform(-0.04, 0.04, 3).astype(np.float32)
    phase = np.array(centre, np.float32) + rng.uniform(-0.06, 0.06, 3).astype(np.float32)
    return base, phase


def waves(grid: Grid, rng: np.random.Generator) -> Scene:
    """A sunset over layers of rolling sea."""
    warm = rng.uniform(-0.05, 0.05)
    sky_top = np.array([0.16 + warm, 0.09, 0.32], np.float32)
    sky_low = np.array([1.0, 0.55 + warm, 0.32], np.float32)
    near, far = np.array([0.02, 0.10, 0.22], np.float32), np.array([0.62, 0.30, 0.42], np.float32)
    phases, layers = rng.uniform(0, 6, 7).tolist(), 7
    height = float(grid.y.max())

    def scene(t: float) -> Array:
        down = ((grid.y + height) / (1.3 * height)).clip(0, 1)[..., np.newaxis]
        picture = sky_top + (sky_low - sky_top) * down
        sun = np.hypot(grid.x - 0.25, grid.y + 0.1 * height - 0.03 * t)
        glow = np.exp(-3 * sun)[..., np.newaxis] * 0.5 + (sun < 0.3)[..., np.newaxis] * 0.6
        picture = picture + glow * np.array([1.0, 0.85, 0.55], np.float32)
        for layer in range(layers):
            depth = layer / (layers - 1)
            speed, length = 0.4 + 1.1 * depth, 2.2 + 2.2 * (1 - depth)
            crest = 0.09 * np.sin(length * grid.x + speed * t * 2 + phases[layer])
            crest = crest + 0.04 * np.sin(2.7 * length * grid.x - speed * t * 3 + 2 * phases[layer])
            mask = np.clip((grid.y - (height * (0.12 + 0.72 * depth) + crest)) * 60, 0, 1)[..., np.newaxis]
            picture = picture + (far + (near - far) * depth - picture) * mask
        return _picture(picture)

    return scene


def plasma(grid: Grid, rng: np.random.Generator) -> Scene:
    """Slow liquid colour, magenta to gold."""
    base, phase = _colours(rng, (0.0, 0.2, 0.45))
    a, b = rng.uniform(1.6, 2.6, 2).tolist()

    def scene(t: float) -> Array:
        x = grid.x + 0.5 * np.sin(a * grid.y + 0.9 * t)
        y = grid.y + 0.5 * np.cos(b * grid.x - 0.7 * t)
        value = np.sin(a * x + t) + np.sin(b * y - 0.8 * t) + np.sin(1.7 * np.hypot(x, y) - 1.3 * t)
        return palette((value * np.float32(0.16) + np.float32(0.05 * t)).astype(np.float32), base, phase)

    return scene


def bars(grid: Grid, rng: np.random.Generator) -> Scene:
    """Neon equaliser columns on black, jumping with the beat."""
    count = int(rng.integers(9, 13))
    hue = rng.uniform(-0.08, 0.08)
    speeds, offsets = rng.uniform(2, 5, count), rng.uniform(0, 6, count)
    width, height = float(grid.x.max()), float(grid.y.max())
    column = np.clip(((grid.x + width) / (2 * width) * count).astype(np.int32), 0, count - 1)
    inside = np.abs(((grid.x + width) / (2 * width) * count) % 1 - 0.5) < 0.36
    up = (height - grid.y) / (2 * height)
    blocks = (up * 36 % 1) > 0.22

    def scene(t: float) -> Array:
        beat = np.exp(-4 * (t * 2 % 1))
        tall = 0.18 + 0.3 * np.abs(np.sin(speeds * t + offsets)) + 0.28 * beat * np.abs(np.cos(offsets * 3))
        level = tall.astype(np.float32)[column]
        lit = (inside & blocks & (up < level)).astype(np.float32)[..., np.newaxis]
        colour = palette(
            (up * 0.55 + hue + 0.55).astype(np.float32),
            np.full(3, 0.5, np.float32),
            np.array([0.3, 0.65, 0.95], np.float32),
        )
        halo = np.exp(-14 * np.maximum(up - level, 0))[..., np.newaxis] * 0.16
        return _picture(colour * (lit * 1.1 + halo) + np.array([0.02, 0.01, 0.05], np.float32))

    return scene


def noise(grid: Grid, rng: np.random.Generator) -> Scene:
    """Teal ink unfolding in water: warped value noise."""
    tile = rng.random((32, 32)).astype(np.float32)
    deep, light = np.array([0.01, 0.07, 0.12], np.float32), np.array([0.72, 0.98, 0.92], np.float32)
    light = light + rng.uniform(-0.06, 0.0, 3).astype(np.float32)

    def scene(t: float) -> Array:
        warp_x = _fractal(tile, grid.x * 1.2 + 0.25 * t, grid.y * 1.2)
        warp_y = _fractal(tile, grid.x * 1.2 + 7, grid.y * 1.2 - 0.2 * t)
        value = _fractal(tile, grid.x * 1.5 + 3.2 * warp_x + 0.1 * t, grid.y * 1.5 + 3.2 * warp_y)
        value = np.clip((value - 0.25) * 1.9, 0, 1)[..., np.newaxis] ** 1.6
        edge = np.array([0.0, 0.22, 0.2], np.float32) * value * (1 - value)
        return _picture(deep + (light - deep) * value + edge)

    return scene


def _fractal(tile: Array, x: NDArray[Any], y: NDArray[Any]) -> Array:
    """Return three octaves of smooth noise in 0..1."""
    total = np.zeros(x.shape, np.float32)
    for octave in range(3):
        total += _smooth(tile, x * 2**octave + 5 * octave, y * 2**octave) / np.float32(2 ** (octave + 1))
    return total


def _smooth(tile: Array, x: NDArray[Any], y: NDArray[Any]) -> Array:
    column, row = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    u, v = x - column, y - row
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    a, b = tile[row % 32, column % 32], tile[row % 32, (column + 1) % 32]
    c, d = tile[(row + 1) % 32, column % 32], tile[(row + 1) % 32, (column + 1) % 32]
    return np.asarray(a + (b - a) * u + (c - a) * v + (a - b - c + d) * u * v, np.float32)


def spectrum(grid: Grid, rng: np.random.Generator) -> Scene:
    """A turning wheel of all hues with breathing petals, on white."""
    petals = int(rng.integers(5, 9))
    turn = rng.choice([-1.0, 1.0]) * rng.uniform(0.12, 0.2)
    radius, angle = np.hypot(grid.x, grid.y), np.arctan2(grid.y, grid.x)
    third = np.array([0.0, 1 / 3, 2 / 3], np.float32)

    def scene(t: float) -> Array:
        edge = 0.62 + 0.16 * np.sin(petals * angle + 2.2 * t) + 0.05 * np.sin(3.1 * t)
        hue = (angle / TAU + turn * t + 0.12 * np.sin(5 * radius - 3 * t)).astype(np.float32)
        colour = palette(hue, np.full(3, 0.55, np.float32), third)
        ring = np.clip((edge - radius) * 30, 0, 1)[..., np.newaxis]
        hole = np.clip((radius - 0.16 - 0.03 * np.sin(4 * t)) * 40, 0, 1)[..., np.newaxis]
        paper = np.float32(0.96) - 0.1 * np.exp(-6 * np.abs(radius - edge))[..., np.newaxis]
        return _picture(paper + (colour - paper) * ring * hole)

    return scene


JULIA = (-0.8 + 0.156j, -0.4 + 0.6j, -0.7269 + 0.1889j, -0.835 - 0.2321j)
"""Constants whose Julia sets are connected filigree, from the edge of the Mandelbrot set."""


def mandelbrot(grid: Grid, rng: np.random.Generator) -> Scene:
    """A Julia set that breathes and turns, gold filigree on deep blue."""
    constant = JULIA[int(rng.integers(0, len(JULIA)))]
    gold, blue = np.array([1.0, 0.8, 0.38], np.float32), np.array([0.01, 0.04, 0.2], np.float32)
    steps = 48

    def scene(t: float) -> Array:
        turn = np.exp(1j * (1.57 + 0.12 * t)) * (0.95 - 0.12 * np.sin(0.6 * t))
        z = ((grid.x + 1j * grid.y) * turn).astype(np.complex64)
        c = np.complex64(constant + 0.012 * np.exp(1.1j * t))
        count = np.zeros(z.shape, np.float32)
        for _ in range(steps):
            inside = z.real**2 + z.imag**2 < 256
            count += inside
            z = np.where(inside, z * z + c, z)
        # The fraction between two counts makes the bands smooth (Vepstas).
        smooth = count - np.log2(np.maximum(np.log2(np.maximum(np.abs(z), 1.01)), 0.1)) + 2
        level = np.clip(smooth / steps, 0, 1)[..., np.newaxis]
        picture = blue + (gold - blue) * level**0.8 + 0.25 * np.sin(9 * level) * level * gold
        return _picture(picture)

    return scene


def cellular(grid: Grid, rng: np.random.Generator) -> Scene:
    """Stained glass: drifting cells with dark leads, forest greens."""
    count = 26
    home_x = rng.uniform(grid.x.min(), grid.x.max(), count)
    home_y = rng.uniform(grid.y.min(), grid.y.max(), count)
    swing, pace = rng.uniform(0.1, 0.3, count), rng.uniform(0.6, 1.6, count)
    greens = np.stack(
        [rng.uniform(0.05, 0.55, count), rng.uniform(0.45, 0.95, count), rng.uniform(0.1, 0.45, count)],
        axis=1,
    ).astype(np.float32)

    def scene(t: float) -> Array:
        nearest = np.full(grid.x.shape, 9.0, np.float32)
        second = nearest.copy()
        owner = np.zeros(grid.x.shape, np.int32)
        for cell in range(count):
            x = home_x[cell] + swing[cell] * np.sin(pace[cell] * t + cell)
            y = home_y[cell] + swing[cell] * np.cos(pace[cell] * t * 0.9 + 2 * cell)
            distance = np.hypot(grid.x - np.float32(x), grid.y - np.float32(y))
            closer = distance < nearest
            second = np.where(closer, nearest, np.minimum(second, distance))
            owner = np.where(closer, cell, owner)
            nearest = np.where(closer, distance, nearest)
        lead = np.clip((second - nearest) * 22 - 0.4, 0, 1)[..., np.newaxis]
        light = (1.1 - 0.9 * nearest)[..., np.newaxis]
        return _picture(greens[owner] * light * lead + 0.03)

    return scene


def stars(grid: Grid, rng: np.random.Generator) -> Scene:
    """A flight through points of light, violet dust around."""
    count = 240
    angle, start = rng.uniform(0, TAU, count), rng.uniform(0, 1, count)
    spread, tint = rng.uniform(0.15, 1.6, count), rng.uniform(0.7, 1.0, (count, 3)).astype(np.float32)
    height, width = grid.x.shape
    scale = min(width, height) / 2
    dust = np.exp(-1.4 * np.hypot(grid.x, grid.y * 0.6))[..., np.newaxis]
    dust = dust * np.array([0.22, 0.08, 0.36], np.float32)

    def scene(t: float) -> Array:
        picture = dust * np.float32(1 + 0.2 * np.sin(1.5 * t))
        depth = 1 - (start + 0.22 * t) % 1
        for star in range(count):
            for trail in range(4):
                reach = spread[star] / (depth[star] + 0.05 + 0.012 * trail)
                x = int(width / 2 + scale * reach * np.cos(angle[star]) * 0.5)
                y = int(height / 2 + scale * reach * np.sin(angle[star]) * 0.5)
                size = 1 + int(2.5 * (1 - depth[star]))
                if 0 <= x < width - size and 0 <= y < height - size:
                    bright = (1 - depth[star]) * (1 - 0.22 * trail) + 0.08
                    picture[y : y + size, x : x + size] += tint[star] * np.float32(bright)
        return _picture(picture)

    return scene


SCENES: dict[str, Callable[[Grid, np.random.Generator], Scene]] = {
    made.__name__: made for made in (waves, plasma, bars, noise, spectrum, mandelbrot, cellular, stars)
}
