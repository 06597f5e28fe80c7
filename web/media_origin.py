"""Keeps what strangers uploaded apart from the application: one origin for each (EXPERIENCE, N12, N25).

Media is sandboxed and never sniffed on any origin. On one of its own, nothing of it is same-origin with a
session: that is ``FREEWILL_MEDIA_URL``, served by the same port under that name, or by a port of its own.
"""

from urllib.parse import urlsplit

from aiohttp import hdrs, web

from tables.errors import Missing
from web.http import deps
from web.routes import Handler

MEDIA = "/media/"


@web.middleware
async def keep_apart(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve nothing but media on the origin of media, and send those on who ask for it elsewhere.

    Raises:
        Missing: NOT_FOUND for the application on the origin of media.
    """
    settings = deps(request).settings
    if not settings.media_url:
        return await handler(request)
    asks_media = request.path.startswith(MEDIA)
    if _is_media_origin(request, settings.media_url, settings.media_port):
        if not asks_media:
            raise Missing
        return await handler(request)
    if asks_media:  # a link from before, or of a page that knows only the application's name
        location = settings.media_url + request.rel_url.raw_path_qs
        headers = {hdrs.LOCATION: location, hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}
        return web.Response(status=308, headers=headers)
    return await handler(request)


def _is_media_origin(request: web.Request, media_url: str, media_port: int) -> bool:
    address = request.transport.get_extra_info("sockname") if request.transport else None
    if media_port and isinstance(address, tuple) and address[1] == media_port:
        return True
    return request.headers.get(hdrs.HOST, "").lower() == urlsplit(media_url).netloc.lower()
