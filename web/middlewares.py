"""What happens around every handler, in this order (DESIGN section 7).

1. ``identify``: request id, accepted or made (P40);
2. ``observe``: access log and metrics, without tokens (P32, P33, P37);
3. ``shape_errors``: every failure becomes the JSON of O1;
4. ``cross_origin``: preflight answers for the configured origins (N12);
5. ``keep_apart``: media on its own origin, and nothing else there (``web/media_origin.py``);
6. ``gate``: 503 until the tables are recovered (P38);
7. ``authenticate``: who calls, and whether the route lets them (N3, N4, N11);
8. ``limit_rate``: sliding windows per person and address (N7-N9, X65);
9. ``forward``: to the worker that holds the row that the route reads (F17, ``web/forwarding.py``);
10. ``repeat_once``: ``Idempotency-Key`` (H8);
11. ``compress``: JSON over 2 kB for those who ask (N10);
12. ``serve_client``: the browser client, for what is no route of the table.
"""

import asyncio
import gzip
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from uuid import uuid4

import structlog
from aiohttp import hdrs, web

from tables import errors as app_errors
from web import errors, hops, pages, tus
from web.forwarding import forward
from web.http import address_of, caller, deps, route_of
from web.idempotency import MAX_KEY_CHARACTERS
from web.keys import ENCODER, HOP, IDEMPOTENCY, PRINCIPAL, RATE, REQUEST_ID, TOLD
from web.limits import ADDRESS_FACTOR, Limit
from web.media_origin import allow_players, is_media, keep_apart
from web.routes import Auth, Handler, RateClass

log = structlog.get_logger("web.access")

REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._:-]{1,128}")
COMPRESS_FROM_BYTES = 2048
CORS_MAX_AGE_SECONDS = "7200"
CORS_ALLOW_HEADERS = ", ".join(
    ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID", "If-Match", "If-None-Match",
     "Last-Event-ID", "Range",
     *tus.REQUEST_HEADERS)
)  # fmt: skip
CORS_EXPOSE_HEADERS = ", ".join(
    ("X-Request-ID", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "ETag",
     *tus.ANSWER_HEADERS)
)  # fmt: skip
SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "freewill",  # instead of the versions of what is underneath
}


