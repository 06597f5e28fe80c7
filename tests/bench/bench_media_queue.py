"""A hundred short clips queued by ten people: how fair their waits are, and clips a second.

    .venv/bin/python tests/bench/bench_media_queue.py [--clips N] [--people N]

A server's queue is paused while one person after the other queues all of theirs, the worst order for a plain
queue, and then resumed. A wait is from then to READY, from the rows. Fairness is the largest of the people's
median waits by the smallest; beside it stands what the order of arrival alone would give with the same times
of encoding. Target: at most 1.5.
"""

import argparse
import asyncio
import importlib.util
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from media.generate import KINDS, generate_clip

ROOT = Path(__file__).resolve().parents[2]
TARGET_RATIO = 1.5
LONGEST_SECONDS = 1_800.0
READY = (
    "SELECT j.started_at, v.processing_completed_at FROM encoding_jobs j JOIN videos v ON v.id = j.video_id"
    " WHERE v.owner_id = ? ORDER BY v.processing_completed_at"
)


def harness() -> Any:
    """Return the module that starts servers for the end-to-end tests."""
    found = importlib.util.spec_from_file_location("served", ROOT / "tests/e2e/conftest.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["served"] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


def seconds_of(text: str) -> float:
    """Return a stored time in seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def ratio(waits: list[list[float]]) -> float:
    """Return the largest of the medians by the smallest."""
    medians = [statistics.median(of_one) for of_one in waits]
    return max(medians) / min(medians)


async def queue_all(served: Any, server: Any, clip: Path, clips: int, people: int) -> list[str]:
    """Let one person after the other queue all of theirs; return who they are."""
    ids = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LONGEST_SECONDS)) as session:
        for _ in range(people):
            person = await served.Client(server, session).register()
            for number in range(clips // people):
                video = await person.upload(clip, title=f"Clip {number}")
                assert person.status == 201, video
            ids.append(person.user["id"])
    return ids


async def measure(clips: int, people: int) -> None:
    """Run it and print."""
    served = harness()
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.mp4"
        await generate_clip(clip, KINDS[0], seconds=0.5, size=(64, 112))
        calm = {"FREEWILL_MEDIA_LADDER": "reels", "FREEWILL_LAKE_SECONDS": "0"}
        server = served.Server(Path(name) / "data", **calm)
        await server.start()
        try:
            await asyncio.to_thread(server.run, "media", "pause", "bench")
            await asyncio.sleep(3.0)
            ids = await queue_all(served, server, clip, clips, people)
            resumed = time.time()
            await asyncio.to_thread(server.run, "media", "resume")
            deadline = time.monotonic() + LONGEST_SECONDS
            while server.query("SELECT count(*) FROM videos WHERE status = 'READY'")[0][0] < clips:
                assert time.monotonic() < deadline, server.tail()
                await asyncio.sleep(0.5)
            waits = [
                [seconds_of(done) - resumed for _, done in server.query(READY, person)] for person in ids
            ]
        finally:
            server.kill()
    show(waits, clips)


def show(waits: list[list[float]], clips: int) -> None:
    """Print fairness and throughput."""
    finished = sorted(wait for of_one in waits for wait in of_one)
    each = len(waits[0])
    plain = [finished[number * each : (number + 1) * each] for number in range(len(waits))]
    firsts = [min(of_one) for of_one in waits]
    print(f"{clips} clips of {len(waits)} people on {platform.machine()}, {psutil.cpu_count()} processors")
    print(f"largest by smallest median wait {ratio(waits):.2f} (target {TARGET_RATIO}); in order of arrival "
          f"{ratio(plain):.2f}")  # fmt: skip
    print(f"first clip of everybody after {max(firsts):.0f} s of {finished[-1]:.0f} s")
    print(f"{clips / finished[-1]:.2f} clips a second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--people", type=int, default=10)
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.clips, chosen.people))
