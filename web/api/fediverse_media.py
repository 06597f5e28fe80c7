"""Files of public videos at lasting URLs, for peers and for browsers that watch on a peer.

Signed URLs expire, and peers keep what an object names for years. Loops asks HEAD, follows no redirect and
wants a length; PeerTube's viewers load the playlists from another origin.
"""

from aiohttp import web

from tables.errors import ContentNotFound
from web.api.fediverse_answers import FEDERATION
from web.objects import serve_object


async def media(request: web.Request) -> web.StreamResponse:
    """Answer a file of a public video.

    Raises:
        ContentNotFound: no such file, or its video is not public (any more) (CONTENT_NOT_FOUND).
        RangeNotSatisfiable: the range starts past the end (RANGE_NOT_SATISFIABLE).
    """
    video_id, path = request.match_info["video_id"], request.match_info["path"]
    key = await request.app[FEDERATION].directory.media_key(video_id, path)
    if key is None:
        raise ContentNotFound
    return await serve_object(request, key)
