"""Captions: WebVTT of people and of sources, as HLS subtitles and in the DASH manifest (Y6, RFC 8216).

What somebody sends is read strictly and written anew: cues with their settings, nothing else. Each form of
HLS has a clock of its own, so each has its own copy of a file with the map to that clock.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from media import layout
from media.languages import name
from media.mpd import with_captions
from media.playlists import Clock, Segment, Subtitle, clock_of, media_playlist, with_subtitles
from media.stores import ObjectStore
from tables.errors import ValidationFailed

MAX_CUES = 20_000
FORMS = ("ts", "cmaf")
MASTERS = {"ts": "hls/master.m3u8", "cmaf": "hls/master-cmaf.m3u8"}
MANIFEST = "dash/manifest.mpd"


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
    again after a failure.

    Raises:
        ValidationFailed: a stored file is no WebVTT.
        ContentNotFound: the video has no playlists.
    """
    cues_of: dict[str, list[Cue]] = {}
    async for found in store.list(layout.captions_prefix(video_id)):
        if layout.is_caption(found.key):
            tag = found.key.rpartition("/")[2].removesuffix(".vtt")
            cues_of[tag] = parse(await _read(store, found.key))
    prefix = layout.prefix(video_id)
    for form in FORMS:
        key = prefix + MASTERS[form]
        if form == FORMS[0] or await store.stat(key) is not None:
            await _publish_form(store, prefix, form, cues_of)
    if await store.stat(prefix + MANIFEST) is not None:
        text = in_manifest((await _read(store, prefix + MANIFEST)).decode(), cues_of)
        await store.put_bytes(prefix + MANIFEST, text.encode(), content_type="application/dash+xml")
    return sorted(cues_of)


async def _publish_form(store: ObjectStore, prefix: str, form: str, cues_of: CuesOf) -> None:
    master = (await _read(store, prefix + MASTERS[form])).decode()
    for path, text in rendition_files(cues_of, form, clock_of(master)).items():
        kind = "text/vtt; charset=utf-8" if path.endswith(".vtt") else "application/vnd.apple.mpegurl"
        await store.put_bytes(f"{prefix}hls/{path}", text.encode(), content_type=kind)
    told = with_subtitles(master, subtitles(cues_of, form))
    await store.put_bytes(prefix + MASTERS[form], told.encode(), content_type="application/vnd.apple.mpegurl")


async def _read(store: ObjectStore, key: str) -> bytes:
    return b"".join([chunk async for chunk in store.read(key)])
