"""``kill -9`` at random moments of uploads by every way in (DESIGN invariant 2; A15, A19, A36, A54).

    .venv/bin/python tests/soak/kill_uploads.py --kills 50

What was answered as a video is one, with its bytes; what was not goes on where it was; then nothing is left
that nobody asks for. ``tests/e2e/test_upload_kills.py`` is the small run of the regular suite.
"""

import argparse
import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from forked import ForkingParent
from kills import CLIP, ENVIRONMENT, SHARED, server_parts
from upload_ways import PART, WAYS, Upload, leftovers, stored

SETTLE_SECONDS = 60.0


@dataclass
class Uploader:
    """Somebody who uploads one file after the other by one way, and goes on with what was cut."""

    client: Any
    way: str
    data: bytes
    upload: Upload | None = None
    done: list[str] = field(default_factory=list)
    cut: int = 0

    async def keep_uploading(self) -> None:
        """Upload until the server is gone."""
        while await self.finish():
            pass

    async def finish(self) -> bool:
        """Finish one upload; False when the server did not answer."""
        self.upload = self.upload or WAYS[self.way](self.client, "clip.webm", self.data)
        try:
            answer = await self.upload.go()
        except (aiohttp.ClientError, OSError):
            self.cut += 1
            return False
        if self.client.status >= 500:  # it is going down
            self.cut += 1
            return False
        assert self.upload.video, (self.way, self.client.status, answer)
        self.done.append(self.upload.video)
        self.upload = None
        return True


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    videos: int
    cut: int
    seconds: float


async def run(server: Any, make_client: Callable[[Any], Any], clip: bytes, kills: int, seed: int) -> Outcome:
    """Kill, and compare in the end; an AssertionError names what is wrong, and the seed."""
    started, dice = time.monotonic(), random.Random(seed)
    await server.start()
    uploaders = []
    for way in WAYS:
        # Behind the clip stands what no demuxer reads, so that parts are more than one.
        data = clip + bytes(PART) if way == "parts" else clip
        uploaders.append(Uploader(await make_client(server).register(), way, data))
    for _ in range(kills):
        load = [asyncio.create_task(uploader.keep_uploading()) for uploader in uploaders]
        await asyncio.sleep(dice.uniform(0.05, 0.8))
        server.kill()
        await asyncio.gather(*load)
        await server.start()
    for uploader in uploaders:
        assert await uploader.finish(), (seed, server.tail())
    await _compare(server, uploaders, seed)
    cut = sum(uploader.cut for uploader in uploaders)
    return Outcome(sum(len(uploader.done) for uploader in uploaders), cut, time.monotonic() - started)


async def _compare(server: Any, uploaders: Sequence[Uploader], seed: int) -> None:
    """Every answered video has its bytes; every stored one has a row; nothing else is left."""
    server.kill()
    await server.start()  # a start settles what a crash left
    deadline = time.monotonic() + SETTLE_SECONDS
    while (left := leftovers(server)) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    assert not left, (seed, str(server.data), left)
    found = stored(server)
    for uploader in uploaders:
        assert len(set(uploader.done)) == len(uploader.done), (seed, uploader.way)
        for video in uploader.done:
            assert found.get(video) == len(uploader.data), (seed, uploader.way, video)
            [source] = (server.data / "objects" / "videos" / video).glob("source.*")
            assert source.read_bytes() == uploader.data, (seed, uploader.way, video)
    # A kill may take the answer that named a new session: nobody knows it, and it ends by itself.
    opened = server.query("SELECT status, bytes_uploaded FROM upload_sessions WHERE status != 'COMPLETED'")
    assert all(row == ("INITIATED", 0) for row in opened), (seed, opened)
    assert len(opened) <= sum(uploader.cut for uploader in uploaders), (seed, opened)


async def _main(options: argparse.Namespace) -> None:
    parts = server_parts()
    folder = Path(tempfile.mkdtemp(prefix="freewill-kill-uploads-"))
    server = parts.Server(folder / "data", **ENVIRONMENT)
    print(f"{options.kills} kills of uploads, seed {options.seed}", flush=True)
    with ForkingParent(server):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
            clip = (SHARED / CLIP).read_bytes()
            outcome = await run(
                server, lambda at: parts.Client(at, session), clip, options.kills, options.seed
            )
    print(f"whole: {outcome.videos} videos, {outcome.cut} uploads cut and finished, {outcome.seconds:.0f} s")
    shutil.rmtree(folder)  # a run that fails names its data and leaves it


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
