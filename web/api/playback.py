"""How to play a video, in every form of signature; restoring, purging and blocking by region."""

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from media.archive import archive_state, restore_video
from social.videos.standing import audience_of
from tables.errors import (
    ContentAlreadyDeleted,
    ContentNotFound,
    DatabaseFailure,
    NotContentOwner,
    StorageFailure,
)
from web.api.videos import video_id_of
from web.http import caller, deps, no_content, principal, read_json, read_query, reply
from web.playing import advice_for, explained
from web.render import captions, moment, playback
from web.routes import Auth, Route
from web.schemas.playback import ArchiveAnswer, PlaybackAnswer, PlaybackQuery, RegionsRequest

if TYPE_CHECKING:
    from social.views import Video

AUTO = "auto"
_URLS = (
    "stream_url", "hls_url", "hls_cmaf_url", "dash_url", "mp4_url", "poster_url", "preview_url",
    "preview_webp_url", "storyboard_url", "storyboard_image_url",
)  # fmt: skip


async def get_playback(request: web.Request) -> web.Response:
    """Answer how the caller can play a video; sets the cookies when those are asked for."""
    services, query = deps(request), read_query(request, PlaybackQuery)
    video = await services.videos.get(video_id_of(request), caller(request))
    playing = await explained(request, video, playback(video, services))
    texts = captions(video, services) if playing.ready else []
    if query.form != "path":
        sign = partial(_signed_otherwise, request, video, query.form)
        found = {field: getattr(playing, field) for field in _URLS}
        playing = playing.model_copy(update={field: sign(url) for field, url in found.items() if url})
        texts = [text.model_copy(update={"url": sign(text.url)}) for text in texts]
    answer = PlaybackAnswer(
        **playing.model_dump(),
        video_id=video.id,
        form=query.form,
        expires_at=moment(services.signer.expiry()),
        quality_choices=[AUTO, *playing.qualities] if playing.ready else [],
        captions=texts,
        recommendation=advice_for(request, video),
    )
    response = reply(answer, headers={"Cache-Control": "private, no-store"})
    if query.form == "cookies" and playing.ready:
        _set_cookies(request, video, response)
    return response


def _signed_otherwise(request: web.Request, video: "Video", form: str, url: str) -> str:
    """Return an address with CloudFront's query, or bare for those who have the cookies."""
    services, audience = deps(request), audience_of(video)
    key = url.split("/media/", 1)[1].split("/", 1)[1]
    if form == "query":
        return services.delivery.links.url(key, audience, services.signer.expiry())
    return f"{services.signer.base_url}/media/{audience}/{key}"


def _set_cookies(request: web.Request, video: "Video", response: web.Response) -> None:
    """Set the cookies for this video's files and no others, until they expire."""
    services, audience = deps(request), audience_of(video)
    expires_at = services.signer.expiry()
    secure = services.signer.base_url.startswith("https://")
    for name, value in services.delivery.links.cookies(video.id, audience, expires_at).items():
        response.set_cookie(
            name,
            value,
            path=f"/media/{audience}/videos/{video.id}/",
            max_age=max(1, int(expires_at - services.clock())),
            httponly=True,
            secure=secure,
            samesite="None" if secure else "Lax",
            domain=services.settings.media_cookie_domain or None,
        )


async def restore(request: web.Request) -> web.Response:
    """Ask for a video's files back from the archive."""
    services, video_id = deps(request), video_id_of(request)
    await services.delivery.standings.want(video_id, principal(request))
    await restore_video(services.store, video_id)
    state = await archive_state(services.store, video_id)
    return reply(ArchiveAnswer(video_id=video_id, state=state.value.lower()), status=202)


async def purge(request: web.Request) -> web.Response:
    """Let every cache drop what it keeps of a video, such as a damaged playlist."""
    services = deps(request)
    video = await services.videos.get(video_id_of(request), principal(request))
    services.delivery.standings.forget(video.id)
    await services.delivery.purge(video.id, "operator")
    return no_content()


async def set_regions(request: web.Request) -> web.Response:
    """Set the regions that a video is not shown in."""
    services, body = deps(request), await read_json(request, RegionsRequest)
    video_id = video_id_of(request)
    await services.delivery.standings.block(video_id, principal(request), body.blocked)
    services.delivery.changed(video_id)
    return no_content()


_OWN = (ContentNotFound, ContentAlreadyDeleted, NotContentOwner, DatabaseFailure)
ROUTES = (
    Route(
        method="GET",
        path="/api/v1/videos/{video_id}/playback",
        handler=get_playback,
        name="get_playback",
        summary="How the caller can play a video now, in any form of signature; sets cookies for that form.",
        tag="media",
        auth=Auth.OPTIONAL,
        query=PlaybackQuery,
        response=PlaybackAnswer,
        errors=(ContentNotFound, DatabaseFailure, StorageFailure),
    ),
    Route(
        method="POST",
        path="/api/v1/videos/{video_id}/restore",
        handler=restore,
        name="restore_video",
        summary="Ask for a video's files back from the archive.",
        tag="media",
        auth=Auth.REQUIRED,
        status=202,
        response=ArchiveAnswer,
        errors=(*_OWN, StorageFailure),
    ),
    Route(
        method="POST",
        path="/api/v1/videos/{video_id}/purge",
        handler=purge,
        name="purge_video",
        summary="Let every cache drop what it keeps of a video.",
        tag="media",
        auth=Auth.REQUIRED,
        roles=frozenset({"operator", "service"}),
        status=204,
        errors=(ContentNotFound, DatabaseFailure),
    ),
    Route(
        method="PUT",
        path="/api/v1/videos/{video_id}/regions",
        handler=set_regions,
        name="set_video_regions",
        summary="Set the regions that a video is not shown in.",
        tag="media",
        auth=Auth.REQUIRED,
        status=204,
        request=RegionsRequest,
        errors=_OWN,
    ),
)
