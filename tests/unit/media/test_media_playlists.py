"""Playlists that another reader understands (B23-B25, X14)."""

from fractions import Fraction
from xml.etree import ElementTree

import m3u8
import mpegdash.parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.mpd import Track, manifest, with_captions
from media.playlists import (
    Clock,
    Segment,
    Sound,
    Subtitle,
    Tiles,
    Variant,
    clock_of,
    image_playlist,
    master_playlist,
    media_playlist,
    parse_media_playlist,
    with_subtitles,
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


@pytest.mark.parametrize("spoken", [None, "de"])
def test_manifest_is_xml_with_one_set_per_kind(spoken: str | None) -> None:
    """B24; the language of the sound is said when it is known."""
    text = manifest(
        [Track("720p.mp4", 2_800_000, "avc1.64001f", (0, 700), (701, 800), 1280, 720)],
        Track("audio.mp4", 96_000, "mp4a.40.2", (0, 600), (601, 700), language=spoken),
        seconds=6.2,
        rate=Fraction(30),
        offset=1 / 15,
    )
    root = ElementTree.fromstring(text)
    sets = [node for node in root.iter() if node.tag.endswith("AdaptationSet")]
    assert [(node.get("contentType"), node.get("lang")) for node in sets] == [
        ("video", None),
        ("audio", spoken),
    ]
    assert root.get("mediaPresentationDuration") == "PT6.200S"


def test_byte_ranges_read_back_with_an_independent_parser() -> None:
    """RFC 8216 sections 4.3.2.2 and 4.3.2.5."""
    parts = [Segment("../../dash/a.mp4", 6.0, (900, 5000)), Segment("../../dash/a.mp4", 1.5, (5900, 700))]
    read = m3u8.loads(media_playlist(parts, Segment("../../dash/a.mp4", 0.0, (0, 800))))
    assert [segment.byterange for segment in read.segments] == ["5000@900", "700@5900"]
    assert (read.segment_map[0].uri, read.segment_map[0].byterange) == ("../../dash/a.mp4", "800@0")


def test_sound_is_a_group_of_its_own_when_it_has_a_playlist() -> None:
    read = m3u8.loads(
        master_playlist([variant(360, upscaled=False)], None, Sound("audio/cmaf.m3u8", "pt-BR"))
    )
    assert [(each.type, each.uri, each.default, each.language) for each in read.media] == [
        ("AUDIO", "audio/cmaf.m3u8", "YES", "pt-BR")
    ]
    assert read.playlists[0].stream_info.audio == "audio"


def test_captions_come_and_go_without_a_trace_in_a_master() -> None:
    """Y6: written again any number of times; the clock that they need stays known."""
    bare = master_playlist([variant(360, upscaled=False), variant(720, upscaled=True)], Clock(126_000, 9.5))
    german, english = (
        Subtitle("captions/de-ts.m3u8", "de", "Deutsch"),
        Subtitle("captions/en-ts.m3u8", "en", "E"),
    )
    one = with_subtitles(bare, [german])
    both = with_subtitles(one, [english, german])
    read = m3u8.loads(both)
    assert [(each.language, each.uri) for each in read.media] == [
        ("en", "captions/en-ts.m3u8"),
        ("de", "captions/de-ts.m3u8"),
    ]
    assert {each.stream_info.subtitles for each in read.playlists} == {"captions"}
    assert with_subtitles(both, [english, german]) == both
    assert with_subtitles(both, []) == bare
    assert clock_of(both) == Clock(126_000, 9.5)
    with pytest.raises(ValueError, match="clock"):
        clock_of("#EXTM3U\n")


def test_storyboard_is_an_image_track() -> None:
    """Y7."""
    tiles = Tiles("storyboard.m3u8", 160, 90, 5, 2, 1.5, 30_000)
    read = m3u8.loads(master_playlist([variant(360, upscaled=False)], None, None, tiles))
    assert read.image_playlists[0].image_stream_info.resolution == (160, 90)
    images = m3u8.loads(image_playlist(tiles, "../thumbs/storyboard.jpg"))
    assert images.is_images_only
    assert images.segments[0].uri == "../thumbs/storyboard.jpg"
    assert images.data["tiles"] == [{"resolution": "160x90", "layout": "5x2", "duration": 1.5}]


def test_manifest_reads_back_with_an_independent_parser_with_and_without_captions() -> None:
    """B24, Y6."""
    bare = manifest(
        [Track("720p.mp4", 2_800_000, "avc1.64001f", (0, 700), (701, 800), 1280, 720)],
        None,
        seconds=6.2,
        rate=Fraction(30),
        offset=1 / 15,
    )
    told = with_captions(with_captions(bare, [("fr", "../captions/fr.vtt")]), [("de", "../captions/de.vtt")])
    sets = mpegdash.parser.MPEGDASHParser.parse(told).periods[0].adaptation_sets
    assert [(each.content_type, each.lang, each.mime_type) for each in sets] == [
        ("video", None, "video/mp4"),
        ("text", "de", "text/vtt"),
    ]
    assert sets[1].representations[0].base_urls[0].base_url_value == "../captions/de.vtt"
    assert sets[0].representations[0].segment_bases[0].index_range == "701-800"
    assert with_captions(told, []) == bare
    with pytest.raises(ValueError, match="manifest"):
        with_captions("<html/>", [])
