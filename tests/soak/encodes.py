"""Many tiny encodes after each other on one server: none hangs, memory stays flat (B9, B18).

    .venv/bin/python tests/soak/encodes.py --jobs 500

Clips of half a second are uploaded by several people, so that a few always wait; each has to become READY in
time. The server's own resident memory, without its children, is read as it goes: after the first fifth it may
grow by ``GROWTH_MB`` at most. No scratch and no child is left at the end.
"""

import argparse
import asyncio
import importlib.util
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from media.generate import KINDS, generate_clip

ROOT = Path(__file__).resolve().parents[2]
GROWTH_MB = 48
LONGEST_SECONDS = 300.0
PEOPLE = 4
ENVIRONMENT = {
    "FREEWILL_MEDIA_LADDER": "reels",
    "FREEWILL_LAKE_SECONDS": "0",
    "FREEWILL_ACCESS_TOKEN_SECONDS": str(7 * 86_400),  # tokens outlive the run
}


def harness() -> Any:
    """Return the module that starts servers for the end-to-end tests."""
    found = importlib.util.spec_from_file_location("served", ROOT / "tests/e2e/conftest.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["served"] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


async def upload_all(client: Any, clips: list[Path], jobs: int, done: list[float]) -> None:
    """Upload one clip after the other and wait for each; note how long each took."""
    for number in range(jobs):
        began = time.monotonic()
        video = await client.upload(clips[number % len(clips)], title=f"Soak {number}")
        assert client.status == 201, video
        ready = await client.wait_status(video["id"], "READY", "FAILED", seconds=LONGEST_SECONDS)
        assert ready["status"] == "READY", ready
        done.append(time.monotonic() - began)


async def run(jobs: int) -> int:
    """Do it, print what was seen, and return how many findings there are."""
    served = harness()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = [folder / f"{kind}.mp4" for kind in KINDS[:4]]
        for clip in clips:
            await generate_clip(clip, clip.stem, seconds=0.5, size=(64, 112))
        server = served.Server(folder / "data", **ENVIRONMENT)
        await server.start()
        try:
            return await watch(served, server, clips, jobs)
        finally:
            server.kill()


async def watch(served: Any, server: Any, clips: list[Path], jobs: int) -> int:
    """Load a server and read its memory meanwhile."""
    process, sizes, done = psutil.Process(server.process.pid), list[float](), list[float]()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=LONGEST_SECONDS)) as session:
        people = [await served.Client(server, session).register() for _ in range(PEOPLE)]
        load = [asyncio.create_task(upload_all(person, clips, jobs // PEOPLE, done)) for person in people]
        began = time.monotonic()
        while not all(task.done() for task in load):
            await asyncio.wait(load, timeout=2.0, return_when=asyncio.FIRST_EXCEPTION)
            sizes.append(process.memory_info().rss / 1e6)
            for task in load:
                if task.done():
                    task.result()
        seconds = time.monotonic() - began
    deadline = time.monotonic() + LONGEST_SECONDS
    while process.children(recursive=True) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)  # the last ones are being embedded
    base, last = max(sizes[: max(1, len(sizes) // 5)]), statistics.median(sizes[-5:])
    children, scratch = len(process.children(recursive=True)), sorted(server.files("tmp"))
    middle, longest = statistics.median(done), max(done)
    print(f"{len(done)} jobs in {seconds:.0f} s, median {middle:.1f} s, longest {longest:.1f} s")
    print(f"resident {base:.0f} MB after a fifth, {last:.0f} MB at the end, at most {GROWTH_MB} MB more")
    print(f"left: {children} children, {len(scratch)} files of scratch")
    return sum((len(done) != jobs // PEOPLE * PEOPLE, last - base > GROWTH_MB, children > 0, bool(scratch)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    sys.exit(asyncio.run(run(parser.parse_args().jobs)))
