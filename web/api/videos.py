"""Videos over HTTP (INTERFACE Video; A20, C17, C18, C42, C45, C48)."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from media.policies import POLICIES, extension
from social.uploads import Arrived
from social.videos import check_metadata
from social.videos.metadata import (
    MAX_DESCRIPTION_CHARS,
    MAX_TAGS,
    MAX_TITLE_CHARS,
    ORIGINAL,
    Further,
    check_fields,
)
from social.videos.processing import allowed
from tables.errors import AppError, ContentNotFound, UserNotFound
from web.conditions import expected_editions, tagged, unchanged, with_etag
from web.http import caller, deps, no_content, principal, read_json, read_query, reply
from web.playing import explained
from web.render import encoding_answer, video_answer, video_post
from web.schemas.base import Page, uuid_or
from web.schemas.videos import (
    PoliciesAnswer,
    Policy,
    TransitionsAnswer,
    VideoAnswer,
    VideoList,
    VideoPatch,
    VideoPut,
    VideoQuery,
)
from web.uploads import Form, receive

if TYPE_CHECKING:
    from collections.abc import Mapping

    from social.views import Video


def video_id_of(request: web.Request) -> str:
    """Return the video id of the path; what is no UUID names no video (CONTENT_NOT_FOUND)."""
    return uuid_or(ContentNotFound, request.match_info["video_id"])


async def policies(request: web.Request) -> web.Response:
    """Answer what may be uploaded."""
    items = [
        Policy(
            name=policy.name,
            max_bytes=policy.max_bytes,
            max_seconds=policy.max_seconds,
            formats=policy.supported(),
            extensions=[extension(container) for container in policy.formats],
        )
        for policy in POLICIES.values()
    ]
    answer = PoliciesAnswer(
        items=items, max_title=MAX_TITLE_CHARS, max_description=MAX_DESCRIPTION_CHARS, max_tags=MAX_TAGS
    )
    return reply(answer, headers={"Cache-Control": "public, max-age=300"})


async def upload(request: web.Request) -> web.Response:
    """Take a video."""
    video = await take(request)
    headers = {"Location": f"/api/v1/videos/{video.id}"}
    return reply(video_answer(video, deps(request)), status=201, headers=headers)


async def upload_post(request: web.Request) -> web.Response:
    """Take a video, answering in document 000's shape (A20)."""
    video = await take(request)
    headers = {"Location": f"/api/v1/videos/{video.id}"}
    return reply(video_post(video, deps(request)), status=201, headers=headers)


async def take(request: web.Request) -> "Video":
    """Take in a form and make its file a video; the errors are the route's (A19, A20, O3)."""
    services = deps(request)
    outcome = "broken_off"
    try:
        await services.uploads.check_quota(principal(request))
        async with receive(request, services.settings.upload_dir) as form:
            video = await _store(request, form)
            outcome = "accepted"
            services.metrics.upload_bytes.inc(form.size_bytes)
            return video
    except AppError as error:
        outcome = error.code
        raise
    finally:
        services.metrics.uploads.labels(outcome).inc()


async def _store(request: web.Request, form: Form) -> "Video":
    """Check what is cheap first, then look into the file, then make it a video (A3-A8, A19)."""
    services, policy = deps(request), form.policy()
    metadata = check_metadata(
        form.one("title"),
        form.one("description"),
        form.tags(),
        form.one("visibility") or "PUBLIC",
        Further(form.listed("hashtags"), form.one("content_type") or ORIGINAL, form.one("audio_url")),
    )
    arrived = Arrived(form.path, form.sha256, policy, form.filename)
    return await services.uploads.take(principal(request), arrived, metadata)


async def get_video(request: web.Request) -> web.Response:
    """Answer a video that the caller may see, with a validator."""
    video = await deps(request).videos.get(video_id_of(request), caller(request))
    same = unchanged(request, video)
    return same or with_etag(request, reply(await shown(request, video)), video)


async def get_post(request: web.Request) -> web.Response:
    """Answer a video in document 000's shape (C45)."""
    services = deps(request)
    video = await services.videos.get(video_id_of(request), caller(request))
    same = unchanged(request, video)
    return same or with_etag(request, reply(video_post(video, services)), video)


async def shown(request: web.Request, video: "Video") -> VideoAnswer:
    """Return a video as its caller gets it: liked, saved, playable here or why not."""
    services, viewer = deps(request), caller(request)
    liked = saved = False
    if viewer is not None:
        mine = await services.interactions.relations(viewer.user_id, [video.id])
        liked, saved = video.id in mine.liked, video.id in mine.saved
    answer = video_answer(video, services, liked=liked, saved=saved)
    answer.playback = await explained(request, video, answer.playback)
    return answer


async def patch_video(request: web.Request) -> web.Response:
    """Change some of what is said of a video."""
    said = await read_json(request, VideoPatch)
    video = await edited(request, said.model_dump(exclude_unset=True))
    return tagged(request, reply(await shown(request, video)), video)


async def put_video(request: web.Request) -> web.Response:
    """Replace all that is said of a video (X48)."""
    said = await read_json(request, VideoPut)
    video = await edited(request, said.model_dump())
    return tagged(request, reply(await shown(request, video)), video)


async def edited(request: web.Request, said: "Mapping[str, Any]") -> "Video":
    """Apply an edit to a video of the caller's; the errors are the route's (C19)."""
    changes, expected = check_fields(said), expected_editions(request)
    return await deps(request).videos.edit(video_id_of(request), principal(request), changes, expected)


async def transitions(request: web.Request) -> web.Response:
    """Answer what may become of a video (C42)."""
    video = await deps(request).videos.get(video_id_of(request), caller(request))
    answer = TransitionsAnswer(video_id=video.id, status=video.status.value, allowed=allowed(video))
    return reply(answer, headers={"Cache-Control": "no-store"})


async def list_videos(request: web.Request) -> web.Response:
    """Answer the caller's own videos, newest first."""
    services, query = deps(request), read_query(request, VideoQuery)
    page = await services.videos.list_own(principal(request), query.status, query.cursor, query.limit)
    items = [video_answer(video, services) for video in page.items]
    return reply(VideoList(items=items, next_cursor=page.next_cursor))


async def list_of_user(request: web.Request) -> web.Response:
    """Answer what the world may see of somebody's videos, newest first."""
    services, query = deps(request), read_query(request, Page)
    owner = await services.accounts.get_user(uuid_or(UserNotFound, request.match_info["user_id"]))
    page = await services.videos.list_public(owner.id, query.cursor, query.limit)
    items = [video_answer(video, services) for video in page.items]
    return reply(VideoList(items=items, next_cursor=page.next_cursor))


async def delete_video(request: web.Request) -> web.Response:
    """Delete a video of the caller's."""
    expected = expected_editions(request)
    await deps(request).videos.delete(video_id_of(request), principal(request), expected)
    return no_content()


async def retry_video(request: web.Request) -> web.Response:
    """Process a FAILED video again."""
    services = deps(request)
    video = await services.videos.retry(video_id_of(request), principal(request))
    return reply(video_answer(video, services), status=202)


async def encoding(request: web.Request) -> web.Response:
    """Answer how far the processing is."""
    video = await deps(request).videos.get(video_id_of(request), caller(request))
    return reply(encoding_answer(video), headers={"Cache-Control": "no-store"})
