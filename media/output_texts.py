"""What outputs of an encode may be called, and what may stand in their playlists (Y14, B23-B26). Pure.

What an encoder elsewhere brings becomes part of what players are told to fetch, so its texts are held against
what our own writers write, line by line: no address leads out of the video's folder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from media.ladder import RUNGS
from media.playlists import Segment, media_playlist, parse_media_playlist

_RUNG: Final = "(?:" + "|".join(RUNGS) + ")"
_TAG: Final = "[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*"
_NUMBER: Final = r"\d{1,12}(?:\.\d{1,9})?"
_NAME: Final = re.compile(
    rf"hls/(?:master|master-cmaf|storyboard)\.m3u8"
    rf"|hls/{_RUNG}/(?:(?:playlist|cmaf)\.m3u8|segment_\d{{5}}\.ts)|hls/audio/cmaf\.m3u8"
    rf"|hls/captions/{_TAG}-(?:ts|cmaf)\.(?:m3u8|vtt)|captions/{_TAG}\.vtt"
    rf"|dash/(?:manifest\.mpd|(?:{_RUNG}|audio)\.mp4)|mp4/{_RUNG}\.mp4"
    r"|thumbs/(?:(?:small|medium|large|poster|storyboard|timeline_\d\d)\.jpg|preview\.(?:gif|webp)"
    r"|storyboard\.vtt)"
)
_STREAM: Final = re.compile(
    rf"#EXT-X-STREAM-INF:BANDWIDTH=(\d+),AVERAGE-BANDWIDTH=(\d+),RESOLUTION=(\d+)x(\d+),FRAME-RATE={_NUMBER},"
    r'CODECS="([A-Za-z0-9.,]+)"(,AUDIO="audio")?(,SUBTITLES="captions")?'
)
_SUBTITLES: Final = re.compile(
    r'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="[^"\r\n]{1,80}",'
    rf'LANGUAGE="({_TAG})",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="captions/\1-(ts|cmaf)\.m3u8"'
)
_MASTER: Final = (
    r"#EXTM3U|#EXT-X-VERSION:6|#EXT-X-INDEPENDENT-SEGMENTS",
    rf'#EXT-X-SESSION-DATA:DATA-ID="org\.freewill\.(?:start|seconds)",VALUE="{_NUMBER}"',
    r'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="main",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",'
    r'URI="audio/cmaf\.m3u8"',
    r"#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=\d+,RESOLUTION=\d+x\d+,"
    r'CODECS="jpeg",URI="storyboard\.m3u8"',
)
_RANGES: Final = (
    r"#EXTM3U|#EXT-X-VERSION:6|#EXT-X-TARGETDURATION:\d+|#EXT-X-MEDIA-SEQUENCE:0",
    r"#EXT-X-PLAYLIST-TYPE:VOD|#EXT-X-INDEPENDENT-SEGMENTS|#EXT-X-ENDLIST",
    rf"#EXTINF:{_NUMBER},",
)
_SHEET: Final = (
    *_RANGES,
    rf"#EXT-X-IMAGES-ONLY|#EXT-X-TILES:RESOLUTION=\d+x\d+,LAYOUT=\d+x\d+,DURATION={_NUMBER}",
    r"\.\./thumbs/storyboard\.jpg",
)
_CUES: Final = (
    r"WEBVTT|",
    r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}",
    r"storyboard\.jpg#xywh=\d+,\d+,\d+,\d+",
)
_MPD: Final = (
    r'<\?xml version="1\.0" encoding="utf-8"\?>',
    r'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"'
    rf' type="static" mediaPresentationDuration="PT{_NUMBER}S" minBufferTime="PT4S">',
    r'<Period id="0" start="PT0S">|</Period>|</MPD>|</AdaptationSet>|</SegmentBase>|</Representation>',
    r'<AdaptationSet contentType="(video|audio)" mimeType="\1/mp4" segmentAlignment="true"'
    r' subsegmentAlignment="true" subsegmentStartsWithSAP="1" startWithSAP="1"'
    r'(?: frameRate="\d+/\d+"| lang="und")>',
    rf'<AdaptationSet contentType="text" mimeType="text/vtt" lang="{_TAG}">',
    r'<Role schemeIdUri="urn:mpeg:dash:role:2011" value="caption"/>',
    rf'<Representation id="(?:{_RUNG}|audio|captions-{_TAG})" bandwidth="\d+"(?: codecs="[A-Za-z0-9.]+")?'
    r'(?: width="\d+" height="\d+" sar="1:1")?>',
    rf"<BaseURL>(?:(?:{_RUNG}|audio)\.mp4|\.\./captions/{_TAG}\.vtt)</BaseURL>",
    r'<SegmentBase timescale="1000000" presentationTimeOffset="\d+" indexRange="\d+-\d+"'
    r' indexRangeExact="true">',
    r'<Initialization range="\d+-\d+"/>',
)


@dataclass(frozen=True, slots=True)
class Told:
    """What a master playlist says of a rung: rate in bit/s, size in pixels, codecs."""

    bandwidth: int
    width: int
    height: int
    codecs: str


@dataclass(frozen=True, slots=True)
class Master:
    """What a master playlist names: rungs by name, languages of captions."""

    rungs: Mapping[str, Told]
    languages: frozenset[str]


def is_output(name: str) -> bool:
    """Tell whether an encode makes a file of this name below the video's folder.

    >>> is_output("hls/360p/segment_00000.ts"), is_output("source.mp4"), is_output("hls/../../x.m3u8")
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None


