"""Live frames: a WebSocket and an event stream over the same hub (I1, I2, I7, I16, I18)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSCloseCode, WSMsgType, web

from tables.errors import AppError, InvalidToken, MissingAuthHeader
from web import errors
from web.http import deps
from web.hub import Subscriber
from web.keys import PRINCIPAL, REQUEST_ID
from web.middlewares import bearer

if TYPE_CHECKING:
    from social.views import Principal

# A client without a token at the handshake has this long to send one in its first frame.
FIRST_FRAME_SECONDS = 10.0
MAX_FRAME_BYTES = 8192


async def notifications_socket(request: web.Request) -> web.StreamResponse:
    """Push frames over a WebSocket; the token comes in header, query or first frame."""
    services = deps(request)
    if not web.WebSocketResponse().can_prepare(request).ok:
        raise errors.from_http(web.HTTPBadRequest())
    known = await _from_handshake(request)
    socket = web.WebSocketResponse(
        heartbeat=services.settings.heartbeat_seconds, max_msg_size=MAX_FRAME_BYTES
    )
    await socket.prepare(request)
    known = known or await _from_first_frame(request, socket)
    if known is not None:
        with listening(request, known, "websocket") as subscriber:
            await socket.send_str(services.hub.frame("connected", _hello(known)).decode())
            await _push(socket, subscriber)
    return socket


async def notifications_stream(request: web.Request) -> web.StreamResponse:
    """Push frames as server-sent events, for clients that cannot hold a WebSocket."""
    known = await signed_in(request)
    response = await begin_stream(request)
    with listening(request, known, "sse") as subscriber:
        await response.write(event(deps(request).hub.frame("connected", _hello(known))))
        async for frame in frames_of(request, response, subscriber):
            await response.write(event(frame))
    return response


async def signed_in(request: web.Request) -> "Principal":
    """Return who opens a stream; the token comes in header or query.

    Raises:
        MissingAuthHeader, InvalidToken, TokenExpired: MISSING_AUTH_HEADER, INVALID_TOKEN, TOKEN_EXPIRED.
    """
    known = await _from_handshake(request)
    if known is None:
        raise MissingAuthHeader
    return known


async def begin_stream(request: web.Request) -> web.StreamResponse:
    """Answer the head of a stream of server-sent events."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would hold frames back
        }
    )
    await response.prepare(request)
    return response


async def frames_of(
    request: web.Request, response: web.StreamResponse, subscriber: Subscriber
) -> AsyncIterator[bytes]:
    """Yield frames until the connection is to be closed; while none comes, a comment keeps it open."""
    while True:
        try:
            frame = await asyncio.wait_for(
                subscriber.frames.get(), deps(request).settings.stream_idle_seconds
            )
        except TimeoutError:
            await response.write(b": alive\n\n")
            continue
        if frame is None:
            return
        yield frame


async def _from_handshake(request: web.Request) -> "Principal | None":
    """Return who calls by header or query; a bad token is refused with 401 before the upgrade (I18)."""
    token = bearer(request) or request.query.get("token")
    if token is None:
        return None
    request[PRINCIPAL] = known = await deps(request).accounts.authenticate(token)
    return known


async def _from_first_frame(request: web.Request, socket: web.WebSocketResponse) -> "Principal | None":
    """Wait for ``{"token": "..."}``; anything else closes the socket with the error in a last frame."""
    try:
        frame = await asyncio.wait_for(socket.receive(), FIRST_FRAME_SECONDS)
        token = _token_of(frame.data if frame.type is WSMsgType.TEXT else None)
        request[PRINCIPAL] = known = await deps(request).accounts.authenticate(token)
    except TimeoutError:
        await _refuse(request, socket, MissingAuthHeader())
    except AppError as error:
        await _refuse(request, socket, error)
    else:
        return known
    return None


def _token_of(data: Any) -> str:
    try:
        token = orjson.loads(data or b"")["token"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise InvalidToken from None
    if not isinstance(token, str):
        raise InvalidToken
    return token


async def _refuse(request: web.Request, socket: web.WebSocketResponse, error: AppError) -> None:
    if not socket.closed:
        body = errors.body(error, request[REQUEST_ID], deps(request).clock())
        await socket.send_str(orjson.dumps({"event": "error", "data": orjson.Fragment(body)}).decode())
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=error.code.encode())


@contextmanager
def listening(request: web.Request, known: "Principal", kind: str) -> Iterator[Subscriber]:
    """Register an open connection for as long as the block runs."""
    gauge = deps(request).metrics.sockets.labels(kind)
    with deps(request).hub.subscribe(known.user_id, known.session_id) as subscriber:
        gauge.inc()
        try:
            yield subscriber
        finally:
            gauge.dec()


async def _push(socket: web.WebSocketResponse, subscriber: Subscriber) -> None:
    """Send frames until either side goes; reading at the same time notices a client that went away."""
    reading = asyncio.create_task(_drain(socket))
    try:
        while True:
            waiting = asyncio.create_task(subscriber.frames.get())
            await asyncio.wait({waiting, reading}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                waiting.cancel()
                return
            frame = waiting.result()
            if frame is None:
                await socket.close(code=WSCloseCode.GOING_AWAY)
                return
            await socket.send_str(frame.decode())
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _drain(socket: web.WebSocketResponse) -> None:
    """Read and forget what the client sends; ends when the socket does."""
    async for _ in socket:
        pass


def _hello(known: "Principal") -> dict[str, Any]:
    # Stored notifications come with their own capability; until then there is none to count.
    return {"user_id": known.user_id, "username": known.username, "unread_notifications": 0}


def event(frame: bytes, event_id: str = "") -> bytes:
    """Wrap a frame as a server-sent event named after it."""
    name = orjson.loads(frame)["event"]
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\n".encode() + b"data: " + frame + b"\n\n"
