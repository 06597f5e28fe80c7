"""Encoders on other machines: made by operators, and the protocol that they speak (Y14, B48).

An encoder asks for a job and waits; reads its inputs at signed addresses; tells how far it is, which extends
its lease; puts each output by name with its checksum, again if it has to; and says that it is done. The
server then looks at all of it before anything counts. A lease that was lost is answered 409 LEASE_LOST,
whatever was asked, and the job is another's.
"""

import base64
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from media.remote import CODEC, Capabilities, Failure, Upload
from social.encoders import LEASES
from tables import errors
from tables.errors import OutputRefused, ServiceUnavailable, ValidationFailed
from web import bodies
from web.api.analytics import who
from web.http import deps, no_content, parse, read_headers, read_json, reply
from web.keys import ENCODER
from web.objects import serve_object
from web.render import moment, moment_or_none
from web.routes import Auth, RateClass, Route
from web.schemas import encoders as shapes

if TYPE_CHECKING:
    from social.encoders import Encoder, EncodingDesk

ENCODING: Final = "encoders"
"""Tag of the routes of the protocol: a worker that has a queue answers them, whatever else it runs."""

# -- operators


async def listed(request: web.Request) -> web.Response:
    """List encoders."""
    found = await deps(request).encoders.list()
    return reply(shapes.EncoderList(items=[_answer(request, encoder) for encoder in found]))


async def make(request: web.Request) -> web.Response:
    """Make an encoder, or give one a new token."""
    body = await read_json(request, shapes.EncoderRequest)
    await deps(request).analysts.audit.note(who(request), "encoder.token", encoder=body.name)
    encoder, token = await deps(request).encoders.issue(body.name)
    answer = shapes.EncoderMade(encoder=_answer(request, encoder), token=token)
    return reply(answer, status=201, headers={"Cache-Control": "no-store"})


async def revoke(request: web.Request) -> web.Response:
    """Revoke an encoder's token."""
    name = request.match_info["name"]
    await deps(request).analysts.audit.note(who(request), "encoder.revoke", encoder=name[:64])
    return reply(_answer(request, await deps(request).encoders.revoke(name)))


def _answer(request: web.Request, encoder: "Encoder") -> shapes.EncoderAnswer:
    desk = deps(request).encoding
    return shapes.EncoderAnswer(
        name=encoder.name,
        capabilities=dict(encoder.capabilities),
        jobs=list(desk.holding(encoder)) if desk is not None else [],
        done=encoder.done,
        failed=encoder.failed,
        refused=encoder.refused,
        created_at=moment(encoder.created_at),
        seen_at=moment_or_none(encoder.seen_at),
        revoked_at=moment_or_none(encoder.revoked_at),
    )


# -- encoders


async def take(request: web.Request) -> web.Response:
    """Give out the next job."""
    said = await read_json(request, shapes.WorkRequest)
    if CODEC not in said.codecs:
        raise ValidationFailed(f"Outputs are {CODEC}.", details={"field": "codecs"})
    able = Capabilities(
        codecs=tuple(said.codecs),
        hardware=tuple(said.hardware),
        cores=said.cores,
        max_pixels=said.max_pixels,
        software=said.software,
    )
    desk, encoder = _desk(request), request[ENCODER]
    offer = await desk.take(encoder, able, said.wait_seconds, said.resume)
    if offer is not None and (request.transport is None or request.transport.is_closing()):
        await desk.give_back(encoder, offer.lease_id)  # it went away while it waited
    job = shapes.OfferAnswer.model_validate(offer) if offer is not None else None
    return reply(shapes.WorkAnswer(job=job), headers={"Cache-Control": "no-store"})


async def read_input(request: web.Request) -> web.StreamResponse:
    """Answer a file that a job reads, whole or a range of it."""
    try:
        signed = parse(shapes.InputQuery, dict(request.query))
    except ValidationFailed:
        raise errors.SignatureRefused from None
    key = _desk(request).input_key(
        request.match_info["lease_id"], request.match_info["name"], signed.expires, signed.signature
    )
    return await serve_object(request, key, {}, private=True)


async def progress(request: web.Request) -> web.Response:
    """Take a sign of life."""
    said = await read_json(request, shapes.ProgressRequest)
    desk, lease_id = _desk(request), request.match_info["lease_id"]
    wanted = await desk.progress(request[ENCODER], lease_id, said.percent, said.stage)
    return reply(shapes.ProgressAnswer(wanted=wanted, lease_seconds=desk.lease_seconds))


async def put_file(request: web.Request) -> web.Response:
    """Take an output."""
    told = read_headers(request, shapes.FileHeaders)
    size = request.content_length
    if size is None:
        raise ValidationFailed("Say how long the body is.", details={"field": "Content-Length"})
    sha256 = base64.b64decode(told.digest.removeprefix("sha-256=:").removesuffix(":"))
    async with bodies.reading(request, deps(request).turns) as body:
        await _desk(request).put(
            request[ENCODER],
            request.match_info["lease_id"],
            request.match_info["name"],
            Upload(size, sha256, body),
        )
    return no_content()


