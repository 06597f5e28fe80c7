"""HLS playlists and the DASH manifest, written by us (B23-B25, RFC 8216, ISO 23009-1). Pure.

FFmpeg's own writers refuse 854x480 beside 16:9 rungs in one set and know no average bandwidth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from xml.sax.saxutils import quoteattr

HLS_VERSION = 6


@dataclass(frozen=True, slots=True)
class Segment:
    """One media segment: its file name beside the playlist, and its length in seconds."""

    name: str
    seconds: float


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
class Track:
    """One file of the DASH set: byte ranges of its header and index, both ends included."""

    uri: str
    bandwidth: int
    codecs: str
    init: tuple[int, int]
    index: tuple[int, int]
    width: int = 0
    height: int = 0


def media_playlist(segments: Sequence[Segment]) -> str:
    """Return a VOD playlist (RFC 8216 section 4.3.3); every segment starts with a keyframe.

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
    for segment in segments:
        lines += [f"#EXTINF:{segment.seconds:.6f},", segment.name]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def parse_media_playlist(text: str) -> list[Segment]:
    """Return the segments of a media playlist.

    >>> parse_media_playlist(media_playlist([Segment("a.ts", 2.5)]))
    [Segment(name='a.ts', seconds=2.5)]

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


def master_playlist(variants: Sequence[Variant]) -> str:
    """Return the master playlist (RFC 8216 section 4.3.4).

    Players start with the first entry, so it is the best one that is not upscaled (X14), or the lowest
    when all are; the others follow from the highest down.
    """
    native = [variant for variant in variants if not variant.upscaled]
    first = max(native, key=_area) if native else min(variants, key=_area)
    rest = sorted((v for v in variants if v is not first), key=_area, reverse=True)
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{HLS_VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for variant in (first, *rest):
        lines += [_stream_inf(variant), variant.uri]
    return "\n".join([*lines, ""])


def _area(variant: Variant) -> int:
    return variant.width * variant.height


def _stream_inf(variant: Variant) -> str:
    return (
        f"#EXT-X-STREAM-INF:BANDWIDTH={variant.bandwidth},AVERAGE-BANDWIDTH={variant.average_bandwidth},"
        f"RESOLUTION={variant.width}x{variant.height},FRAME-RATE={float(variant.frame_rate):.3f},"
        f'CODECS="{variant.codecs}"'
    )


def manifest(
    video: Sequence[Track], audio: Track | None, *, seconds: float, rate: Fraction, offset: float
) -> str:
    """Return the DASH on-demand manifest: one indexed file per track (ISO 23009-1 section 8.3).

    Args:
        video: One track per rung.
        audio: The shared audio track, None for a silent video.
        seconds: Presentation length.
        rate: Frames per second.
        offset: Seconds by which all tracks' timestamps are late, equal for all.
    """
    sets = [_adaptation("video", video, rate, offset)]
    if audio is not None:
        sets.append(_adaptation("audio", [audio], rate, offset))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"'
        f' type="static" mediaPresentationDuration="PT{seconds:.3f}S" minBufferTime="PT4S">\n'
        '  <Period id="0" start="PT0S">\n' + "".join(sets) + "  </Period>\n</MPD>\n"
    )


def _adaptation(kind: str, tracks: Sequence[Track], rate: Fraction, offset: float) -> str:
    shape = f' frameRate="{rate.numerator}/{rate.denominator}"' if kind == "video" else ' lang="und"'
    body = "".join(_representation(kind, track, offset) for track in tracks)
    return (
        f'    <AdaptationSet contentType="{kind}" mimeType="{kind}/mp4" segmentAlignment="true"'
        f' subsegmentAlignment="true" subsegmentStartsWithSAP="1" startWithSAP="1"{shape}>\n'
        f"{body}    </AdaptationSet>\n"
    )


def _representation(kind: str, track: Track, offset: float) -> str:
    size = f' width="{track.width}" height="{track.height}" sar="1:1"' if kind == "video" else ""
    name, codecs = quoteattr(track.uri.rpartition(".")[0]), quoteattr(track.codecs)
    return (
        f'      <Representation id={name} bandwidth="{track.bandwidth}" codecs={codecs}{size}>\n'
        f"        <BaseURL>{track.uri}</BaseURL>\n"
        f'        <SegmentBase timescale="1000000" presentationTimeOffset="{round(offset * 1_000_000)}"'
        f' indexRange="{track.index[0]}-{track.index[1]}" indexRangeExact="true">\n'
        f'          <Initialization range="{track.init[0]}-{track.init[1]}"/>\n'
        "        </SegmentBase>\n      </Representation>\n"
    )
