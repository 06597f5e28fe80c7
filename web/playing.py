"""Says how a video can be played by who asks, or why not (C34-C38, C47, R32)."""

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from media.archive import ArchiveState
from media.layout import AssetType
from media.manifests import Recommendation, Variant, device_of, recommend
from media.regions import blocked
from tables.errors import GeoBlocked, StorageFailure
from tables.records import Asset
from web.http import address_of, caller, deps
from web.schemas.playback import Recommended
from web.schemas.videos import Playback

if TYPE_CHECKING:
    from social.views import Video

log = structlog.get_logger(__name__)

ARCHIVE_WAIT_SECONDS = 1.0
_PICTURES = {"poster_url", "preview_url", "preview_webp_url", "storyboard_url", "storyboard_image_url"}
# In the words of the answer.
_ARCHIVE = {ArchiveState.ARCHIVED: "archived", ArchiveState.RESTORING: "restoring"}


async def is_blocked(request: web.Request, video: "Video") -> bool:
    """Say whether a video is not shown in the region of the caller (C36)."""
    delivery = deps(request).delivery
    standing = await delivery.standings.of(video.id)
    if standing is None or not standing.regions:
        return False
    return blocked(delivery.region_of(address_of(request)), standing.regions)


async def check_region(request: web.Request, video: "Video") -> None:
    """Refuse a caller in a region that the video is not shown in.

    Raises:
        GeoBlocked: GEO_BLOCKED.
    """
    if await is_blocked(request, video):
        raise GeoBlocked


async def explained(request: web.Request, video: "Video", playing: Playback) -> Playback:
    """Return the playback of an answer with what hinders it: its region, the archive; else its licence.

    Pictures stay: they are shown with the reason.
    """
    if not playing.ready:
        return playing
    reason = "geo_blocked" if await is_blocked(request, video) else None
    reason = reason or await _archived(request, video)
    if reason is not None:
        kept = playing.model_dump(include=_PICTURES | {"qualities"})
        return Playback.model_validate(kept | {"state": reason})
    licence = await deps(request).delivery.licences(video, caller(request))
    return playing if licence is None else playing.model_copy(update={"drm": dict(licence)})


async def _archived(request: web.Request, video: "Video") -> str | None:
    """Say in the answer's words where an archived video is; None too while the store does not say.

    What is said of a video comes from its row, so a store that is away or slow must not take it along.
    """
    try:
        async with asyncio.timeout(ARCHIVE_WAIT_SECONDS):
            services = deps(request)
            return _ARCHIVE.get(await services.delivery.archive.of(services.store, video.id))
    except (StorageFailure, TimeoutError) as error:
        log.warning("archive_state_unknown", video_id=video.id, error=repr(error))
        return None


def advice_for(request: web.Request, video: "Video") -> Recommended | None:
    """Return what the caller's device should do with a video, from its rows; None without rungs (C47)."""
    lines = min(video.width or 0, video.height or 0)

    def order(asset: Asset) -> tuple[bool, int]:
        """Put the best first that has no invented pixels, as the master playlist does (X14)."""
        return min(asset.width or 0, asset.height or 0) > lines, -(asset.bandwidth or 0)

    rungs = [
        Variant("", f"{asset.quality}/", asset.bandwidth or 0)
        for asset in sorted(video.assets, key=order)
        if asset.type == AssetType.HLS_RENDITION and asset.quality
    ]
    if not rungs:
        return None
    return recommended(recommend(device_of(request.headers.get("User-Agent", "")), rungs))


def recommended(advice: Recommendation) -> Recommended:
    """Return a recommendation as answers have it."""
    return Recommended(
        device=advice.device.value,
        start_quality=advice.start_quality,
        start_bitrate=advice.start_bandwidth,
        max_bitrate=advice.peak_bandwidth,
    )
