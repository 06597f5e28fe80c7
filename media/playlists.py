"""HLS playlists, written by us (B23, B25, Y6, Y7; RFC 8216). Pure.

FFmpeg's own writer knows no average bandwidth, no byte ranges of files that DASH shares, and no captions.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

HLS_VERSION = 6
DATA = "org.freewill."
_GROUP = 'SUBTITLES="captions"'


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment: its address beside the playlist, its length in seconds, its part of the file.

    ``part`` is offset and size in bytes, None for a file of its own.
    """

    name: str
    seconds: float
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """One rung in the master playlist. Rates in bit/s, sizes in pixels."""

    uri: str
    bandwidth: int
    average_bandwidth: int
    width: int
    height: int
    codecs: str
    frame_rate: Fraction
    upscaled: bool = False


@dataclass(frozen=True, slots=True)
class Subtitle:
    """One language of captions: the address of its playlist, its BCP 47 tag, its name for people."""

    uri: str
    language: str
    name: str


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound that rungs without their own share: the address of its playlist, its BCP 47 tag if known."""

    uri: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Tiles:
    """A storyboard sheet: address, size of one picture, columns and rows, seconds of each picture."""

    uri: str
    width: int
    height: int
    columns: int
    rows: int
    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Clock:
    """What captions that come later must know: where presentation time 0 lies in 90 kHz, and the length."""

    start_ticks: int
    seconds: float


def media_playlist(segments: Sequence[Segment], header: Segment | None = None) -> str:
    """Return a VOD playlist (RFC 8216 section 4.3.3); every segment starts with a keyframe.

    Args:
        segments: in order; those with a ``part`` are byte ranges.
        header: the part of a fragmented file that players read first (EXT-X-MAP).

    >>> print(media_playlist([Segment("segment_00000.ts", 6.0), Segment("segment_00001.ts", 1.5)]).strip())
    #EXTM3U
    #EXT-X-VERSION:6
    #EXT-X-TARGETDURATION:6
    #EXT-X-MEDIA-SEQUENCE:0
    #EXT-X-PLAYLIST-TYPE:VOD
    #EXT-X-INDEPENDENT-SEGMENTS
    #EXTINF:6.000000,
    segment_00000.ts
    #EXTINF:1.500000,
    segment_00001.ts
    #EXT-X-ENDLIST
    """
    longest = max((segment.seconds for segment in segments), default=0.0)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{HLS_VERSION}",
        # Each EXTINF, rounded to the nearest integer, is at most this (section 4.3.3.1).
        f"#EXT-X-TARGETDURATION:{max(1, math.floor(longest + 0.5))}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    if header is not None and header.part is not None:
        lines.append(f'#EXT-X-MAP:URI="{header.name}",BYTERANGE="{header.part[1]}@{header.part[0]}"')
    for segment in segments:
        lines.append(f"#EXTINF:{segment.seconds:.6f},")
        if segment.part is not None:
            lines.append(f"#EXT-X-BYTERANGE:{segment.part[1]}@{segment.part[0]}")
        lines.append(segment.name)
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def parse_media_playlist(text: str) -> list[Segment]:
    """Return the segments of a media playlist.

    >>> parse_media_playlist(media_playlist([Segment("a.ts", 2.5)]))
    [Segment(name='a.ts', seconds=2.5, part=None)]

    Raises:
        ValueError: It is not a playlist, or it has no end.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "#EXTM3U" or lines[-1] != "#EXT-X-ENDLIST":
        raise ValueError("not a complete media playlist")
    segments: list[Segment] = []
    seconds: float | None = None
    for line in lines:
        if line.startswith("#EXTINF:"):
            seconds = float(line.removeprefix("#EXTINF:").split(",")[0])
        elif not line.startswith("#"):
            if seconds is None:
                raise ValueError(f"segment {line} has no length")
            segments.append(Segment(line, seconds))
            seconds = None
    return segments


