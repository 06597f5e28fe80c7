"""Uploads into a whole server: forms beside a bare handler, a thousand sessions at once, one of 1.5 GB.

    .venv/bin/python tests/bench/bench_upload_load.py [--runs N] [--uploads N] [--complete N] [--whole N]
                                                      [--nice N]

``form``: a form of 100 MB, beside a bare aiohttp handler that writes and hashes the same form in a process of
its own, run by run. ``received`` is a form that is refused for its title once it is on the disk, which is the
part that can be compared; ``accepted`` adds the child that looks into the file, the store and the rows.

``load``: uploads of 10 MB in two parts at signed URLs, from a process of their own; meanwhile somebody
creates sessions, reads them and one that has a part (``begun``), and asks ``/healthz`` (``idle``), which
costs nothing: it says how long any answer takes. They are opened all at the same moment, and then all send;
calls are told apart by when they began, ``opening`` or ``sending``. ``--complete`` of them are completed too,
since every video starts an encode. No request is repeated: a refusal is a failure. Where all share two
cores, much of a call is waiting for a processor: ``inside`` says how many calls the server answered in time
by its own clock, and for how much of the time its loop's thread ran, and wanted to. ``--nice`` gives the
senders what the server leaves, as if they had machines of their own.

``whole``: 1.5 GB as a form and in parts. What is sent is a clip and a ``free`` box behind it, so it is sound.

Targets: received at least 0.9 of bare; no failure, less than 600 MB resident, and while all send 50 ms at the
95th percentile, or on a machine that is busy with other things three times what ``/healthz`` takes; less than
64 MB more memory by 1.5 GB.
"""

import argparse
import asyncio
import hashlib
import http.client
import io
import itertools
import math
import multiprocessing
import os
import platform
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psutil
import uvloop
from aiohttp import BodyPartReader, web

from media.generate import generate_clip

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000
PART = 5_242_880
TARGET_RATIO = 0.9
TARGET_RESIDENT = 600 * MEGABYTE
TARGET_SECONDS = 0.050
TARGET_TIMES_IDLE = 3.0
TARGET_GROWTH = 64 * MEGABYTE
BOUNDARY = "a-boundary-that-no-clip-has"
BUCKET = re.compile(r'freewill_http_request_seconds_bucket\{le="([^"]+)",route="(\w+)"\} (\S+)')
SPAWN = multiprocessing.get_context("spawn")


