"""Media bytes behind signed URLs (C27, C31, C33, C36-C40, X16)."""

import hmac
import re

from aiohttp import hdrs, web

from media.cloudfront import AUDIENCES, Asked
from media.regions import blocked
from media.urls import Audience, video_of
from tables.errors import ContentNotFound, GeoBlocked
from web.http import address_of, deps
from web.objects import serve_object

CDN_SECRET = "X-Origin-Verify"  # noqa: S105 - the name of a header
# Document 001's other names of the same files (X16).
_SHORT = (
    (re.compile(r"master\.m3u8"), "hls/master.m3u8"),
    (re.compile(r"manifest\.mpd"), "dash/manifest.mpd"),
    (re.compile(r"renditions/(\d+p)(?:\.m3u8|/playlist\.m3u8)"), r"hls/\1/playlist.m3u8"),
    (re.compile(r"segments/(\d+p)/(segment_\d+\.ts)"), r"hls/\1/\2"),
)


async def media(request: web.Request) -> web.StreamResponse:
    """Answer an object of a video, whole or a range of it."""
    key = f"videos/{request.match_info['key']}"
    audience, shared = granted(request, key)
    await _check_standing(request, video_of(key), audience)
    if key.split("/")[2].startswith("source."):
        raise ContentNotFound  # the original is for processing only
    longer = _canonical(key)
    if longer:
        target = "/".join(
            (request.rel_url.raw_path.rpartition(f"/{video_of(key)}/")[0], video_of(key), longer)
        )
        query = request.rel_url.raw_query_string
        return web.Response(status=302, headers={hdrs.LOCATION: target + (f"?{query}" if query else "")})
    private = audience is not Audience.PUBLIC or not shared
    tag = f"video-{video_of(key)}"  # by which a CDN drops all of a video
    return await serve_object(request, key, {"Cache-Tag": tag, "Surrogate-Key": tag}, private=private)


def granted(request: web.Request, key: str) -> tuple[Audience, bool]:
    """Return whom the link of a request is for, and whether caches between may keep the answer.

    A token in the path is part of what a cache goes by; cookies are not, so only a CDN that checks them
    itself may keep what they open.

    Raises:
        SignatureRefused: SIGNATURE_REFUSED.
    """
    services, token = deps(request), request.match_info["token"]
    if token not in AUDIENCES:
        return services.signer.verify(token, key, services.clock()).audience, True
    video_of(key)
    secret = services.delivery.cdn_secret
    if secret and hmac.compare_digest(request.headers.get(CDN_SECRET, "").encode(), secret.encode()):
        return Audience(token), True
    asked = Asked(request.rel_url.raw_path_qs, request.cookies, address_of(request))
    return services.delivery.links.verify(token, key, asked).audience, "Signature" in request.query


async def _check_standing(request: web.Request, video_id: str, audience: Audience) -> None:
    """Refuse what was deleted or hidden since the link was made, or is not for this region (C36-C38)."""
    services = deps(request)
    standing = await services.delivery.standings.of(video_id)
    if standing is None or not standing.admits(audience):
        raise ContentNotFound
    if standing.regions and blocked(services.delivery.region_of(address_of(request)), standing.regions):
        raise GeoBlocked


def _canonical(key: str) -> str | None:
    """Return the path below the video that a short name stands for, None when it is none.

    >>> _canonical("videos/7/master.m3u8"), _canonical("videos/7/hls/master.m3u8")
    ('hls/master.m3u8', None)
    """
    name = key.split("/", 2)[2]
    return next((match.expand(full) for form, full in _SHORT if (match := form.fullmatch(name))), None)


async def health(request: web.Request) -> web.Response:
    """Answer a delivery host that looks whether this origin is there (C32)."""
    return web.Response(text="ok\n", headers={hdrs.CACHE_CONTROL: "no-store"})
