"""A whole server measured from outside: memory, upload to READY, feed requests (S2, S3, S7, S20).

    .venv/bin/python tests/bench/bench_node.py

Prints each figure beside its target. The machine may be shared: read medians and ratios.
"""

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid5

import aiohttp
import msgspec
import numpy as np
import psutil

from streams.log import EmbeddedLog
from streams.log.topics import TopicPolicy
from streams.topics import CATALOGUE_CHANGES
from tables.records import Card, CatalogueChange
from tables.relational.engine import Database
from tables.relational.migrate import migrate
from tables.relational.models import UserRow, VideoAssetRow, VideoRow, moment

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("FREEWILL_SHARED", ROOT.parent / "shared"))
CLIPS = ("flower.mp4", "sample_with_increasing_timestamps_360p.mp4", "portrait_4k60.mp4")
CATALOGUES = (1_000, 20_000)
CREATORS = 200
CONNECTIONS = 16
SECONDS = 8.0
MEMORY_TARGET_MB = 300
PARTITIONS = 8
NAMESPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


class Server:
    """A server process on a free port."""

    def __init__(self, data: Path) -> None:
        """Args: the data folder."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {
            **os.environ,
            "FREEWILL_DATA_DIR": str(data),
            "FREEWILL_PORT": str(self.port),
            "FREEWILL_RATE_LIMITS": "off",
            "FREEWILL_LOG_LEVEL": "WARNING",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "freewill.cli", "serve"],
            cwd=ROOT,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )

    async def ready(self) -> float:
        """Wait for readiness and return the seconds it took."""
        started = time.monotonic()
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(self.url + "/readyz") as answer:
                        if answer.status == 200:
                            return time.monotonic() - started
                except aiohttp.ClientError:
                    pass
                if self.process.poll() is not None:
                    raise SystemExit("the server ended")
                await asyncio.sleep(0.02)

    def resident_mb(self) -> float:
        """Resident memory of the server process, MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def stop(self) -> None:
        """End the server."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


def report(name: str, figure: str, target: str) -> None:
    """Print one line."""
    print(f"  {name:<52} {figure:>26}   target {target}")


async def sign_in(session: aiohttp.ClientSession, url: str, name: str) -> dict[str, str]:
    """Register and return the authorisation header."""
    body = {"username": name, "email": f"{name}@example.org", "password": "correct horse battery"}
    async with session.post(f"{url}/api/v1/auth/register", json=body) as answer:
        token = (await answer.json())["access_token"]
    return {"Authorization": f"Bearer {token}"}


async def measure_uploads(server: Server) -> None:
    """Upload clips one after the other and time them until READY."""
    if not SHARED.is_dir():
        print(f"  no clips at {SHARED}: uploads are not measured")
        return
    async with aiohttp.ClientSession() as session:
        headers = await sign_in(session, server.url, "uploader")
        for name in CLIPS:
            started = time.monotonic()
            form = aiohttp.FormData({"title": name})
            form.add_field("file", (SHARED / "media/clips" / name).read_bytes(), filename=name)
            async with session.post(
                f"{server.url}/api/v1/videos/upload", data=form, headers=headers
            ) as answer:
                video = await answer.json()
            answered = time.monotonic() - started
            while video["status"] not in {"READY", "FAILED"}:
                await asyncio.sleep(0.1)
                async with session.get(
                    f"{server.url}/api/v1/videos/{video['id']}", headers=headers
                ) as answer:
                    video = await answer.json()
            took = time.monotonic() - started
            length = video["duration_seconds"]
            report(
                f"{name}, {video['width']}x{video['height']}, {length:.1f} s",
                f"{took / length:.2f} s/s ({took:.1f} s)",
                f"< 2 s/s (S3); upload answered in {answered * 1000:.0f} ms",
            )


async def populate(data: Path, count: int) -> None:
    """Write a catalogue of playable videos as the pipeline would have left it."""
    url = f"sqlite+aiosqlite:///{data / 'freewill.db'}"
    await migrate(url)
    database = Database.open(url)
    now = time.time()
    ids = [str(uuid5(NAMESPACE, f"video {number}")) for number in range(count)]
    creators = [str(uuid5(NAMESPACE, f"creator {number}")) for number in range(CREATORS)]
    for start in range(0, max(count, CREATORS), 1000):
        async with database.transaction() as session:
            if not start:
                session.add_all(_user(user_id, number, now) for number, user_id in enumerate(creators))
                await session.flush()
            rows = range(start, min(count, start + 1000))
            session.add_all(_video(ids[n], creators[n % CREATORS], n, now) for n in rows)
            await session.flush()
            session.add_all(_asset(ids[n], now) for n in rows)
    await database.close()
    log = EmbeddedLog.open(data / "log" / "log.db", upkeep_seconds=None)
    policy = TopicPolicy(retention_seconds=CATALOGUE_CHANGES.retention_seconds)
    await log.declare(CATALOGUE_CHANGES.name, PARTITIONS, policy)
    dice = np.random.default_rng(1)
    for number, video_id in enumerate(ids):
        vector = dice.standard_normal(512).astype(np.float32)
        vector /= np.linalg.norm(vector)
        card = Card(
            video_id=video_id,
            creator_id=creators[number % CREATORS],
            creator_username=f"c{number % CREATORS}",
            title=f"Video {number}",
            created_at=now - number,
            duration_seconds=12.0,
            width=720,
            height=1280,
            qualities=("720p",),
            embedding=vector.astype(np.float16).tobytes(),
            model_version="bench",
        )
        change = CatalogueChange(video_id=video_id, at=now, seq=number, card=card)
        key = video_id.encode()
        place = log.partition_for(CATALOGUE_CHANGES.name, key)
        await log.append(CATALOGUE_CHANGES.name, place, [msgspec.json.encode(change)], keys=[key])
    await log.close()


def _user(user_id: str, number: int, now: float) -> UserRow:
    name = f"c{number}"
    return UserRow(
        id=user_id, username=name, username_key=name, email=f"{name}@x.org", email_key=f"{name}@x.org",
        password_hash="-", role="user", display_name=name, bio="", did=f"did:key:z{user_id}",
        created_at=moment(now), updated_at=moment(now),
    )  # fmt: skip


def _video(video_id: str, owner_id: str, number: int, now: float) -> VideoRow:
    at = moment(now - number)
    return VideoRow(
        id=video_id, owner_id=owner_id, title=f"Video {number}", status="READY", duration_seconds=12.0,
        width=720, height=1280, created_at=at, updated_at=at, published_at=at,
    )  # fmt: skip


def _asset(video_id: str, now: float) -> VideoAssetRow:
    return VideoAssetRow(
        id=str(uuid5(NAMESPACE, video_id)), video_id=video_id, type="HLS_MASTER", quality="",
        container="m3u8", file_key=f"videos/{video_id}/hls/master.m3u8", created_at=moment(now),
    )  # fmt: skip


async def measure_feed(server: Server, count: int) -> None:
    """Ask for feed pages over kept connections, with people who watch while they scroll."""
    deadline = 0.0
    times: list[float] = []

    async def scroll(session: aiohttp.ClientSession, headers: dict[str, str]) -> None:
        cursor = ""
        while time.monotonic() < deadline:
            started = time.perf_counter()
            path = f"{server.url}/api/v1/feed?profile=blend&limit=20{cursor}"
            async with session.get(path, headers=headers) as answer:
                body = await answer.json()
                assert answer.status == 200, body
                assert len(body["items"]) == 20, body
            times.append(time.perf_counter() - started)
            cursor = f"&cursor={body['next_cursor']}" if body["next_cursor"] and len(times) % 5 else ""

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        people = [await sign_in(session, server.url, f"p{number}") for number in range(CONNECTIONS)]
        for headers in people:
            page = f"{server.url}/api/v1/feed?limit=10"
            async with session.get(page, headers=headers) as answer:
                items = (await answer.json())["items"]
            watched = [
                {"event_id": str(uuid5(NAMESPACE, f"{headers}{item['id']}")), "video_id": item["id"],
                 "action": "watch_complete", "watch_seconds": 12}
                for item in items
            ]  # fmt: skip
            async with session.post(
                f"{server.url}/api/v1/events", json={"events": watched}, headers=headers
            ) as answer:
                assert answer.status == 202, await answer.text()
        busy = psutil.Process(server.process.pid).cpu_times()
        started, deadline = time.monotonic(), time.monotonic() + SECONDS
        await asyncio.gather(*(scroll(session, headers) for headers in people))
        elapsed = time.monotonic() - started
        after = psutil.Process(server.process.pid).cpu_times()
    cpu = (after.user + after.system - busy.user - busy.system) / len(times)
    report(f"feed at {count:,} videos, requests/s", f"{len(times) / elapsed:,.0f}", "1,000 (S7, a cluster)")
    report("  server CPU per request", f"{cpu * 1000:.2f} ms", "1 ms")
    report("  p50 / p95", f"{quantile(times, 50):.1f} / {quantile(times, 95):.1f} ms", "p95 < 200 ms (S16)")
    report("  resident memory", f"{server.resident_mb():.0f} MB", f"< {MEMORY_TARGET_MB} MB idle")


def quantile(times: Sequence[float], percent: int) -> float:
    """Return a percentile in milliseconds."""
    return statistics.quantiles(times, n=100)[percent - 1] * 1000


async def main() -> None:
    """Measure one server after the other."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "empty")
        took = await server.ready()
        report("start to ready, empty", f"{took:.2f} s", "-")
        await asyncio.sleep(3)
        report("resident memory, idle", f"{server.resident_mb():.0f} MB", f"< {MEMORY_TARGET_MB} MB")
        await measure_uploads(server)
        server.stop()
        for count in CATALOGUES:
            data = Path(folder) / str(count)
            data.mkdir()
            await populate(data, count)
            server = Server(data)
            took = await server.ready()
            report(f"start to ready, {count:,} catalogue changes to fold", f"{took:.2f} s", "-")
            await asyncio.sleep(2)
            await measure_feed(server, count)
            server.stop()


if __name__ == "__main__":
    asyncio.run(main())
