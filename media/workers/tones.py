"""Sound for generated clips: one character per kind. Pure numpy, float32[samples] in -1..1, 48 kHz."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.ladder import AUDIO_RATE

Array = NDArray[np.float32]
TAU = 2 * np.pi
SCALE = np.array([0, 3, 5, 7, 10])
"""The minor pentatonic: any order of its notes sounds meant."""


def sound(kind: str, seconds: float, rng: np.random.Generator) -> Array:
    """Return the sound of a kind with soft ends, peaking at half of full scale."""
    t = np.arange(round(seconds * AUDIO_RATE), dtype=np.float64) / AUDIO_RATE
    made = VOICES[kind](t, rng)
    fade = np.clip(np.minimum(t, seconds - t) / 0.15, 0, 1)
    return np.asarray(made / (np.abs(made).max() + 1e-9) * fade * 0.5, np.float32)


def _note(root: float, step: int) -> float:
    """Return the frequency of a step of the scale, octaves going on."""
    octave, degree = divmod(step, len(SCALE))
    return float(root * 2 ** (octave + SCALE[degree] / 12))


def _soft_noise(count: int, rng: np.random.Generator, width: int) -> NDArray[np.float64]:
    """Return noise without its highs: a moving mean of ``width`` samples."""
    total = np.cumsum(rng.standard_normal(count + width))
    return np.asarray(total[width:] - total[:-width])


def _surf(t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    swell = 0.4 + 0.6 * np.sin(TAU * t / 3.1 + rng.uniform(0, 3)) ** 2
    return np.asarray(_soft_noise(t.size, rng, 24) * swell)


def _wind(t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    gust = 0.5 + 0.5 * np.sin(TAU * t / 4.3)
    return np.asarray(_soft_noise(t.size, rng, 200) * gust + 2 * np.sin(TAU * 110 * t) * (1 - gust))


def _pad(t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    root = 110 * 2 ** (rng.integers(0, 5) / 12)
    return np.asarray(
        sum(
            np.sin(TAU * root * 2 ** (step / 12) * t * (1 + detune))
            * (1 + 0.3 * np.sin(TAU * 0.3 * t + step))
            for step in (0, 7, 12, 16)
            for detune in (-0.002, 0.002)
        )
    )


def _beat(t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    phase = t * 2 % 1
    kick = np.sin(TAU * (45 * phase + 18 * (1 - np.exp(-20 * phase)))) * np.exp(-6 * phase)
    hat = rng.standard_normal(t.size) * np.exp(-60 * (t * 4 % 1)) * 0.25
    steps = (t * 4).astype(int) % 8
    bass = np.array([_note(55, step) for step in rng.integers(0, 5, 8)])[steps]
    return np.asarray(kick + hat + 0.3 * np.sign(np.sin(TAU * bass * t)) * np.exp(-4 * (t * 4 % 1)))


def _arpeggio(t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    order = rng.permutation(10)[:8]
    pitch = np.array([_note(220, int(step)) for step in order])[(t * 6).astype(int) % 8]
    phase = np.cumsum(pitch) / AUDIO_RATE
    return np.asarray((np.sin(TAU * phase) + 0.3 * np.sin(TAU * 2 * phase)) * np.exp(-3 * (t * 6 % 1)))


def _bells(t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    pitch = np.array([_note(330, int(step)) for step in rng.integers(0, 8, 4)])[(t * 1.2).astype(int) % 4]
    since = t * 1.2 % 1
    return np.asarray(
        np.sin(TAU * pitch * t + 3 * np.exp(-4 * since) * np.sin(TAU * pitch * 1.4 * t)) * np.exp(-3 * since)
    )


def _plucks(t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    made = np.zeros_like(t)
    for start in np.arange(0, t[-1] if t.size else 0, 0.21):
        since = np.maximum(t - start, 0)
        pitch = _note(160, int(rng.integers(0, 12)))
        made += np.where(t >= start, np.sin(TAU * pitch * since) * np.exp(-12 * since), 0)
    return made


def _drone(t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    root = 40 + rng.uniform(0, 12)
    shimmer = np.sin(TAU * root * 16 * t) * (0.5 + 0.5 * np.sin(TAU * 0.7 * t)) * 0.15
    return np.asarray(np.sin(TAU * root * t) + 0.6 * np.sin(TAU * root * 1.5 * t) + shimmer)


VOICES: dict[str, Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]]] = {
    "waves": _surf,
    "plasma": _pad,
    "bars": _beat,
    "noise": _wind,
    "spectrum": _arpeggio,
    "mandelbrot": _bells,
    "cellular": _plucks,
    "stars": _drone,
}
