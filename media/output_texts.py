"""What outputs of an encode may be called, and where their texts may lead (Y14, B23-B26). Pure.

What an encoder elsewhere brings becomes part of what players are told to fetch. So only tags are taken that
our own writers use, and every address has to be that of an output of the same video.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from media.ladder import RUNGS
from media.playlists import Segment, media_playlist, parse_media_playlist

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_NAME: Final = re.compile(
    rf"hls/(?:{_PART}/)?{_PART}\.(?:m3u8|ts|vtt)|dash/{_PART}\.(?:mpd|mp4)|mp4/{_PART}\.mp4"
    rf"|thumbs/{_PART}\.(?:jpg|gif|webp|vtt)|captions/{_PART}\.vtt"
)
_ATTRIBUTE: Final = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)(?:,|$)')
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_SUBTITLES: Final = re.compile(r"hls/captions/([A-Za-z0-9-]+)-(?:ts|cmaf)\.m3u8")
_MASTER_TAGS: Final = frozenset(
    {"EXTM3U", "EXT-X-VERSION", "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-SESSION-DATA", "EXT-X-MEDIA",
     "EXT-X-START", "EXT-X-STREAM-INF", "EXT-X-IMAGE-STREAM-INF"}
)  # fmt: skip
_PLAYLIST_TAGS: Final = frozenset(
    {"EXTM3U", "EXT-X-VERSION", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-PLAYLIST-TYPE",
     "EXT-X-INDEPENDENT-SEGMENTS", "EXT-X-ENDLIST", "EXT-X-MAP", "EXT-X-BYTERANGE", "EXT-X-IMAGES-ONLY",
     "EXT-X-TILES", "EXTINF"}
)  # fmt: skip
_ELEMENTS: Final = frozenset(
    {"MPD", "Period", "AdaptationSet", "Representation", "BaseURL", "SegmentBase", "Initialization", "Role",
     "Label", "SegmentTemplate", "EssentialProperty", "SupplementalProperty", "AudioChannelConfiguration"}
)  # fmt: skip
_NAMING: Final = frozenset({"media", "initialization", "index", "sourceURL", "bitstreamSwitching", "href"})
"""Attributes of a manifest that hold an address."""
_DASH: Final = "{urn:mpeg:dash:schema:mpd:2011}"


@dataclass(frozen=True, slots=True)
class Told:
    """What a master playlist says of a rung: rate in bit/s, size in pixels, codecs."""

    bandwidth: int
    width: int
    height: int
    codecs: str


@dataclass(frozen=True, slots=True)
class Master:
    """What a master playlist names: rungs by name, languages of captions, and all files, rungs' too."""

    rungs: Mapping[str, Told]
    languages: frozenset[str]
    names: frozenset[str]


def is_output(name: str) -> bool:
    """Tell whether a file below the video's folder may have this name.

    >>> is_output("hls/360p/segment_00000.ts"), is_output("source.mp4"), is_output("hls/../../x.m3u8")
    (True, False, False)
    """
    return _NAME.fullmatch(name) is not None


def resolve(text_name: str, address: str) -> str:
    """Return the output that an address in a text leads to.

    >>> resolve("hls/360p/cmaf.m3u8", "../../dash/360p.mp4")
    'dash/360p.mp4'

    Raises:
        ValueError: it leads elsewhere.
    """
    name = posixpath.normpath(posixpath.join(posixpath.dirname(text_name), address.partition("#")[0]))
    if not is_output(name):
        raise ValueError(f"{address[:80]!r} leads elsewhere")
    return name


def read_master(text: str, text_name: str) -> Master:
    """Return what a master playlist names (RFC 8216 section 4.3.4).

    Raises:
        ValueError: a tag that we do not write, or an address elsewhere.
    """
    rungs: dict[str, Told] = {}
    names: set[str] = set()
    told: Told | None = None
    for line in text.splitlines():
        tag, attributes = _tag(line, _MASTER_TAGS)
        if "URI" in attributes:
            names.add(resolve(text_name, attributes["URI"]))
        if told is not None:
            rung = line.partition("/")[0]
            if tag or rung not in RUNGS or rung in rungs:
                raise ValueError(f"{line[:80]!r} is no rung")
            rungs[rung], told = told, None
            names.add(resolve(text_name, line))
        elif tag == "EXT-X-STREAM-INF":
            size = _SIZE.fullmatch(attributes.get("RESOLUTION", ""))
            if size is None:
                raise ValueError("a rung without its size")
            bandwidth, codecs = int(attributes.get("BANDWIDTH", "")), attributes.get("CODECS", "")
            told = Told(bandwidth, int(size[1]), int(size[2]), codecs)
        elif not tag:
            raise ValueError(f"{line[:80]!r} does not belong there")
    if told is not None or not rungs:
        raise ValueError("a master playlist without rungs")
    languages = frozenset(found[1] for name in names if (found := _SUBTITLES.fullmatch(name)))
    return Master(rungs, languages, frozenset(names))


def _tag(line: str, known: frozenset[str]) -> tuple[str, dict[str, str]]:
    """Return a line's tag and attributes, an empty tag for an address (ValueError for an unknown one)."""
    if not line.startswith("#"):
        return "", {}
    tag, _, rest = line[1:].partition(":")
    if tag not in known:
        raise ValueError(f"{line[:80]!r} does not belong there")
    return tag, {name: value.strip('"') for name, value in _ATTRIBUTE.findall(rest)}


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


def read_playlist(text: str, text_name: str) -> tuple[frozenset[str], float, int]:
    """Return the files that a playlist names, its length in seconds, and where its last byte range ends.

    Raises:
        ValueError: a tag that we do not write, or an address elsewhere.
    """
    names, seconds, end = set(), 0.0, 0
    for line in text.splitlines():
        tag, attributes = _tag(line, _PLAYLIST_TAGS)
        if not tag:
            names.add(resolve(text_name, line))
        elif "URI" in attributes:
            names.add(resolve(text_name, attributes["URI"]))
        if tag == "EXTINF":
            seconds += float(line[8:].partition(",")[0])
        byte_range = attributes.get("BYTERANGE") or (line[17:] if tag == "EXT-X-BYTERANGE" else "")
        if byte_range:
            size, _, offset = byte_range.partition("@")
            end = max(end, int(size) + int(offset))
    return frozenset(names), seconds, end


def read_manifest(text: str, text_name: str) -> frozenset[str]:
    """Return the files that a DASH manifest names.

    Raises:
        ValueError: an element that we do not write, an entity, or an address elsewhere.
    """
    if "<!" in text:
        raise ValueError("it has declarations of its own")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without declarations there are no entities
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    names = set()
    for element in root.iter():
        tag = element.tag.removeprefix(_DASH)
        if tag not in _ELEMENTS:
            raise ValueError(f"{tag[:80]!r} does not belong there")
        addresses = [value for name, value in element.attrib.items() if name.rpartition("}")[2] in _NAMING]
        if tag == "BaseURL":
            addresses.append(element.text or "")
        names |= {resolve(text_name, address) for address in addresses}
    return frozenset(names)


def read_cues(text: str, text_name: str) -> frozenset[str]:
    """Return the pictures that a storyboard's WebVTT names (ValueError for an address elsewhere)."""
    lines = text.splitlines()
    if not lines or lines[0] != "WEBVTT":
        raise ValueError("it is no WebVTT")
    return frozenset(resolve(text_name, line) for line in lines[1:] if line and " --> " not in line)
