"""HDR to SDR, the encoder's plan, the poster: the pure parts of the workers."""

from concurrent.futures import Future
from fractions import Fraction

import numpy as np
import pytest

from media.workers.audio import Encoded
from media.workers.colour import HLG, PQ, to_sdr
from media.workers.outputs import Plan, avc_codecs

GREYS = np.repeat(np.linspace(0, 1, 50)[:, np.newaxis], 3, axis=1)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_greys_stay_grey_and_never_fall_when_mapped_to_sdr(transfer: int) -> None:
    mapped = to_sdr(GREYS, transfer)
    assert np.ptp(mapped, axis=1).max() < 0.01
    assert (np.diff(mapped[:, 0]) >= -1e-9).all()
    assert mapped[0, 0] == pytest.approx(0, abs=0.01)
    assert mapped[-1, 0] == pytest.approx(1, abs=0.01)


def test_reference_white_is_bright_but_below_the_peak_when_mapped_to_sdr() -> None:
    """BT.2408: diffuse white is 203 cd/m2, PQ code 0.58, HLG code 0.75; highlights need room above it."""
    pq, hlg = to_sdr(np.full((1, 3), 0.58), PQ)[0, 0], to_sdr(np.full((1, 3), 0.75), HLG)[0, 0]
    assert 0.75 < pq < 0.97
    assert pq == pytest.approx(hlg, abs=0.03)


def plan(rate: Fraction) -> Plan:
    silence = Future[Encoded]()
    return Plan(rate=rate, preset="veryfast", exact_bitrate=False, sound=silence, dash=True)


@pytest.mark.parametrize(
    "rate",
    [
        Fraction(30),
        Fraction(30000, 1001),
        Fraction(25, 2),
        Fraction(8797, 1000),
        Fraction(60),
        Fraction(1, 2),
    ],
)
def test_keyframes_and_segments_follow_the_clock_at_any_rate(rate: Fraction) -> None:
    """B22, B23: a keyframe each 2 s to the nearest frame; segments of whole GOPs near 6 s."""
    made = plan(rate)
    assert abs(made.gop / rate - 2) <= 1 / rate
    assert made.segment_seconds == pytest.approx(6, abs=max(1.0, 1.5 / float(rate)))
    assert (Fraction(made.segment_seconds).limit_denominator(10**6) * rate / made.gop) % 1 < Fraction(1, 1000)


def test_codecs_are_refused_when_there_is_no_parameter_set() -> None:
    with pytest.raises(ValueError, match="parameter set"):
        avc_codecs(b"\x00\x00\x01\x68abc")
