"""Serving media: content types, ranges, validators and cache headers (C33, C40). Pure."""

import re
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from typing import Final

CONTENT_TYPES: Final = {
    "m3u8": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    "ts": "video/mp2t",
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "m4a": "audio/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "3gp": "video/3gpp",
    "avi": "video/x-msvideo",
    "wmv": "video/x-ms-wmv",
    "jpg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "vtt": "text/vtt; charset=utf-8",
    "json": "application/json",
}
REWRITTEN: Final = frozenset({"m3u8", "mpd", "vtt"})
"""Texts that are written again under the same name: playlists with every encode, captions by their owner."""
PLAYLIST_SECONDS: Final = 10
SEGMENT_SECONDS: Final = 31_536_000
PICTURE_SECONDS: Final = 3_600
IMMUTABLE: Final = frozenset({"ts", "m4s"})

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Slice:
    """What to answer: status 200, 206 or 416, and the bytes from ``start`` to before ``end``."""

    status: int
    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """Bytes in the body."""
        return self.end - self.start

    @property
    def content_range(self) -> str | None:
        """The ``Content-Range`` header (RFC 9110 section 14.4), None for a whole answer."""
        if self.status == 416:
            return f"bytes */{self.size}"
        return f"bytes {self.start}-{self.end - 1}/{self.size}" if self.status == 206 else None


def content_type(key: str) -> str:
    """Return the MIME type of an object by the ending of its key.

    >>> content_type("videos/1/hls/720p/segment_00000.ts")
    'video/mp2t'
    """
    return CONTENT_TYPES.get(_extension(key), "application/octet-stream")


def select(header: str | None, size: int) -> Slice:
    """Apply a ``Range`` header to an object (RFC 9110 section 14.2).

    One range is honoured. Several, another unit or a malformed header are ignored and the whole object is
    sent, as the RFC allows; one that starts past the end is not satisfiable.

    >>> select("bytes=-500", 2000)
    Slice(status=206, start=1500, end=2000, size=2000)
    """
    whole = Slice(200, 0, size, size)
    match = _RANGE.fullmatch(header) if header else None
    if match is None or match.group(1) == match.group(2) == "":
        return whole
    first, last = match.groups()
    if not first:
        suffix = int(last)
        return Slice(206, max(0, size - suffix), size, size) if suffix and size else Slice(416, 0, 0, size)
    start = int(first)
    if last and int(last) < start:
        return whole
    if start >= size:
        return Slice(416, 0, 0, size)
    return Slice(206, start, min(size, int(last) + 1) if last else size, size)


def honours_range(if_range: str | None, etag: str, modified_at: float) -> bool:
    """Say whether a range applies: If-Range must name this very version (RFC 9110 section 13.1.5)."""
    if not if_range:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range == etag and not etag.startswith("W/")
    return if_range == formatdate(modified_at, usegmt=True)


def not_modified(
    if_none_match: str | None, etag: str, if_modified_since: str | None = None, modified_at: float = 0.0
) -> bool:
    """Say whether the client's copy is this version (RFC 9110 sections 13.1.2 and 13.1.3, weak comparison).

    >>> not_modified('"a", W/"b"', '"b"')
    True
    """
    if not if_none_match:
        return _unchanged(if_modified_since, modified_at)
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def _unchanged(since: str | None, modified_at: float) -> bool:
    """Say whether an object is not newer than a date, which has whole seconds; no date, no answer."""
    try:
        return since is not None and int(modified_at) <= parsedate_to_datetime(since).timestamp()
    except ValueError:
        return False


def cache_control(key: str, *, private: bool = False) -> str:
    """Return ``Cache-Control`` for an object: texts short, segments for ever, the rest between (C33).

    Pictures and mp4 files keep their name when a video is encoded again, so they are revalidated.
    """
    extension, who = _extension(key), "private" if private else "public"
    if extension in REWRITTEN:
        return f"{who}, max-age={PLAYLIST_SECONDS}"
    if extension in IMMUTABLE:
        return f"{who}, max-age={SEGMENT_SECONDS}, immutable"
    return f"{who}, max-age={PICTURE_SECONDS}"


def headers(key: str, etag: str, modified_at: float, *, private: bool = False) -> dict[str, str]:
    """Return the headers that every answer about an object carries.

    A stored file is data of a stranger: it is never sniffed into a page and never runs scripts.
    """
    return {
        "Content-Type": content_type(key),
        "ETag": etag,
        "Last-Modified": formatdate(modified_at, usegmt=True),
        "Accept-Ranges": "bytes",
        "Cache-Control": cache_control(key, private=private),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _extension(key: str) -> str:
    return key.rpartition("/")[2].rpartition(".")[2].lower()
