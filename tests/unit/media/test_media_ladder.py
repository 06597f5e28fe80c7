"""Rungs, selections and sizes (B19-B21, X13, X14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.ladder import LADDER, RUNGS, SELECTIONS, fit, poster_rung, renditions, size


def test_ladder_has_the_listed_rungs_and_bitrates() -> None:
    """B19: bitrates exactly as listed; 16:9 sizes of the table."""
    assert [(r.name, r.bitrate, *size(r, 1920, 1080)) for r in LADDER] == [
        ("240p", 400_000, 426, 240),
        ("360p", 800_000, 640, 360),
        ("480p", 1_400_000, 854, 480),
        ("720p", 2_800_000, 1280, 720),
        ("1080p", 5_000_000, 1920, 1080),
        ("1440p", 10_000_000, 2560, 1440),
        ("2160p", 20_000_000, 3840, 2160),
    ]


@given(st.integers(16, 8192), st.integers(16, 8192))
def test_core_always_has_its_four_rungs_when_the_source_has_any_size(width: int, height: int) -> None:
    """X14, B20, property 9: even sides, short side of the rung, orientation kept."""
    made = renditions("core", width, height)
    assert [r.rung.name for r in made] == ["360p", "480p", "720p", "1080p"]
    for r in made:
        assert r.width % 2 == r.height % 2 == 0
        assert (r.width >= r.height) == (width >= height) or r.width == r.height
        assert r.upscaled == (r.rung.short_side > min(width, height))
        if max(width, height) <= 4 * min(width, height):
            assert min(r.width, r.height) == r.rung.short_side


def test_large_rungs_appear_only_when_the_source_reaches_them() -> None:
    """X14: 1440p and 2160p are never upscaled, 240p is always in full."""
    assert [r.rung.name for r in renditions("full", 1280, 720)] == ["240p", "360p", "480p", "720p", "1080p"]
    assert [r.rung.name for r in renditions("full", 2160, 3840)] == list(RUNGS)


def test_ladder_ends_at_the_source_when_upscaling_is_off() -> None:
    made = renditions("core", 854, 400, upscale=False)
    assert [r.rung.name for r in made] == ["360p", "480p"]
    assert [r.rung.name for r in renditions("core", 100, 100, upscale=False)] == ["360p"]


def test_portrait_goes_by_the_short_side() -> None:
    assert size(RUNGS["720p"], 1080, 1920) == (720, 1280)


def test_panorama_is_bounded_when_the_shape_is_extreme() -> None:
    assert fit(1080, 8192, 16) == (4320, 16)


@pytest.mark.parametrize(("selection", "name"), [("core", "720p"), ("hd3", "720p"), ("reels", "720p")])
def test_progressive_rung_is_720p_when_the_selection_has_it(selection: str, name: str) -> None:
    assert poster_rung(renditions(selection, 1920, 1080)).rung.name == name


def test_selections_are_those_of_the_documents() -> None:
    """X13."""
    assert SELECTIONS["core"] == ("360p", "480p", "720p", "1080p")
    assert SELECTIONS["hd3"] == ("480p", "720p", "1080p")
    assert SELECTIONS["reels"] == ("360p", "480p", "720p")
    assert len(SELECTIONS["full"]) == 7
