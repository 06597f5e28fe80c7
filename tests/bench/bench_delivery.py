"""Serving ranges of a stored file, beside aiohttp's own static file handler in the same run.

    .venv/bin/python tests/bench/bench_delivery.py [--runs N] [--requests N]

Both are routes of the same front, behind the same middlewares, on the same loop (uvloop), in a process of its
own: ``media`` checks a signature and the video's standing and sends from the store; ``static`` is aiohttp's
``FileResponse`` of the same file. Runs are interleaved; medians of requests a second and of the server's
processor time a request are compared.

Target: at least 0.9 of static, on the clock, for every size.
"""

import argparse
import asyncio
import http.client
import multiprocessing
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import structlog
import uvloop
from aiohttp import web

from media.cloudfront import PolicySigner
from media.stores import FileStore
from media.urls import Audience, MediaSigner, generate_key
from social.videos.standing import Standing
from web.api.media import media
from web.app import create_app
from web.delivery import Delivery
from web.hub import Hub
from web.keys import Deps, Readiness, WebSettings
from web.limits import MemoryLimiter
from web.metrics import Metrics
from web.routes import RateClass, Route
from web.service import FrontRunner

VIDEO = "7c2b1f0e-3a5d-4c8e-9b1a-2f3e4d5c6b7a"
KEY = f"videos/{VIDEO}/hls/720p/segment_00000.ts"
FILE_BYTES = 8 * 1024 * 1024
SIZES = {"16 kB": 16 * 1024, "1 MB": 1024 * 1024, "8 MB": FILE_BYTES}
WAYS = ("static", "media")
TARGET_RATIO = 0.9


class Cost(NamedTuple):
    """Seconds on the clock and of the server's processor, for one request."""

    wall: float
    cpu: float


class Everybody:
    """Knows every video, as a warm ``Standings`` does; its query each five seconds is not measured."""

    async def of(self, video_id: str) -> Standing:
        return Standing(Audience.PUBLIC)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[int, str]]:
    """Run the front; yields its port and the path of the file."""
    signer = MediaSigner(generate_key(), "K1", "http://x")
    services: dict[str, Any] = dict.fromkeys(Deps.__dataclass_fields__)
    services |= {
        "settings": WebSettings(base_url="http://x", upload_dir=folder, client_dir=folder, rate_limits=False),
        "clock": time.time,
        "readiness": lambda: Readiness(()),
        "store": FileStore(folder / "objects"),
        "signer": signer,
        "delivery": Delivery(standings=Everybody(), links=PolicySigner(signer.keys, lambda: ["http://x"])),  # type: ignore[arg-type]
        "hub": Hub(time.time),
        "metrics": Metrics(),
        "limiter": MemoryLimiter(),
    }

    async def static(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(folder / "objects" / KEY)

    def row(name: str, path: str, handler: Any) -> Route:
        return Route(
            method="GET", path=path, handler=handler, name=name, summary="", tag="", rate=RateClass.FREE
        )

    rows = [row("static", "/static", static), row("media", "/media/{token}/videos/{key:.+}", media)]
    runner = FrontRunner(create_app(Deps(**services), rows), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1], f"/media/{signer.token(VIDEO)}/{KEY}"
    await runner.cleanup()


def serve(folder: Path, pipe: Connection) -> None:
    """Serve in this process until told to end."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))

    async def run() -> None:
        async with serving(folder) as (port, path):
            pipe.send((port, path))
            await asyncio.to_thread(pipe.recv)

    uvloop.run(run())


def measure(port: int, path: str, size: int, requests: int, server: psutil.Process) -> Cost:
    """Ask for ranges over one connection, all read and counted."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    before, started = server.cpu_times(), time.perf_counter()
    sink = bytearray(1024 * 1024)
    for number in range(requests):
        start = (number * 4096) % (FILE_BYTES - size + 1)
        connection.request("GET", path, headers={"Range": f"bytes={start}-{start + size - 1}"})
        answer = connection.getresponse()
        got = 0
        while read := answer.readinto(sink):
            got += read
        assert (answer.status, got) == (206, size)
    wall = time.perf_counter() - started
    after = server.cpu_times()
    connection.close()
    return Cost(wall / requests, (after.user + after.system - before.user - before.system) / requests)


def main() -> int:
    """Run; returns 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--requests", type=int, default=0, help="for each size; default by size")
    options = parser.parse_args()
    missed = False
    print(f"{platform.machine()}, {multiprocessing.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "objects" / KEY
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(range(256)) * (FILE_BYTES // 256))
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        process = context.Process(target=serve, args=(folder, theirs))
        process.start()
        port, path = pipe.recv()
        server, paths = psutil.Process(process.pid), {"static": "/static", "media": path}
        for label, size in SIZES.items():
            requests = options.requests or max(20, min(400, 64 * 1024 * 1024 // size))
            costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
            for turn in range(options.runs):
                for way in WAYS if turn % 2 else reversed(WAYS):
                    costs[way].append(measure(port, paths[way], size, requests, server))
            ratio = statistics.median(
                theirs.wall / ours.wall for theirs, ours in zip(costs["static"], costs["media"], strict=True)
            )
            cpu = {way: statistics.median(cost.cpu for cost in costs[way]) * 1e6 for way in WAYS}
            wall = {way: statistics.median(cost.wall for cost in costs[way]) * 1e6 for way in WAYS}
            ok = ratio >= TARGET_RATIO
            missed |= not ok
            print(
                f"{label:>6}: media {wall['media']:7.0f} us (cpu {cpu['media']:6.0f}), "
                f"static {wall['static']:7.0f} us (cpu {cpu['static']:6.0f}), "
                f"ratio {ratio:.2f}, target {TARGET_RATIO} {'ok' if ok else 'MISSED'}"
            )
        pipe.send("end")
        process.join(10)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
