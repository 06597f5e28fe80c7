"""The command ``freewill upload``: one file, a bar, and what became of it."""

import asyncio
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from freewill.client.api import Client
from freewill.client.errors import FileRefused, RequestFailed
from freewill.client.models import Video, Words
from freewill.client.upload import Progress, Upload

GOODBYE_SECONDS = 5.0
"""How long an interrupted command tries to tell the server that it pauses."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asks of the command; signed in by ``token``, or by ``user`` and ``password``."""

    server: str
    path: Path
    words: Words
    token: str | None = None
    user: str | None = None
    password: str | None = None
    wait: bool = True


class Refused(Exception):
    """It came to nothing, for the reason that the message says."""


async def upload(wish: Wish, told: Console) -> str:
    """Send a file, wait until it plays when asked to, and return the page of the video.

    An interruption pauses: the same command goes on where it was.

    Raises:
        Refused: the file, the server or the processing says no.
    """
    columns = (TextColumn("{task.description:<12}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    try:
        async with Client(wish.server, token=wish.token) as client:
            if wish.user is not None:
                await client.login(wish.user, wish.password or "")
            with Bars(*columns, TextColumn("{task.fields[reason]}"), console=told) as bars:
                video = await _sent(client, wish, bars)
                if wish.wait:
                    video = await _processed(client, video, bars)
            return f"{client.server}/v/{video.id}"
    except (RequestFailed, FileRefused) as error:
        raise Refused(str(error)) from error


async def _sent(client: Client, wish: Wish, bars: Bars) -> Video:
    sending = Upload(client, wish.path, wish.words)
    bar = bars.add_task("CHECKING", total=None, reason="")

    def show(progress: Progress) -> None:
        bars.update(
            bar,
            description=progress.phase,
            total=progress.size or None,
            completed=progress.done,
            reason=progress.reason or "",
        )

    sending.on_progress = show
    try:
        return await sending.run()
    except asyncio.CancelledError:
        await asyncio.wait([asyncio.create_task(sending.pause())], timeout=GOODBYE_SECONDS)
        raise


async def _processed(client: Client, video: Video, bars: Bars) -> Video:
    bar: TaskID = bars.add_task(video.status, total=100, reason="")

    def show(seen: Video) -> None:
        bars.update(bar, description=seen.status, completed=seen.progress or 0)

    video = await client.wait_video(video.id, show)
    if video.status == "FAILED":
        raise Refused(f"{video.fail_code}: {video.fail_reason}")
    return video
