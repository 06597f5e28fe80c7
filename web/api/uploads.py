"""Upload sessions over HTTP: chunks of document 000, parts of document 001, the store's reports.

Bytes stream from the connection to the store; nothing here holds a part. The bare session calls answer in
001's camelCase under ``/api`` and in snake_case under ``/api/v1`` (X5, X6).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel

from media.policies import policy_named
from social.uploads import Report, UploadSession, Wanted, check_declared
from social.videos import VideoMetadata, check_metadata
from social.videos.metadata import Further
from tables import errors
from tables.errors import AppError, ContentNotFound, SignatureRefused, ValidationFailed
from tables.lifecycle import session_000
from web import bodies
from web.api.videos import video_id_of
from web.http import deps, no_content, parse, principal, read_any, read_json, reply
from web.render import moment, video_answer
from web.routes import Auth, RateClass, Route
from web.schemas import uploads as shapes
from web.schemas.base import uuid_or
from web.schemas.videos import VideoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from social.uploads import PartUrl
    from social.views import Video

M = TypeVar("M", bound=BaseModel)
SIGNATURE = "X-Signature"
CHUNKS, PARTS = "API_CHUNKS", "S3_MULTIPART"


def session_id_of(request: web.Request) -> str:
    """Return the session id of the path; what is no UUID names no session (CONTENT_NOT_FOUND)."""
    return uuid_or(ContentNotFound, request.match_info["session_id"])


def number_of(request: web.Request) -> int:
    """Return the part number of the path (INVALID_CHUNK_SEQUENCE for what is no number)."""
    text = request.match_info["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise errors.InvalidChunkSequence(details={"part_number": text[:20]})
    return int(text)


def body_of(request: web.Request) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    """Give a block the body; see ``web.bodies``."""
    return bodies.reading(request, deps(request).turns)


@contextmanager
def counted(request: web.Request) -> "Iterator[None]":
    """Count the end of an upload by its outcome (A47)."""
    outcome = "broken_off"
    try:
        yield
        outcome = "accepted"
    except AppError as error:
        outcome = error.code
        raise
    finally:
        deps(request).metrics.uploads.labels(outcome).inc()


# -- videos that wait for their source (C16)


async def create_draft(request: web.Request) -> web.Response:
    """Make a DRAFT, answering in snake_case."""
    video = await _draft(request, await read_json(request, shapes.Draft))
    return _created(f"/api/v1/videos/{video.id}", video_answer(video, deps(request)))


async def create_draft_001(request: web.Request) -> web.Response:
    """Make a DRAFT, answering in 001's words."""
    video = await _draft(request, await read_json(request, shapes.CamelDraft))
    answer = shapes.CamelDraftAnswer(
        id=video.id,
        owner_id=video.owner_id,
        title=video.title,
        description=video.description,
        source=shapes.CamelSource(mime=video.source_mime, size_bytes=video.source_size_bytes),
        status=video.status.value,
        created_at=moment(video.created_at),
        updated_at=moment(video.updated_at),
    )
    return _created(f"/api/videos/{video.id}", answer)


def _metadata(said: shapes.Draft | shapes.FinalizeRequest) -> VideoMetadata:
    further = Further(said.hashtags, said.content_type, said.audio_url)
    return check_metadata(said.title, said.description, said.tags, said.visibility, further)


async def _draft(request: web.Request, said: shapes.Draft) -> "Video":
    metadata = _metadata(said)
    declared = said.source_mime, said.source_size_bytes
    check_declared(policy_named(said.policy), said.source_size_bytes, said.source_mime)
    return await deps(request).videos.create_draft(principal(request), metadata, said.policy, declared)


# -- chunks of document 000


async def open_chunked(request: web.Request) -> web.Response:
    """Open a session for a file in chunks (A18)."""
    said = await read_json(request, shapes.ChunkedRequest)
    wanted = Wanted(
        provider=CHUNKS,
        policy=policy_named(said.policy),
        size_bytes=said.file_size,
        part_count=said.total_chunks,
        filename=said.filename,
        mime=said.mime,
        sha256=said.checksum,
    )
    session = await deps(request).uploads.create(principal(request), wanted)
    answer = shapes.ChunkedSession(
        session_id=session.id,
        total_chunks=said.total_chunks,
        chunk_size=session.part_size_bytes,
        expires_at=moment(session.expires_at or 0.0),
        status=_word(session),
    )
    return _created(f"/api/v1/uploads/{session.id}", answer)


