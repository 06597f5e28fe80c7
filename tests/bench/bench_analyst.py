"""Analysts do not slow serving: feed latency alone, beside queries, beside writes of the lake (Y10).

    .venv/bin/python tests/bench/bench_analyst.py

Prints each figure beside its target. The machine may be shared: read the ratios.
"""

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import aiohttp
import msgspec
import psutil
from bench_node import MEMORY_TARGET_MB as MEMORY_MB
from bench_node import PARTITIONS, ROOT, Server, populate, quantile, report, sign_in

from streams.log import EmbeddedLog
from tables.records import Action, EngagementEvent

VIDEOS = 2_000
EVENTS = 200_000
PEOPLE = 4
PAUSE_SECONDS = 0.02
SECONDS = 6.0
ROUNDS = 3
SQL = """
SELECT hour, video_id, avg(fraction) AS rate, count(DISTINCT viewer) AS viewers FROM events
GROUP BY hour, video_id QUALIFY row_number() OVER (PARTITION BY hour ORDER BY avg(fraction) DESC) <= 10
"""
Work = Callable[[aiohttp.ClientSession, dict[str, str]], Awaitable[None]]


async def watch(data: Path, count: int) -> None:
    """Append watch events of yesterday to the log of a stopped server."""
    log = EmbeddedLog.open(data / "log" / "log.db", upkeep_seconds=None)
    await log.declare("events.engagement", PARTITIONS)
    dice, now = random.Random(3), time.time()
    encode = msgspec.json.Encoder().encode
    for start in range(0, count, 10_000):
        rows = [encode(_event(dice, now)) for _ in range(10_000)]
        await log.append("events.engagement", start // 10_000 % PARTITIONS, rows, keys=[b"u"] * len(rows))
    await log.close()


def _event(dice: random.Random, now: float) -> EngagementEvent:
    return EngagementEvent(
        event_id=str(uuid4()),
        user_id=f"u{dice.randrange(5000)}",
        video_id=f"v{dice.randrange(VIDEOS)}",
        action=Action.WATCH_50,
        occurred_at=now - dice.random() * 86_400,
        owner_id="o",
        duration_seconds=12.0,
    )


async def scroll(
    session: aiohttp.ClientSession, url: str, headers: dict[str, str], until: float
) -> list[float]:
    """Ask for feed pages with a pause between them; return the times, seconds."""
    times = []
    while time.monotonic() < until:
        started = time.perf_counter()
        async with session.get(f"{url}/api/v1/feed?profile=blend&limit=20", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()
        times.append(time.perf_counter() - started)
        await asyncio.sleep(PAUSE_SECONDS)
    return times


async def phase(server: Server, people: list[dict[str, str]], work: Work | None) -> tuple[list[float], int]:
    """Scroll for some seconds beside ``work`` done over and over; return the times and how often it was."""
    done = 0
    async with aiohttp.ClientSession() as session:

        async def again() -> None:
            nonlocal done
            while work is not None:
                await work(session, people[0])
                done += 1

        busy = asyncio.create_task(again())
        until = time.monotonic() + SECONDS
        found = await asyncio.gather(*(scroll(session, server.url, one, until) for one in people))
        if busy.done():
            busy.result()
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
    return [seconds for times in found for seconds in times], done


async def main() -> None:
    """Measure the three phases in turns, so that the machine's moods fall on all of them."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        await populate(data, VIDEOS)
        await watch(data, EVENTS)
        os.environ["FREEWILL_LAKE_SECONDS"] = "0"
        server = Server(data)
        await server.ready()
        try:
            await measure(server, data)
        finally:
            server.stop()


async def measure(server: Server, data: Path) -> None:
    """Print how fast writing and asking are, and what they do to the feed."""
    async with aiohttp.ClientSession() as session:
        people = [await sign_in(session, server.url, f"p{number}") for number in range(PEOPLE)]
        await command(data, "user", "role", "p0", "analyst")
        async with session.post(
            f"{server.url}/api/v1/auth/login", json={"username": "p0", "password": "correct horse battery"}
        ) as answer:
            people[0] = {"Authorization": "Bearer " + (await answer.json())["access_token"]}
        deadline = time.monotonic() + 120
        lag = 1
        while lag and time.monotonic() < deadline:  # the agents fold the events first
            await asyncio.sleep(0.5)
            async with session.get(f"{server.url}/api/v1/tables", headers=people[0]) as answer:
                lag = sum(table["lag"] for table in (await answer.json())["items"])
        await asyncio.sleep(3)
    before = server.resident_mb()
    started = time.perf_counter()
    await command(data, "lake", "write")
    took = time.perf_counter() - started
    report(f"first write of {EVENTS:,} events and all tables", f"{EVENTS / took:,.0f} events/s", "-")

    async def query(session: aiohttp.ClientSession, headers: dict[str, str]) -> None:
        async with session.post(
            f"{server.url}/api/v1/analytics/query", json={"sql": SQL}, headers=headers
        ) as answer:
            assert answer.status == 200, await answer.text()
            await answer.read()

    async def write(session: aiohttp.ClientSession, headers: dict[str, str]) -> None:
        await command(data, "lake", "write")

    phases: dict[str, Work | None] = {"alone": None, "beside queries": query, "beside lake writes": write}
    times: dict[str, list[float]] = {name: [] for name in phases}
    counts = dict.fromkeys(phases, 0)
    for _ in range(ROUNDS):
        for name, work in phases.items():
            found, done = await phase(server, people, work)
            times[name] += found
            counts[name] += done
    alone = quantile(times["alone"], 95)
    for name, found in times.items():
        p95 = quantile(found, 95)
        label = f"feed p50 / p95 {name} ({counts[name] / SECONDS / ROUNDS:.1f} a second)"
        report(
            label,
            f"{quantile(found, 50):.1f} / {p95:.1f} ms = {p95 / alone:.2f}x alone",
            "p95 <= 1.10x alone",
        )
    report(
        "server memory, growth by it", f"{server.resident_mb() - before:+.0f} MB", f"< {MEMORY_MB} MB in all"
    )
    assert psutil.pid_exists(server.process.pid)


async def command(data: Path, *arguments: str) -> None:
    """Run the command line on the same data, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "freewill.cli", *arguments, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, "FREEWILL_DATA_DIR": str(data)},
    )  # fmt: skip
    assert await process.wait() == 0


if __name__ == "__main__":
    asyncio.run(main())
