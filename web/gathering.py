"""Scans over a table whose rows many workers hold: a page of each, put together in key order (Y10, F17).

Who is asked is told which partitions it is asked for, and refuses when it does not hold one of them any more:
a page is whole, or the client is told to come back. Workers ask each other at ``PATH`` with a signed hop
(``web/hops.py``); to anybody else there is nothing there. The caller was admitted, and the reading kept in
the audit, where the scan began.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from operator import attrgetter
from typing import Protocol
from uuid import uuid4

import aiohttp
import orjson
from aiohttp import web
from yarl import URL

from tables.errors import Missing
from tables.reading import Freshness, Row, TableInfo, TableReader
from web import hops
from web.forwarding import CONNECT_SECONDS, FORWARDER, READ_SECONDS, away
from web.http import raw_json
from web.keys import HOP
from web.routes import RateClass, Route

PATH = "/internal/tables/{name}/rows"
MAX_ROWS = 1_000

Page = tuple[Sequence[Row], str | None]
"""Rows in key order, and the key behind which there are more; None at the end."""
Parts = Mapping[str | None, frozenset[int]]
"""The partitions of a table by the worker that holds them; None is this one."""


class Neighbours(Protocol):
    """What a gathering reader is told of the cluster."""

    def parts(self, name: str) -> Parts | None:
        """Return who holds a table; None when all of it can be read here.

        Raises:
            ServiceUnavailable: nobody holds some of it just now (SERVICE_UNAVAILABLE).
        """

    def page(self, name: str, partitions: frozenset[int], limit: int, after: str | None) -> Page:
        """Return rows that this worker holds; ServiceUnavailable when it does not hold all of them."""


def merge(pages: Sequence[Page], limit: int) -> Page:
    """Put pages of different keys together: nothing behind the end of a page that has more.

    >>> rows, after = merge([([Row("a", 1), Row("d", 1)], None), ([Row("b", 1), Row("c", 1)], "c")], 4)
    >>> [row.key for row in rows], after
    (['a', 'b', 'c'], 'c')
    """
    bound = min((after for _, after in pages if after is not None), default=None)
    known = (row for rows, _ in pages for row in rows if bound is None or row.key <= bound)
    rows = sorted(known, key=attrgetter("key"))
    if len(rows) > limit:
        return rows[:limit], rows[limit - 1].key
    return rows, bound


class GatheringReader:
    """A ``TableReader`` whose scans reach all workers; everything else is the own reader's."""

    def __init__(self, own: TableReader, neighbours: Neighbours, secret: bytes) -> None:
        """Take the reader of this process; ``secret`` signs what is asked of the others."""
        self._own = own
        self._neighbours = neighbours
        self._secret = secret
        self._session: aiohttp.ClientSession | None = None

    def catalogue(self) -> Sequence[TableInfo]:
        """Return every table; see ``TableReader``. Rows are counted as far as they are here."""
        return self._own.catalogue()

    def describe(self, name: str) -> TableInfo:
        """Return one table; see ``TableReader``."""
        return self._own.describe(name)

    def freshness(self, name: str) -> Freshness:
        """Return how current one table is; see ``TableReader``."""
        return self._own.freshness(name)

    async def row(self, name: str, key: str) -> Row | None:
        """Return one row; see ``TableReader``."""
        return await self._own.row(name, key)

    async def rows(self, name: str, limit: int, after: str | None) -> Page:
        """Return a page over all workers; see ``TableReader``.

        Raises:
            Missing: an unknown table (NOT_FOUND).
            ServiceUnavailable: a part of it cannot be read just now (SERVICE_UNAVAILABLE, Retry-After).
        """
        self._own.describe(name)
        parts = self._neighbours.parts(name)
        if parts is None:
            return await self._own.rows(name, limit, after)
        most = min(limit, MAX_ROWS)
        pages = await asyncio.gather(
            *(self._page(url, name, held, most, after) for url, held in parts.items())
        )
        return merge(pages, most)

    async def _page(
        self, url: str | None, name: str, held: frozenset[int], limit: int, after: str | None
    ) -> Page:
        if url is None:
            return self._neighbours.page(name, held, limit, after)
        query = {"partitions": ",".join(map(str, sorted(held))), "limit": str(limit)}
        where = URL(url).with_path(PATH.format(name=name)).with_query(query | _after(after))
        request_id, now = uuid4().hex, time.time()
        signed = hops.mark(self._secret, "GET", where.raw_path_qs, request_id, "-", now)
        headers = {hops.HEADER: signed, "X-Request-ID": request_id}
        wait = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        if self._session is None:
            raise away()
        try:
            async with self._session.get(where, headers=headers, timeout=wait) as answer:
                if answer.status != 200:
                    raise away()
                body = orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise away() from error
        return [Row(key, value) for key, value in body["rows"]], body["after"]

    async def connected(self, app: web.Application) -> AsyncIterator[None]:
        """Use the connections of the application's forwarder while it runs (``cleanup_ctx``)."""
        self._session = app[FORWARDER].session
        yield
        self._session = None

    def routes(self) -> tuple[Route, ...]:
        """Return the row at which other workers ask this one."""
        return (
            Route(
                method="GET",
                path=PATH,
                handler=self._answer,
                name="internal_rows",
                summary="Rows of partitions that this worker holds, for other workers.",
                tag="system",
                rate=RateClass.FREE,
                hidden=True,
            ),
        )

    async def _answer(self, request: web.Request) -> web.Response:
        if HOP not in request:
            raise Missing
        name, query = request.match_info["name"], request.query
        partitions = frozenset(map(int, query["partitions"].split(",")))
        rows, after = self._neighbours.page(name, partitions, int(query["limit"]), query.get("after"))
        return raw_json(orjson.dumps({"rows": [(row.key, row.value) for row in rows], "after": after}))


def _after(key: str | None) -> dict[str, str]:
    return {} if key is None else {"after": key}
