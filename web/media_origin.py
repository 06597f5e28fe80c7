"""Keeps what strangers uploaded apart from the application: one origin for each (EXPERIENCE, N12, N25).

Media is sandboxed and never sniffed on any origin. On one of its own, nothing of it is same-origin with a
session: that is ``FREEWILL_MEDIA_URL``, served by the same port under that name, or by a port of its own.
"""

from collections.abc import Mapping, MutableMapping
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from tables.errors import Missing
from web.http import deps
from web.routes import Handler

MEDIA = "/media/"
# Players on other pages need these; the token in the URL is the permission, so any origin may ask.
PLAYER_HEADERS: Mapping[str, str] = {
    hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*",
    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: "Content-Length, Content-Range, Accept-Ranges, ETag, Retry-After",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
}


def is_media(request: web.Request) -> bool:
    """Say whether a request is for media, whatever becomes of it."""
    return request.path.startswith(MEDIA)


def allow_players(request: web.Request, headers: MutableMapping[str, str]) -> None:
    """Let players on any page read an answer, errors too: they renew a link when they see that it has ended.

    Cookies are read only for our own pages and those of configured origins.
    """
    for name, value in PLAYER_HEADERS.items():
        headers.setdefault(name, value)
    settings, origin = deps(request).settings, request.headers.get(hdrs.ORIGIN)
    trusted = {settings.base_url, *settings.cors_origins}
    if origin and origin in trusted:
        headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
    headers[hdrs.VARY] = hdrs.ORIGIN


@web.middleware
async def keep_apart(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve nothing but media on the origin of media, and send those on who ask for it elsewhere.

    Raises:
        Missing: NOT_FOUND for the application on the origin of media.
    """
    settings = deps(request).settings
    if not settings.media_url:
        return await handler(request)
    asks_media = is_media(request)
    if _is_media_origin(request, settings.media_url, settings.media_port):
        if not asks_media:
            raise Missing
        return await handler(request)
    if asks_media:  # a link from before, or of a page that knows only the application's name
        location = settings.media_url + request.rel_url.raw_path_qs
        return web.Response(status=308, headers={hdrs.LOCATION: location})
    return await handler(request)


def _is_media_origin(request: web.Request, media_url: str, media_port: int) -> bool:
    address = request.transport.get_extra_info("sockname") if request.transport else None
    if media_port and isinstance(address, tuple) and address[1] == media_port:
        return True
    return request.headers.get(hdrs.HOST, "").lower() == urlsplit(media_url).netloc.lower()