@lru_cache(maxsize=8)
def content_policy(origins: str) -> str:
    """Return the Content-Security-Policy: nothing third-party, and scripts are only ours.

    ``origins`` are the public one and those that media URLs point to: the page may be open under another name
    of this server, such as localhost. Inline styles are allowed because the client sets styles of elements,
    media from ``data:`` because a text track, which counts as media, begins with an empty one in hls.js.
    """
    return (
        f"default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data: blob: {origins}; media-src 'self' blob: data: {origins}; "
        f"connect-src 'self' {origins}; worker-src 'self' blob:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


async def decorate(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers of every answer, streamed ones too: request id, rate limit, security, CORS."""
    headers = response.headers
    headers["X-Request-ID"] = request.get(REQUEST_ID, "-")
    headers.update(request.get(RATE, {}))
    headers.update(request.get(TOLD, {}))
    settings = deps(request).settings
    for name, value in SECURITY_HEADERS.items():
        headers[name] = value
    origins = " ".join(dict.fromkeys((settings.base_url, *settings.media_hosts)))
    headers.setdefault("Content-Security-Policy", content_policy(origins))
    origin = request.headers.get(hdrs.ORIGIN)
    if is_media(request):
        allow_players(request, headers)
    elif origin and origin in settings.cors_origins:
        headers.setdefault(hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, origin)
        headers.setdefault(hdrs.ACCESS_CONTROL_EXPOSE_HEADERS, CORS_EXPOSE_HEADERS)
        headers.add(hdrs.VARY, hdrs.ORIGIN)


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, and find out whether another worker has passed it on."""
    sent, services = request.headers.get("X-Request-ID", ""), deps(request)
    request[REQUEST_ID] = sent if REQUEST_ID_FORM.fullmatch(sent) else uuid4().hex
    hop = hops.read(services.settings.hop_secret, request, request[REQUEST_ID], services.clock())
    if hop is not None:
        request[HOP] = hop
    return await handler(request)


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log and count the request by the name of its route, never with its query, headers or tokens."""
    started = time.perf_counter()
    route = route_of(request)
    name = route.name if route else "client"
    status = 499  # the client went away
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        seconds = time.perf_counter() - started
        metrics = deps(request).metrics
        metrics.requests.labels(name, request.method, str(status)).inc()
        metrics.latency.labels(name).observe(seconds)
        known = caller(request)
        log.info(
            "request",
            request_id=request[REQUEST_ID],
            method=request.method,
            route=name,
            path=loggable_path(request.path),
            status=status,
            ms=round(seconds * 1000, 2),
            user_id=known.user_id if known else None,
            address=address_of(request),
            hop=HOP in request,
        )


def loggable_path(path: str) -> str:
    """Hide what in a path gives access.

    >>> loggable_path("/media/eyJ0.c2ln/videos/7/hls/master.m3u8")
    '/media/***/videos/7/hls/master.m3u8'
    """
    return re.sub(r"^/media/[^/]*", "/media/***", path)[:300]


@web.middleware
async def shape_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into the body of O1; what nobody foresaw is logged and says nothing."""
    try:
        return await handler(request)
    except app_errors.AppError as error:
        return _answer(request, errors.root_of(error))
    except web.HTTPException as raised:
        if raised.status < 400:
            raise
        response = _answer(request, errors.from_http(raised))
        if hdrs.ALLOW in raised.headers:
            response.headers[hdrs.ALLOW] = raised.headers[hdrs.ALLOW]
        return response
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except Exception as error:
        log.exception("unexpected failure", request_id=request[REQUEST_ID], path=loggable_path(request.path))
        return _answer(request, errors.root_of(error))


def _answer(request: web.Request, error: app_errors.AppError) -> web.Response:
    services = deps(request)
    services.metrics.errors.labels(error.code).inc()
    return errors.response(error, request[REQUEST_ID], services.clock())


@web.middleware
async def cross_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer preflights of the configured origins; the other headers are set by ``decorate``."""
    wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
    if request.method != hdrs.METH_OPTIONS or not wanted:
        return await handler(request)
    response = web.Response(status=204, headers={hdrs.VARY: "Access-Control-Request-Method"})
    if is_media(request) or request.headers.get(hdrs.ORIGIN) in deps(request).settings.cors_origins:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_METHODS] = wanted
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = CORS_ALLOW_HEADERS
        response.headers[hdrs.ACCESS_CONTROL_MAX_AGE] = CORS_MAX_AGE_SECONDS
    return response


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 503 for everything but health until the tables are recovered."""
    route = route_of(request)
    if route is not None and not route.before_ready:
        readiness = deps(request).readiness()
        if not readiness.ready:
            details = {"status": readiness.status, "missing": list(readiness.missing)}
            raise app_errors.ServiceUnavailable(details=details, retry_after_seconds=2)
    return await handler(request)


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who calls and whether the row of the route admits them."""
    route = route_of(request)
    if route is None or route.auth is Auth.NONE:
        return await handler(request)
    token = bearer(request)
    if token is None and route.auth in (Auth.REQUIRED, Auth.ENCODER):
        raise app_errors.MissingAuthHeader()
    if token is not None and route.auth is Auth.ENCODER:
        request[ENCODER] = await deps(request).encoders.authenticate(token)
        return await handler(request)
    if token is not None:
        request[PRINCIPAL] = known = await deps(request).accounts.authenticate(token)
        if route.roles and known.role not in route.roles:
            raise app_errors.InsufficientRole(details={"roles": sorted(route.roles)})
    return await handler(request)


def bearer(request: web.Request) -> str | None:
    """Return the bearer token, None without one (INVALID_TOKEN for another scheme)."""
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise app_errors.InvalidToken()
    return token.strip()


@web.middleware
async def limit_rate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count the request against its class, once on its way; the headers say what is left (N9)."""
    route, services = route_of(request), deps(request)
    if route is None or route.rate is RateClass.FREE or not services.settings.rate_limits or HOP in request:
        return await handler(request)
    limit = services.settings.limits[route.rate]
    known, address, now = caller(request), address_of(request), services.clock()
    own = f"user:{known.user_id}" if known else f"address:{address}"
    verdict = await services.limiter.hit(f"{route.rate}:{own}", limit, now)
    if verdict.allowed and known:
        wide = Limit(limit.requests * ADDRESS_FACTOR, limit.seconds)
        shared = await services.limiter.hit(f"{route.rate}:shared:{address}", wide, now)
        verdict = verdict if shared.allowed else shared
    request[RATE] = verdict.headers()
    if not verdict.allowed:
        raise app_errors.RateLimitExceeded(
            details={"limit": limit.requests, "seconds": limit.seconds},
            retry_after_seconds=verdict.reset_seconds,
        )
    return await handler(request)


@web.middleware
async def repeat_once(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a repeated creation with its first answer when it carries the same key (H8)."""
    route = route_of(request)
    key = request.headers.get("Idempotency-Key")
    known = caller(request)
    if route is None or not route.idempotent or known is None or key is None:
        return await handler(request)
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise app_errors.ValidationFailed(
            f"Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters.",
            details={"field": "Idempotency-Key"},
        )
    # The path is part of it: the same key on another video is another creation.
    scoped = f"{known.user_id}:{request.path.rstrip('/')}:{key}"
    return await request.app[IDEMPOTENCY].once(scoped, lambda: handler(request))


@web.middleware
async def compress(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress larger JSON and text answers; the cheapest level, as they are made per request."""
    response = await handler(request)
    if (
        isinstance(response, web.Response)
        and isinstance(response.body, bytes)
        and len(response.body) >= COMPRESS_FROM_BYTES
        and hdrs.CONTENT_ENCODING not in response.headers
        and (response.content_type.endswith("json") or response.content_type.startswith("text/"))
    ):
        response.headers.add(hdrs.VARY, hdrs.ACCEPT_ENCODING)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            response.body = gzip.compress(response.body, compresslevel=1, mtime=0)
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    return response


@web.middleware
async def serve_client(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with the browser client where the table has no route.

    Not a route that takes every path: with one, a wrong method would no longer be a 405.
    """
    unmatched = request.match_info.http_exception
    if unmatched is not None and unmatched.status == 404 and request.method in {"GET", "HEAD"}:
        return await pages.asset(request)
    return await handler(request)


MIDDLEWARES = (
    identify,
    observe,
    shape_errors,
    cross_origin,
    keep_apart,
    gate,
    authenticate,
    limit_rate,
    forward,
    repeat_once,
    compress,
    serve_client,
)
