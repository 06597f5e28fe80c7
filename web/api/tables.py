"""Stream tables for analysts (INTERFACE Analysts, Y10)."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from tables.errors import Missing
from web import downloads
from web.accept import ARROW, CSV, NDJSON, choose
from web.api.analytics import audit_personal
from web.http import JSON, deps, read_query, reply
from web.render import moment
from web.schemas.tables import RowsQuery, TableAnswer, TableCatalogue, TableRow, TableRowAnswer, TableRows

if TYPE_CHECKING:
    from tables.reading import TableReader


async def catalogue(request: web.Request) -> web.Response:
    """Answer every table with its freshness."""
    reader = deps(request).tables
    return reply(TableCatalogue(items=[_table(reader, info.name) for info in reader.catalogue()]))


async def table(request: web.Request) -> web.Response:
    """Answer one table."""
    return reply(_table(deps(request).tables, request.match_info["name"]))


async def rows(request: web.Request) -> web.StreamResponse:
    """Answer a page of rows in key order, or all rows as a file by ``Accept`` (F16)."""
    reader, name, query = deps(request).tables, request.match_info["name"], read_query(request, RowsQuery)
    form = choose(request, {JSON: "json", NDJSON: "ndjson", CSV: "csv", ARROW: "arrow"})
    envelope = _envelope(reader, name)  # before the rows: they contain at least this much
    await audit_personal(request, name, "table.rows", form=form, cursor=query.cursor)
    if form != "json":
        limit = query.limit if "limit" in request.query else None
        return await downloads.rows(request, name, form, limit, query.cursor)
    found, after = await reader.rows(name, query.limit, query.cursor)
    items = [TableRow(key=row.key, value=row.value) for row in found]
    return reply(TableRows(items=items, next_cursor=after, **envelope))


async def row(request: web.Request) -> web.Response:
    """Answer one row."""
    reader, name = deps(request).tables, request.match_info["name"]
    envelope = _envelope(reader, name)
    await audit_personal(request, name, "table.row", key=request.match_info["key"])
    found = await reader.row(name, request.match_info["key"])
    if found is None:
        raise Missing("The table has no such row.")
    return reply(TableRowAnswer(key=found.key, value=found.value, **envelope))


def _envelope(reader: "TableReader", name: str) -> dict[str, Any]:
    fresh = reader.freshness(name)
    return {"as_of": moment(fresh.as_of), "applied_offsets": dict(fresh.applied), "lag": fresh.lag}


def _table(reader: "TableReader", name: str) -> TableAnswer:
    info = reader.describe(name)
    return TableAnswer(
        name=info.name,
        description=info.description,
        key=info.key,
        value=info.value,
        partitions=info.partitions,
        rows=info.rows,
        fields=dict(info.fields),
        sources=list(info.sources),
        **_envelope(reader, name),
    )