def read_master(text: str, form: str) -> Master:
    """Return what a master playlist of a form (``ts`` or ``cmaf``) names.

    Raises:
        ValueError: a line that we would not write.
    """
    file = "playlist" if form == "ts" else "cmaf"
    rungs: dict[str, Told] = {}
    languages: set[str] = set()
    told: Told | None = None
    for line in text.splitlines():
        if told is not None:
            name, _, rest = line.partition("/")
            if name not in RUNGS or rest != f"{file}.m3u8" or name in rungs:
                raise ValueError(f"{line!r} is no rung")
            rungs[name], told = told, None
        elif stream := _STREAM.fullmatch(line):
            told = Told(int(stream[1]), int(stream[3]), int(stream[4]), stream[5])
        elif (subtitle := _SUBTITLES.fullmatch(line)) and subtitle[2] == form:
            languages.add(subtitle[1])
        else:
            _hold(line, _MASTER)
    if told is not None or not rungs:
        raise ValueError("a master playlist without rungs")
    return Master(rungs, frozenset(languages))


def read_segments(text: str) -> list[Segment]:
    """Return the segments of a rung's playlist of files: numbered from 0, and nothing else in it.

    Raises:
        ValueError: it is not what we write of these segments.
    """
    segments = parse_media_playlist(text)
    if [segment.name for segment in segments] != [f"segment_{n:05d}.ts" for n in range(len(segments))]:
        raise ValueError("segments are not numbered")
    if media_playlist(segments) != text:
        raise ValueError("there is more in it than segments")
    return segments


def check_ranges(text: str, track: str, size_bytes: int) -> float:
    """Check a playlist of byte ranges of one file, ``dash/TRACK.mp4``; returns its length in seconds.

    Raises:
        ValueError: another line, another file, or bytes beyond its end.
    """
    file = rf"\.\./\.\./dash/{re.escape(track)}\.mp4"
    seconds = 0.0
    for line in text.splitlines():
        found = re.fullmatch(rf'#EXT-X-(?:MAP:URI="{file}",BYTERANGE="|BYTERANGE:)(\d+)@(\d+)"?', line)
        if found:
            if int(found[1]) + int(found[2]) > size_bytes:
                raise ValueError(f"{line!r} is beyond the end of the file")
        elif line.startswith("#EXTINF:"):
            _hold(line, _RANGES)
            seconds += float(line[8:-1])
        else:
            _hold(line, (*_RANGES, file))
    return seconds


def check_captions_playlist(text: str, file: str) -> None:
    """Check a playlist that names one caption file (ValueError)."""
    segments = parse_media_playlist(text)
    if [segment.name for segment in segments] != [file] or media_playlist(segments) != text:
        raise ValueError(f"it names more than {file}")


def check_storyboard(playlist: str, cues: str) -> None:
    """Check the two texts of a storyboard (ValueError)."""
    _hold_all(playlist, _SHEET)
    _hold_all(cues, _CUES)


def check_manifest(text: str) -> None:
    """Check a DASH manifest (ValueError)."""
    _hold_all(text, _MPD)


def _hold_all(text: str, forms: Sequence[str]) -> None:
    for line in text.splitlines():
        _hold(line.strip(" "), forms)


def _hold(line: str, forms: Sequence[str]) -> None:
    if not any(re.fullmatch(form, line) for form in forms):
        raise ValueError(f"{line[:80]!r} does not belong there")
