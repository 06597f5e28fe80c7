"""The browser client: its built files, and its page for every address that it knows (EXPERIENCE, N12)."""

import re
from pathlib import Path

from aiohttp import hdrs, web

from tables.errors import Missing
from web.http import deps

# Addresses that the client draws; the same list decides in the browser (web/client/src).
CLIENT_PATHS = re.compile(
    r"/|/(signup|login|upload|studio|settings|analyst|search|following|notifications|v/[^/]+|@[^/]+)/?"
)
# Addresses that machines use: a browser that asks for one gets the JSON error too.
MACHINE_PATHS = ("/api/", "/ap/", "/media/", "/assets/", "/.well-known/", "/nodeinfo/")
IMMUTABLE = "public, max-age=31536000, immutable"
NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>FreeWill</title>
<body style="font:16px system-ui;max-width:40rem;margin:4rem auto">
<h1>FreeWill is running</h1>
<p>The browser client is not built. Run <code>make client</code> and reload.</p>
<p>The API is described at <a href="/api/docs">/api/docs</a>.</p></body></html>
"""


async def page(request: web.Request) -> web.StreamResponse:
    """Answer the client's page; unknown addresses get it with 404 when a browser asks."""
    if not wants_page(request):
        raise Missing
    status = 200 if CLIENT_PATHS.fullmatch(request.path) else 404
    index = deps(request).settings.client_dir / "index.html"
    headers = {"Cache-Control": "no-cache", hdrs.VARY: hdrs.ACCEPT}
    if not index.is_file():
        return web.Response(text=NOT_BUILT, status=status, content_type="text/html", headers=headers)
    if status != 200:
        return web.Response(body=index.read_bytes(), status=status, content_type="text/html", headers=headers)
    return web.FileResponse(index, headers=headers)


def wants_page(request: web.Request) -> bool:
    """Say whether this is a browser on its way to a page."""
    if request.path.startswith(MACHINE_PATHS):
        return False
    return bool(CLIENT_PATHS.fullmatch(request.path)) or "text/html" in request.headers.get(hdrs.ACCEPT, "")


async def asset(request: web.Request) -> web.StreamResponse:
    """Answer a built file of the client; names with a content hash never change."""
    found = _inside(deps(request).settings.client_dir, request.path.lstrip("/"))
    if found is None:
        return await page(request)
    hashed = request.path.startswith("/assets/")
    return web.FileResponse(found, headers={"Cache-Control": IMMUTABLE if hashed else "no-cache"})


def _inside(root: Path, name: str) -> Path | None:
    """Return the file of this name below ``root``, None when there is none or it lies elsewhere."""
    if "\x00" in name or not name:
        return None
    root = root.resolve()
    try:
        found = (root / name).resolve()
        return found if found.is_relative_to(root) and found.is_file() else None
    except OSError:
        return None
