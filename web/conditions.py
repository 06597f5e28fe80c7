"""Validators of videos and the conditions that requests make of them (C19, C26, RFC 9110 sections 8.8, 13).

A tag has two halves, ``"EDITION-ANSWER"``. ``If-Match`` is judged by the first: what people say of the video
is what an edit could lose. Counters, progress and signed links have their part in the second, which
``If-None-Match`` needs as well, or nobody could edit a video that is being watched.
"""

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec
from aiohttp import hdrs, web

from media.delivery import not_modified
from social.videos.editing import edition
from tables.errors import ValidationFailed
from web.http import deps
from web.render import video_counters

if TYPE_CHECKING:
    from social.views import Video

_TAG = re.compile(r'(?P<weak>W/)?"(?P<opaque>[\x21\x23-\x7e\x80-\xff]*)"')


def expected_editions(request: web.Request) -> frozenset[str] | None:
    """Return the editions that ``If-Match`` lets a change go on from; None without one, and for ``*``.

    Weak tags never match here (section 13.1.1 wants the strong comparison).

    Raises:
        ValidationFailed: VALIDATION_ERROR, field ``If-Match``: neither ``*`` nor a list of tags.
    """
    header = ",".join(request.headers.getall(hdrs.IF_MATCH, ())).strip()
    if hdrs.IF_MATCH not in request.headers or header == "*":
        return None
    rest = _TAG.sub("", header)
    found = list(_TAG.finditer(header))
    if not found or rest.replace(",", "").strip():
        raise ValidationFailed("If-Match is * or a list of entity tags.", details={"field": "If-Match"})
    return frozenset(tag["opaque"].partition("-")[0] for tag in found if not tag["weak"])


def unchanged(request: web.Request, video: "Video") -> web.Response | None:
    """Answer 304 for a video that is not READY, from nothing but the video itself (C26)."""
    if video.status == "READY":
        return None
    return _not_modified(request, _state_tag(request, video))


def with_etag(request: web.Request, response: web.Response, video: "Video") -> web.Response:
    """Add the entity tag of an answer that shows a video, or answer 304 when the client has this very one."""
    tagged(request, response, video)
    return _not_modified(request, response.headers[hdrs.ETAG]) or response


def tagged(request: web.Request, response: web.Response, video: "Video") -> web.Response:
    """Add the entity tag of an answer that shows a video."""
    assert isinstance(response.body, bytes)
    ready = video.status == "READY"
    etag = _tag(video, response.body) if ready else _state_tag(request, video)
    response.headers.update(_headers(etag))
    return response


def _not_modified(request: web.Request, etag: str) -> web.Response | None:
    if not not_modified(request.headers.get(hdrs.IF_NONE_MATCH), etag):
        return None
    return web.Response(status=304, headers=_headers(etag))


def _headers(etag: str) -> dict[str, str]:
    return {hdrs.ETAG: etag, hdrs.CACHE_CONTROL: "private, no-cache", hdrs.VARY: hdrs.AUTHORIZATION}


def _state_tag(request: web.Request, video: "Video") -> str:
    """Return the tag of a video without links: all that its answers show follows from these two.

    Whether the caller likes it does as well: the number of likes and saves changes with it.
    """
    counters = video_counters(deps(request).engagement(video.id), video)
    return _tag(video, msgspec.json.encode((video, counters)))


def _tag(video: "Video", shown: bytes) -> str:
    return f'"{edition(video)}-{blake2b(shown, digest_size=12).hexdigest()}"'
