"""Requests that read a row of another worker go to that worker (F17, DESIGN section 7).

A row of the route table says which row of a stream table it reads (``Keyed``); ``Deps.owners`` says who holds
it. Faust's own router passes on only method and headers, so this is ours: bodies stream both ways with
back-pressure, end-to-end headers stay (RFC 9110 section 7.6.1), one hop at most, and when the client goes
away, so does the request to the owner. Sockets are not forwarded: frames reach them over the bus
(``web/bus.py``).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from uuid import UUID, uuid4

import aiohttp
import structlog
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from tables.errors import ServiceUnavailable
from web import hops
from web.http import address_of, caller, deps, route_of
from web.keys import AWAY, DEPS, HOP, REQUEST_ID
from web.routes import Handler

log = structlog.get_logger("web.forwarding")

# Workers stand in one network: one that does not take a connection at once is not there.
CONNECT_SECONDS = 1.0
# Between two reads of an answer. Keyed reads answer from memory; this is for a worker under full load.
READ_SECONDS = 10.0
# A route that can do without the row does not make its caller wait for it (DESIGN invariant 7).
IMPATIENT_SECONDS = 1.0
# An owner that could not be reached is not asked again for so long: its callers would wait in turn.
AVOIDED_SECONDS = 1.0
RETRY_AFTER_SECONDS = 1.0
WATCH_SECONDS = 0.1  # between two looks whether the client is still there
CONNECTIONS = 256
CONNECTIONS_PER_WORKER = 64
IDLE_CONNECTION_SECONDS = 30.0  # less than what the other side keeps them, so that it never closes one in use

# Connection's own and what RFC 9110 sections 7.6.1, 11.7 and 10.1.1 bind to one connection; no trailers pass.
ONE_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

NOT_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
FORWARDER: web.AppKey["Forwarder"] = web.AppKey("forwarder")


def away() -> ServiceUnavailable:
    """Return the error of a row that nobody can answer for just now (SERVICE_UNAVAILABLE, Retry-After)."""
    message = "The data is moving between servers. Try again shortly."
    return ServiceUnavailable(message, retry_after_seconds=RETRY_AFTER_SECONDS)


def caller_key(request: web.Request) -> str | None:
    """Return the id of who calls; nobody has no rows."""
    known = caller(request)
    return known.user_id if known else None


def video_key(request: web.Request) -> str | None:
    """Return the video id of the path as tables are keyed by it; None for what is no id."""
    try:
        return str(UUID(request.match_info["video_id"]))
    except ValueError:
        return None


def row_key(request: web.Request) -> str | None:
    """Return the key of the path, as it is."""
    return request.match_info["key"]


def end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers that an intermediary passes on (RFC 9110 section 7.6.1).

    >>> dict(end_to_end({"Connection": "close, X-Mine", "X-Mine": "1", "Accept": "*/*"}))
    {'Accept': '*/*'}
    """
    named = {name.strip().lower() for name in headers.get(hdrs.CONNECTION, "").split(",")}
    dropped = named | ONE_HOP
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


