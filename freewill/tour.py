"""The agent of document 001: a large property tour, sent from a phone whose signal comes and goes (C51)."""

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from rich.console import Console

from freewill.client import Client, Phase, Progress, Upload, UploadStopped, Video, Words
from media.generate import generate_clip

SECONDS: Final = 12.0
SIZE: Final = (1080, 1920)
WORDS: Final = Words(
    title="Property tour: 14 Harbour Street",
    description="Three rooms, a balcony, the sea. From the door to the roof in one walk.",
    tags=("property", "tour", "demo"),
)
PHONE: Final = "Mozilla/5.0 (Linux; Android 15; Phone) AppleWebKit/537.36 Chrome/130 Mobile Safari/537.36"


async def send_tour(server: str, token: str, console: Console) -> Video:
    """Film, send in parts with an interruption in the middle, and wait until the tour plays or has failed.

    Every state that the agent sees on the way is printed once.

    Raises:
        RequestFailed: the server refused it.
        FileRefused: the file is none that may be sent.
    """
    seen: list[str] = []

    def tell(state: str) -> None:
        if state not in seen:
            seen.append(state)
            console.print(f"  tour {state.lower()}", highlight=False)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tour.mp4"
        await generate_clip(path, "mandelbrot", SECONDS, SIZE, seed=3)
        megabytes = path.stat().st_size / 1e6
        console.print(f"a property tour of {megabytes:.1f} MB, sent from a phone", highlight=False)
        async with Client(server, token=token) as client:
            video = await _interrupted(client, path) or await _upload(client, path).run()
            tell(video.status)
            return await client.wait_video(video.id, lambda known: tell(known.status))


def _upload(client: Client, path: Path) -> Upload:
    return Upload(client, path, WORDS, state_file=path.with_suffix(".state"))


async def _interrupted(client: Client, path: Path) -> Video | None:
    """Send until half has arrived, then lose the signal; None when something is left to send."""
    half, upload = asyncio.Event(), _upload(client, path)

    def watch(progress: Progress) -> None:
        if progress.phase is Phase.UPLOADING and 2 * progress.done > progress.size:
            half.set()

    upload.on_progress = watch
    sending, waiting = asyncio.create_task(upload.run()), asyncio.create_task(half.wait())
    await asyncio.wait((sending, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await upload.pause()
    with suppress(UploadStopped):
        return await sending
    return None
