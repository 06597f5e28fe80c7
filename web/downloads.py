"""A table's rows as a file: JSON lines, CSV, Arrow (F16)."""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from web.accept import ARROW, CSV, NDJSON
from web.http import deps
from web.render import moment

if TYPE_CHECKING:
    from tables.reading import Row

PAGE_ROWS = 500
LARGE_BYTES = 256 * 1024


async def rows(
    request: web.Request, name: str, form: str, limit: int | None, after: str | None
) -> web.StreamResponse:
    """Answer rows of a table in one form, as they are read: memory holds a page.

    Args:
        request: the request to answer.
        name: a known table.
        form: ``ndjson``, ``csv`` or ``arrow``.
        limit: most rows, None for all.
        after: key to begin behind, None for the first.
    """
    services = deps(request)
    fresh = services.tables.freshness(name)
    about = {
        "X-As-Of": str(moment(fresh.as_of)),
        "X-Lag": str(fresh.lag),
        "Content-Disposition": f'attachment; filename="{name}.{form}"',
    }
    if form == "arrow":
        return await send(request, await services.analysts.arrow(name, limit, after), ARROW, about)
    response = web.StreamResponse(headers={**about, "Content-Type": NDJSON if form == "ndjson" else CSV})
    response.enable_chunked_encoding()
    await response.prepare(request)
    encode = _lines if form == "ndjson" else _Sheet(list(services.tables.describe(name).fields))
    async for page in _pages(request, name, limit, after):
        await response.write(encode(page))
    await response.write_eof()
    return response


async def send(
    request: web.Request, body: bytes, media_type: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer a body that is there; a large one is not compressed on the event loop."""
    if len(body) <= LARGE_BYTES:
        return web.Response(body=body, headers={**headers, "Content-Type": media_type})
    response = web.StreamResponse(headers={**headers, "Content-Type": media_type})
    response.content_length = len(body)
    await response.prepare(request)
    for start in range(0, len(body), LARGE_BYTES):
        await response.write(body[start : start + LARGE_BYTES])
    await response.write_eof()
    return response


async def _pages(
    request: web.Request, name: str, limit: int | None, after: str | None
) -> "AsyncIterator[list[Row]]":
    reader = deps(request).tables
    left = limit
    yield []  # so that an empty table has a header, too
    while left is None or left > 0:
        page, after = await reader.rows(name, PAGE_ROWS if left is None else min(left, PAGE_ROWS), after)
        yield list(page)
        left = None if left is None else left - len(page)
        if after is None:
            return


def _lines(page: "list[Row]") -> bytes:
    return b"".join(orjson.dumps({"key": row.key, "value": row.value}) + b"\n" for row in page)


class _Sheet:
    """Makes CSV: the key and one column per field of the value; nested values are JSON in their cell."""

    def __init__(self, fields: list[str]) -> None:
        self._fields = fields
        self._begun = False

    def __call__(self, page: "list[Row]") -> bytes:
        text = io.StringIO()
        writer = csv.writer(text)
        if not self._begun:
            writer.writerow(["key", *self._fields])
            self._begun = True
        for row in page:
            value: Any = row.value if isinstance(row.value, dict) else {}
            writer.writerow([row.key, *(_cell(value.get(field)) for field in self._fields)])
        return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value
