"""Captions: read strictly, written anew, put into playlists that are there already (Y6)."""

from fractions import Fraction
from pathlib import Path

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import captions
from media.captions import Cue
from media.layout import caption_key, master_key
from media.playlists import Clock, Variant, master_playlist
from media.stores import FileStore
from tables.errors import ContentNotFound, ValidationFailed

GOOD = """\ufeffWEBVTT - for people

STYLE
::cue { background: url(http://elsewhere/) }

NOTE nobody reads this

first
00:01.000 --> 00:02.500 align:start line:0
Hello <i>there</i>

00:00:03.000 --> 00:00:04.000
two
lines
"""


def test_cues_are_read_with_their_settings_and_nothing_else_is() -> None:
    cues = captions.parse(GOOD.encode())
    assert cues == [
        Cue(1.0, 2.5, "Hello <i>there</i>", "align:start line:0"),
        Cue(3.0, 4.0, "two\nlines"),
    ]
    written = captions.write(cues)
    assert "STYLE" not in written
    assert captions.parse(written.encode()) == cues


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"WEBVTT\n",
        b"1\n00:00:01,000 --> 00:00:02,000\nsubrip\n",
        b"WEBVTT\n\n00:02.000 --> 00:01.000\nbackwards\n",
        b"WEBVTT\n\n00:01 --> 00:02\nno fraction\n",
        b"\x89PNG\r\n\x1a\n",
        b"WEBVTT\n\n00:01.000 --> 00:02.000\n\xff\xfe\n",
        b"WEBVTT\n" + b"\n00:01.000 --> 00:02.000\nx\n" * (captions.MAX_CUES + 1),
    ],
)
def test_file_is_refused_when_it_is_not_strictly_webvtt(data: bytes) -> None:
    with pytest.raises(ValidationFailed) as refused:
        captions.parse(data)
    assert refused.value.details["field"] == "captions"


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"1\n00:00:01,000 --> 00:00:02,000\nsubrip\n", ["subrip"]),
        (b"\xef\xbb\xbf1\r\n00:00:01,0 --> 00:00:02,0\r\na\r\nb\r\n\r\n", ["a\nb"]),
        ("1\n0:00:01,000 --> 0:00:02,000\nMäh\n".encode("utf-16"), ["Mäh"]),
        (
            b"1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<font color=red>R</font> <i>it</i> <v Bob> <3 & ->\n",
            ["R <i>it</i> &lt;v Bob&gt; &lt;3 &amp; -&gt;"],
        ),
        (GOOD.encode(), ["Hello <i>there</i>", "two\nlines"]),
    ],
)
def test_subrip_is_taken_as_webvtt_when_it_comes(data: bytes, texts: list[str]) -> None:
    """Y6: markup that players of SubRip know stays, everything else is text."""
    cues = captions.read(data)
    assert [cue.text for cue in cues] == texts
    assert captions.parse(captions.write(cues).encode()) == cues


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1\n",
        b"just words\n",
        b"1\n00:00:02,000 --> 00:00:01,000\nbackwards\n",
        b"1\n00:00:01,000 --> 00:00:02,000\na\n\n2\n00:00:0x,000 --> 00:00:04,000\nb\n",
        "1\n00:00:01,000 --> 00:00:02,000\nMäh\n".encode("latin-1"),
        b"\xff\xfe1",
    ],
)
def test_file_is_refused_when_it_is_neither(data: bytes) -> None:
    with pytest.raises(ValidationFailed) as refused:
        captions.read(data)
    assert refused.value.details["field"] == "captions"


@given(st.binary(max_size=300))
def test_any_bytes_are_captions_or_refused(data: bytes) -> None:
    """Nothing else comes out of reading what strangers send."""
    for head in (b"", b"WEBVTT\n\n", b"1\n00:00:01,000 --> 00:00:02,000\n"):
        try:
            cues = captions.read(head + data)
        except ValidationFailed:
            continue
        assert captions.parse(captions.write(cues).encode())


@given(st.text(), st.integers(0, 10**8), st.integers(1, 10**6))
def test_any_text_is_one_cue_when_written(text: str, start: int, length: int) -> None:
    """What an embedded track says can never become a cue, a header or a block of its own."""
    cue = Cue(start / 1000, (start + length) / 1000, text)
    read = captions.parse(captions.write([cue], Clock(6000, 1.0)).encode(errors="replace"))
    assert len(read) == 1
    assert (read[0].start, read[0].end) == (cue.start, cue.end)


def test_times_map_to_the_clock_of_the_form() -> None:
    """RFC 8216 section 3.5."""
    cues = {"de": [Cue(0.0, 1.0, "da")]}
    files = captions.rendition_files(cues, "ts", Clock(132_000, 7.2))
    assert "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:132000\n" in files["captions/de-ts.vtt"]
    read = m3u8.loads(files["captions/de-ts.m3u8"])
    assert read.is_endlist
    assert [(each.uri, each.duration) for each in read.segments] == [("de-ts.vtt", 7.2)]


async def put(store: FileStore, key: str, text: str) -> None:
    await store.put_bytes(key, text.encode(), content_type="text/plain")


async def text_of(store: FileStore, key: str) -> str:
    return b"".join([chunk async for chunk in store.read(key)]).decode()


async def test_captions_are_published_and_withdrawn_without_encoding(tmp_path: Path) -> None:
    """Y6: both forms and the manifest; a second language later; none again."""
    store = FileStore(tmp_path)
    rung = Variant("360p/playlist.m3u8", 800_000, 700_000, 640, 360, "avc1.64001e", Fraction(30))
    bare = master_playlist([rung], Clock(126_000, 9.0))
    await put(store, master_key("v"), bare)
    await put(store, "videos/v/hls/master-cmaf.m3u8", master_playlist([rung], Clock(6000, 9.0)))
    await put(store, "videos/v/dash/manifest.mpd", "<MPD>\n  <Period>\n  </Period>\n</MPD>\n")
    await put(store, caption_key("v", "pt-BR"), GOOD)
    assert await captions.publish(store, "v") == ["pt-BR"]
    await put(store, caption_key("v", "en"), GOOD)
    assert await captions.publish(store, "v") == ["en", "pt-BR"]
    for form, start in (("ts", 126_000), ("cmaf", 6000)):
        read = m3u8.loads(await text_of(store, "videos/v/" + captions.MASTERS[form]))
        assert [each.language for each in read.media] == ["en", "pt-BR"]
        for each in read.media:
            listed = m3u8.loads(await text_of(store, f"videos/v/hls/{each.uri}"))
            cues = await text_of(store, f"videos/v/hls/captions/{listed.segments[0].uri}")
            assert f"MPEGTS:{start}" in cues
    assert "<BaseURL>../captions/en.vtt</BaseURL>" in await text_of(store, "videos/v/dash/manifest.mpd")
    for language in ("en", "pt-BR"):
        await store.delete(caption_key("v", language))
    assert await captions.publish(store, "v") == []
    assert await text_of(store, master_key("v")) == bare


async def test_publishing_fails_when_the_video_has_no_playlists(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    await put(store, caption_key("v", "en"), GOOD)
    with pytest.raises(ContentNotFound):
        await captions.publish(store, "v")
