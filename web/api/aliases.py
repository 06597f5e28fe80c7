"""Routes that documents 001 and 002 fix, over the same services, in their own shapes (X5-X7, Appendix 1)."""

import time
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from tables.lifecycle import status_002
from tables.reducers.engagement import completion_rate
from web.api.feeds import HEADERS, ranked
from web.api.videos import edited, take, video_id_of
from web.conditions import tagged, unchanged, with_etag
from web.http import caller, deps, principal, read_json, read_query, reply
from web.playing import explained
from web.render import moment, playback, table_counters, thumbnails
from web.schemas.aliases import (
    CamelListed,
    CamelPatched,
    CamelPlayback,
    CamelVideo,
    CamelVideoList,
    CamelVideoPatch,
    Reel,
    ReelList,
    ReelQuery,
    ReelState,
    ReelUpload,
)
from web.schemas.uploads import CamelSource
from web.schemas.videos import VideoQuery

if TYPE_CHECKING:
    from ranking.feed import FeedItem
    from social.views import Video
    from web.keys import Deps


async def list_001(request: web.Request) -> web.Response:
    """Answer the caller's own videos in 001's shape (C18)."""
    services, query = deps(request), read_query(request, VideoQuery)
    page = await services.videos.list_own(principal(request), query.status, query.cursor, query.limit)
    items = [CamelListed(**_listed(video)) for video in page.items]
    return reply(CamelVideoList(items=items, next_cursor=page.next_cursor))


async def get_001(request: web.Request) -> web.Response:
    """Answer a video in 001's shape (C17)."""
    video = await deps(request).videos.get(video_id_of(request), caller(request))
    same = unchanged(request, video)
    return same or with_etag(request, reply(await _shown(request, video)), video)


async def _shown(request: web.Request, video: "Video") -> CamelVideo:
    playing = await explained(request, video, playback(video, deps(request)))
    return CamelVideo(
        **_listed(video),
        owner_id=video.owner_id,
        source=CamelSource(mime=video.source_mime, size_bytes=video.source_size_bytes),
        fail_reason=video.fail_reason,
        duration_seconds=video.duration_seconds,
        width=video.width,
        height=video.height,
        playback=CamelPlayback(ready=playing.ready, stream_url=playing.stream_url),
    )


async def patch_001(request: web.Request) -> web.Response:
    """Change what is said of a video; the tag is the one that reading it gives (C19)."""
    said = await read_json(request, CamelVideoPatch)
    video = await edited(request, said.model_dump(exclude_unset=True))
    tag = tagged(request, reply(await _shown(request, video)), video).headers[hdrs.ETAG]
    return reply(CamelPatched(**_listed(video)), headers={hdrs.ETAG: tag})


def _listed(video: "Video") -> dict[str, object]:
    return {
        "id": video.id,
        "title": video.title,
        "description": video.description,
        "status": video.status.value,
        "created_at": moment(video.created_at),
        "updated_at": moment(video.updated_at),
    }


async def upload_reel(request: web.Request) -> web.Response:
    """Take a video in 002's form and answer as 002 does (A21, X52)."""
    video = await take(request)
    return reply(ReelUpload(video_id=video.id, status="uploading", upload_progress=100.0), status=202)


async def reel_status(request: web.Request) -> web.Response:
    """Answer the state of a reel in 002's words (A23)."""
    services = deps(request)
    video = await services.videos.get(video_id_of(request), caller(request))
    waits = video.status.value in {"DRAFT", "UPLOADING"}
    session = await services.uploads.latest(video.id) if waits else None
    state = ReelState.model_validate(
        {
            "video_id": video.id,
            "status": status_002(video.status, video.moderation_status),
            "upload_progress": (session.progress if session else 0.0) if waits else 100.0,
            "processing_progress": video.progress,
        }
    )
    return reply(state, headers={"Cache-Control": "no-store"})


async def reels(request: web.Request) -> web.Response:
    """Answer a ranked page in 002's shape (E28)."""
    started, services, viewer = time.perf_counter(), deps(request), caller(request)
    query = read_query(request, ReelQuery)
    page = await ranked(request, query, query.profile)
    videos = await services.videos.get_many([item.video_id for item in page.items], viewer)
    shown = [_reel(item, videos[item.video_id], services) for item in page.items if item.video_id in videos]
    answer = ReelList(
        videos=shown,
        cursor=page.next_cursor,
        has_more=page.next_cursor is not None,
        cache_hit=page.cache_hit,
        response_time_ms=round((time.perf_counter() - started) * 1000, 2),
    )
    return reply(answer, headers=HEADERS)


def _reel(item: "FeedItem", video: "Video", services: "Deps") -> Reel:
    state = services.engagement(video.id)
    counted = table_counters(state)
    return Reel(
        video_id=video.id,
        creator_id=video.owner_id,
        title=video.title,
        duration_seconds=video.duration_seconds or 0.0,
        view_count=counted["view_count"],
        like_count=counted["like_count"],
        completion_rate=completion_rate(state) if state else None,
        thumbnail_url=thumbnails(video, services).medium,
        streaming_url=playback(video, services).stream_url,
        score=item.score,
        reason=item.reason,
    )
