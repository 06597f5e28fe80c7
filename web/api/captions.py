"""Captions over HTTP: WebVTT or SubRip in, WebVTT out, by language (Y6)."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from media.captions import MAX_BYTES
from media.languages import name
from social.videos.standing import audience_of
from tables import errors
from tables.errors import FileTooLarge, UnsupportedMedia
from web.api.videos import video_id_of
from web.http import caller, deps, no_content, principal, reply
from web.objects import serve_object
from web.render import moment
from web.routes import Auth, Route
from web.schemas import captions as shapes

if TYPE_CHECKING:
    from media.urls import Audience
    from social.videos.captions import Caption
    from web.keys import Deps

TYPES: Final = ("text/vtt", "application/x-subrip", "text/srt", "text/plain", "application/octet-stream")
READ_BYTES: Final = 64 * 1024


async def captions(request: web.Request) -> web.Response:
    """List the captions of a video."""
    services = deps(request)
    found = await services.captions.list(video_id_of(request), caller(request))
    audience = await _audience(request)
    items = [shapes.CaptionAnswer(**_answer(services, audience, caption)) for caption in found]
    return reply(shapes.CaptionList(items=items), headers={"Cache-Control": "private, no-cache"})


async def caption(request: web.Request) -> web.StreamResponse:
    """Answer captions as WebVTT."""
    language = request.match_info["language"]
    found = await deps(request).captions.find(video_id_of(request), language, caller(request))
    return await serve_object(request, found.key, {"Cache-Control": "private, no-cache"})


async def give(request: web.Request) -> web.Response:
    """Take the captions in a language."""
    services, video_id = deps(request), video_id_of(request)
    data = await _body(request)
    language = request.match_info["language"]
    given, published = await services.captions.put(video_id, language, data, principal(request))
    await services.delivery.purge(video_id, "captions")
    answer = _answer(services, await _audience(request), given)
    return reply(shapes.CaptionGiven(**answer, published=published))


async def take_back(request: web.Request) -> web.Response:
    """Remove the captions in a language."""
    services, video_id = deps(request), video_id_of(request)
    await services.captions.remove(video_id, request.match_info["language"], principal(request))
    await services.delivery.purge(video_id, "captions")
    return no_content()


async def _body(request: web.Request) -> bytes:
    """Return the body, which is small.

    Raises:
        UnsupportedMedia: it is declared as something else (UNSUPPORTED_MEDIA).
        FileTooLarge: it is larger than captions are (FILE_TOO_LARGE).
    """
    if request.content_type not in TYPES:
        raise UnsupportedMedia(details={"content_type": request.content_type, "supported": list(TYPES)})
    data = bytearray()
    async for chunk in request.content.iter_chunked(READ_BYTES):
        data += chunk
        if len(data) > MAX_BYTES:
            raise FileTooLarge(details={"limit_bytes": MAX_BYTES})
    return bytes(data)


async def _audience(request: web.Request) -> "Audience":
    """Return whom links to files of the video are for."""
    return audience_of(await deps(request).videos.get(video_id_of(request), caller(request)))


def _answer(services: "Deps", audience: "Audience", caption: "Caption") -> dict[str, Any]:
    return {
        "language": caption.language,
        "name": name(caption.language),
        "url": services.signer.url(caption.key, audience),
        "size_bytes": caption.size_bytes,
        "updated_at": moment(caption.updated_at),
    }


_SEEN = (errors.ContentNotFound, errors.ContentAlreadyDeleted, errors.DatabaseFailure)
_OWN = (*_SEEN, errors.NotContentOwner, errors.ContentArchived, errors.StorageFailure)
_PATH = "/api/v1/videos/{video_id}/captions"
_captions = partial(Route, tag="captions", auth=Auth.OPTIONAL, errors=_SEEN)
_change = partial(_captions, path=_PATH + "/{language}", auth=Auth.REQUIRED)
ROUTES: tuple[Route, ...] = (
    _captions(method="GET", path=_PATH, handler=captions, name="list_captions",
              summary="The captions of a video.", response=shapes.CaptionList),
    _captions(method="GET", path=_PATH + "/{language}", handler=caption, name="get_caption",
              summary="Captions as WebVTT.", media_type="text/vtt",
              errors=(*_SEEN, errors.ContentArchived, errors.RangeNotSatisfiable, errors.StorageFailure)),
    _change(method="PUT", handler=give, name="put_caption", body="text/vtt", response=shapes.CaptionGiven,
            summary="Give captions in a language, WebVTT or SubRip, before or after the video is READY.",
            errors=(*_OWN, errors.ValidationFailed, errors.UnsupportedMedia, errors.FileTooLarge)),
    _change(method="DELETE", handler=take_back, name="delete_caption", status=204,
            summary="Take captions in a language back.", errors=_OWN),
)  # fmt: skip
