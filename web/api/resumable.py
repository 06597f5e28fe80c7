"""The IETF's resumable uploads: draft-ietf-httpbis-resumable-upload, interop version 8 (A49, Y5, X11).

Sections are those of revision 12; the newest known is 15. A creation is a POST with ``Upload-Complete``: its
body is the file or its beginning, named by ``Content-Disposition`` and ``Content-Type``, or, as in tus, by
``Upload-Metadata``, which alone carries title, tags, visibility and policy. Where to resume is told by an
interim response 104 before the body is read, to HTTP/1.1 clients of the same interop version. The answer
to the last byte is that of a form upload: 201 with the video.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, hdrs, web

from media.policies import policy_named
from tables.errors import Conflict, FileTooLarge, UnsupportedMedia, ValidationFailed
from tables.lifecycle import UploadStatus
from web import tus
from web.api.streamed import (
    Opening,
    append,
    finish,
    open_upload,
    place,
    session_of,
    tell,
)
from web.api.uploads import body_of
from web.http import deps, no_content, principal, read_headers, reply
from web.render import video_answer
from web.schemas.tus import AppendHeaders, CreateHeaders

if TYPE_CHECKING:
    from social.uploads import UploadSession


async def create(request: web.Request) -> web.Response:
    """Open an upload and take its bytes, or the first of them (section 4.2)."""
    said = read_headers(request, CreateHeaders)
    whole = _is_last(said)
    described = tus.described(said.upload_metadata)
    length = _length(request, said.upload_length, 0, whole=whole)
    session = await open_upload(request, Opening(described=_named(request, described), size_bytes=length))
    _tell_limits(request, session)
    await _announce(request, session, said)
    return await _take(request, session, 0, whole=whole) or web.Response(status=201)


async def head(request: web.Request) -> web.Response:
    """Answer how far an upload is (section 4.3)."""
    session = await session_of(request)
    done = session.status is UploadStatus.COMPLETED
    offset = await deps(request).uploads.offset(session.id, principal(request))
    tell(request, {tus.OFFSET: str(offset), tus.COMPLETE: tus.boolean(value=done)})
    if session.size_bytes is not None:
        tell(request, {tus.LENGTH: str(session.size_bytes)})
    if session.video_id is not None:
        tell(request, {tus.VIDEO_ID: session.video_id, hdrs.CONTENT_LOCATION: _video(session.video_id)})
    _tell_limits(request, session)
    return no_content()


async def patch(request: web.Request) -> web.Response:
    """Add bytes at the offset, and finish when the client says that these are the last (section 4.4)."""
    said = read_headers(request, AppendHeaders)
    if request.content_type != tus.PARTIAL_TYPE:
        raise UnsupportedMedia(
            details={"content_type": request.content_type, "supported": [tus.PARTIAL_TYPE]}
        )
    whole = _is_last(said)
    session = await session_of(request)
    _tell_limits(request, session)
    length = _length(request, said.upload_length, said.upload_offset, whole=whole)
    if length is not None:
        stored = await deps(request).uploads.offset(session.id, principal(request))
        if stored != said.upload_offset:  # else the length would be of another upload
            tell(request, {tus.OFFSET: str(stored), tus.COMPLETE: tus.boolean(value=False)})
            raise Conflict("The upload is at another offset.", details={"offset": stored})
        session = await deps(request).uploads.set_length(session.id, principal(request), length)
    return await _take(request, session, said.upload_offset, whole=whole) or no_content()


async def _take(
    request: web.Request, session: "UploadSession", offset: int, *, whole: bool
) -> web.Response | None:
    """Take a body in; answer with the video when it was the last one."""
    tell(request, {tus.COMPLETE: tus.boolean(value=False)})
    try:
        async with body_of(request) as body:
            end = await append(request, session, offset, body)
    except FileTooLarge:
        if session.size_bytes is not None:  # section 4.4.2: more than its length makes an upload invalid
            await deps(request).uploads.fail(session.id, FileTooLarge.code)
        raise
    if not whole:
        return None
    if session.size_bytes is None:
        await deps(request).uploads.set_length(session.id, principal(request), end)
    tell(request, {tus.COMPLETE: tus.boolean(value=True)})
    video = await finish(request, session)
    tell(request, {hdrs.LOCATION: _video(video.id)})
    return reply(video_answer(video, deps(request)), status=201)


def _is_last(said: CreateHeaders | AppendHeaders) -> bool:
    """Return what ``Upload-Complete`` says (VALIDATION_ERROR for what is no boolean)."""
    if said.upload_complete is None:
        raise ValidationFailed("Upload-Complete is ?0 or ?1.", details={"field": tus.COMPLETE})
    return said.upload_complete


def _length(request: web.Request, said: int | None, offset: int, *, whole: bool) -> int | None:
    """Return the length that a request tells, by one indicator or by both (section 4.1.3).

    Raises:
        ValidationFailed: VALIDATION_ERROR: they differ.
    """
    rest = request.content_length if whole else None
    by_content = None if rest is None else offset + rest
    if said is not None and by_content is not None and said != by_content:
        raise ValidationFailed(
            "Upload-Length is not what Content-Length says.",
            details={"field": tus.LENGTH, "value": said, "found": by_content},
        )
    return by_content if said is None else said


def _named(request: web.Request, described: tus.Described) -> tus.Described:
    """Add what the headers of the representation say (section 4.2.1)."""
    name = tus.disposition_name(request.headers.get(hdrs.CONTENT_DISPOSITION, ""))
    declared = request.headers.get(hdrs.CONTENT_TYPE)
    mime = None if declared == tus.PARTIAL_TYPE else declared
    return replace(described, filename=described.filename or name, mime=described.mime or mime)


async def _announce(request: web.Request, session: "UploadSession", said: CreateHeaders) -> None:
    """Tell where to resume before the body is read (section 5 and appendix A)."""
    if said.upload_draft_interop_version != tus.INTEROP_VERSION or request.version != HttpVersion11:
        return
    head_lines = (
        "HTTP/1.1 104 Upload Resumption Supported",
        f"{tus.INTEROP}: {tus.INTEROP_VERSION}",
        f"Location: {place(session.id)}",
        f"{tus.LIMIT}: {_limits(request, session)}",
    )
    await request.writer.write(("\r\n".join(head_lines) + "\r\n\r\n").encode())
    # As aiohttp does after its own 100: none of this is the answer yet.
    request.writer.output_size = 0


def _tell_limits(request: web.Request, session: "UploadSession") -> None:
    tell(request, {tus.LIMIT: _limits(request, session)})


def _limits(request: web.Request, session: "UploadSession") -> str:
    left = None if session.expires_at is None else session.expires_at - deps(request).clock()
    return tus.limits(policy_named(session.policy).max_bytes, left)


def _video(video_id: str) -> str:
    return f"/api/v1/videos/{video_id}"
