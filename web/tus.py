"""Headers of tus 1.0.0 and of the IETF's resumable uploads, read and written (A49, Y5, X11). Pure.

tus is https://tus.io/protocols/resumable-upload, the draft is draft-ietf-httpbis-resumable-upload, with the
section numbers of its revision 12. The newest known revision is 15; all since 09 have interop version 8.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.utils import formatdate
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from media.policies import POLICIES, SHORT, UploadPolicy, policy_named
from social.videos import VideoMetadata, check_metadata
from social.videos.metadata import MAX_TITLE_CHARS, NOTHING_FURTHER, ORIGINAL, Further
from tables.errors import ValidationFailed

VERSION: Final = "1.0.0"
EXTENSIONS: Final = (
    "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination,concatenation"
)
ALGORITHMS: Final = ("sha1", "sha256", "md5")
INTEROP_VERSION: Final = "8"
MAX_PIECES: Final = 100
"""Pieces in a concatenation: browsers send fewer than ten, and each costs a copy."""
TUS_TYPE: Final = "application/offset+octet-stream"
PARTIAL_TYPE: Final = "application/partial-upload"

RESUMABLE: Final = "Tus-Resumable"
OFFSET: Final = "Upload-Offset"
LENGTH: Final = "Upload-Length"
DEFER_LENGTH: Final = "Upload-Defer-Length"
METADATA: Final = "Upload-Metadata"
CONCAT: Final = "Upload-Concat"
CHECKSUM: Final = "Upload-Checksum"
EXPIRES: Final = "Upload-Expires"
COMPLETE: Final = "Upload-Complete"
LIMIT: Final = "Upload-Limit"
INTEROP: Final = "Upload-Draft-Interop-Version"
OVERRIDE: Final = "X-HTTP-Method-Override"
VIDEO_ID: Final = "X-Video-Id"

REQUEST_HEADERS: Final = (
    RESUMABLE, OFFSET, LENGTH, DEFER_LENGTH, METADATA, CONCAT, CHECKSUM, COMPLETE, INTEROP, OVERRIDE,
    "Content-Disposition", "X-Requested-With",
)  # fmt: skip
"""What a browser has to be allowed to send."""
ANSWER_HEADERS: Final = (
    RESUMABLE, "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm", OFFSET, LENGTH,
    DEFER_LENGTH, METADATA, CONCAT, EXPIRES, COMPLETE, LIMIT, VIDEO_ID, "Location", "Content-Location",
)  # fmt: skip
"""What a browser has to be allowed to see."""
_KEY = re.compile(r"[!-+\--~]+")  # visible ASCII without the comma
_MAX_HEADER_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a client says of its file; ``policy`` None when it named none."""

    filename: str | None = None
    mime: str | None = None
    title: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    visibility: str = "PUBLIC"
    policy: UploadPolicy | None = None
    further: Further = NOTHING_FURTHER

    def metadata(self) -> VideoMetadata:
        """Return what the video is called; without a title, its file's name without the ending.

        Raises:
            ValidationFailed: VALIDATION_ERROR: neither title nor name, or text that cannot be stored.
            ContentTooLong, InvalidVisibility.
        """
        title = self.title or PurePosixPath(self.filename or "").stem[:MAX_TITLE_CHARS]
        return check_metadata(title, self.description, self.tags, self.visibility, self.further)

    def limits(self, *, partial: bool) -> UploadPolicy:
        """Return the policy: a piece that names none may belong to a file of any policy."""
        default = max(POLICIES.values(), key=lambda policy: policy.max_bytes) if partial else SHORT
        return self.policy or default


