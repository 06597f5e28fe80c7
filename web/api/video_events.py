"""What becomes of one's own videos, as server-sent events that go on where they were cut (C43, X54).

The events are the frames that sockets get. The id of a status is the time of the change, so whoever names
the last one it has seen is first told the status of every video that changed after it: the latest one, from
the rows, whichever worker it asks and however long it was away. What changed within the overlap comes again.
"""

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from tables import errors
from tables.errors import ValidationFailed
from web.api.sockets import begin_stream, event, frames_of, listening, signed_in
from web.errors import rfc3339
from web.http import deps, read_query
from web.routes import Route
from web.schemas.videos import VideoEventsQuery

if TYPE_CHECKING:
    from social.views import Video

LAST_EVENT_ID: Final = "Last-Event-ID"
STATUS: Final = "video_status"
MOST_MISSED: Final = 1_000
SHOWN: Final = frozenset({STATUS, "video_progress"})
OVERLAP_SECONDS: Final = 10.0
"""Transactions end in another order than they begin: an earlier change may be seen after a later one."""


async def events(request: web.Request) -> web.StreamResponse:
    """Push what becomes of the caller's videos."""
    services, query = deps(request), read_query(request, VideoEventsQuery)
    known = await signed_in(request)
    since = _since(request.headers.get(LAST_EVENT_ID) or query.last_event_id)
    response = await begin_stream(request)
    with listening(request, known, "sse") as subscriber:  # first, so that nothing falls in between
        now = services.clock()
        missed = await services.videos.changed_since(known.user_id, since or now, MOST_MISSED)
        hello = services.hub.frame("connected", {"user_id": known.user_id})
        await response.write(event(hello, rfc3339(since or now)))
        for video in missed:
            frame = services.hub.frame(STATUS, _status(video))
            await response.write(event(frame, rfc3339(video.updated_at)))
        if len(missed) == MOST_MISSED:
            return response  # the client comes again with the last of them, and gets the rest
        async for frame in frames_of(request, response, subscriber):
            told = orjson.loads(frame)
            if told["event"] in SHOWN:
                await response.write(event(frame, told["data"].get("updated_at", "")))
    return response


def _since(last: str | None) -> float | None:
    if not last:
        return None
    try:
        at = datetime.fromisoformat(last)
        if at.tzinfo is None:
            raise ValueError(last)
        return max(0.0, at.timestamp() - OVERLAP_SECONDS)
    except (ValueError, OverflowError):
        details = {"field": LAST_EVENT_ID}
        raise ValidationFailed("This is no id of an event of this stream.", details=details) from None


def _status(video: "Video") -> dict[str, Any]:
    data = {
        "video_id": video.id,
        "status": video.status.value,
        "title": video.title,
        "updated_at": rfc3339(video.updated_at),
    }
    if video.fail_code:
        data |= {"fail_code": video.fail_code, "fail_reason": video.fail_reason or ""}
    return data


_live = partial(Route, method="GET", tag="videos", media_type="text/event-stream")
ROUTES: tuple[Route, ...] = (
    _live(path="/api/v1/videos/events", handler=events, name="video_events",
          summary="What becomes of the caller's videos, as server-sent events; goes on after Last-Event-ID.",
          query=VideoEventsQuery,
          errors=(errors.InvalidToken, errors.TokenExpired, errors.MissingAuthHeader,
                  errors.DatabaseFailure)),
)  # fmt: skip
