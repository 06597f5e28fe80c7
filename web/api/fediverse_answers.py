"""What every fediverse handler does: look up who or what is asked for, answer in the form asked for (J44)."""

from collections.abc import Mapping

import orjson
from aiohttp import hdrs, web

from federation import vocabulary
from federation.model import Author, PublicVideo
from federation.negotiation import CONTENT_TYPES, Form, choose
from federation.site import Federation
from federation.vocabulary import Document
from tables.errors import ContentNotFound, Gone, NotAcceptable, UserNotFound

FEDERATION: web.AppKey[Federation] = web.AppKey("federation", Federation)
"""Set by the composition root."""

ANY_ORIGIN: Mapping[str, str] = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*"}


async def author_of(request: web.Request) -> Author:
    """Return the person whose DID is in the path (USER_NOT_FOUND)."""
    author = await request.app[FEDERATION].directory.by_did(request.match_info["did"])
    if author is None:
        raise UserNotFound
    return author


async def video_of(request: web.Request) -> PublicVideo | None:
    """Return the public video whose id is in the path, None when there is none (any more)."""
    return await request.app[FEDERATION].directory.video(request.match_info["video_id"])


def document(request: web.Request, content: Document, page: str, status: int = 200) -> web.Response:
    """Answer a document in the form that is asked for, or send a browser on to its ``page``.

    Raises:
        NotAcceptable: the request accepts neither JSON nor HTML (NOT_ACCEPTABLE).
    """
    form = choose(request.headers.get(hdrs.ACCEPT))
    if form is None:
        raise NotAcceptable(details={"supported": [*CONTENT_TYPES.values(), "text/html"]})
    if form is Form.HTML:
        return web.Response(status=303, headers={hdrs.LOCATION: page, hdrs.VARY: hdrs.ACCEPT})
    answer = json(content, CONTENT_TYPES[form], status)
    answer.headers[hdrs.VARY] = hdrs.ACCEPT
    return answer


async def gone(request: web.Request, object_id: str, former_type: str) -> web.Response:
    """Answer 410 for a deleted video, with a Tombstone for those who read one.

    Raises:
        ContentNotFound: it was never there, as far as peers may know (CONTENT_NOT_FOUND).
        Gone: it was deleted, and a browser asks (GONE).
    """
    directory = request.app[FEDERATION].directory
    deleted_at = await directory.deleted_at(request.match_info["video_id"])
    if deleted_at is None:
        raise ContentNotFound
    if choose(request.headers.get(hdrs.ACCEPT)) in (None, Form.HTML):
        raise Gone
    return document(request, vocabulary.tombstone(object_id, former_type, deleted_at), "", 410)


def json(content: Document, content_type: str, status: int = 200) -> web.Response:
    """Answer JSON under exactly this content type."""
    headers = {hdrs.CONTENT_TYPE: content_type, **ANY_ORIGIN}
    return web.Response(body=orjson.dumps(content), status=status, headers=headers)