@dataclass(frozen=True, slots=True)
class Checksum:
    """``Upload-Checksum``: an algorithm of ``hashlib``, and the digest."""

    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Concat:
    """``Upload-Concat``: a piece of something, or that which the pieces, session ids, make up."""

    pieces: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether this is a piece."""
        return not self.pieces


def parse_metadata(header: str) -> dict[str, bytes]:
    """Return the pairs of ``Upload-Metadata`` (tus, Creation).

    >>> parse_metadata("filename Y2xpcC5tcDQ=, is_good")
    {'filename': b'clip.mp4', 'is_good': b''}

    Raises:
        ValidationFailed: VALIDATION_ERROR, field ``Upload-Metadata``.
    """
    found: dict[str, bytes] = {}
    for pair in header.split(",") if header.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise _malformed(METADATA, header)
        found[key] = _base64(METADATA, value.strip())
    return found


def described(header: str) -> Described:
    """Return what ``Upload-Metadata`` says of a file; keys that nobody reads are passed over.

    ``name`` and ``type`` are what Uppy sends for ``filename`` and ``filetype``.

    Raises:
        ValidationFailed: VALIDATION_ERROR for a value that is not UTF-8, or no such policy.
    """
    pairs = parse_metadata(header)

    def text(*names: str) -> str | None:
        value = next((pairs[name] for name in names if pairs.get(name)), None)
        try:
            return None if value is None else value.decode()
        except UnicodeDecodeError:
            raise ValidationFailed(f"{names[0]}: not UTF-8.", details={"field": names[0]}) from None

    def listed(name: str) -> tuple[str, ...]:
        return tuple(tag for tag in (text(name) or "").split(",") if tag.strip())

    policy = text("policy")
    return Described(
        filename=text("filename", "name"),
        mime=text("filetype", "type"),
        title=text("title"),
        description=text("description") or "",
        tags=listed("tags"),
        visibility=text("visibility") or "PUBLIC",
        policy=policy_named(policy) if policy else None,
        further=Further(listed("hashtags"), text("content_type") or ORIGINAL, text("audio_url")),
    )


def parse_checksum(header: str) -> Checksum:
    """Return what ``Upload-Checksum`` asks to compare (tus, Checksum).

    >>> parse_checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").digest.hex()
    '2aae6c35c94fcfb415dbe95f408b9ce91ee846ed'

    Raises:
        ValidationFailed: VALIDATION_ERROR, field ``Upload-Checksum``; ``supported`` are the algorithms.
    """
    algorithm, _, value = header.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise ValidationFailed(
            "There is no such checksum algorithm.",
            details={"field": CHECKSUM, "value": algorithm[:20], "supported": list(ALGORITHMS)},
        )
    return Checksum(algorithm, _base64(CHECKSUM, value.strip()))


def parse_concat(header: str) -> Concat:
    """Return what ``Upload-Concat`` says; URLs may be absolute or relative (tus, Concatenation).

    >>> parse_concat("final;/api/v1/tus/6f9619ff-8b86-d011-b42d-00c04fc964ff").pieces
    ('6f9619ff-8b86-d011-b42d-00c04fc964ff',)

    Raises:
        ValidationFailed: VALIDATION_ERROR, field ``Upload-Concat``.
    """
    kind, _, urls = header.strip().partition(";")
    if kind == "partial" and not urls:
        return Concat()
    pieces = urls.split()
    if kind != "final" or not 1 <= len(pieces) <= MAX_PIECES:
        raise _malformed(CONCAT, header)
    try:
        return Concat(tuple(str(UUID(urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1])) for url in pieces))
    except ValueError:
        raise _malformed(CONCAT, header) from None


def disposition_name(header: str) -> str | None:
    """Return the file name of ``Content-Disposition`` (RFC 6266, draft section 4.2.1).

    >>> disposition_name("inline; filename=\\"a.mp4\\"; filename*=UTF-8''h%C3%A9.mp4")
    'hé.mp4'
    """
    message = Message()
    message["Content-Disposition"] = header
    extended = re.search(r"filename\*\s*=\s*utf-8'[^']*'([^;\s]+)", header, re.IGNORECASE)
    return (unquote(extended[1], errors="replace") if extended else message.get_filename()) or None


def http_date(at: float) -> str:
    """Return seconds since the epoch as ``Upload-Expires`` has them (RFC 9110 section 5.6.7).

    >>> http_date(0)
    'Thu, 01 Jan 1970 00:00:00 GMT'
    """
    return formatdate(at, usegmt=True)


def boolean(*, value: bool) -> str:
    """Return a structured field's boolean (RFC 9651 section 3.3.6).

    >>> boolean(value=True)
    '?1'
    """
    return "?1" if value else "?0"


def limits(max_bytes: int, seconds_left: float | None) -> str:
    """Return ``Upload-Limit`` (draft section 4.1.4).

    >>> limits(500, 60.5)
    'max-size=500, min-size=1, max-age=60'
    """
    age = "" if seconds_left is None else f", max-age={max(0, int(seconds_left))}"
    return f"max-size={max_bytes}, min-size=1{age}"


def supported() -> Mapping[str, str]:
    """Return what ``OPTIONS`` announces: tus, and the draft (section 4.1.4)."""
    most = max(policy.max_bytes for policy in POLICIES.values())
    return {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(most),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        LIMIT: limits(most, None),
        "Accept-Patch": f"{TUS_TYPE}, {PARTIAL_TYPE}",
    }


def _base64(field: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(field, value) from None


def _malformed(field: str, value: str) -> ValidationFailed:
    return ValidationFailed(
        f"{field}: malformed.", details={"field": field, "value": value[:_MAX_HEADER_SHOWN]}
    )
