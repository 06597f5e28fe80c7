"""The API description and a page that shows it (Y13)."""

import asyncio
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import orjson
from aiohttp import web

from web.http import deps, raw_json
from web.keys import ROUTES
from web.openapi import describe

STATIC = Path(__file__).resolve().parent.parent / "static"


async def openapi(request: web.Request) -> web.Response:
    """Answer the description of exactly the routes that are served."""
    rows = tuple(dict.fromkeys(request.app[ROUTES].values()))
    # A quarter of a second the first time: not on the loop.
    described = await asyncio.to_thread(_described, rows, deps(request).settings.base_url)
    return raw_json(described, headers={"Cache-Control": "no-cache"})


@lru_cache(maxsize=4)
def _described(rows: tuple[object, ...], base_url: str) -> bytes:
    return orjson.dumps(describe(rows, base_url, version("freewill")))  # type: ignore[arg-type]


async def docs(request: web.Request) -> web.StreamResponse:
    """Answer the page."""
    return web.FileResponse(STATIC / "docs.html", headers={"Cache-Control": "no-cache"})


async def docs_style(request: web.Request) -> web.StreamResponse:
    """Answer the page's style."""
    return web.FileResponse(STATIC / "docs.css", headers={"Cache-Control": "no-cache"})


async def docs_script(request: web.Request) -> web.StreamResponse:
    """Answer the page's script."""
    return web.FileResponse(STATIC / "docs.js", headers={"Cache-Control": "no-cache"})
