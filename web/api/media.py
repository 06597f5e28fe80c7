"""Media bytes behind signed URLs (C27, C31, C33, C40)."""

from aiohttp import hdrs, web

from media import delivery
from tables.errors import ContentNotFound, RangeNotSatisfiable
from web.http import deps

# Players on other pages need these; the token in the URL is the permission, so any origin may ask.
PLAYER_HEADERS = {
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "Content-Length, Content-Range, Accept-Ranges, ETag",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
}


async def media(request: web.Request) -> web.StreamResponse:
    """Answer an object of a video, whole or a range of it."""
    services = deps(request)
    key = f"videos/{request.match_info['key']}"
    services.signer.verify(request.match_info["token"], key, services.clock())
    if key.split("/")[2].startswith("source."):
        raise ContentNotFound  # the original is for processing only
    return await serve_object(request, key)


async def serve_object(request: web.Request, key: str) -> web.StreamResponse:
    """Answer a stored object, whole or a range of it; the caller has decided that it may be seen.

    Raises:
        ContentNotFound: there is no such object (CONTENT_NOT_FOUND).
        RangeNotSatisfiable: the range starts past its end (RANGE_NOT_SATISFIABLE).
    """
    info = await deps(request).store.stat(key)
    if info is None:
        raise ContentNotFound
    headers = delivery.headers(key, info.etag, info.modified_at) | PLAYER_HEADERS
    if delivery.not_modified(request.headers.get(hdrs.IF_NONE_MATCH), info.etag):
        return web.Response(status=304, headers=headers)
    whole = not delivery.honours_range(request.headers.get(hdrs.IF_RANGE), info.etag, info.modified_at)
    part = delivery.select(None if whole else request.headers.get(hdrs.RANGE), info.size_bytes)
    if part.content_range:
        headers[hdrs.CONTENT_RANGE] = part.content_range
    if part.status == 416:
        raise RangeNotSatisfiable(details={"size": info.size_bytes})
    return await _send(request, key, part, headers)


async def _send(
    request: web.Request, key: str, part: delivery.Slice, headers: dict[str, str]
) -> web.StreamResponse:
    """Stream a slice; a local file goes out in larger blocks read off the loop by the store."""
    services = deps(request)
    response = web.StreamResponse(status=part.status, headers=headers)
    response.content_length = part.length
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD and part.length:
        services.metrics.media_bytes.inc(part.length)
        async for block in services.store.read(key, part.start, part.end):
            await response.write(block)
    await response.write_eof()
    return response
