"""Whether the server lives, works, and what it measures (P37, P38)."""

from aiohttp import web

from web.http import deps, reply
from web.schemas.tables import HealthAnswer, ReadinessAnswer


async def healthz(request: web.Request) -> web.Response:
    """Answer as soon as the process does."""
    return reply(HealthAnswer(status="ok"), headers={"Cache-Control": "no-store"})


async def readyz(request: web.Request) -> web.Response:
    """Answer 200 when everything is there, else 503 with what is missing."""
    state = deps(request).readiness()
    answer = ReadinessAnswer(
        status="ready" if state.ready else state.status,
        missing=list(state.missing),
        checks=dict(state.checks),
    )
    headers = {"Cache-Control": "no-store"} | ({} if state.ready else {"Retry-After": "2"})
    return reply(answer, status=200 if state.ready else 503, headers=headers)


async def metrics(request: web.Request) -> web.Response:
    """Answer the Prometheus text."""
    registry = deps(request).metrics
    return web.Response(body=registry.render(), headers={"Content-Type": registry.content_type})
