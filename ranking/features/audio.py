"""What a video sounds like: 64 numbers from a log-mel spectrogram (D2, D4)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float64]

RATE: Final = 16_000
DIMENSIONS: Final = 64
BANDS: Final = 24
_FRAME: Final = 1_024
_HOP: Final = 512
_SILENCE: Final = 1e-7  # mean power; about -70 dB
_MAX_FREQUENCY: Final = 7_600.0
_CENTRE_DB, _SPAN_DB = -50.0, 25.0


def features(samples: NDArray[np.float32]) -> Block | None:
    """Return the sound vector, float64[64], unit length, or None for silence or too little sound.

    Args:
        samples: Mono, 16 kHz, -1..1.
    """
    if len(samples) < _FRAME or float(np.mean(np.square(samples, dtype=np.float64))) < _SILENCE:
        return None
    spectra = _spectra(samples.astype(np.float64))
    mel = np.maximum(10.0 * np.log10(spectra @ _mel_filters() + 1e-10), -90.0)
    level, spread = mel.mean(axis=0), mel.std(axis=0)
    vector = np.concatenate(
        [
            (level - _CENTRE_DB) / _SPAN_DB * 0.3,
            spread / 12.0 - 0.7,
            _shape(spectra),
            _rhythm(mel),
        ]
    )
    unit: Block = vector / np.linalg.norm(vector)
    return unit


def _spectra(samples: Block) -> Block:
    count = 1 + (len(samples) - _FRAME) // _HOP
    places = np.arange(_FRAME)[None, :] + _HOP * np.arange(count)[:, None]
    window = np.hanning(_FRAME)
    spectra = np.abs(np.fft.rfft(samples[places] * window, axis=1))
    power: Block = spectra**2 / np.sum(window**2)
    return power


def _mel_filters() -> Block:
    """Return triangular filters [513, 24] from 60 Hz to 7.6 kHz."""
    edges = np.linspace(_mel(60.0), _mel(_MAX_FREQUENCY), BANDS + 2)
    hertz = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(_FRAME, 1.0 / RATE)[:, None]
    rising = (bins - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    falling = (hertz[2:] - bins) / (hertz[2:] - hertz[1:-1])
    filters: Block = np.maximum(0.0, np.minimum(rising, falling))
    filters /= np.maximum(filters.sum(axis=0), 1e-9)
    return filters


def _mel(hertz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hertz / 700.0))


def _shape(spectra: Block) -> Block:
    """Return [8]: centroid, bandwidth, roll-off and flatness, mean and spread of each."""
    frequencies = np.fft.rfftfreq(_FRAME, 1.0 / RATE) / 8_000.0
    total = spectra.sum(axis=1) + 1e-12
    centroid = spectra @ frequencies / total
    width = np.sqrt(np.maximum(0.0, spectra @ frequencies**2 / total - centroid**2))
    rolloff = (np.cumsum(spectra, axis=1) < 0.85 * total[:, None]).mean(axis=1)
    flatness = np.exp(np.log(spectra + 1e-12).mean(axis=1)) / (spectra.mean(axis=1) + 1e-12)
    series = [centroid - 0.2, width - 0.15, rolloff - 0.25, flatness - 0.1]
    return np.array([2.0 * function(values) for values in series for function in (np.mean, np.std)])


def _rhythm(mel: Block) -> Block:
    """Return [8]: onset strength and how regular it is at seven lags from 0.13 to 1 s."""
    onsets = np.maximum(0.0, np.diff(mel, axis=0)).mean(axis=1) if len(mel) > 1 else np.zeros(1)
    centred = onsets - onsets.mean()
    energy = float(centred @ centred) + 1e-9
    lags = (4, 6, 9, 13, 18, 24, 31)
    regular = [float(centred[lag:] @ centred[:-lag]) / energy if len(centred) > lag else 0.0 for lag in lags]
    return np.array([onsets.mean() / 3.0 - 0.7, *regular])
