"""Events, counters and analytics over HTTP (INTERFACE Engagement; F1-F3, F8)."""

from typing import Any

import msgspec
from aiohttp import web

from tables import errors
from tables.records import DayCounts
from tables.reducers.engagement import (
    VideoEngagement,
    average_watch_seconds,
    completion_rate,
    distribution,
    switches_per_thousand_views,
    trajectory,
    trending_score,
    views_between,
)
from tables.reducers.totals import DAY_SECONDS, Totals, total
from tables.reducers.trends import ImpressionDays, shown_between
from web.api.videos import video_id_of
from web.http import caller, deps, principal, read_any, read_query, reply
from web.keys import Deps
from web.render import moment, video_counters
from web.schemas.engagement import (
    AnalyticsAnswer,
    Audience,
    DayTotals,
    EngagementAnswer,
    EventsAnswer,
    HourCount,
    MyAnalyticsAnswer,
    MyAnalyticsQuery,
    RejectedEvent,
    TopContent,
)

TABLE = "video_engagement"
CREATORS = "creator_totals"
IMPRESSIONS = "impression_days"
TOP = 10
"""Videos named as a creator's top content."""
MAX_EVENTS = 1000
ANALYSING_ROLES = frozenset({"operator", "analyst", "service"})


async def post_events(request: web.Request) -> web.Response:
    """Take one event or a batch; what is accepted is durable."""
    services = deps(request)
    events, batch = _events(await read_any(request))
    result = await services.intake.submit(principal(request).user_id, events)
    for name, number in (
        ("accepted", result.accepted),
        ("duplicates", result.duplicates),
        ("rejected", len(result.rejected)),
    ):
        services.metrics.events.labels(name).inc(number)
    if result.rejected and not batch:
        raise _refusal(result.rejected[0].code, result.rejected[0].message)
    rejected = [RejectedEvent(index=r.index, code=r.code, message=r.message) for r in result.rejected]
    answer = EventsAnswer(accepted=result.accepted, duplicates=result.duplicates, rejected=rejected)
    return reply(answer, status=202)


def _events(data: Any) -> tuple[list[Any], bool]:
    """Return the events of a body, and whether it was a batch (VALIDATION_ERROR)."""
    if not isinstance(data, dict):
        raise errors.ValidationFailed("The body has to be a JSON object.", details={"field": "body"})
    if "events" not in data:
        return [data], False
    events = data["events"]
    if not isinstance(events, list) or len(events) > MAX_EVENTS:
        raise errors.ValidationFailed(
            f"events: a list of at most {MAX_EVENTS}.", details={"field": "events", "limit": MAX_EVENTS}
        )
    return events, True


def _refusal(code: str, message: str) -> errors.AppError:
    """Return a single event's refusal: its own code, and 400 whatever the code (INTERFACE Engagement)."""
    kind = errors.registry().get(code, errors.ValidationFailed)
    field = message.partition(":")[0] if ":" in message else "video_id"
    error = kind(message, details={"field": field})
    vars(error)["status"] = errors.BadRequest.status
    return error


async def public_counters(request: web.Request) -> web.Response:
    """Answer the counters of a video that the caller may see, from the table."""
    services = deps(request)
    video = await services.videos.get(video_id_of(request), caller(request))
    state = services.engagement(video.id)
    answer = EngagementAnswer(
        video_id=video.id,
        views=state.views if state else 0,
        likes=state.likes if state else 0,
        comments=state.comments if state else 0,
        shares=state.shares if state else 0,
        saves=state.saves if state else 0,
        completion_rate=completion_rate(state) if state else None,
        as_of=moment(services.tables.freshness(TABLE).as_of),
    )
    return reply(answer, headers={"Cache-Control": "no-store"})


