"""tus 1.0.0 with creation, creation-with-upload, deferred length, checksum, expiration, termination,
concatenation (A49, Y5, X11; https://tus.io/protocols/resumable-upload).

The same URLs serve the IETF's draft: requests without ``Tus-Resumable`` go to ``web/api/resumable.py``.
Answers name the video in ``X-Video-Id`` and ``Content-Location`` when the last byte made it one.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from aiohttp import web

from media.receiving import BLOCK_BYTES, spooled
from tables import errors
from tables.errors import (
    ChunkChecksumMismatch,
    Conflict,
    UnsupportedMedia,
    UnsupportedVersion,
    ValidationFailed,
)
from web import tus
from web.api import resumable
from web.api.streamed import (
    ROOT,
    Opening,
    append,
    finish,
    max_bytes,
    open_upload,
    session_of,
    tell,
)
from web.api.uploads import body_of
from web.http import deps, no_content, principal, read_headers
from web.routes import Auth, RateClass, Route
from web.schemas.tus import AppendHeaders, CreateHeaders, OverrideHeaders, TusHeaders
from web.schemas.videos import VideoAnswer

if TYPE_CHECKING:
    from social.uploads import UploadSession


async def options(request: web.Request) -> web.Response:
    """Answer what is supported, in both protocols."""
    tell(request, {**tus.supported(), tus.RESUMABLE: tus.VERSION})
    return no_content()


async def create(request: web.Request) -> web.Response:
    """Open an upload, or join pieces; the body may have the first bytes."""
    if _is_draft(request):
        return await resumable.create(request)
    _check_version(request)
    said = read_headers(request, CreateHeaders)
    opening = _opening(said)
    session = await open_upload(request, opening)
    if request.content_type == tus.TUS_TYPE and request.can_read_body and not opening.pieces:
        await _take(request, session, 0, said.upload_checksum)
    else:
        await _finish_when_whole(request, session, session.size_bytes if opening.pieces else 0)
    return web.Response(status=201)


async def head(request: web.Request) -> web.Response:
    """Answer how far an upload is.

    When all of it has arrived, what the last PATCH would have done is done first: its answer, or the server,
    may have been lost, and for clients of tus the upload is over now.
    """
    if tus.RESUMABLE not in request.headers:
        return await resumable.head(request)
    _check_version(request)
    session = await session_of(request)
    offset = await deps(request).uploads.offset(session.id, principal(request))
    tell(request, {tus.OFFSET: str(offset), **_echoed(session)})
    await _finish_when_whole(request, session, offset)
    return no_content()


async def patch(request: web.Request) -> web.Response:
    """Add bytes at the offset; the last ones make the video."""
    if _is_draft(request):
        return await resumable.patch(request)
    _check_version(request)
    said = read_headers(request, AppendHeaders)
    if request.content_type != tus.TUS_TYPE:
        raise UnsupportedMedia(details={"content_type": request.content_type, "supported": [tus.TUS_TYPE]})
    session = await session_of(request)
    if said.upload_length is not None:
        session = await deps(request).uploads.set_length(session.id, principal(request), said.upload_length)
    await _take(request, session, said.upload_offset, said.upload_checksum)
    return no_content()


async def delete(request: web.Request) -> web.Response:
    """End an upload; nothing of it is left."""
    if tus.RESUMABLE in request.headers:
        _check_version(request)
    session = await session_of(request)
    await deps(request).uploads.cancel(session.id, principal(request))
    return no_content()


async def override(request: web.Request) -> web.Response:
    """Do what ``X-HTTP-Method-Override`` says, for clients that can only POST."""
    said = read_headers(request, OverrideHeaders)
    return await {"PATCH": patch, "HEAD": head, "DELETE": delete}[said.x_http_method_override](request)


def _is_draft(request: web.Request) -> bool:
    return tus.RESUMABLE not in request.headers and tus.COMPLETE in request.headers


def _check_version(request: web.Request) -> None:
    """Refuse other versions than 1.0.0 (tus, Core).

    Raises:
        UnsupportedVersion: UNSUPPORTED_VERSION; ``Tus-Version`` is in the answer.
    """
    tell(request, {tus.RESUMABLE: tus.VERSION})
    if request.headers.get(tus.RESUMABLE) != tus.VERSION:
        tell(request, {"Tus-Version": tus.VERSION})
        raise UnsupportedVersion(details={"field": tus.RESUMABLE, "supported": [tus.VERSION]})


def _opening(said: CreateHeaders) -> Opening:
    """Return what a creation asks for.

    Raises:
        ValidationFailed: VALIDATION_ERROR: the header in ``details.field`` is missing, malformed, or one
            too many.
    """
    concat = tus.parse_concat(said.upload_concat) if said.upload_concat is not None else None
    joins = concat is not None and not concat.partial
    lengths = [said.upload_length is not None, said.upload_defer_length is not None]
    if sum(lengths) != (0 if joins else 1):
        raise ValidationFailed(
            "Either Upload-Length or Upload-Defer-Length is required, and neither of a concatenation.",
            details={"field": tus.LENGTH},
        )
    echoes = {tus.METADATA: said.upload_metadata, tus.CONCAT: said.upload_concat or ""}
    return Opening(
        described=tus.described(said.upload_metadata),
        size_bytes=said.upload_length,
        partial=concat is not None and concat.partial,
        pieces=concat.pieces if concat is not None else (),
        echoes={name: value for name, value in echoes.items() if value},
    )


def _echoed(session: "UploadSession") -> dict[str, str]:
    """Return what was said of an upload when it was opened, as HEAD repeats it."""
    found = {name: str(session.about[name]) for name in (tus.METADATA, tus.CONCAT) if name in session.about}
    if session.size_bytes is None:
        return found | {tus.DEFER_LENGTH: "1"}
    return found | {tus.LENGTH: str(session.size_bytes)}


async def _take(request: web.Request, session: "UploadSession", offset: int, checksum: str | None) -> None:
    """Take a body in; with a checksum, only when it is the right one."""
    if checksum is None:
        async with body_of(request) as body:
            end = await append(request, session, offset, body)
    else:
        wanted = tus.parse_checksum(checksum)
        async with _checked(request, session, offset, wanted) as checked:
            end = await append(request, session, offset, checked)
    await _finish_when_whole(request, session, end)


@asynccontextmanager
async def _checked(
    request: web.Request, session: "UploadSession", offset: int, wanted: tus.Checksum
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Receive a body beside the upload, so that a wrong one leaves nothing in it (tus, Checksum).

    Raises:
        ChunkChecksumMismatch: CHUNK_CHECKSUM_MISMATCH, status 460.
        Conflict: CONFLICT: this is not the offset; found before the body is read.
        FileTooLarge: FILE_TOO_LARGE.
    """
    services = deps(request)
    stored = await services.uploads.offset(session.id, principal(request))
    tell(request, {tus.OFFSET: str(stored)})
    if stored != offset:
        raise Conflict("The upload is at another offset.", details={"offset": stored})
    async with spooled(services.settings.upload_dir, max_bytes(session) - offset) as received:
        async with body_of(request) as body:
            await received.take(body)
        found = await asyncio.to_thread(_digest, await received.rewound(), wanted.algorithm)
        if found != wanted.digest:
            raise ChunkChecksumMismatch(details={"field": tus.CHECKSUM, "algorithm": wanted.algorithm})
        yield _blocks(await received.rewound())