async def put_chunk(request: web.Request) -> web.Response:
    """Take a chunk (A16, A18)."""
    number, services = number_of(request), deps(request)
    async with body_of(request) as body:
        done = await services.uploads.receive(
            session_id_of(request), principal(request), number, body, request.content_length
        )
    services.metrics.upload_bytes.inc(done.part.size_bytes)
    answer = shapes.ChunkAnswer(
        chunk_number=number,
        size=done.part.size_bytes,
        etag=done.part.etag,
        received=done.received,
        remaining=done.remaining or 0,
        status="active",
    )
    return reply(answer, headers={hdrs.ETAG: done.part.etag})


async def finalize(request: web.Request) -> web.Response:
    """Put the chunks together and make the video (A12, A18)."""
    said = await read_json(request, shapes.FinalizeRequest)
    metadata = _metadata(said)
    with counted(request):
        video = await deps(request).uploads.finalize(session_id_of(request), principal(request), metadata)
    return _created(f"/api/v1/videos/{video.id}", video_answer(video, deps(request)))


# -- parts of document 001


async def open_parts(request: web.Request, *, camel: bool) -> web.Response:
    """Open a session for the source of a video (A26)."""
    said = await read_json(request, shapes.CamelSessionRequest if camel else shapes.SessionRequest)
    services, owner, video_id = deps(request), principal(request), video_id_of(request)
    video = await services.videos.get(video_id, owner)
    wanted = Wanted(
        provider=PARTS,
        policy=policy_named(video.policy),
        size_bytes=said.source_size_bytes,
        video_id=video.id,
        mime=said.source_mime,
        sha256=said.checksum,
    )
    session = await services.uploads.create(owner, wanted)
    root = "/api" if camel else "/api/v1"
    return _created(f"{root}/uploads/{session.id}", session_answer(session, camel=camel))


async def get_session(request: web.Request, *, camel: bool) -> web.Response:
    """Answer a session with what has arrived (A18, A27, A52)."""
    session = await deps(request).uploads.get(session_id_of(request), principal(request))
    return reply(session_answer(session, camel=camel), headers={"Cache-Control": "no-store"})


async def part_urls(request: web.Request, *, camel: bool) -> web.Response:
    """Answer where parts may be sent (A28, A51)."""
    asked = await read_json(request, shapes.CamelPartsRequest if camel else shapes.PartsRequest)
    urls = await deps(request).uploads.part_urls(session_id_of(request), principal(request), asked.numbers)
    targets = [_target(url) for url in urls]
    first: Mapping[str, Any] = targets[0] if asked.part_number is not None else {}
    answer = shapes.CamelPartsAnswer if camel else shapes.PartsAnswer
    named = {name: first.get(name) for name in ("part_number", "upload_url", "expires_at")}
    return reply(answer.model_validate({**named, "parts": targets}), headers={hdrs.CACHE_CONTROL: "no-store"})


def _target(url: "PartUrl") -> dict[str, Any]:
    return {
        "part_number": url.number,
        "upload_url": url.url,
        "size_bytes": url.size_bytes,
        "expires_at": moment(url.expires_at),
    }


async def put_part(request: web.Request) -> web.Response:
    """Take a part at its signed URL, as an object store would (A50)."""
    try:
        signed = parse(shapes.SignedQuery, dict(request.query))
    except ValidationFailed:
        raise SignatureRefused from None
    services, session_id, number = deps(request), session_id_of(request), number_of(request)
    services.uploads.links.check(session_id, number, signed.size, signed.expires, signed.signature)
    if request.content_length != signed.size:
        raise SignatureRefused("This link is for another number of bytes.")
    async with body_of(request) as body:
        done = await services.uploads.receive(session_id, None, number, body, signed.size)
    services.metrics.upload_bytes.inc(done.part.size_bytes)
    answer = shapes.PartState(
        part_number=done.part.number, size_bytes=done.part.size_bytes, etag=done.part.etag
    )
    return reply(answer, headers={hdrs.ETAG: done.part.etag})


