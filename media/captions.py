"""Captions: WebVTT of people and of sources, as HLS subtitles and in the DASH manifest (Y6, RFC 8216).

What somebody sends, WebVTT or SubRip, is read strictly and written anew: cues with their settings, nothing
else. Each form of HLS has a clock of its own, so each has its own copy of a file with the map to that clock.
"""

import asyncio
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from media import layout
from media.delivery import content_type
from media.languages import name
from media.mpd import with_captions
from media.playlists import Clock, Segment, Subtitle, clock_of, media_playlist, with_subtitles
from media.stores import ObjectStore
from tables.errors import ContentNotFound, ValidationFailed

MAX_CUES = 20_000
MAX_BYTES = 1024 * 1024
"""A caption file larger than this is none: two hours of speech are 200 kB."""
FORMS = ("ts", "cmaf")
MASTERS = {"ts": "hls/master.m3u8", "cmaf": "hls/master-cmaf.m3u8"}
MANIFEST = "dash/manifest.mpd"
_VTT = re.compile(r"WEBVTT(?:[ \t\n\r]|\Z)")
# What SubRip players know of markup, WebVTT knows too; positions and fonts it does not have.
_SRT_TAG = re.compile(r"</?[biu]>")
_SRT_LOST = re.compile(r"\{\\[^}\n]*\}|</?font\b[^>\n]*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption: when, in seconds, what, and its WebVTT settings."""

    start: float
    end: float
    text: str
    settings: str = ""


CuesOf = Mapping[str, list[Cue]]
"""Cues by language, a BCP 47 tag."""


def parse(data: bytes) -> list[Cue]:
    """Return the cues of a WebVTT file, in order of their start.

    Raises:
        ValidationFailed: VALIDATION_ERROR; ``details.field`` is ``captions``, the message says why.
    """
    try:
        text = data.decode("utf-8-sig")
        found = webvtt.WebVTT.from_string(text, strict=True)
        cues = [_cue(caption) for caption in found.captions]
    except (MalformedFileError, MalformedCaptionError, ValueError) as error:
        raise _refused("This is not a WebVTT file.") from error
    if not cues or len(cues) > MAX_CUES:
        raise _refused(f"A caption file has 1 to {MAX_CUES} cues.")
    if any(cue.end <= cue.start for cue in cues):
        raise _refused("A cue ends before it begins.")
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def read(data: bytes) -> list[Cue]:
    """Return the cues of a WebVTT or SubRip file: the first line says which it is.

    >>> read(b"1\\n00:00:01,000 --> 00:00:02,500\\n<font color=red>A</font> <b>b</b> & c\\n")
    [Cue(start=1.0, end=2.5, text='A <b>b</b> &amp; c', settings='')]

    Raises:
        ValidationFailed: as ``parse``.
    """
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused("The text is not UTF-8.") from error
    return parse(text.encode()) if _VTT.match(text) else _parse_srt(text)


def _parse_srt(text: str) -> list[Cue]:
    try:
        found = webvtt.WebVTT.from_buffer(io.StringIO(text.lstrip()), format="srt")
        cues = [_cue(caption) for caption in found.captions]
    except (MalformedFileError, MalformedCaptionError, ValueError) as error:
        raise _refused("This is neither a WebVTT nor a SubRip file.") from error
    if text.count("-->") != sum(1 + cue.text.count("-->") for cue in cues):
        raise _refused("A cue of this SubRip file cannot be read.")
    return parse(write(Cue(cue.start, cue.end, _srt_text(cue.text)) for cue in cues).encode())


def _srt_text(text: str) -> str:
    """Return text of a SubRip cue as WebVTT: known tags stay, everything else that looks like one is text."""
    parts = re.split(f"({_SRT_TAG.pattern})", _SRT_LOST.sub("", text))
    for at in range(0, len(parts), 2):
        parts[at] = parts[at].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(parts)


def _cue(caption: webvtt.Caption) -> Cue:
    start, end = (time.in_milliseconds() / 1000 for time in (caption.start_time, caption.end_time))
    return Cue(start, end, caption.raw_text, str(caption.settings))


def _refused(message: str) -> ValidationFailed:
    return ValidationFailed(message, details={"field": "captions"})


def write(cues: Iterable[Cue], clock: Clock | None = None) -> str:
    """Return a WebVTT file; with a clock it maps its time 0 there (RFC 8216 section 3.5).

    >>> print(write([Cue(1, 2.5, "Hello")], Clock(6000, 9.0)).strip())
    WEBVTT
    X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:6000
    <BLANKLINE>
    00:00:01.000 --> 00:00:02.500
    Hello
    """
    lines = ["WEBVTT"]
    if clock is not None:
        lines.append(f"X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:{clock.start_ticks}")
    for cue in cues:
        # A blank line would end the cue, an arrow would begin another.
        text = re.sub(r"\n\s*\n+", "\n", cue.text.replace("\r", "").replace("-->", "--&gt;")).strip("\n")
        settings = f" {cue.settings}" if cue.settings else ""
        lines += ["", f"{_stamp(cue.start)} --> {_stamp(cue.end)}{settings}", text]
    return "\n".join([*lines, ""])


def _stamp(seconds: float) -> str:
    millis = round(seconds * 1000)
    return (
        f"{millis // 3_600_000:02d}:{millis // 60_000 % 60:02d}:{millis // 1000 % 60:02d}.{millis % 1000:03d}"
    )


def rendition_files(cues_of: CuesOf, form: str, clock: Clock) -> dict[str, str]:
    """Return the files of one form, by path below ``hls/``: for each language a playlist and its captions."""
    files = {}
    for tag, cues in cues_of.items():
        stem = f"captions/{tag}-{form}"
        seconds = max(clock.seconds, 0.001)
        files[f"{stem}.vtt"] = write(cues, clock)
        files[f"{stem}.m3u8"] = media_playlist(
            [Segment(f"{tag}-{form}.vtt", math.ceil(seconds * 1000) / 1000)]
        )
    return files


def subtitles(tags: Iterable[str], form: str) -> list[Subtitle]:
    """Return what a master playlist says of captions in these languages."""
    return [Subtitle(f"captions/{tag}-{form}.m3u8", tag, name(tag)) for tag in sorted(tags)]


def in_manifest(manifest: str, tags: Iterable[str]) -> str:
    """Return the manifest with captions in these languages."""
    return with_captions(manifest, [(tag, f"../captions/{tag}.vtt") for tag in sorted(tags)])


async def publish(store: ObjectStore, video_id: str) -> list[str]:
    """Bring the playlists of a finished video up to its caption files; returns the languages.

    Nothing is encoded. Files first, then what names them: a player never reads of what is not there. Call it
    again after a failure. Of several at once each ends only when the files are still those that it wrote
    of, so the last one leaves them right.

    Raises:
        ValidationFailed: a stored file is no WebVTT.
        ContentNotFound: the video has no playlists.
        ContentArchived: they have to be restored first (CONTENT_ARCHIVED).
        ValueError: they are not of our making.
    """
    told = None
    while (given := await _given(store, video_id)) != told:
        cues_of = {}
        for tag in given:
            data = await _read(store, layout.caption_key(video_id, tag))
            if data is not None:
                cues_of[tag] = await asyncio.to_thread(parse, data)
        await _publish(store, layout.prefix(video_id), cues_of)
        told = given
    return sorted(given)


async def _given(store: ObjectStore, video_id: str) -> dict[str, str]:
    """Return language and version of each caption file."""
    return {
        found.key.rpartition("/")[2].removesuffix(".vtt"): found.etag
        async for found in store.list(layout.captions_prefix(video_id))
        if layout.is_caption(found.key) and not found.archived
    }


async def _publish(store: ObjectStore, prefix: str, cues_of: CuesOf) -> None:
    written = set()
    for form in FORMS:
        master = await _read(store, prefix + MASTERS[form])
        if master is not None:
            written |= await _publish_form(store, prefix, form, (master.decode(), cues_of))
        elif form == FORMS[0]:
            raise ContentNotFound
    manifest = await _read(store, prefix + MANIFEST)
    if manifest is not None:
        told = in_manifest(manifest.decode(), cues_of) if cues_of or b'"text"' in manifest else ""
        if told and told != manifest.decode():
            await _put(store, prefix + MANIFEST, told)
    # A caption that was taken back is gone for good, not only from the playlists.
    async for found in store.list(f"{prefix}hls/captions/"):
        if found.key not in written:
            await store.delete(found.key)


async def _publish_form(store: ObjectStore, prefix: str, form: str, content: tuple[str, CuesOf]) -> set[str]:
    """Write the files of one form, then its master; ``content`` is the master so far, and the cues."""
    master, cues_of = content
    files = rendition_files(cues_of, form, clock_of(master)) if cues_of else {}
    for path, text in files.items():
        await _put(store, f"{prefix}hls/{path}", text)
    told = with_subtitles(master, subtitles(cues_of, form))
    if told != master:
        await _put(store, prefix + MASTERS[form], told)
    return {f"{prefix}hls/{path}" for path in files}


async def _put(store: ObjectStore, key: str, text: str) -> None:
    await store.put_bytes(key, text.encode(), content_type=content_type(key))


async def _read(store: ObjectStore, key: str) -> bytes | None:
    """Return an object, None when there is none."""
    try:
        return b"".join([chunk async for chunk in store.read(key)])
    except ContentNotFound:
        return None
