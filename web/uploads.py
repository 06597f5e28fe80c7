"""Form uploads, streamed part by part to a temporary file (A20, A58, N23)."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from media.policies import POLICIES, SHORT, UploadPolicy, policy_named
from media.receiving import Receiver
from tables.errors import FileTooLarge, UnsupportedMedia, ValidationFailed
from web.bodies import Turns
from web.http import deps

SUFFIX = ".part"
# As much of a file is read at once: what has come is searched for the boundary on the loop.
CHUNK_BYTES = 64 * 1024
# The longest field is a description of 2,000 characters, which may be refused but has to arrive.
MAX_FIELD_BYTES = 64 * 1024
MAX_PARTS = 64
FILE_FIELDS = frozenset({"file", "video"})  # the second is document 002's (A21)
# Room for the other fields and the multipart headers, when a declared length is judged.
FORM_OVERHEAD_BYTES = MAX_PARTS * MAX_FIELD_BYTES


@dataclass(slots=True)
class Form:
    """A form that has arrived: the file lies at ``path`` until the block of ``receive`` ends."""

    path: Path
    size_bytes: int = 0
    sha256: str = ""
    filename: str = ""
    has_file: bool = False
    max_bytes: int | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)

    def one(self, name: str, default: str = "") -> str:
        """Return the last value of a field."""
        return self.fields.get(name, [default])[-1]

    def tags(self) -> list[str]:
        """Return the tags: repeated or with commas, as ``tags``, ``tags[]`` or 002's ``hashtags``."""
        return self.listed("tags", "tags[]", "hashtags")

    def listed(self, *names: str) -> list[str]:
        """Return the values of fields that are repeated, or have commas."""
        given = [value for name in names for value in self.fields.get(name, [])]
        return [tag.strip() for value in given for tag in value.split(",") if tag.strip()]

    def policy(self) -> UploadPolicy:
        """Return the policy that was asked for, ``short`` without one (VALIDATION_ERROR)."""
        return policy_named(self.one("policy") or SHORT.name)

    def limit(self) -> int:
        """Return the most bytes that can still be right: the policy may come after the file."""
        if self.max_bytes is not None:
            return self.max_bytes
        if "policy" in self.fields:
            return self.policy().max_bytes
        return max(policy.max_bytes for policy in POLICIES.values())


@asynccontextmanager
async def receive(request: web.Request, folder: Path, max_bytes: int | None = None) -> AsyncIterator[Form]:
    """Take in a multipart form; the temporary file is gone when the block ends, however it ends.

    ``max_bytes`` bounds the file of a form that has no policy.

    Raises:
        UnsupportedMedia: not multipart/form-data (UNSUPPORTED_MEDIA).
        FileTooLarge: more bytes than the policy allows, found while they arrive (FILE_TOO_LARGE).
        ValidationFailed: no file, or a malformed form (VALIDATION_ERROR; ``details.field``).
    """
    if request.content_type == "application/x-www-form-urlencoded":
        raise missing_file()  # what clients send for a form that has no file in it
    if request.content_type != "multipart/form-data":
        raise UnsupportedMedia(
            details={"content_type": request.content_type, "supported": ["multipart/form-data"]}
        )
    form = Form(folder / f"{uuid4().hex}{SUFFIX}", max_bytes=max_bytes)
    if (request.content_length or 0) > form.limit() + FORM_OVERHEAD_BYTES:
        raise too_large(form.limit())
    try:
        await _read_parts(request, form)
        yield form
    finally:
        await asyncio.to_thread(form.path.unlink, missing_ok=True)


def missing_file() -> ValidationFailed:
    """Return the refusal of a form without a file."""
    return ValidationFailed("file: a file is required.", details={"field": "file"})


def too_large(limit: int) -> FileTooLarge:
    """Return the refusal with the limit in bytes."""
    return FileTooLarge(details={"field": "file", "limit": limit, "unit": "bytes"})


async def _read_parts(request: web.Request, form: Form) -> None:
    try:
        reader = await request.multipart()
        await _each_part(reader, form, deps(request).turns)
    except (HttpProcessingError, ValueError, AssertionError, RuntimeError, LookupError) as error:
        # What aiohttp's reader raises for boundaries, headers and encodings that make no sense.
        raise ValidationFailed("The form is malformed.", details={"field": "body"}) from error
    if not form.has_file:
        raise missing_file()
    most = form.max_bytes or form.policy().max_bytes
    if form.size_bytes > most:
        raise too_large(most)


async def _each_part(reader: MultipartReader, form: Form, turns: Turns) -> None:
    count = 0
    while (part := await reader.next()) is not None:
        count += 1
        if count > MAX_PARTS or not isinstance(part, BodyPartReader) or not part.name:
            raise ValueError("too many parts, or one without a name")
        if part.name in FILE_FIELDS:
            await _read_file(part, form, turns)
        else:
            form.fields.setdefault(part.name, []).append(await _read_field(part, part.name))


async def _read_field(part: BodyPartReader, name: str) -> str:
    data = bytearray()
    while chunk := await part.read_chunk(MAX_FIELD_BYTES):
        data += chunk
        if len(data) > MAX_FIELD_BYTES:
            raise ValidationFailed(
                f"{name}: too long.", details={"field": name, "limit": MAX_FIELD_BYTES, "unit": "bytes"}
            )
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValidationFailed(f"{name}: not UTF-8.", details={"field": name}) from None


async def _read_file(part: BodyPartReader, form: Form, turns: Turns) -> None:
    if form.has_file:
        raise ValidationFailed("file: one file at a time.", details={"field": "file"})
    form.has_file = True
    form.filename = part.filename or ""
    with await asyncio.to_thread(form.path.open, "xb") as out:
        received = Receiver(out)
        async with aclosing(_chunks(part, form, turns)) as chunks:
            await received.take(chunks)
    form.sha256 = received.digest.hexdigest()


async def _chunks(part: BodyPartReader, form: Form, turns: Turns) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of the file, in turn (FILE_TOO_LARGE)."""
    limit = form.limit()
    while chunk := await part.read_chunk(CHUNK_BYTES):
        form.size_bytes += len(chunk)
        if form.size_bytes > limit:
            raise too_large(limit)
        async with turns:
            yield chunk


def sweep(folder: Path, *, now: float | None = None, older_seconds: float = 0.0) -> int:
    """Remove temporary files that a crash left behind; return how many.

    At start nothing is arriving, so everything goes; later only what is older than a day can be stale.
    """
    folder.mkdir(parents=True, exist_ok=True)
    latest = (time.time() if now is None else now) - older_seconds
    stale = [path for path in folder.glob(f"*{SUFFIX}") if path.stat().st_mtime <= latest]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)
