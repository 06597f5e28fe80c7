"""``freewill media``: the queue of encodes, decided for every worker (B15, B43). Audited."""

import asyncio
import getpass
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from freewill.printing import print_table
from freewill.settings import Settings

if TYPE_CHECKING:
    from social.videos.jobs import EncodingJobs, ListedJob

app = typer.Typer(no_args_is_help=True, help="The queue of encodes: pause, throttle, order, cancel.")
out = Console(highlight=False)
COLUMNS = ["job", "status", "priority", "progress", "stage or error", "created", "owner", "video"]


@app.command()
def jobs(
    status: Annotated[str, typer.Option(help="queued, processing, completed or failed.")] = "",
    owner: Annotated[str, typer.Option(help="Only this person's, by id.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=100)] = 50,
) -> None:
    """List encoding jobs, newest first; say what waits and runs, and whether the queue is paused."""

    async def ask(desk: "EncodingJobs") -> tuple[str, list["ListedJob"]]:
        control, counts = await desk.control(), await desk.counts()
        state = f"paused ({control.reason or 'no reason given'})" if control.paused else "open"
        slots = f", {control.slots} at once a worker" if control.slots else ""
        said = f"{state}{slots}: {counts['queued']} queued, {counts['processing']} processing"
        return said, list((await desk.list(status or None, owner or None, None, limit)).items)

    said, found = _with_jobs(ask)
    out.print(said)
    print_table(COLUMNS, [_row(listed) for listed in found], right={2, 3})


@app.command()
def pause(reason: Annotated[str, typer.Argument(help="For others to read.")] = "") -> None:
    """Begin no new job, in any worker; what runs goes on, what waits is kept."""
    _with_jobs(lambda desk: desk.decide(paused=True, reason=reason), "media.pause", reason=reason)
    out.print("paused")


@app.command()
def resume() -> None:
    """Begin jobs again."""
    _with_jobs(lambda desk: desk.decide(paused=False), "media.resume")
    out.print("open")


@app.command()
def slots(number: Annotated[int, typer.Argument(min=0, max=64, help="0: a worker's own setting.")]) -> None:
    """Throttle: so many jobs at once in each worker."""
    _with_jobs(lambda desk: desk.decide(slots=number), "media.slots", slots=number)
    out.print(f"{number or 'its own number of'} jobs at once in each worker")


@app.command()
def cancel(job: str) -> None:
    """End a job: its video is FAILED, or READY with what it had."""
    listed = _with_jobs(lambda desk: desk.cancel(job), "media.cancel", job=job)
    out.print(f"{listed.job.id} is canceled; its video is {listed.video_status}")


@app.command()
def priority(job: str, number: Annotated[int, typer.Argument(min=-100, max=100)]) -> None:
    """Say how urgent a job is; short clips have 10, long ones 0, encodes of READY videos -10."""
    listed = _with_jobs(lambda desk: desk.prioritise(job, number), "media.priority", job=job, priority=number)
    out.print(f"{listed.job.id} has priority {listed.job.priority}")


def _row(listed: "ListedJob") -> tuple[str, ...]:
    job = listed.job
    created = datetime.fromtimestamp(job.created_at, UTC).isoformat(timespec="seconds")
    stage = job.error_code or job.stage
    shown = (job.id, job.status.value, str(job.priority), f"{job.progress:.0f} %", stage, created)
    return (*shown, listed.owner_id, listed.title)


def _with_jobs(work: "Callable[[EncodingJobs], Awaitable[Any]]", action: str = "", **facts: object) -> Any:
    """Do something to the jobs of the instance; an ``action`` is audited first, under the system's user."""
    return asyncio.run(_do(work, action, facts))


async def _do(work: "Callable[[EncodingJobs], Awaitable[Any]]", action: str, facts: dict[str, object]) -> Any:
    from freewill.audit import FileAudit
    from freewill.maintenance import migrate_database
    from freewill.paths import audit_path
    from freewill.stores import opened_store
    from social.videos import VideoService
    from social.videos.jobs import EncodingJobs
    from tables.analytics import Who
    from tables.relational.engine import Database

    settings = Settings()
    await migrate_database(settings)
    database = Database.open(settings.relational_url)
    try:
        async with opened_store(settings) as store:
            if action:
                who = Who("", getpass.getuser(), "command line")
                await FileAudit(audit_path(settings), time.time).note(who, action, **facts)
            videos = VideoService(database, store, time.time)
            return await work(EncodingJobs(database, videos, store, time.time))
    finally:
        await database.close()
