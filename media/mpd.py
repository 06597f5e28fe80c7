"""The DASH manifest, written by us (B24, Y6, ISO 23009-1). Pure.

FFmpeg's own writer refuses 854x480 beside 16:9 rungs in one set.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from xml.sax.saxutils import quoteattr

from media.playlists import Tiles

SHEET = "../thumbs/storyboard.jpg"
_CAPTIONS = re.compile(r' *<AdaptationSet contentType="text".*?</AdaptationSet>\n', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Track:
    """One file of the DASH set: byte ranges of its header and index, both ends included.

    ``language`` is a BCP 47 tag, None when the source does not say.
    """

    uri: str
    bandwidth: int
    codecs: str
    init: tuple[int, int]
    index: tuple[int, int]
    width: int = 0
    height: int = 0
    language: str | None = None


def manifest(
    video: Sequence[Track],
    audio: Track | None,
    tiles: Tiles | None = None,
    *,
    seconds: float,
    rate: Fraction,
    offset: float,
) -> str:
    """Return the DASH on-demand manifest: one indexed file per track (ISO 23009-1 section 8.3).

    Args:
        video: One track per rung.
        audio: The shared audio track, None for a silent video.
        tiles: The storyboard, for the seek bar.
        seconds: Presentation length.
        rate: Frames per second.
        offset: Seconds by which all tracks' timestamps are late, equal for all.
    """
    sets = [_adaptation("video", video, rate, offset)]
    if audio is not None:
        sets.append(_adaptation("audio", [audio], rate, offset))
    if tiles is not None:
        sets.append(_thumbnails(tiles))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"'
        f' type="static" mediaPresentationDuration="PT{seconds:.3f}S" minBufferTime="PT4S">\n'
        '  <Period id="0" start="PT0S">\n' + "".join(sets) + "  </Period>\n</MPD>\n"
    )


def _adaptation(kind: str, tracks: Sequence[Track], rate: Fraction, offset: float) -> str:
    shape = f' frameRate="{rate.numerator}/{rate.denominator}"' if kind == "video" else ""
    if language := tracks[0].language:
        shape += f" lang={quoteattr(language)}"
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
        f'        <SegmentBase timescale="1000000" presentationTimeOffset="{_before(offset)}"'
        f' indexRange="{track.index[0]}-{track.index[1]}" indexRangeExact="true">\n'
        f'          <Initialization range="{track.init[0]}-{track.init[1]}"/>\n'
        "        </SegmentBase>\n      </Representation>\n"
    )


def _thumbnails(tiles: Tiles) -> str:
    """Return the set of the storyboard: one sheet of tiles (DASH-IF IOP 4.3 section 6.2.6; Y7)."""
    seconds = tiles.seconds * tiles.columns * tiles.rows
    rate = math.ceil(tiles.size_bytes * 8 / seconds)
    size = f' width="{tiles.width * tiles.columns}" height="{tiles.height * tiles.rows}"'
    return (
        '    <AdaptationSet contentType="image" mimeType="image/jpeg">\n'
        f'      <SegmentTemplate media="{SHEET}" timescale="1000" duration="{math.ceil(seconds * 1000)}"'
        ' startNumber="1"/>\n'
        f'      <Representation id="storyboard" bandwidth="{rate}"{size}>\n'
        '        <EssentialProperty schemeIdUri="http://dashif.org/guidelines/thumbnail_tile"'
        f' value="{tiles.columns}x{tiles.rows}"/>\n'
        "      </Representation>\n    </AdaptationSet>\n"
    )


def _before(offset: float) -> int:
    """Return an offset in microseconds, at most a tenth of a millisecond early.

    Players drop what comes before 0, and with a keyframe all pictures up to the next: an offset that is
    rounded up loses two seconds.

    >>> _before(2 / 30)
    66600
    """
    return math.floor(offset * 10_000) * 100


def with_captions(manifest: str, files: Sequence[tuple[str, str]]) -> str:
    """Return a manifest of ours that names these captions and no others: language and address of each (Y6).

    Raises:
        ValueError: it is no manifest that we wrote.
    """
    head, period, tail = _CAPTIONS.sub("", manifest).rpartition("  </Period>\n")
    if not period:
        raise ValueError("not a manifest")
    sets = "".join(
        f'    <AdaptationSet contentType="text" mimeType="text/vtt" lang={quoteattr(language)}>\n'
        '      <Role schemeIdUri="urn:mpeg:dash:role:2011" value="caption"/>\n'
        f'      <Representation id={quoteattr("captions-" + language)} bandwidth="1000">\n'
        f"        <BaseURL>{uri}</BaseURL>\n"
        "      </Representation>\n    </AdaptationSet>\n"
        for language, uri in files
    )
    return head + sets + period + tail
