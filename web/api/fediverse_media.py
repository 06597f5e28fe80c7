"""Files of public videos at lasting URLs, for peers and for browsers that watch on a peer.

Signed URLs expire, and peers keep what an object names for years. Loops asks HEAD, follows no redirect and
wants a length; PeerTube's viewers load the playlists from another origin.
"""

from aiohttp import hdrs, web

from media.delivery import headers, honours_range, not_modified, select
from media.stores import ObjectInfo, ObjectStore
from tables.errors import ContentNotFound
from web.api.fediverse_answers import ANY_ORIGIN, FEDERATION
from web.http import deps


async def media(request: web.Request) -> web.StreamResponse:
    """Answer a file of a public video.

    Raises:
        ContentNotFound: no such file, or its video is not public (any more) (CONTENT_NOT_FOUND).
    """
    video_id, path = request.match_info["video_id"], request.match_info["path"]
    key = await request.app[FEDERATION].directory.media_key(video_id, path)
    store = deps(request).store
    info = await store.stat(key) if key else None
    if info is None:
        raise ContentNotFound
    return await _send(request, store, info)


async def _send(request: web.Request, store: ObjectStore, info: ObjectInfo) -> web.StreamResponse:
    shown = {**headers(info.key, info.etag, info.modified_at), **ANY_ORIGIN}
    shown[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = "Content-Length, Content-Range, ETag"
    if local := store.local_path(info.key):
        return web.FileResponse(local, headers=shown)  # ranges, conditions and HEAD are its own
    if not_modified(request.headers.get(hdrs.IF_NONE_MATCH), info.etag):
        return web.Response(status=304, headers=shown)
    wanted = request.headers.get(hdrs.RANGE)
    if not honours_range(request.headers.get(hdrs.IF_RANGE), info.etag, info.modified_at):
        wanted = None
    part = select(wanted, info.size_bytes)
    response = web.StreamResponse(status=part.status, headers=shown)
    if part.content_range:
        response.headers[hdrs.CONTENT_RANGE] = part.content_range
    response.content_length = part.length
    await response.prepare(request)
    if part.length and request.method != hdrs.METH_HEAD:
        async for chunk in store.read(info.key, part.start, part.end):
            await response.write(chunk)
    await response.write_eof()
    return response
