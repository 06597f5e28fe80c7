"""Changes of tables, SQL over the lake, dead letters (INTERFACE Analysts, Y10, F16, O20)."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from aiohttp import hdrs, web

from tables import errors
from tables.analytics import Change, Letter, LetterFilter, Position, Who, format_vector, parse_vector
from web.accept import ARROW, CSV, EVENT_STREAM, NDJSON, choose
from web.downloads import send
from web.errors import rfc3339
from web.http import JSON, deps, principal, read_json, read_query, reply
from web.render import moment
from web.routes import Auth, Route
from web.schemas import analytics as shapes

WRITE_BYTES = 32 * 1024
"""Lines gathered into one write: fewer packets, and no more than this in memory for a follower."""
FORMS: dict[str, Any] = {JSON: "json", CSV: "csv", ARROW: "arrow"}


def who(request: web.Request) -> Who:
    """Return the caller, as the audit keeps it."""
    known = principal(request)
    return Who(known.user_id, known.username, known.role)


async def audit_personal(request: web.Request, name: str, action: str, **facts: Any) -> None:
    """Keep in the audit that a table about persons is read."""
    tools = deps(request).analysts
    if name in tools.personal:
        await tools.audit.note(who(request), action, table=name, **facts)


async def changes(request: web.Request) -> web.StreamResponse:
    """Follow a table: rows, then changes, as JSON lines or server-sent events."""
    services, name = deps(request), request.match_info["name"]
    asked = read_query(request, shapes.ChangesQuery).since or request.headers.get("Last-Event-ID")
    since = parse_vector(asked) if asked else None
    form = choose(request, {NDJSON: "lines", EVENT_STREAM: "events"})
    services.analysts.changes.check(name, since)
    await audit_personal(request, name, "table.changes", since=asked)
    response = web.StreamResponse(
        headers={
            "Content-Type": NDJSON if form == "lines" else EVENT_STREAM,
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would hold lines back
        }
    )
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    encode = _line if form == "lines" else _event
    follow = services.analysts.changes.follow(name, since, services.settings.stream_idle_seconds)
    async with aclosing(follow) as items:
        await _pour(response, items, encode)
    return response


async def _pour(response: web.StreamResponse, items: "AsyncIterator[Change | Position]", encode: Any) -> None:
    """Write items as they come; a slow reader is waited for, one that went away ends it."""
    held = bytearray()
    async for item in items:
        held += encode(item)
        if isinstance(item, Position) or len(held) >= WRITE_BYTES:
            await response.write(bytes(held))
            held.clear()


def _shape(item: Change | Position) -> dict[str, Any]:
    if isinstance(item, Position):
        return {"op": "cursor", "cursor": format_vector(item.vector), "as_of": rfc3339(item.as_of)}
    return {
        "op": item.op,
        "key": item.key,
        "value": item.value,
        "partition": item.partition,
        "offset": item.offset,
        "time": rfc3339(item.time),
    }


def _line(item: Change | Position) -> bytes:
    return orjson.dumps(_shape(item), option=orjson.OPT_APPEND_NEWLINE)


def _event(item: Change | Position) -> bytes:
    """Wrap an item as a server-sent event; the id of a cursor is what a browser resumes with."""
    shape = _shape(item)
    mark = f"id: {shape['cursor']}\n".encode() if isinstance(item, Position) else b""
    return mark + f"event: {shape['op']}\ndata: ".encode() + orjson.dumps(shape) + b"\n\n"


async def query(request: web.Request) -> web.StreamResponse:
    """Answer one SELECT over the lake as JSON, CSV or an Arrow stream."""
    asked = await read_json(request, shapes.QueryRequest)
    form = choose(request, FORMS)
    answer = await deps(request).analysts.sql.query(
        who(request), asked.sql, form, asked.limit, fresh=asked.fresh
    )
    headers = {
        "X-Rows": str(answer.rows),
        "X-Truncated": str(answer.truncated).lower(),
        "X-Elapsed-Ms": str(answer.elapsed_ms),
    }
    media_type = next(name for name, known in FORMS.items() if known == form)
    return await send(request, answer.body, media_type, headers)


async def datasets(request: web.Request) -> web.Response:
    """Answer the views that SQL sees, with their columns."""
    found = [
        shapes.DatasetAnswer(**{**item, "as_of": moment(item["as_of"]) if item["as_of"] else None})
        for item in await deps(request).analysts.sql.datasets()
    ]
    return reply(shapes.DatasetList(items=found))


async def letters(request: web.Request) -> web.Response:
    """Answer a page of dead letters, newest first."""
    asked = read_query(request, shapes.LetterQuery)
    wanted = LetterFilter(asked.topic, asked.code, "" if asked.state == "all" else asked.state, asked.key)
    found, after = await deps(request).analysts.letters.list(wanted, asked.limit, asked.cursor)
    items = [shapes.LetterAnswer(**_letter(letter)) for letter in found]
    return reply(shapes.LetterList(items=items, next_cursor=after))


async def letter(request: web.Request) -> web.Response:
    """Answer one dead letter whole."""
    place = request.match_info
    letter_id = f"{place['topic']}/{place['partition']}/{place['offset']}"
    found = await deps(request).analysts.letters.show(letter_id)
    await deps(request).analysts.audit.note(who(request), "dead_letter.show", letter=letter_id)
    return reply(shapes.LetterWhole(**_letter(found), original=found.original))


async def replay(request: web.Request) -> web.Response:
    """Send dead letters to their topics again."""
    asked = await read_json(request, shapes.LetterChoice)
    tools = deps(request).analysts
    count = await tools.letters.replay(asked.ids, principal(request).username)
    await tools.audit.note(who(request), "dead_letter.replay", letters=asked.ids)
    return reply(shapes.LetterDone(count=count))


async def drop(request: web.Request) -> web.Response:
    """Decide that nothing is to be done about dead letters."""
    asked = await read_json(request, shapes.LetterChoice)
    tools = deps(request).analysts
    count = await tools.letters.drop(asked.ids, principal(request).username)
    await tools.audit.note(who(request), "dead_letter.drop", letters=asked.ids)
    return reply(shapes.LetterDone(count=count))


def _letter(found: Letter) -> dict[str, Any]:
    return {
        "id": found.id,
        "topic": found.topic,
        "key": found.key,
        "code": found.code,
        "message": found.message,
        "agent": found.agent,
        "at": moment(found.at),
        "state": found.state,
    }


_analyst = partial(Route, tag="analysts", auth=Auth.REQUIRED,
                   roles=frozenset({"analyst", "operator", "service"}))  # fmt: skip
_operator = partial(Route, tag="operators", auth=Auth.REQUIRED, roles=frozenset({"operator"}))
ROUTES: tuple[Route, ...] = (
    _analyst(method="GET", path="/api/v1/tables/{name}/changes", handler=changes, name="follow_table",
             summary="A table's rows, then its changes; resumable with `since`. SSE by Accept.",
             query=shapes.ChangesQuery, media_type=NDJSON, errors=(errors.Missing, errors.NotAcceptable)),
    _analyst(method="POST", path="/api/v1/analytics/query", handler=query, name="query_lake",
             summary="One SELECT over the lake; CSV or Arrow by Accept. Audited.",
             request=shapes.QueryRequest, response=shapes.QueryAnswer,
             errors=(errors.InvalidSql, errors.QueryTooLarge, errors.NotAcceptable, errors.Failure)),
    _analyst(method="GET", path="/api/v1/analytics/datasets", handler=datasets, name="list_datasets",
             summary="The views that SQL sees, their columns and freshness.", response=shapes.DatasetList),
    _operator(method="GET", path="/api/v1/dead-letters", handler=letters, name="list_dead_letters",
              summary="What could not be handled, newest first.", query=shapes.LetterQuery,
              response=shapes.LetterList),
    _operator(method="POST", path="/api/v1/dead-letters/replay", handler=replay, name="replay_dead_letters",
              summary="Send dead letters to their topics again; all or none.",
              request=shapes.LetterChoice, response=shapes.LetterDone,
              errors=(errors.Missing, errors.DatabaseFailure)),
    _operator(method="POST", path="/api/v1/dead-letters/drop", handler=drop, name="drop_dead_letters",
              summary="Decide that nothing is to be done about dead letters; all or none.",
              request=shapes.LetterChoice, response=shapes.LetterDone,
              errors=(errors.Missing, errors.DatabaseFailure)),
    _operator(method="GET", path="/api/v1/dead-letters/{topic}/{partition}/{offset}", handler=letter,
              name="get_dead_letter", summary="One dead letter, its value included.",
              response=shapes.LetterWhole, errors=(errors.Missing,)),
)  # fmt: skip
