"""Following people over HTTP (X33)."""

from typing import TYPE_CHECKING

from aiohttp import web

from tables.errors import UserNotFound
from web.api.feeds import forget_ranking
from web.http import deps, principal, reply
from web.schemas.base import Answer, uuid_or

if TYPE_CHECKING:
    from social.graph import Following


class FollowAnswer(Answer):
    """Whether the caller follows a person now, and how many do."""

    user_id: str
    following: bool
    follower_count: int


async def follow(request: web.Request) -> web.Response:
    """Follow a person; the caller's cached feed is dropped."""
    services, viewer = deps(request), principal(request)
    done = await services.graph.follow(viewer, _target(request))
    forget_ranking(services, viewer.user_id)
    return _answer(done)


async def unfollow(request: web.Request) -> web.Response:
    """Stop following a person; the caller's cached feed is dropped."""
    services, viewer = deps(request), principal(request)
    done = await services.graph.unfollow(viewer, _target(request))
    forget_ranking(services, viewer.user_id)
    return _answer(done)


def _target(request: web.Request) -> str:
    return uuid_or(UserNotFound, request.match_info["user_id"])


def _answer(done: "Following") -> web.Response:
    return reply(FollowAnswer.model_validate(done))
