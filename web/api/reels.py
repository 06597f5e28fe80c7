"""Manifests for the caller's device, and segments that count as watching (C28-C30, C47)."""

import re
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

import structlog
from aiohttp import hdrs, web

from media.archive import ArchiveState, archive_state
from media.layout import manifest_key, master_key, rendition_key
from media.manifests import Variant, choose, dash_for, device_of, hls_for, recommend, variants_of
from social.videos.standing import audience_of
from tables.errors import (
    AppError,
    ContentArchived,
    ContentNotFound,
    DatabaseFailure,
    GeoBlocked,
    ServiceUnavailable,
    StorageFailure,
)
from tables.reducers.history import VIEW_WINDOW_SECONDS
from web.api.videos import video_id_of
from web.http import caller, deps
from web.playing import check_region
from web.routes import Auth, RateClass, Route

if TYPE_CHECKING:
    from social.views import Video

log = structlog.get_logger(__name__)

MAX_MANIFEST_BYTES = 256 * 1024
RETRY_SECONDS = 5.0
HEADERS = {hdrs.CACHE_CONTROL: "private, max-age=10", hdrs.VARY: "User-Agent, Authorization"}
# Names the events that segments make: the same view gives the same event, however often it is asked for.
_VIEWS = UUID("5b0f6c36-0c35-4f4c-9f0d-6f7f2c0d4a51")
_SEGMENT = re.compile(r"(?:segment_)?(\d{1,9})(?:\.ts)?")


async def manifest_hls(request: web.Request) -> web.Response:
    """Answer the master playlist for the caller's device."""
    video = await _playable(request)
    variants = await _variants(request, video)
    advice = recommend(device_of(request.headers.get(hdrs.USER_AGENT, "")), variants)
    body = hls_for(variants, advice, _prefix(request, video, master_key(video.id)))
    return web.Response(text=body, headers=HEADERS, content_type="application/vnd.apple.mpegurl")


async def manifest_dash(request: web.Request) -> web.Response:
    """Answer the DASH manifest for the caller's device."""
    video = await _playable(request)
    variants = await _variants(request, video)
    advice = recommend(device_of(request.headers.get(hdrs.USER_AGENT, "")), variants)
    stored = await _stored(request, manifest_key(video.id))
    try:
        body = dash_for(stored, advice, _prefix(request, video, manifest_key(video.id)))
    except ValueError:
        raise _unproducible("damaged") from None
    return web.Response(text=body, headers=HEADERS, content_type="application/dash+xml")


async def segment(request: web.Request) -> web.Response:
    """Send the caller on to a segment, and note that somebody signed in watches."""
    services, asked = deps(request), _SEGMENT.fullmatch(request.match_info["segment"])
    if asked is None:
        raise ContentNotFound
    video = await _playable(request)
    chosen = choose(request.match_info["bitrate"], await _variants(request, video))
    folder = rendition_key(video.id, chosen.quality).rpartition("/")[0]
    key = f"{folder}/segment_{int(asked[1]):05d}.ts"
    if await services.store.stat(key) is None:
        raise ContentNotFound
    await _note_watching(request, video, chosen)
    location = services.signer.url(key, audience_of(video))
    return web.Response(status=302, headers={hdrs.LOCATION: location, hdrs.CACHE_CONTROL: "no-store"})


async def _playable(request: web.Request) -> "Video":
    """Return the video of the path when the caller may have its bytes now.

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND, also when the caller may not see it.
        GeoBlocked: GEO_BLOCKED.
        ContentArchived: CONTENT_ARCHIVED.
        ServiceUnavailable: SERVICE_UNAVAILABLE while there is nothing to play.
    """
    video = await deps(request).videos.get(video_id_of(request), caller(request))
    await check_region(request, video)
    if video.status != "READY":
        raise _unproducible(video.status.value.lower())
    return video


async def _variants(request: web.Request, video: "Video") -> list[Variant]:
    try:
        return variants_of(await _stored(request, master_key(video.id)))
    except ValueError:
        raise _unproducible("damaged") from None


async def _stored(request: web.Request, key: str) -> str:
    """Read a stored playlist; what cannot be read cannot be answered (C28)."""
    store = deps(request).store
    try:
        body = b"".join([block async for block in store.read(key, 0, MAX_MANIFEST_BYTES)])
        return body.decode()
    except ContentArchived:
        state = await archive_state(store, key.split("/")[1])
        raise ContentArchived(details={"restoring": state is ArchiveState.RESTORING}) from None
    except (ContentNotFound, StorageFailure, UnicodeDecodeError) as error:
        raise _unproducible("missing" if isinstance(error, ContentNotFound) else "unreadable") from error


def _unproducible(reason: str) -> ServiceUnavailable:
    message = "There is no manifest of this video just now."
    return ServiceUnavailable(message, details={"reason": reason}, retry_after_seconds=RETRY_SECONDS)


def _prefix(request: web.Request, video: "Video", key: str) -> str:
    """Return the signed address of the folder that a stored manifest lies in."""
    return deps(request).signer.url(key, audience_of(video)).rpartition("/")[0] + "/"


async def _note_watching(request: web.Request, video: "Video", chosen: Variant) -> None:
    """Report the start of a view, once in the time that a view counts for; watching goes on without it."""
    services, viewer = deps(request), caller(request)
    if viewer is None or request.method == hdrs.METH_HEAD:
        return
    window = int(services.clock() // VIEW_WINDOW_SECONDS)
    event = {
        "event_id": str(uuid5(_VIEWS, f"{viewer.user_id}/{video.id}/{window}")),
        "video_id": video.id,
        "action": "watch_start",
        "bitrate": chosen.quality,
        "device": device_of(request.headers.get(hdrs.USER_AGENT, "")).value,
    }
    try:
        await services.intake.submit(viewer.user_id, [event])
    except AppError as error:
        log.warning("watching_not_recorded", code=error.code)


_reel = partial(
    Route,
    method="GET",
    tag="documents 001 and 002",
    auth=Auth.OPTIONAL,
    errors=(ContentNotFound, GeoBlocked, ContentArchived, ServiceUnavailable, DatabaseFailure),
)
ROUTES = (
    _reel(
        path="/api/v1/reels/{video_id}/manifest.m3u8",
        handler=manifest_hls,
        name="get_reel_hls",
        summary="The HLS master playlist for the caller's device.",
        media_type="application/vnd.apple.mpegurl",
    ),
    _reel(
        path="/api/v1/reels/{video_id}/manifest.mpd",
        handler=manifest_dash,
        name="get_reel_dash",
        summary="The DASH manifest for the caller's device.",
        media_type="application/dash+xml",
    ),
    _reel(
        path="/api/v1/reels/{video_id}/segments/{bitrate}/{segment}",
        handler=segment,
        name="get_reel_segment",
        summary="Sends on to a segment; watching is noted for who is signed in.",
        status=302,
        rate=RateClass.FREE,
    ),
)