def master_playlist(
    variants: Sequence[Variant],
    clock: Clock | None = None,
    audio: Sound | None = None,
    tiles: Tiles | None = None,
) -> str:
    """Return the master playlist (RFC 8216 section 4.3.4).

    Players start with the first entry, so it is the best one that is not upscaled (X14), or the lowest
    when all are; the others follow from the highest down.

    Args:
        variants: the rungs.
        clock: what :func:`clock_of` gives back.
        audio: None when the rungs carry it.
        tiles: the storyboard, for the seek bar.
    """
    native = [variant for variant in variants if not variant.upscaled]
    first = max(native, key=_area) if native else min(variants, key=_area)
    rest = sorted((v for v in variants if v is not first), key=_area, reverse=True)
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{HLS_VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if clock is not None:
        told = (("start", str(clock.start_ticks)), ("seconds", f"{clock.seconds:.3f}"))
        lines += [f'#EXT-X-SESSION-DATA:DATA-ID="{DATA}{name}",VALUE="{value}"' for name, value in told]
    if audio is not None:
        spoken = f'LANGUAGE="{audio.language}",' if audio.language else ""
        group = f'TYPE=AUDIO,GROUP-ID="audio",NAME="main",{spoken}DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2"'
        lines.append(f'#EXT-X-MEDIA:{group},URI="{audio.uri}"')
    for variant in (first, *rest):
        lines += [_stream_inf(variant) + (',AUDIO="audio"' if audio else ""), variant.uri]
    if tiles is not None:
        rate = math.ceil(tiles.size_bytes * 8 / (tiles.seconds * tiles.columns * tiles.rows))
        lines.append(
            f"#EXT-X-IMAGE-STREAM-INF:BANDWIDTH={rate},RESOLUTION={tiles.width}x{tiles.height},"
            f'CODECS="jpeg",URI="{tiles.uri}"'
        )
    return "\n".join([*lines, ""])


def clock_of(master: str) -> Clock:
    """Return what a master playlist of ours says of its clock.

    >>> clock_of(master_playlist([Variant("a", 1, 1, 16, 16, "avc1", Fraction(30))], Clock(6000, 2.5)))
    Clock(start_ticks=6000, seconds=2.5)

    Raises:
        ValueError: it says nothing.
    """
    found = dict(re.findall(rf'^#EXT-X-SESSION-DATA:DATA-ID="{DATA}(\w+)",VALUE="([\d.]+)"$', master, re.M))
    try:
        return Clock(int(found["start"]), float(found["seconds"]))
    except KeyError as error:
        raise ValueError("a master playlist without its clock") from error


def with_subtitles(master: str, subtitles: Sequence[Subtitle]) -> str:
    """Return a master playlist that names these captions and no others (RFC 8216 section 4.3.4.1, Y6)."""
    lines = [line for line in master.splitlines() if not line.startswith("#EXT-X-MEDIA:TYPE=SUBTITLES")]
    lines = [line.replace(f",{_GROUP}", "") for line in lines]
    if subtitles:
        lines = [f"{line},{_GROUP}" if line.startswith("#EXT-X-STREAM-INF:") else line for line in lines]
    at = next((n for n, line in enumerate(lines) if line.startswith("#EXT-X-STREAM-INF:")), len(lines))
    lines[at:at] = [
        f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="captions",NAME="{subtitle.name}",'
        f'LANGUAGE="{subtitle.language}",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="{subtitle.uri}"'
        for subtitle in subtitles
    ]
    return "\n".join([*lines, ""])


def image_playlist(tiles: Tiles, sheet: str) -> str:
    """Return the playlist of a storyboard: one sheet of pictures (EXT-X-IMAGES-ONLY, EXT-X-TILES; Y7)."""
    seconds = tiles.seconds * tiles.columns * tiles.rows
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{HLS_VERSION}",
        f"#EXT-X-TARGETDURATION:{max(1, math.ceil(seconds))}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-IMAGES-ONLY",
        f"#EXTINF:{seconds:.6f},",
        f"#EXT-X-TILES:RESOLUTION={tiles.width}x{tiles.height},LAYOUT={tiles.columns}x{tiles.rows},"
        f"DURATION={tiles.seconds:.6f}",
        sheet,
        "#EXT-X-ENDLIST",
        "",
    ]
    return "\n".join(lines)


def _area(variant: Variant) -> int:
    return variant.width * variant.height


def _stream_inf(variant: Variant) -> str:
    return (
        f"#EXT-X-STREAM-INF:BANDWIDTH={variant.bandwidth},AVERAGE-BANDWIDTH={variant.average_bandwidth},"
        f"RESOLUTION={variant.width}x{variant.height},FRAME-RATE={float(variant.frame_rate):.3f},"
        f'CODECS="{variant.codecs}"'
    )