class Server:
    """A whole server in a process of its own."""

    def __init__(self, data: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url, self.data = f"http://127.0.0.1:{self.port}", data
        own = {"DATA_DIR": str(data), "PORT": str(self.port), "RATE_LIMITS": "off", "LOG_LEVEL": "WARNING"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "freewill.cli", "serve"],
            cwd=ROOT,
            env=os.environ | {f"FREEWILL_{name}": value for name, value in own.items()},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )
        self.process = psutil.Process(self._child.pid)

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Wait until it serves."""
        while self._child.poll() is None:
            try:
                async with session.get(self.url + "/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
        raise SystemExit("the server ended")

    def end(self) -> None:
        """End the server and what it started: encodes of what was uploaded are not waited for."""
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    """Run a server; yields it with a session of somebody who is signed in."""
    server = Server(folder / "data")
    try:
        async with aiohttp.ClientSession() as asking:
            await server.ready(asking)
            body = {"username": "ada", "email": "ada@example.org", "password": "correct horse battery"}
            registered = await call(asking, "POST", f"{server.url}/api/v1/auth/register", json=body)
        headers = {"Authorization": f"Bearer {registered['access_token']}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            yield server, session
    finally:
        server.end()


async def call(session: aiohttp.ClientSession, method: str, url: str, **options: Any) -> Any:
    """Make a request; whatever is not 2xx is an error that names the answer."""
    async with session.request(method, url, **options) as answer:
        if answer.status >= 300:
            raise RuntimeError(f"{method} {url}: {answer.status} {(await answer.text())[:300]}")
        return await answer.json() if answer.content_type == "application/json" else None


async def padded(folder: Path) -> bytes:
    """Return a small clip; behind it, a ``free`` box makes it any size."""
    path = folder / "clip.mp4"
    await generate_clip(path, "bars", 1.0, (64, 48))
    return path.read_bytes()


def pad(clip: bytes, size: int) -> bytes:
    """Return the head of a file of ``size`` bytes: the clip and the box that all the rest belongs to."""
    return clip + (size - len(clip)).to_bytes(4) + b"free"


def blocks(head: bytes, size: int) -> Iterator[bytes]:
    """Yield a file block by block: its head, then zeros."""
    yield head
    left, zeros = size - len(head), bytes(MEGABYTE)
    while left:
        yield zeros[:left]
        left -= min(left, MEGABYTE)


# -- a form beside a bare handler


class Cost(NamedTuple):
    """Seconds: on the clock, of the server's processor, of its children's."""

    wall: float
    cpu: float
    children: float


def bare(folder: Path, ready: Connection) -> None:
    """Serve the handler that ours is compared with, until the process is ended."""

    async def receive(request: web.Request) -> web.Response:
        path, digest = folder / "bare", hashlib.sha256()
        reader = await request.multipart()
        with path.open("wb") as out:
            while (part := await reader.next()) is not None:
                assert isinstance(part, BodyPartReader)
                while chunk := await part.read_chunk(MEGABYTE):
                    out.write(chunk)
                    digest.update(chunk)
        path.unlink()
        return web.Response(text=digest.hexdigest())

    async def main() -> None:
        app = web.Application()
        app.router.add_post("/api/v1/videos/upload", receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        ready.send(listening.getsockname()[1])
        await asyncio.Event().wait()

    uvloop.run(main())


@contextmanager
def bare_server(folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Start the bare server; yields its process and port."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    process = SPAWN.Process(target=bare, args=(folder, sending))
    process.start()
    try:
        yield psutil.Process(process.pid), receiving.recv()
    finally:
        process.terminate()
        process.join()


def send_form(port: int, token: str, title: str, head: bytes, size: int) -> int:
    """Send a form with a file of ``size`` bytes and return the status."""
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{{}}"{{}}\r\n\r\n'
    fields = "".join(
        f"{field.format(name, '')}{value}\r\n" for name, value in (("policy", "long"), ("title", title))
    )
    before = (fields + field.format("file", '; filename="a.mp4"')).encode()
    after = f"\r\n--{BOUNDARY}--\r\n".encode()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("POST", "/api/v1/videos/upload")
    connection.putheader("Authorization", token)
    connection.putheader("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
    connection.putheader("Content-Length", str(len(before) + size + len(after)))
    connection.endheaders()
    connection.send(before)
    for block in blocks(head, size):
        connection.send(block)
    connection.send(after)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def timed(process: psutil.Process, send: Callable[[], int], expected: int) -> Cost:
    """Send once and return what it cost."""
    before, begun = process.cpu_times(), time.perf_counter()
    status = send()
    wall, after = time.perf_counter() - begun, process.cpu_times()
    if status != expected:
        raise RuntimeError(f"{status} instead of {expected}")
    children = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(wall, after.user + after.system - before.user - before.system, children)


async def forms(folder: Path, clip: bytes, runs: int, megabytes: int = 100) -> bool:
    """Print what a form costs beside the bare handler; return whether the target is met."""
    size = megabytes * MEGABYTE
    head, costs = pad(clip, size), dict[str, list[Cost]]()
    with bare_server(folder) as (bare_process, bare_port):
        async with serving(folder) as (server, session):
            token = session.headers["Authorization"]
            ways = {
                "bare": (bare_process, bare_port, "Film", 200),
                "received": (server.process, server.port, "x" * 1000, 400),
                "accepted": (server.process, server.port, "Film", 201),
            }
            for run in range(runs + 1):
                for way, (process, port, title, status) in ways.items():
                    send = partial(send_form, port, token, title, head, size)
                    cost = await asyncio.to_thread(timed, process, send, status)
                    if run:  # the first warms up
                        costs.setdefault(way, []).append(cost)
    medians = {
        way: Cost(*(statistics.median(column) for column in zip(*found, strict=True)))
        for way, found in costs.items()
    }
    print(f"form: {megabytes} MB, median of {runs} runs")
    for way, cost in medians.items():
        print(
            f"  {way:9} {megabytes / cost.wall:5.0f} MB/s, {medians['bare'].wall / cost.wall:.2f} of bare; "
            f"{cost.cpu:.3f} s CPU, {medians['bare'].cpu / cost.cpu:.2f} of bare; "
            f"children {cost.children:.2f} s"
        )
    passed = medians["bare"].wall / medians["received"].wall >= TARGET_RATIO
    print(f"  target: received at least {TARGET_RATIO} of bare: {'met' if passed else 'MISSED'}")
    return passed


# -- a thousand at once


class Sender:
    """Uploads files of one size in parts."""

    def __init__(self, session: aiohttp.ClientSession, url: str, clip: bytes, size: int) -> None:
        self._session, self._url, self._size = session, url, size
        self._head = pad(clip, size)

    async def open(self) -> str:
        """Make a video and the session of its source; return the session's path."""
        declared = {"source_mime": "video/mp4", "source_size_bytes": self._size}
        video = await call(
            self._session, "POST", f"{self._url}/api/v1/videos", json={"title": "Film", **declared}
        )
        opened = f"{self._url}/api/v1/videos/{video['id']}/uploads"
        session = await call(self._session, "POST", opened, json=declared)
        return f"{self._url}/api/v1/uploads/{session['upload_session_id']}"

    async def send(self, path: str, parts: int | None = None) -> None:
        """Send all parts, or so many, one after the other."""
        numbers = list(range(1, (parts or -(-self._size // PART)) + 1))
        wanted = await call(self._session, "POST", f"{path}/parts", json={"part_numbers": numbers})
        for target in wanted["parts"]:
            start, length = (target["part_number"] - 1) * PART, target["size_bytes"]
            data = (self._head[start : start + length]).ljust(length, b"\0")
            await call(self._session, "PUT", target["upload_url"], data=io.BytesIO(data))

    async def complete(self, path: str) -> None:
        """Hand the source over."""
        await call(self._session, "POST", f"{path}/complete", json={})


class Load(NamedTuple):
    """How many uploads are sent at once, how many of them are completed, at which priority."""

    uploads: int
    complete: int
    nice: int


class Done(NamedTuple):
    """What the generator did; times in seconds."""

    failures: list[str]
    opened: float
    sent: float
    completed: float

    def report(self, load: Load, cpu: float) -> None:
        """Print it, with what it cost the server."""
        print(
            f"load: {load.uploads} uploads of 10 MB at once, nice {load.nice}: {len(self.failures)} failed; "
            f"opened in {self.opened:.1f} s, sent in {self.sent:.1f} s, "
            f"{10 * load.uploads / self.sent:.0f} MB/s; "
            f"{load.complete} completed in {self.completed:.1f} s; server {cpu:.1f} s CPU"
        )
        for failure in self.failures[:5]:
            print(f"    {failure}")


def generate(url: str, token: str, clip: bytes, load: Load, done: Connection) -> None:
    """Send uploads at the same moment, in a process of its own."""
    os.nice(load.nice)
    failures: list[str] = []

    async def tried(work: Awaitable[Any]) -> Any:
        try:
            return await work
        except (RuntimeError, aiohttp.ClientError, TimeoutError, OSError) as error:
            failures.append(repr(error))

    async def main() -> None:
        connector, headers = aiohttp.TCPConnector(limit=0), {"Authorization": token}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session:
            sender, times = Sender(session, url, clip, 10 * MEGABYTE), [time.perf_counter()]
            opened = await asyncio.gather(*(tried(sender.open()) for _ in range(load.uploads)))
            paths = [path for path in opened if path is not None]
            times.append(time.perf_counter())
            done.send(None)
            await asyncio.gather(*(tried(sender.send(path)) for path in paths))
            times.append(time.perf_counter())
            done.send(None)
            await asyncio.gather(*(tried(sender.complete(path)) for path in paths[: load.complete]))
            times.append(time.perf_counter())
            spans = [after - before for before, after in itertools.pairwise(times)]
            done.send(Done(failures, *spans))

    uvloop.run(main())


class Inside(NamedTuple):
    """What a server knows of itself: ``ran`` and ``waited`` are its loop's thread's seconds on a processor,
    and in line for one; ``answered`` has calls by route and upper bound of seconds.
    """

    at: float
    ran: float
    waited: float
    answered: dict[tuple[str, float], float]

    @classmethod
    async def of(cls, server: Server, session: aiohttp.ClientSession) -> "Inside":
        """Look now."""
        pid = server.process.pid
        ran, waited = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[:2]
        async with session.get(f"{server.url}/metrics") as answer:
            buckets = BUCKET.findall(await answer.text())
        answered = {(route, float(le)): float(count) for le, route, count in buckets}
        return cls(time.perf_counter(), int(ran) / 1e9, int(waited) / 1e9, answered)

    def report(self, end: "Inside") -> None:
        """Print what happened until the end."""
        counted = {key: count - self.answered.get(key, 0.0) for key, count in end.answered.items()}
        shares = [
            f"{name} {100 * counted[name, TARGET_SECONDS] / counted[name, math.inf]:.1f}%"
            for name in ("open_chunked_upload", "get_upload", "healthz")
            if counted.get((name, math.inf))
        ]
        seconds = end.at - self.at
        print(
            f"  inside: within {1000 * TARGET_SECONDS:.0f} ms {', '.join(shares)}; the loop ran "
            f"{100 * (end.ran - self.ran) / seconds:.0f}% and waited for a processor "
            f"{100 * (end.waited - self.waited) / seconds:.0f}% of the time"
        )


class Watch:
    """What is seen of a server under load: memory, and how long session calls take."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self._server, self._session = server, session
        self.resident: list[int] = []
        self.phase = "opening"
        self.inside: list[Inside] = []
        self.seconds: dict[tuple[str, str], list[float]] = {}

    async def enter(self, phase: str) -> None:
        """Begin another phase."""
        self.inside.append(await Inside.of(self._server, self._session))
        self.phase = phase

    async def memory(self) -> None:
        """Sample resident memory until it is cancelled."""
        while True:
            self.resident.append(self._server.process.memory_info().rss)
            await asyncio.sleep(0.1)

    async def calls(self, sender: "Sender") -> None:
        """Create and read sessions until it is cancelled."""
        wanted = {"filename": "a.mp4", "file_size": 10 * MEGABYTE, "total_chunks": 2}
        url, begun = f"{self._server.url}/api/v1/uploads", await sender.open()
        await sender.send(begun, 1)
        while True:
            opened = await self._timed("create", "POST", url, json=wanted)
            for _ in range(4):
                await asyncio.sleep(random.uniform(0.02, 0.08))
                await self._timed("read", "GET", f"{url}/{opened['session_id']}")
                await self._timed("begun", "GET", begun)
                await self._timed("idle", "GET", f"{self._server.url}/healthz")

    async def _timed(self, name: str, method: str, url: str, **options: Any) -> Any:
        phase, begun = self.phase, time.perf_counter()
        answer = await call(self._session, method, url, **options)
        self.seconds.setdefault((phase, name), []).append(time.perf_counter() - begun)
        return answer

    def report(self) -> bool:
        """Print how long calls took; return whether the target is met."""
        at95: dict[str, float] = {}
        for (phase, name), seconds in sorted(self.seconds.items()):
            if len(seconds) < 2 or phase == "completing":
                continue
            p50, p95 = (statistics.quantiles(seconds, n=100, method="inclusive")[at] for at in (49, 94))
            if phase == "sending":
                at95[name] = p95
            print(
                f"  {phase} {name:6} {len(seconds)} calls: median {1000 * p50:.0f} ms, "
                f"95% {1000 * p95:.0f} ms, slowest {1000 * max(seconds):.0f} ms"
            )
        idle = at95.pop("idle", 0.0)
        return bool(at95) and max(at95.values()) <= max(TARGET_SECONDS, TARGET_TIMES_IDLE * idle)


async def loaded(folder: Path, clip: bytes, load: Load) -> bool:
    """Print how a server does under many uploads; return whether the targets are met."""
    receiving, sending = multiprocessing.Pipe(duplex=False)
    async with serving(folder) as (server, session):
        before, watch = server.process.memory_info().rss, Watch(server, session)
        sender = Sender(session, server.url, clip, 10 * MEGABYTE)
        works = (watch.memory(), watch.calls(sender), watch.calls(sender))
        watching = [asyncio.create_task(work) for work in works]
        token = session.headers["Authorization"]
        generator = SPAWN.Process(target=generate, args=(server.url, token, clip, load, sending))
        started = server.process.cpu_times()
        generator.start()
        for phase in ("sending", "completing"):
            await asyncio.to_thread(receiving.recv)
            await watch.enter(phase)
        done: Done = await asyncio.to_thread(receiving.recv)
        generator.join()
        ended = server.process.cpu_times()
        failed = [task for task in watching if task.done()]
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        for task in failed:
            done.failures.append(repr(task.exception()))
    peak = max(watch.resident)
    cpu = ended.user + ended.system - started.user - started.system
    done.report(load, cpu)
    print(f"  resident: {before / MEGABYTE:.0f} MB before, at most {peak / MEGABYTE:.0f}")
    watch.inside[0].report(watch.inside[1])
    quick = watch.report()
    passed = not done.failures and peak < TARGET_RESIDENT and quick
    print(
        f"  target: no failure, less than {TARGET_RESIDENT // MEGABYTE} MB, 95% below "
        f"{1000 * TARGET_SECONDS:.0f} ms or {TARGET_TIMES_IDLE:.0f} x idle: {'met' if passed else 'MISSED'}"
    )
    return passed


# -- one of 1.5 GB


async def whole(folder: Path, clip: bytes, megabytes: int) -> bool:
    """Print memory around one large upload, as a form and in parts; return whether it stays flat."""
    size, flat = megabytes * MEGABYTE, True
    for way in ("form", "parts"):
        async with serving(folder / way) as (server, session):
            sender = Sender(session, server.url, clip, size)

            async def send_parts(sender: Sender = sender) -> None:
                path = await sender.open()
                await sender.send(path)
                await sender.complete(path)

            async def send_whole(
                server: Server = server, token: str = session.headers["Authorization"]
            ) -> None:
                sending = asyncio.to_thread(send_form, server.port, token, "Film", pad(clip, size), size)
                if (status := await sending) != 201:
                    raise RuntimeError(f"{status} instead of 201")

            flat &= await grown(server, way, megabytes, send_whole if way == "form" else send_parts)
    print(f"  target: less than {TARGET_GROWTH // MEGABYTE} MB more: {'met' if flat else 'MISSED'}")
    return flat


async def grown(server: Server, way: str, megabytes: int, send: Callable[[], Awaitable[None]]) -> bool:
    """Send, and return whether the peak of memory stayed within the target."""
    status = Path(f"/proc/{server.process.pid}/status")
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # the peak starts again
    before, begun = server.process.memory_info().rss, time.perf_counter()
    await send()
    wall = time.perf_counter() - begun
    peak = next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)
    after = server.process.memory_info().rss
    print(
        f"whole: {megabytes} MB as {way}, {wall:.1f} s: resident {before / MEGABYTE:.0f} MB before, "
        f"at most {peak / MEGABYTE:.0f}, {after / MEGABYTE:.0f} after"
    )
    return peak - before < TARGET_GROWTH


async def measure(options: argparse.Namespace) -> bool:
    """Run the sections, each over data of its own that is gone afterwards."""
    sections: dict[str, Callable[[Path, bytes], Awaitable[bool]]] = {
        "form": lambda folder, clip: forms(folder, clip, options.runs),
        "load": lambda folder, clip: loaded(
            folder, clip, Load(options.uploads, options.complete, options.nice)
        ),
        "whole": lambda folder, clip: whole(folder, clip, options.whole),
    }
    met = True
    for name in options.only or sections:
        with tempfile.TemporaryDirectory(prefix="freewill-uploads-") as folder:
            met &= await sections[name](Path(folder), await padded(Path(folder)))
    return met


def main() -> int:
    """Run the sections; the exit status says whether every target was met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--complete", type=int, default=50)
    parser.add_argument("--nice", type=int, default=0, help="of those who send")
    parser.add_argument("--whole", type=int, default=1500, help="megabytes")
    parser.add_argument("--only", action="append", choices=("form", "load", "whole"))
    options = parser.parse_args()
    python = f"Python {platform.python_version()}"
    print(f"uploads under load: {platform.machine()}, {os.cpu_count()} cores, {python}")
    return 0 if asyncio.run(measure(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
