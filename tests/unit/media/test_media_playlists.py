"""Playlists that another reader understands (B23-B25, X14)."""

from fractions import Fraction
from xml.etree import ElementTree

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.mpd import Track, manifest
from media.playlists import (
    Segment,
    Variant,
    master_playlist,
    media_playlist,
    parse_media_playlist,
)


def variant(height: int, *, upscaled: bool) -> Variant:
    uri = f"{height}p/playlist.m3u8"
    return Variant(
        uri, height * 5000, height * 4000, height * 16 // 9, height, "avc1.64001f", Fraction(30), upscaled
    )


def test_master_reads_back_with_an_independent_parser() -> None:
    parsed = m3u8.loads(master_playlist([variant(360, upscaled=False), variant(720, upscaled=False)]))
    assert {p.stream_info.resolution for p in parsed.playlists} == {(640, 360), (1280, 720)}
    assert {p.stream_info.codecs for p in parsed.playlists} == {"avc1.64001f"}
    assert all(p.stream_info.average_bandwidth <= p.stream_info.bandwidth for p in parsed.playlists)


def test_first_variant_is_not_upscaled_when_any_is_native() -> None:
    """X14: the master marks nothing upscaled as the top choice."""
    variants = [variant(h, upscaled=h > 480) for h in (360, 480, 720, 1080)]
    uris = [p.uri for p in m3u8.loads(master_playlist(variants)).playlists]
    assert uris == [f"{h}p/playlist.m3u8" for h in (480, 1080, 720, 360)]


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=20))
def test_target_duration_covers_every_rounded_segment(lengths: list[float]) -> None:
    """RFC 8216 section 4.3.3.1."""
    text = media_playlist([Segment(f"{n}.ts", s) for n, s in enumerate(lengths)])
    parsed = m3u8.loads(text)
    assert parsed.is_endlist
    assert all(int(s.duration + 0.5) <= parsed.target_duration for s in parsed.segments)
    assert [s.name for s in parse_media_playlist(text)] == [f"{n}.ts" for n in range(len(lengths))]


@pytest.mark.parametrize("text", ["", "#EXTM3U\n", "#EXTM3U\na.ts\n#EXT-X-ENDLIST\n", "<html>"])
def test_playlist_is_refused_when_cut_or_foreign(text: str) -> None:
    with pytest.raises(ValueError, match=r"playlist|length"):
        parse_media_playlist(text)


def test_manifest_is_xml_with_one_set_per_kind() -> None:
    """B24."""
    text = manifest(
        [Track("720p.mp4", 2_800_000, "avc1.64001f", (0, 700), (701, 800), 1280, 720)],
        Track("audio.mp4", 96_000, "mp4a.40.2", (0, 600), (601, 700)),
        seconds=6.2,
        rate=Fraction(30),
        offset=1 / 15,
    )
    root = ElementTree.fromstring(text)
    kinds = [node.get("contentType") for node in root.iter() if node.tag.endswith("AdaptationSet")]
    assert kinds == ["video", "audio"]
    assert root.get("mediaPresentationDuration") == "PT6.200S"