async def analytics(request: web.Request) -> web.Response:
    """Answer what the owner, operators and analysts may know (F8)."""
    services, known = deps(request), principal(request)
    video = await services.videos.get(video_id_of(request), known)
    if video.owner_id != known.user_id and known.role not in ANALYSING_ROLES:
        raise errors.NotContentOwner
    state = services.engagement(video.id)
    shown = await _shown(services, video.id)
    answer = AnalyticsAnswer(
        video_id=video.id,
        **video_counters(state, video),
        save_count=state.saves if state else video.save_count,
        completion_rate=completion_rate(state) if state else None,
        avg_watch_seconds=average_watch_seconds(state) if state else None,
        trending_score=trending_score(state, services.clock()) if state else 0.0,
        impression_count=shown.total,
        bitrate_switches_per_1000_views=switches_per_thousand_views(state) if state else None,
        audience=Audience(),  # nobody has said where or how old they are (X58)
        completion_distribution=list(distribution(state or VideoEngagement())),
        trajectory=_trajectory(state, services.clock()),
        as_of=moment(services.tables.freshness(TABLE).as_of),
    )
    return reply(answer, headers={"Cache-Control": "no-store"})


async def _shown(services: Deps, key: str) -> ImpressionDays:
    """Return how often feeds showed a video, or the videos of a creator."""
    row = await services.tables.row(IMPRESSIONS, key)
    if row is None:
        return ImpressionDays()
    return msgspec.convert(row.value, _ShownDays, strict=False).row()


def _trajectory(state: VideoEngagement | None, now: float) -> list[HourCount]:
    hours = trajectory(state, now) if state else ()
    return [HourCount(hour=moment(hour * 3600.0), count=count) for hour, count in hours]


async def my_analytics(request: web.Request) -> web.Response:
    """Answer what happened to the caller's videos, by day (F13, F14)."""
    services, query = deps(request), read_query(request, MyAnalyticsQuery)
    row = await services.tables.row(CREATORS, principal(request).user_id)
    state = msgspec.convert(row.value, _Days, strict=False).totals() if row else Totals()
    last = int(services.clock() // DAY_SECONDS)
    first = last - query.days + 1
    sums, shown = total(state, first, last), await _shown(services, principal(request).user_id)
    answer = MyAnalyticsAnswer(
        days=query.days,
        total_views=sums.views,
        total_likes=sums.likes,
        total_comments=sums.comments,
        total_shares=sums.shares,
        total_saves=sums.saves,
        total_completes=sums.completes,
        total_impressions=shown_between(shown, first, last),
        watch_seconds=sums.watch_ms / 1000,
        by_day=[
            _day(day, total(state, day, day), shown.daily.get(day, 0))
            for day in sorted(state.days.keys() | shown.daily.keys())
            if first <= day <= last
        ],
        top_content=_top(services, principal(request).user_id, first, last),
        as_of=moment(services.tables.freshness(CREATORS).as_of),
    )
    return reply(answer, headers={"Cache-Control": "no-store"})


def _top(services: Deps, creator_id: str, first: int, last: int) -> list[TopContent]:
    """Return the creator's videos with the most views in some days, best first (F13)."""
    found = []
    for card in services.videos_of(creator_id):
        state = services.engagement(card.video_id)
        views = views_between(state, first, last) if state else 0
        if views > 0:
            found.append(TopContent(video_id=card.video_id, title=card.title, views=views))
    return sorted(found, key=lambda video: (-video.views, video.video_id))[:TOP]


def _day(day: int, counts: DayCounts, impressions: int) -> DayTotals:
    return DayTotals(
        date=moment(day * float(DAY_SECONDS)).date(),
        views=counts.views,
        likes=counts.likes,
        comments=counts.comments,
        shares=counts.shares,
        saves=counts.saves,
        completes=counts.completes,
        impressions=impressions,
        watch_seconds=counts.watch_ms / 1000,
    )


class _ShownDays(msgspec.Struct):
    """A row of ``impression_days`` as table readers give it."""

    total: int = 0
    daily: dict[int, int] = {}

    def row(self) -> ImpressionDays:
        """Return the row as reducers know it."""
        return ImpressionDays(self.total, self.daily)


class _Days(msgspec.Struct):
    """A row of ``creator_totals`` as table readers give it: names instead of positions."""

    days: dict[int, dict[str, int]] = {}

    def totals(self) -> Totals:
        """Return the row as reducers know it."""
        return Totals({day: DayCounts(**counts) for day, counts in self.days.items()})