async def playable(request: web.Request) -> web.Response:
    """Publish a first rung."""
    said = await read_json(request, shapes.MadeRequest)
    await _desk(request).playable(request[ENCODER], request.match_info["lease_id"], tuple(said.notes))
    return no_content()


async def finish(request: web.Request) -> web.Response:
    """Verify and publish all."""
    said = await read_json(request, shapes.MadeRequest)
    await _desk(request).finish(request[ENCODER], request.match_info["lease_id"], tuple(said.notes))
    return no_content()


async def fail(request: web.Request) -> web.Response:
    """Take a failed try back."""
    said = await read_json(request, shapes.FailureRequest)
    failure = Failure(said.code, said.reason, said.retryable, said.said)
    await _desk(request).fail(request[ENCODER], request.match_info["lease_id"], failure)
    return no_content()


async def give_back(request: web.Request) -> web.Response:
    """Put the job back in its place."""
    await _desk(request).give_back(request[ENCODER], request.match_info["lease_id"])
    return no_content()


def _desk(request: web.Request) -> "EncodingDesk":
    desk = deps(request).encoding
    if desk is None:
        raise ServiceUnavailable("This worker has no queue of encodes: ask one with the role media.")
    return desk


# -- rows of the route table

_operator = partial(
    Route,
    tag="operators",
    auth=Auth.REQUIRED,
    roles=frozenset({"operator"}),
    errors=(errors.DatabaseFailure,),
)
_encoder = partial(Route, method="POST", tag=ENCODING, auth=Auth.ENCODER, rate=RateClass.FREE)
_HELD = (errors.LeaseLost,)
_TOLD = (*_HELD, errors.PublishFailure)
_JUDGED = (*_TOLD, OutputRefused, errors.Conflict, errors.StorageFailure)
_held = partial(_encoder, status=204, errors=_HELD)
ROUTES: tuple[Route, ...] = (
    _operator(method="GET", path="/api/v1/encoders", handler=listed, name="list_encoders",
              summary="Encoders on other machines.", response=shapes.EncoderList),
    _operator(method="POST", path="/api/v1/encoders", handler=make, name="make_encoder", status=201,
              summary="Make an encoder, or give one a new token; it is shown once.",
              request=shapes.EncoderRequest, response=shapes.EncoderMade),
    _operator(method="DELETE", path="/api/v1/encoders/{name}", handler=revoke, name="revoke_encoder",
              summary="Revoke an encoder's token.", response=shapes.EncoderAnswer,
              errors=(errors.Missing, errors.DatabaseFailure)),
    _encoder(path="/api/v1/encoding/request", handler=take, name="request_encoding",
             summary="Ask for the next job, and wait for one.", request=shapes.WorkRequest,
             response=shapes.WorkAnswer,
             errors=(errors.RateLimitExceeded, errors.SignatureRefused, *_TOLD, errors.StorageFailure)),
    Route(method="GET", path=LEASES + "/{lease_id}/inputs/{name}", handler=read_input,
          name="read_encoding_input",
          summary="A file that a job reads, at its signed address; ranges are honoured.", tag=ENCODING,
          query=shapes.InputQuery, media_type="application/octet-stream", rate=RateClass.FREE,
          errors=(errors.SignatureRefused, errors.ContentNotFound, errors.ContentArchived,
                  errors.RangeNotSatisfiable, errors.StorageFailure)),
    _encoder(path=LEASES + "/{lease_id}/progress", handler=progress, name="report_encoding",
             summary="Say how far a job is; hear whether it is still wanted.", request=shapes.ProgressRequest,
             response=shapes.ProgressAnswer, errors=_TOLD),
    _held(method="PUT", path=LEASES + "/{lease_id}/files/{name:.+}", handler=put_file,
          name="put_encoding_output", summary="Bring an output; the same name again replaces it.",
          body="application/octet-stream", headers=shapes.FileHeaders,
          errors=(*_HELD, OutputRefused, errors.ChecksumMismatch, errors.Conflict, errors.StorageFailure)),
    _held(path=LEASES + "/{lease_id}/playable", handler=playable, name="publish_first_rung",
          summary="A first rung is there: verify it and let it play.",
          request=shapes.MadeRequest, errors=_JUDGED),
    _held(path=LEASES + "/{lease_id}/finish", handler=finish, name="finish_encoding",
          summary="All is there: verify it, and the video is READY; repeatable.",
          request=shapes.MadeRequest, errors=_JUDGED),
    _held(path=LEASES + "/{lease_id}/fail", handler=fail, name="fail_encoding",
          summary="The job cannot be done; whether it is tried again is the server's decision.",
          request=shapes.FailureRequest),
    _held(path=LEASES + "/{lease_id}/give-back", handler=give_back, name="give_encoding_back",
          summary="Put the job back in its place, as if it had not been taken."),
)  # fmt: skip