async def complete(request: web.Request, *, camel: bool) -> web.Response:
    """Check all parts and hand the source over (A29)."""
    named = await _named(request, camel=camel) if request.can_read_body else None
    with counted(request):
        session = await deps(request).uploads.complete(session_id_of(request), principal(request), named)
    return reply(session_answer(session, camel=camel))


async def _named(request: web.Request, *, camel: bool) -> dict[int, str] | None:
    said: shapes.CompleteRequest | shapes.CamelCompleteRequest
    said = await read_json(request, shapes.CamelCompleteRequest if camel else shapes.CompleteRequest)
    return None if said.parts is None else {part.part_number: part.etag for part in said.parts}


async def move(request: web.Request, *, operation: str, camel: bool) -> web.Response:
    """Pause, resume or cancel a session (A30)."""
    session = await getattr(deps(request).uploads, operation)(session_id_of(request), principal(request))
    return reply(session_answer(session, camel=camel))


async def report(request: web.Request) -> web.Response:
    """Take what the store reports (A42)."""
    uploads, raw = deps(request).uploads, await request.read()
    if not uploads.links.is_report(raw, request.headers.get(SIGNATURE)):
        raise errors.ReportNotSigned
    said = parse(shapes.UploadReport, _object(await read_any(request)))
    await uploads.reported(
        Report(
            session_id=said.upload_session_id,
            video_id=said.video_id,
            status=said.status,
            source_key=said.source_file_key,
            size_bytes=said.source_size_bytes,
            mime=said.source_mime,
        )
    )
    return no_content()


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValidationFailed("The body has to be a JSON object.", details={"field": "body"})
    return data


# -- answers


def session_answer(session: UploadSession, *, camel: bool) -> BaseModel:
    """Return a session in the shape of one document."""
    parts = [
        {"part_number": part.number, "size_bytes": part.size_bytes, "etag": part.etag}
        for part in session.parts
    ]
    common = {
        "upload_session_id": session.id,
        "video_id": session.video_id,
        "fail_code": session.fail_code,
        "bytes_uploaded": session.bytes_uploaded,
        "part_size_bytes": session.part_size_bytes,
        "part_count": session.part_count,
        "parts": parts,
        "progress": session.progress,
        "expires_at": None if session.expires_at is None else moment(session.expires_at),
    }
    if camel:
        return shapes.CamelSessionAnswer.model_validate({**common, "status": session.status.value})
    more = {
        "session_id": session.id,
        "provider": session.provider,
        "status": _word(session) if session.provider == CHUNKS else session.status.value,
        "state": session.status.value,
        "filename": session.filename,
        "source_mime": session.mime,
        "source_size_bytes": session.size_bytes,
        "received_chunks": [part.number for part in session.parts],
        "created_at": moment(session.created_at),
    }
    return shapes.UploadSessionAnswer.model_validate(common | more)


def _word(session: UploadSession) -> Any:
    return session_000(session.status)


def _created(location: str, answer: BaseModel) -> web.Response:
    return reply(answer, status=201, headers={hdrs.LOCATION: location})


# -- rows of the route table

_SEEN = (errors.ContentNotFound, errors.NotContentOwner, errors.DatabaseFailure)
_DECLARED = (errors.FileTooLarge, errors.InvalidFormat, errors.CorruptedFile, errors.UserNotFound,
             errors.DatabaseFailure)  # fmt: skip
_SAID = (errors.ContentTooLong, errors.InvalidVisibility)
_MOVED = (*_SEEN, errors.SessionExpired, errors.InvalidStateTransition)
_RECEIVED = (
    *_MOVED,
    errors.InvalidChunkSequence,
    errors.Conflict,
    errors.FileTooLarge,
    errors.StorageFailure,
)
_JUDGED = (*_RECEIVED, errors.ChecksumMismatch, errors.InvalidFormat, errors.CorruptedFile,
           errors.DurationExceeded, errors.InfectedFile)  # fmt: skip

_session = partial(Route, method="POST", tag="uploads", auth=Auth.REQUIRED)
_byte = partial(_session, method="PUT", rate=RateClass.UPLOAD_PARTS, body="application/octet-stream",
                response=shapes.PartState)  # fmt: skip


