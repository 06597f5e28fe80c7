"""Ranges, validators and cache headers (C33, C40, RFC 9110)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.delivery import Slice, cache_control, content_type, headers, honours_range, not_modified, select


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Slice(200, 0, 1000, 1000)),
        ("bytes=0-99", Slice(206, 0, 100, 1000)),
        ("bytes=900-", Slice(206, 900, 1000, 1000)),
        ("bytes=900-5000", Slice(206, 900, 1000, 1000)),
        ("bytes=-100", Slice(206, 900, 1000, 1000)),
        ("bytes=-5000", Slice(206, 0, 1000, 1000)),
        ("bytes=1000-", Slice(416, 0, 0, 1000)),
        ("bytes=-0", Slice(416, 0, 0, 1000)),
        ("bytes=5-2", Slice(200, 0, 1000, 1000)),
        ("bytes=0-1,5-6", Slice(200, 0, 1000, 1000)),
        ("lines=0-1", Slice(200, 0, 1000, 1000)),
        ("bytes=-", Slice(200, 0, 1000, 1000)),
        ("garbage", Slice(200, 0, 1000, 1000)),
    ],
)
def test_range_is_selected_as_the_rfc_says(header: str | None, expected: Slice) -> None:
    assert select(header, 1000) == expected


@given(
    st.text(max_size=40) | st.from_regex(r"bytes=\d{0,22}-\d{0,22}", fullmatch=True), st.integers(0, 10_000)
)
def test_range_never_leaves_the_object_whatever_the_header(header: str, size: int) -> None:
    found = select(header, size)
    assert 0 <= found.start <= found.end <= size
    assert found.status in {200, 206, 416}
    assert found.status != 206 or found.length > 0


def test_content_range_names_bytes_and_size() -> None:
    assert select("bytes=0-0", 10).content_range == "bytes 0-0/10"
    assert select("bytes=10-", 10).content_range == "bytes */10"
    assert select(None, 10).content_range is None


def test_playlists_are_short_lived_and_segments_immutable() -> None:
    """C33."""
    assert "immutable" in cache_control("videos/1/hls/720p/segment_00000.ts")
    for rewritten in ("hls/master.m3u8", "dash/manifest.mpd", "captions/en.vtt", "hls/captions/en-ts.vtt"):
        assert cache_control(f"videos/1/{rewritten}") == "public, max-age=10"


@pytest.mark.parametrize(
    ("key", "mime"),
    [
        ("a/master.m3u8", "application/vnd.apple.mpegurl"),
        ("a/manifest.mpd", "application/dash+xml"),
        ("a/s.ts", "video/mp2t"),
        ("a/x.MP4", "video/mp4"),
        ("a/noending", "application/octet-stream"),
    ],
)
def test_content_type_follows_the_ending(key: str, mime: str) -> None:
    """C40."""
    assert content_type(key) == mime


def test_validators_compare_as_the_rfc_says() -> None:
    assert not_modified("*", '"a"')
    assert not not_modified(None, '"a"')
    assert honours_range('"a"', '"a"', 0)
    assert not honours_range('"b"', '"a"', 0)
    assert not honours_range('W/"a"', '"a"', 0)
    stamped = headers("k.mp4", '"a"', 1_700_000_000.0)["Last-Modified"]
    assert honours_range(stamped, '"a"', 1_700_000_000.0)
