"""Events, counters and analytics over HTTP (INTERFACE Engagement; F1-F3, F8)."""

from typing import Any

from aiohttp import web

from tables import errors
from tables.reducers.engagement import average_watch_seconds, completion_rate, trending_score
from web.api.videos import video_id_of
from web.http import caller, deps, principal, read_any, reply
from web.render import moment, video_counters
from web.schemas.engagement import (
    AnalyticsAnswer,
    Audience,
    EngagementAnswer,
    EventsAnswer,
    RejectedEvent,
)

TABLE = "video_engagement"
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
    answer = AnalyticsAnswer(
        video_id=video.id,
        **video_counters(state, video),
        save_count=state.saves if state else video.save_count,
        completion_rate=completion_rate(state) if state else None,
        avg_watch_seconds=average_watch_seconds(state) if state else None,
        trending_score=trending_score(state, services.clock()) if state else 0.0,
        audience=Audience(),  # nobody has said where or how old they are (X58)
        as_of=moment(services.tables.freshness(TABLE).as_of),
    )
    return reply(answer, headers={"Cache-Control": "no-store"})
