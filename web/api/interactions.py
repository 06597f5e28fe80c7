"""Likes, saves, shares and comments over HTTP (H3-H5, H12, H13, C49)."""

from typing import TYPE_CHECKING

from aiohttp import web

from tables.errors import ValidationFailed
from web.api.videos import video_id_of
from web.http import caller, deps, no_content, parse, principal, read_any, read_json, read_query, reply
from web.render import moment, video_answer
from web.schemas.base import Page, uuid_or
from web.schemas.engagement import (
    CommentAnswer,
    CommentList,
    CommentQuery,
    CommentRequest,
    LikeAnswer,
    SaveAnswer,
    ShareAnswer,
    ShareRequest,
)
from web.schemas.videos import Creator, VideoList

if TYPE_CHECKING:
    from social.views import Comment, Relation


async def like(request: web.Request) -> web.Response:
    """Like a video; twice is once."""
    return _liked(request, await deps(request).interactions.like(principal(request), video_id_of(request)))


async def unlike(request: web.Request) -> web.Response:
    """Take a like back."""
    return _liked(request, await deps(request).interactions.unlike(principal(request), video_id_of(request)))


def _liked(request: web.Request, relation: "Relation") -> web.Response:
    answer = LikeAnswer(video_id=video_id_of(request), liked=relation.active, like_count=relation.count)
    return reply(answer)


async def save(request: web.Request) -> web.Response:
    """Save a video for later; twice is once."""
    return _saved(request, await deps(request).interactions.save(principal(request), video_id_of(request)))


async def unsave(request: web.Request) -> web.Response:
    """Remove a video from the saved ones."""
    return _saved(request, await deps(request).interactions.unsave(principal(request), video_id_of(request)))


def _saved(request: web.Request, relation: "Relation") -> web.Response:
    answer = SaveAnswer(video_id=video_id_of(request), saved=relation.active, save_count=relation.count)
    return reply(answer)


async def saves(request: web.Request) -> web.Response:
    """Answer the caller's saved videos, last saved first."""
    services, query = deps(request), read_query(request, Page)
    page = await services.interactions.saves(principal(request), query.cursor, query.limit)
    items = [video_answer(video, services, saved=True) for video in page.items]
    return reply(VideoList(items=items, next_cursor=page.next_cursor))


async def share(request: web.Request) -> web.Response:
    """Record a share; a body is optional, and the same event id is the same share."""
    services, video_id = deps(request), video_id_of(request)
    asked = parse(ShareRequest, await read_any(request) if request.can_read_body else {})
    event_id = asked.event_id and uuid_or(_no_event_id, asked.event_id)
    shared = await services.interactions.share(principal(request), video_id, event_id)
    answer = ShareAnswer(
        video_id=video_id,
        event_id=shared.event_id,
        share_count=shared.count,
        url=f"{services.settings.base_url}/v/{video_id}",
    )
    return reply(answer, status=201)


def _no_event_id() -> ValidationFailed:
    return ValidationFailed("event_id: not a UUID.", details={"field": "event_id"})


async def comment(request: web.Request) -> web.Response:
    """Write a comment."""
    asked = await read_json(request, CommentRequest)
    written = await deps(request).comments.add(
        principal(request), video_id_of(request), asked.text, asked.parent_id
    )
    return reply(_comment(written), status=201)


async def comments(request: web.Request) -> web.Response:
    """Answer the comments of a video, newest first."""
    services, query = deps(request), read_query(request, CommentQuery)
    page = await services.comments.listing(
        caller(request), video_id_of(request), query.cursor, query.limit, query.parent_id
    )
    items = [_comment(item) for item in page.items]
    return reply(CommentList(items=items, next_cursor=page.next_cursor))


async def delete_comment(request: web.Request) -> web.Response:
    """Delete a comment of the caller's."""
    await deps(request).comments.remove(principal(request), request.match_info["comment_id"])
    return no_content()


def _comment(comment: "Comment") -> CommentAnswer:
    return CommentAnswer(
        id=comment.id,
        video_id=comment.video_id,
        author=Creator(id=comment.user_id, username=comment.username),
        text=comment.text,
        parent_id=comment.parent_id,
        deleted=comment.deleted,
        created_at=moment(comment.created_at),
    )
