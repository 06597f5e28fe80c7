"""Feeds over HTTP (INTERFACE Feeds; E10, E25, E27, E29, E43, Y4)."""

from typing import TYPE_CHECKING
from zlib import crc32

import orjson
from aiohttp import web

from ranking.feed import FeedRequest
from tables.errors import ContentNotFound, UserNotFound
from tables.records import Impressions
from web.bus import RANKINGS
from web.http import caller, deps, no_content, principal, raw_json, read_json, read_query, reply
from web.keys import AWAY, CARDS
from web.render import moment
from web.schemas.base import uuid_or
from web.schemas.feeds import (
    FeedbackRequest,
    FeedQuery,
    TagHour,
    TrendingQuery,
    TrendingTag,
    TrendingTags,
    TrendingTagsQuery,
)

if TYPE_CHECKING:
    from ranking.feed import FeedPage
    from web.keys import Deps
    from web.schemas.aliases import ReelQuery

    Asked = FeedQuery | ReelQuery

TAGS = "tag_trends"
# A feed is one viewer's and changes with every watch.
HEADERS = {"Cache-Control": "private, no-store"}


async def feed(request: web.Request) -> web.Response:
    """Answer a page of the feed."""
    query = read_query(request, FeedQuery)
    page, items = await _page(request, query, query.chosen())
    return _answer(request, page, items)


async def similarity(request: web.Request) -> web.Response:
    """Answer a page in document 000's shape (E27)."""
    query = read_query(request, FeedQuery)
    page, items = await _page(request, query, query.profile or "similarity")
    return raw_json(orjson.dumps({"videos": items, "cursor": page.next_cursor}), headers=HEADERS)


async def trending(request: web.Request) -> web.Response:
    """Answer what moves now."""
    query = read_query(request, TrendingQuery)
    page, items = await _page(request, query, "trending", tag=query.chosen_tag())
    return _answer(request, page, items)


async def trending_tags(request: web.Request) -> web.Response:
    """Answer the tags that move now (E37, E38)."""
    services, query = deps(request), read_query(request, TrendingTagsQuery)
    now = services.clock()
    items = [
        TrendingTag(
            tag=found.tag,
            score=found.score,
            events_24h=found.events,
            videos=found.videos,
            hours=[TagHour(hour=moment(hour * 3600.0), count=count) for hour, count in found.hours],
        )
        for found in services.trending.top(now, query.limit)
    ]
    answer = TrendingTags(items=items, as_of=moment(services.tables.freshness(TAGS).as_of))
    return reply(answer, headers={"Cache-Control": "public, max-age=5"})


async def following(request: web.Request) -> web.Response:
    """Answer what those whom the caller follows made, newest first."""
    query = read_query(request, FeedQuery)
    page, items = await _page(request, query, query.profile or "chronological", only_followed=True)
    return _answer(request, page, items)


async def _page(
    request: web.Request,
    query: FeedQuery,
    profile: str,
    *,
    tag: str | None = None,
    only_followed: bool = False,
) -> "tuple[FeedPage, list[orjson.Fragment]]":
    page = await ranked(request, query, profile, tag=tag or query.tag, only_followed=only_followed)
    return page, await request.app[CARDS].encode(page.items, caller(request))


async def ranked(
    request: web.Request,
    asked: "Asked",
    profile: str,
    *,
    tag: str | None = None,
    only_followed: bool = False,
) -> "FeedPage":
    """Rank a page for the caller (VALIDATION_ERROR for an unknown profile or a malformed cursor)."""
    services, viewer = deps(request), caller(request)
    followed = await services.graph.following(viewer.user_id) if viewer else frozenset()
    page = services.feeds.page(
        FeedRequest(
            viewer_id=viewer.user_id if viewer else None,
            now=services.clock(),
            profile=profile,
            limit=asked.limit,
            cursor=asked.cursor,
            session_seed=crc32(viewer.session_id.encode()) if viewer else 0,
            tag=tag,
            following=followed,
            creators=followed if only_followed else None,
        )
    )
    services.impressions(_shown(page, viewer.user_id if viewer else "", services.clock()))
    return page


def _shown(page: "FeedPage", viewer_id: str, now: float) -> Impressions:
    """Return what is kept of a page: who saw what, where and why (E39)."""
    return Impressions(
        viewer_id=viewer_id,
        at=now,
        algorithm=page.ranked_by,
        asked=page.profile,
        videos=tuple(item.video_id for item in page.items),
        creators=tuple(item.card.creator_id for item in page.items),
        reasons=tuple(item.reason for item in page.items),
        position=page.position,
    )


def _answer(request: web.Request, page: "FeedPage", items: list[orjson.Fragment]) -> web.Response:
    body = {
        "items": items,
        "next_cursor": page.next_cursor,
        "profile": page.profile,
        "ranked_by": page.ranked_by,
        "degraded": page.degraded or AWAY in request,  # ranked without the caller's taste
    }
    return raw_json(orjson.dumps(body), headers=HEADERS)


async def feedback(request: web.Request) -> web.Response:
    """Record what the caller wants more or less of."""
    services, viewer = deps(request), principal(request)
    asked = await read_json(request, FeedbackRequest)
    kind, name = asked.named()[0]
    if kind == "video":
        name = (await services.videos.get(uuid_or(ContentNotFound, name), viewer)).id
    elif kind == "creator":
        name = (await services.accounts.get_user(uuid_or(UserNotFound, name))).id
    await services.feedback.feedback(viewer.user_id, f"{kind}:{name.lower()}", asked.kind)
    forget_ranking(services, viewer.user_id)
    return no_content()


async def reset(request: web.Request) -> web.Response:
    """Forget what the feed has learned about the caller."""
    services, viewer = deps(request), principal(request)
    await services.feedback.reset(viewer.user_id)
    forget_ranking(services, viewer.user_id)
    return no_content()


async def invalidate(request: web.Request) -> web.Response:
    """Drop the caller's kept ranking (E43)."""
    forget_ranking(deps(request), principal(request).user_id)
    return no_content()


def forget_ranking(services: "Deps", user_id: str) -> None:
    """Drop a person's kept rankings, in every worker."""
    services.feeds.invalidate(user_id)
    services.bus.send(RANKINGS, user_id.encode())
