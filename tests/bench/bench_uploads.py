"""Receiving an upload to disk, beside a bare aiohttp handler that hashes the same bytes in the same run.

    .venv/bin/python tests/bench/bench_uploads.py [--runs N] [--megabytes N] [--whole]

``part`` is ``FileParts.put`` behind a handler of three lines, ``append`` the same with ``FileParts.append``;
both answer when the bytes are durable. ``bare`` writes and hashes on the loop and answers without a sync,
``bare durable`` syncs first. Each server is a process of its own; runs are interleaved, medians are compared,
with the processor time (user and system) of the server.

The last section sends 1.5 GB in one body (``--whole``; 300 MB without it) and reads the server's peak of
resident memory before and after.

Targets: at least 0.9 of bare; memory flat, which is less than 32 MB more than before.
"""

import argparse
import asyncio
import hashlib
import http.client
import itertools
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import psutil
import uvloop
from aiohttp import web

from media.file_parts import FileParts
from media.stores import FileStore

MEGABYTE = 1_000_000
LIMIT = 10_000 * MEGABYTE
TARGET_RATIO = 0.9
TARGET_GROWTH = 32 * MEGABYTE
WAYS = ("bare", "bare durable", "part", "append")

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Cost(NamedTuple):
    """Seconds on the clock, and seconds of the server's processor."""

    wall: float
    cpu: float


def bare(folder: Path, durable: bool) -> Handler:
    """Return the handler that ours are compared with."""

    async def receive(request: web.Request) -> web.Response:
        path, digest = folder / "bare", hashlib.sha256()
        with path.open("wb") as out:
            async for chunk in request.content.iter_any():
                out.write(chunk)
                digest.update(chunk)
            if durable:
                out.flush()
                os.fsync(out.fileno())
        path.unlink()
        return web.Response(text=digest.hexdigest())

    return receive


def ours(folder: Path, way: str) -> Handler:
    """Return a handler on the part store; every request is an upload of its own, taken away again."""
    parts = FileParts(folder / "uploads", FileStore(folder / "objects"))
    numbers = itertools.count()

    async def receive(request: web.Request) -> web.Response:
        upload = await parts.begin(f"s{next(numbers)}", "videos/1/source.mp4", content_type="video/mp4")
        if way == "part":
            part = await parts.put(upload, 1, request.content.iter_any(), max_bytes=LIMIT)
            answer = part.sha256
        else:
            answer = str(await parts.append(upload, 0, request.content.iter_any(), max_bytes=LIMIT))
        await parts.abort(upload)
        return web.Response(text=answer)

    return receive


def serve(way: str, folder: Path, ready: Connection) -> None:
    """Run one server until the process is ended; tells its port first."""
    handler = bare(folder, way == "bare durable") if way.startswith("bare") else ours(folder, way)

    async def main() -> None:
        app = web.Application()
        app.router.add_put("/", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        ready.send(listening.getsockname()[1])
        await asyncio.Event().wait()

    uvloop.run(main())


@contextmanager
def server(way: str, folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Start a server process; yields it with its port."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(way, folder, sending))
    process.start()
    try:
        yield psutil.Process(process.pid), receiving.recv()
    finally:
        process.terminate()
        process.join()


def send(port: int, block: bytes, blocks: int) -> None:
    """PUT a body of repeated blocks."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("PUT", "/")
    connection.putheader("Content-Length", str(len(block) * blocks))
    connection.endheaders()
    for _ in range(blocks):
        connection.send(block)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"the server answered {answer.status}")
    connection.close()


def measured(process: psutil.Process, port: int, block: bytes, blocks: int) -> Cost:
    """Send one body and return what it cost."""
    before, begun = process.cpu_times(), time.perf_counter()
    send(port, block, blocks)
    wall, after = time.perf_counter() - begun, process.cpu_times()
    return Cost(wall, after.user + after.system - before.user - before.system)


def compare(folder: Path, runs: int, megabytes: int) -> bool:
    """Print throughput of each way, and return whether ours reach the target."""
    block, costs = os.urandom(MEGABYTE), dict[str, list[Cost]]()
    with ExitStack() as stack:
        running = {way: stack.enter_context(server(way, folder)) for way in WAYS}
        for _, port in running.values():
            send(port, block, 10)  # connections, threads and imports are not what is measured
        for _ in range(runs):
            for way, (process, port) in running.items():
                costs.setdefault(way, []).append(measured(process, port, block, megabytes))
    medians = {
        way: Cost(*(statistics.median(column) for column in zip(*found, strict=True)))
        for way, found in costs.items()
    }
    print(f"{megabytes} MB, median of {runs} runs")
    passed = True
    for way, cost in medians.items():
        ratio, durable = medians["bare"].wall / cost.wall, medians["bare durable"].wall / cost.wall
        print(
            f"  {way:13} {megabytes / cost.wall:5.0f} MB/s, {ratio:.2f} of bare, {durable:.2f} of durable; "
            f"{1000 * cost.cpu / megabytes:.2f} ms CPU a MB, {medians['bare'].cpu / cost.cpu:.2f} of bare"
        )
        passed &= way.startswith("bare") or ratio >= TARGET_RATIO
    print(f"  target: part and append at least {TARGET_RATIO} of bare: {'met' if passed else 'MISSED'}")
    return passed


def peak(process: psutil.Process) -> int:
    """Return the peak of resident memory since the last ``reset``, in bytes."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def memory(folder: Path, megabytes: int) -> bool:
    """Print the peak of memory during one large body, and return whether it stayed flat."""
    block, passed = os.urandom(MEGABYTE), True
    for way in ("part", "append"):
        with server(way, folder) as (process, port):
            send(port, block, 20)
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the peak starts again
            before = process.memory_info().rss
            cost = measured(process, port, block, megabytes)
            highest, after = peak(process), process.memory_info().rss
            print(
                f"{way:7} {megabytes} MB in one body, {cost.wall:.1f} s, {cost.cpu:.1f} s CPU: resident "
                f"{before / MEGABYTE:.0f} MB, at most {highest / MEGABYTE:.0f}, {after / MEGABYTE:.0f} after"
            )
            passed &= highest - before < TARGET_GROWTH
    print(f"  target: less than {TARGET_GROWTH // MEGABYTE} MB more: {'met' if passed else 'MISSED'}")
    return passed


def main() -> int:
    """Run the sections; the exit status says whether every target was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--whole", action="store_true", help="1.5 GB in the memory section")
    options = parser.parse_args()
    print(f"uploads: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name:
        fast = compare(Path(name), options.runs, options.megabytes)
        flat = memory(Path(name), 1500 if options.whole else 300)
    return 0 if fast and flat else 1


if __name__ == "__main__":
    sys.exit(main())