def _family(root: str, suffix: str, *, camel: bool) -> tuple[Route, ...]:
    """Return the rows of 001's calls in one of the two spellings."""
    answer = shapes.CamelSessionAnswer if camel else shapes.UploadSessionAnswer
    session = f"{root}/uploads/{{session_id}}"
    told = partial(_session, response=answer)
    moves = tuple(
        told(path=f"{session}/{name}", handler=partial(move, operation=name, camel=camel),
             name=f"{name}_upload{suffix}", summary=f"{says} an upload.", errors=_MOVED)
        for name, says in (("pause", "Pause"), ("resume", "Resume"), ("cancel", "Cancel"))
    )  # fmt: skip
    return (
        _session(path=f"{root}/videos", handler=create_draft_001 if camel else create_draft,
                 name=f"create_video{suffix}", summary="Make a video whose source comes later.", status=201,
                 request=shapes.CamelDraft if camel else shapes.Draft,
                 response=shapes.CamelDraftAnswer if camel else VideoAnswer,
                 errors=(*_DECLARED, *_SAID), idempotent=True),
        told(path=f"{root}/videos/{{video_id}}/uploads", handler=partial(open_parts, camel=camel),
             name=f"open_upload{suffix}", summary="Open an upload in parts for a video.", status=201,
             request=shapes.CamelSessionRequest if camel else shapes.SessionRequest,
             errors=(*_DECLARED, *_SEEN, errors.InvalidStateTransition, errors.ContentAlreadyDeleted,
                     errors.RateLimitExceeded),
             idempotent=True),
        told(method="GET", path=session, handler=partial(get_session, camel=camel),
             name=f"get_upload{suffix}", summary="An upload and what of it has arrived.",
             rate=RateClass.POLLING, errors=_SEEN),
        _session(path=f"{session}/parts", handler=partial(part_urls, camel=camel), name=f"sign_parts{suffix}",
                 summary="Where parts may be sent; several at once.", rate=RateClass.UPLOAD_PARTS,
                 request=shapes.CamelPartsRequest if camel else shapes.PartsRequest,
                 response=shapes.CamelPartsAnswer if camel else shapes.PartsAnswer,
                 errors=(*_MOVED, errors.InvalidChunkSequence, errors.Conflict, errors.StorageFailure)),
        told(path=f"{session}/complete", handler=partial(complete, camel=camel),
             name=f"complete_upload{suffix}", summary="Hand the source over; answers when it is checked.",
             request=shapes.CamelCompleteRequest if camel else shapes.CompleteRequest, errors=_JUDGED),
        *moves,
        _session(path=f"{root}/webhooks/uploads", handler=report, name=f"report_upload{suffix}",
                 summary="What the store reports of an upload; signed with the shared secret.",
                 auth=Auth.NONE, rate=RateClass.UPLOAD_PARTS, request=shapes.UploadReport, status=204,
                 errors=(*_JUDGED, errors.ReportNotSigned)),
    )  # fmt: skip


ROUTES: tuple[Route, ...] = (
    _session(path="/api/v1/uploads", handler=open_chunked, name="open_chunked_upload",
             summary="Open an upload in chunks; document 000.", status=201, request=shapes.ChunkedRequest,
             response=shapes.ChunkedSession, errors=(*_DECLARED, errors.RateLimitExceeded), idempotent=True),
    _byte(path="/api/v1/uploads/{session_id}/chunks/{number}", handler=put_chunk, name="put_chunk",
          summary="Send a chunk; the bytes are the body.", response=shapes.ChunkAnswer, errors=_RECEIVED),
    _session(path="/api/v1/uploads/{session_id}/finalize", handler=finalize, name="finalize_upload",
             summary="Put the chunks together and make the video.", status=201,
             request=shapes.FinalizeRequest, response=VideoAnswer, errors=(*_JUDGED, *_SAID)),
    _byte(path="/api/v1/uploads/{session_id}/parts/{number}", handler=put_part, name="put_part",
          summary="Send a part to its signed URL.", auth=Auth.NONE, query=shapes.SignedQuery,
          errors=(*_RECEIVED, errors.SignatureRefused)),
    *_family("/api/v1", "", camel=False),
    *_family("/api", "_001", camel=True),
)  # fmt: skip