@web.middleware
async def forward(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the worker that holds the row answer; without one, do without the row or answer 503."""
    route = route_of(request)
    keyed = route.keyed_by if route else None
    key = keyed.key(request) if keyed else None
    if keyed is None or key is None:
        return await handler(request)
    try:
        owner = deps(request).owners(keyed.table.format_map(request.match_info), key)
    except ServiceUnavailable:
        if HOP in request or not keyed.degrades:
            raise
        return await _without(request, handler)
    if owner is None:
        return await handler(request)
    if HOP in request:  # the worker that sent it sees the partitions otherwise: never pass it on again
        raise away()
    answer = await request.app[FORWARDER].forward(request, owner, optional=keyed.degrades)
    if answer is not None:
        return answer
    if not keyed.degrades:
        raise away()
    return await _without(request, handler)


async def _without(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer here, without the row; the handler says that it did."""
    request[AWAY] = True
    return await handler(request)


class Forwarder:
    """Passes requests to other workers, over one pool of connections."""

    def __init__(self, session: aiohttp.ClientSession, secret: bytes, clock: Callable[[], float]) -> None:
        """Take an open session of ``open_session``; ``secret`` is the one that workers share."""
        self.session = session
        self._secret = secret
        self._clock = clock
        self._avoided: dict[str, float] = {}
        # Names this process in Via, so that it knows a request that it has sent itself (section 7.6.3).
        self._name = f"freewill-{uuid4().hex[:12]}"

    async def forward(self, request: web.Request, owner: str, *, optional: bool) -> web.StreamResponse | None:
        """Stream the request to its owner and the answer back.

        Args:
            request: nothing of its body has been read.
            owner: base URL of the worker.
            optional: whether the caller can do without: the owner then has ``IMPATIENT_SECONDS``, and a 503
                of its own counts as no answer.

        Returns:
            The answer, sent already; None when there is none and the request is as it was before.

        Raises:
            ServiceUnavailable: 503 with Retry-After when there is no answer, and the owner may have had some
                of the body.
            ConnectionResetError: the client went away, or the owner did in the middle of its answer.
        """
        if self._name in request.headers.get(hdrs.VIA, "") or self._is_avoided(owner):
            return None
        exchange = asyncio.create_task(self._exchange(request, owner, optional))
        try:
            while not exchange.done():
                await asyncio.wait({exchange}, timeout=WATCH_SECONDS)
                if request.transport is None or request.transport.is_closing():
                    raise ConnectionResetError("the client went away")
            return exchange.result()
        finally:
            exchange.cancel()
            await asyncio.gather(exchange, return_exceptions=True)

    async def _exchange(self, request: web.Request, owner: str, optional: bool) -> web.StreamResponse | None:
        patience = IMPATIENT_SECONDS if optional else READ_SECONDS
        try:
            upstream = await self.session.request(
                request.method,
                URL(owner.rstrip("/") + request.rel_url.raw_path_qs, encoded=True),
                headers=self._headers(request),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=patience),
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._note(owner, error)
            if request.body_exists and not isinstance(error, NOT_CONNECTED):
                raise away() from error
            return None
        async with upstream:
            if optional and upstream.status == ServiceUnavailable.status and not request.body_exists:
                return None
            return await _send_back(request, upstream)

    def _headers(self, request: web.Request) -> CIMultiDict[str]:
        headers = end_to_end(request.headers)
        headers.popall(hdrs.HOST, None)
        if hdrs.CONTENT_ENCODING in headers:  # aiohttp has decoded the body
            headers.popall(hdrs.CONTENT_ENCODING)
            headers.popall(hdrs.CONTENT_LENGTH, None)
        request_id = request[REQUEST_ID]
        headers["X-Request-ID"] = request_id
        target = request.rel_url.raw_path_qs
        headers[hops.HEADER] = hops.mark(
            self._secret, request.method, target, request_id, address_of(request), self._clock()
        )
        headers.add(hdrs.VIA, f"1.1 {self._name}")
        return headers

    def _note(self, owner: str, error: Exception) -> None:
        log.warning("owner_not_reached", owner=owner, error=repr(error))
        if isinstance(error, (*NOT_CONNECTED, TimeoutError)):
            self._avoided[owner] = self._clock() + AVOIDED_SECONDS

    def _is_avoided(self, owner: str) -> bool:
        until = self._avoided.get(owner)
        if until is not None and until <= self._clock():
            del self._avoided[owner]
            return False
        return until is not None


async def _send_back(request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    answer = web.StreamResponse(
        status=upstream.status, reason=upstream.reason, headers=end_to_end(upstream.headers)
    )
    try:
        await answer.prepare(request)
        async for chunk in upstream.content.iter_any():
            await answer.write(chunk)
    except (aiohttp.ClientPayloadError, aiohttp.ServerTimeoutError) as error:
        # The status is sent: only a broken connection still says that this is not all.
        raise ConnectionResetError("the owner went away in the middle of its answer") from error
    await answer.write_eof()
    return answer


def open_session() -> aiohttp.ClientSession:
    """Open the session of worker-to-worker requests: bodies pass as they are, nothing is remembered."""
    connector = aiohttp.TCPConnector(
        limit=CONNECTIONS, limit_per_host=CONNECTIONS_PER_WORKER, keepalive_timeout=IDLE_CONNECTION_SECONDS
    )
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE),
    )


async def forwarder(app: web.Application) -> AsyncIterator[None]:
    """Keep the forwarder for as long as the application runs (``cleanup_ctx``)."""
    services = app[DEPS]
    async with open_session() as session:
        app[FORWARDER] = Forwarder(session, services.settings.hop_secret, services.clock)
        yield