def _digest(file: BinaryIO, algorithm: str) -> bytes:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest.digest()


async def _blocks(file: BinaryIO) -> AsyncIterator[bytes]:
    while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
        yield block


async def _finish_when_whole(request: web.Request, session: "UploadSession", offset: int | None) -> None:
    if offset == session.size_bytes and not session.partial:
        await finish(request, session)
    elif session.expires_at is not None:
        tell(request, {tus.EXPIRES: tus.http_date(session.expires_at)})


# -- rows of the route table

_SEEN = (errors.ContentNotFound, errors.NotContentOwner, errors.SessionExpired, errors.Gone,
         errors.UnsupportedVersion, errors.DatabaseFailure)  # fmt: skip
_RECEIVED = (errors.FileTooLarge, errors.InvalidFormat, errors.InvalidChunkSequence, errors.ChecksumMismatch,
             errors.ChunkChecksumMismatch, errors.CorruptedFile, errors.DurationExceeded,
             errors.InfectedFile, errors.InvalidStateTransition, errors.Conflict,
             errors.StorageFailure)  # fmt: skip
_SAID = (errors.ContentTooLong, errors.InvalidVisibility, errors.UserNotFound)

_tus = partial(Route, tag="uploads", auth=Auth.REQUIRED, rate=RateClass.UPLOAD_PARTS)
_upload = partial(_tus, path=f"{ROOT}/{{session_id}}")

ROUTES: tuple[Route, ...] = (
    Route(method="OPTIONS", path=ROOT, handler=options, name="resumable_options", tag="uploads", status=204,
          summary="What of tus 1.0.0 and of the IETF's resumable uploads is supported."),
    _tus(method="POST", path=ROOT, handler=create, name="create_resumable_upload", status=201,
         summary="Open an upload that can be resumed; the body may have the first bytes, or all.",
         headers=CreateHeaders, body=tus.TUS_TYPE, response=VideoAnswer,
         errors=(*_SEEN, *_RECEIVED, *_SAID)),
    _upload(method="HEAD", handler=head, name="get_resumable_upload", status=204,
            summary="How far an upload is: `Upload-Offset`; of a finished one, `X-Video-Id`.",
            headers=TusHeaders, errors=(*_SEEN, *_RECEIVED)),
    _upload(method="PATCH", handler=patch, name="append_resumable_upload", status=204,
            summary="Add bytes at the offset; the last ones make the video, named by `X-Video-Id`.",
            headers=AppendHeaders, body=tus.TUS_TYPE,
            errors=(*_SEEN, *_RECEIVED, errors.UnsupportedMedia)),
    _upload(method="DELETE", handler=delete, name="end_resumable_upload", status=204,
            summary="End an upload and forget its bytes.", headers=TusHeaders,
            errors=(*_SEEN, errors.InvalidStateTransition)),
    _upload(method="POST", handler=override, name="override_resumable_upload", status=204,
            summary="PATCH, HEAD or DELETE, as `X-HTTP-Method-Override` says.",
            headers=OverrideHeaders, body=tus.TUS_TYPE,
            errors=(*_SEEN, *_RECEIVED, errors.UnsupportedMedia)),
)  # fmt: skip
