"""The aiohttp application of the front, made from the route table."""

from collections.abc import Iterable

from aiohttp import web

from web.cards import CardCache
from web.forwarding import forwarder
from web.idempotency import IdempotencyStore
from web.keys import CARDS, DEPS, IDEMPOTENCY, ROUTES, Deps
from web.middlewares import MIDDLEWARES, decorate
from web.routes import Route


def create_app(deps: Deps, table: Iterable[Route] | None = None) -> web.Application:
    """Build the application; nothing starts and nothing is read here.

    Args:
        deps: all services.
        table: rows to serve; by default the whole of ``web.table``.
    """
    if table is None:
        from web.table import TABLE

        table = TABLE
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=deps.settings.max_json_bytes)
    app[DEPS] = deps
    app[IDEMPOTENCY] = deps.once or IdempotencyStore(deps.clock)
    app[CARDS] = CardCache(deps)
    app[ROUTES] = {}
    for row in table:
        _add(app, row)
    app.on_response_prepare.append(decorate)
    app.cleanup_ctx.append(forwarder)
    return app


def _add(app: web.Application, row: Route) -> None:
    """Add a row: GET answers HEAD too, and a slash at the end makes no difference (X5)."""
    methods = ("GET", "HEAD") if row.method == "GET" else (row.method,)
    takes_slashes = row.path == "/" or row.path.endswith(":.+}")
    for path in (row.path,) if takes_slashes else (row.path, row.path + "/"):
        for method in methods:
            app[ROUTES][app.router.add_route(method, path, row.handler)] = row
