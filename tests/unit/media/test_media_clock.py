"""Which of its clocks a decoded picture goes by, and how many pictures a length is (B20, B37)."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.limits import SourceLimits
from media.workers.frames import Clock, Source


@dataclass(frozen=True)
class Picture:
    pts: int | None
    dts: int | None


def read(*stamps: tuple[int | None, int | None]) -> list[int | None]:
    clock = Clock()
    return [clock.read(Picture(*stamp)) for stamp in stamps]


@pytest.mark.parametrize(
    ("stamps", "shown"),
    [
        # H.264 with pictures that are decoded early
        ([(0, -2), (1, -1), (2, 0), (3, 1)], [0, 1, 2, 3]),
        # VC-1 in ASF: the stamps of packets, handed out in the order of pictures
        ([(46, 46), (113, 80), (80, 113), (180, 147), (147, 180)], [46, 113, 113, 147, 180]),
        ([(None, 5), (None, 6)], [5, 6]),
        ([(5, None), (4, None), (6, None)], [5, 4, 6]),
        ([(None, None)], [None]),
        # both are damaged: the one that is shown wins
        ([(5, 5), (4, 4), (6, 6)], [5, 4, 6]),
    ],
)
def test_clock_that_goes_back_less_often_is_believed(
    stamps: list[tuple[int | None, int | None]], shown: list[int | None]
) -> None:
    assert read(*stamps) == shown


@given(rate=st.integers(1, 60), pictures=st.integers(1, 10_000), late=st.sampled_from([-0.0005, 0.0, 0.001]))
def test_no_picture_is_made_up_when_a_length_is_rounded(rate: int, pictures: int, late: float) -> None:
    """28 pictures a second in a container that counts in milliseconds: five last 0.179 s."""
    seconds = round(pictures / rate + late, 4)
    source = Source(Path(), SourceLimits(), {"duration_seconds": seconds, "rate": [rate, 1]}, ())
    assert source.frames == pictures
    assert source.seconds == float(Fraction(pictures, rate))
