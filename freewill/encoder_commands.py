"""``freewill encoder``, and what operators do about encoders: make, list, revoke (Y14). Audited."""

import asyncio
import getpass
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from freewill.printing import print_table
from freewill.settings import Settings
from media.h264 import AUTO

if TYPE_CHECKING:
    from social.encoders import Encoder, Encoders

app = typer.Typer()
out = Console(highlight=False, soft_wrap=True)
COLUMNS = ["encoder", "state", "done", "failed", "refused", "last seen", "able"]


@app.command()
def encoder(  # its parameters are the table of its options
    server: Annotated[str, typer.Option(help="The server's origin; one with the role media in a cluster.")],
    token: Annotated[str, typer.Option(envvar="FREEWILL_ENCODER_TOKEN", help="Of freewill encoder-token.")],
    slots: Annotated[int, typer.Option(min=1, max=64, help="Videos encoded at the same time.")] = 1,
    workdir: Annotated[Path | None, typer.Option(help="Scratch space; default the system's.")] = None,
    codec: Annotated[
        str, typer.Option("--encoder", help="auto: hardware where it works; or libx264, h264_nvenc.")
    ] = AUTO,
    max_pixels: Annotated[int, typer.Option(min=1, help="Largest picture of a source.")] = 8192 * 4352,
) -> None:
    """Encode on this machine for a server elsewhere, until it is stopped; keeps nothing."""
    from freewill.encoder.command import Wanted, encode
    from freewill.encoder.worker import Refused
    from freewill.logs import configure_logging
    from freewill.tuning import tune_process

    configure_logging("INFO")
    tune_process()
    folder = workdir or Path(tempfile.gettempdir())
    try:
        asyncio.run(encode(Wanted(server, token, slots, folder.absolute(), max_pixels, codec)))
    except Refused as refusal:
        Console(stderr=True).print(str(refusal), style="red", highlight=False, markup=False)
        raise typer.Exit(1) from None


@app.command("encoder-token")
def encoder_token(
    name: str,
    revoke: Annotated[bool, typer.Option("--revoke", help="End it instead.")] = False,
) -> None:
    """Make an encoder, or give one a new token, which is shown once."""
    if revoke:
        _with_encoders(lambda encoders: encoders.revoke(name), "encoder.revoke", encoder=name)
        out.print(f"{name} is revoked")
        return
    _, token = _with_encoders(lambda encoders: encoders.issue(name), "encoder.token", encoder=name)
    print(token)


@app.command("encoders")
def encoders() -> None:
    """List encoders, what they last said of themselves, and how their jobs ended."""
    found = _with_encoders(lambda encoders: encoders.list())
    print_table(COLUMNS, [_row(encoder) for encoder in found], right={2, 3, 4})


def _row(found: "Encoder") -> tuple[str, ...]:
    seen = (
        datetime.fromtimestamp(found.seen_at, UTC).isoformat(timespec="seconds") if found.seen_at else "never"
    )
    able = found.capabilities
    hardware = ", ".join(able.get("hardware", ())) or "libx264"
    counts = (str(found.done), str(found.failed), str(found.refused))
    state = "revoked" if found.revoked_at else "open"
    return (found.name, state, *counts, seen, f"{hardware}, {able['cores']} cores" if able else "")


def _with_encoders(work: "Callable[[Encoders], Awaitable[Any]]", action: str = "", **facts: object) -> Any:
    """Do something about encoders; an ``action`` is audited first, under the system's user."""
    return asyncio.run(_do(work, action, facts))


async def _do(work: "Callable[[Encoders], Awaitable[Any]]", action: str, facts: dict[str, object]) -> Any:
    from freewill.audit import FileAudit
    from freewill.maintenance import migrate_database
    from freewill.paths import audit_path
    from social.encoders import Encoders
    from tables.analytics import Who
    from tables.relational.engine import Database

    settings = Settings()
    await migrate_database(settings)
    database = Database.open(settings.relational_url)
    try:
        if action:
            who = Who("", getpass.getuser(), "command line")
            await FileAudit(audit_path(settings), time.time).note(who, action, **facts)
        return await work(Encoders(database, time.time))
    finally:
        await database.close()
