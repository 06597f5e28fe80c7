"""The command ``freewill``: serve an instance, look after it, look into it.

Every command reads the same settings from the environment (INTERFACE, Process).
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from freewill.encoder_commands import app as encoders
from freewill.media_commands import app as media
from freewill.printing import print_table
from freewill.settings import Settings
from freewill.tuning import begin_process
from tables.errors import AppError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
users = typer.Typer(no_args_is_help=True, help="People of this instance.")
config = typer.Typer(no_args_is_help=True, help="Settings in force.")
dead = typer.Typer(no_args_is_help=True, help="Records that could not be handled.")
lake = typer.Typer(no_args_is_help=True, help="The analysts' Parquet files.")
cdc = typer.Typer(no_args_is_help=True, help="Row changes of the database on the log.")
app.add_typer(cdc, name="cdc")
app.add_typer(users, name="user")
app.add_typer(config, name="config")
app.add_typer(dead, name="dead-letters")
app.add_typer(lake, name="lake")
app.add_typer(media, name="media")
app.add_typer(encoders)
out = Console()
T = TypeVar("T")


def main() -> None:
    """Run the command line; an expected failure is one line on stderr and exit code 1."""
    begin_process()
    try:
        app()
    except AppError as error:
        _fail(f"{error.code}: {error.message}")
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(str(part) for part in problem["loc"])
            _fail(f"FREEWILL_{name.upper()}: {problem['msg']}" if name else problem["msg"])


def _fail(message: str) -> None:
    Console(stderr=True).print(message, style="red", highlight=False)
    sys.exit(1)


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@app.command()
def serve() -> None:
    """Serve the instance until it is stopped."""
    from freewill.serving import serve_forever

    sys.exit(serve_forever(Settings()))


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    from freewill.maintenance import migrate_database

    before, after = _run(migrate_database(Settings()))
    out.print(f"{before or 'empty'} -> {after}" if before != after else f"already at {after}")


@app.command()
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is wrong.")] = False,
) -> None:
    """Repair what crashes and restored backups leave: statuses, jobs and files that do not agree."""
    from freewill.maintenance import reconcile as repair

    found = _run(repair(Settings(), dry_run=dry_run))
    rows: list[tuple[str, ...]] = [
        (finding.what, finding.subject, finding.status, "yes" if finding.repaired else "no")
        for finding in found
    ]
    print_table(["what", "video or object", "status", "repaired"], rows)


@app.command()
def upload(  # its parameters are the table of its options
    file: Annotated[Path, typer.Argument(help="The video.")],
    server: Annotated[str, typer.Option(help="The server's origin.")] = "http://127.0.0.1:8080",
    token: Annotated[str, typer.Option(envvar="FREEWILL_TOKEN", help="An access token.")] = "",
    user: Annotated[str, typer.Option(help="Sign in instead; the password is asked for, or on stdin.")] = "",
    title: Annotated[str, typer.Option(help="Else the file's name.")] = "",
    description: str = "",
    tag: Annotated[list[str] | None, typer.Option(help="May be repeated.")] = None,
    visibility: Annotated[str, typer.Option(help="PUBLIC, FOLLOWERS_ONLY or PRIVATE.")] = "PUBLIC",
    wait: Annotated[bool, typer.Option(help="Wait until it plays.")] = True,
) -> None:
    """Upload a video in parts; the same command again goes on where one was interrupted."""
    from freewill.client import Words
    from freewill.client.command import Refused, Wish
    from freewill.client.command import upload as send

    words = Words(title or file.stem, description, tuple(tag or ()), visibility)
    wish = Wish(server=server, path=file, words=words, token=token or None, user=user or None,
                password=_password() if user else None, wait=wait)  # fmt: skip
    try:
        print(_run(send(wish, Console(stderr=True))))
    except Refused as refusal:
        _fail(str(refusal))
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on where it was")


def _password() -> str:
    """Ask a person, or read a line when there is none."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, err=True))
    return sys.stdin.readline().rstrip("\n")


@users.command("create")
def user_create(
    name: str,
    email: Annotated[str, typer.Option(help="E-mail address.")],
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")],
    role: Annotated[str, typer.Option(help="user, creator, operator, analyst or service.")] = "user",
) -> None:
    """Create an account; the password comes from standard input, so that no process list shows it."""
    from freewill.maintenance import create_user

    if not password_stdin:
        _fail("give --password-stdin and the password on standard input")
    password = sys.stdin.readline().rstrip("\n")
    user_id = _run(create_user(Settings(), name, email, password, role))
    out.print(f"{name} ({role}) {user_id}", highlight=False)


@users.command("role")
def user_role(name: str, role: str) -> None:
    """Give an account another role."""
    from freewill.maintenance import set_role

    _run(set_role(Settings(), name, role))
    out.print(f"{name} is {role}", highlight=False)


@users.command("delete")
def user_delete(
    name: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """Delete an account with its videos, likes, saves, comments and follows; can be repeated."""
    from freewill.maintenance import delete_user

    if not yes:
        typer.confirm(f"Delete {name} and everything of theirs?", abort=True)
    _run(delete_user(Settings(), name))
    out.print(f"{name} is gone", highlight=False)


@config.command("show")
def config_show() -> None:
    """Print every setting as ``name = value``, secrets masked."""
    for name, value in Settings().shown():
        print(f"{name} = {value}")


@app.command()
def topics() -> None:
    """List the topics of the log: partitions, records, bytes."""
    from freewill.inspection import topic_rows

    print_table(
        ["topic", "key", "partitions", "records", "end offsets"], _run(topic_rows(Settings())), right={2, 3}
    )


@app.command()
def tables(
    name: Annotated[str, typer.Argument(help="One table, to see its rows.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Rows to show.")] = 20,
) -> None:
    """List the stream tables, or the rows of one, as their changelogs hold them."""
    from freewill.inspection import table_contents, table_rows

    if name:
        for line in _run(table_contents(Settings(), name, limit)):
            print(line)
        return
    print_table(["table", "key", "rows", "source", "what it is"], _run(table_rows(Settings())), right={2})


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT; - reads it from standard input.")],
    form: Annotated[str, typer.Option("--format", help="table, csv, json or arrow.")] = "table",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most rows.")] = 10_000,
    fresh: Annotated[bool, typer.Option(help="Write what is new to the lake first.")] = True,
) -> None:
    """Ask the lake: events, deltas and snapshots of the tables, in DuckDB's SQL. Audited."""
    from freewill.asking import ask

    if form not in {"table", "csv", "json", "arrow"}:
        _fail("--format is table, csv, json or arrow")
    text = sys.stdin.read() if statement == "-" else statement
    asked: Any = "json" if form == "table" else form
    answer = _run(ask(Settings(), text, asked, limit, fresh=fresh))
    if form != "table":
        sys.stdout.buffer.write(answer.body + (b"\n" if form == "json" else b""))
        return
    found = json.loads(answer.body)
    rows = [tuple("" if value is None else str(value) for value in row) for row in found["rows"]]
    print_table(found["columns"], rows)
    if answer.truncated:
        Console(stderr=True).print(f"only the first {answer.rows} rows are shown", style="yellow")


@cdc.command("backfill")
def cdc_backfill(
    again: Annotated[bool, typer.Option("--again", help="Tell every row anew, not only the rest.")] = False,
) -> None:
    """Tell rows that are older than the telling of changes on the cdc topics; goes on where it ended."""
    from freewill.backfill import tell_rows

    told: dict[str, int] = {}

    def count(topic: str, rows: int) -> None:
        told[topic] = told.get(topic, 0) + rows

    _run(tell_rows(Settings(), again=again, told=count))
    for topic, rows in told.items():
        out.print(f"{topic}: {rows} rows told", highlight=False)
    if not told:
        out.print("every row is told already; --again tells them anew")


@lake.command("write")
def lake_write() -> None:
    """Write what is new on the log; a running server does it by itself every FREEWILL_LAKE_SECONDS."""
    from freewill.asking import write

    done = _run(write(Settings()))
    if done.get("busy"):
        _fail("another process is writing the lake")
    out.print(f"{done.get('rows', 0)} rows, {done.get('snapshots', 0)} snapshots", highlight=False)


@lake.command("show")
def lake_show() -> None:
    """List the datasets that SQL sees."""
    from freewill.asking import dataset_rows

    print_table(["dataset", "kind", "rows", "as of", "what it is"], dataset_rows(Settings()), right={2})


@app.command()
def audit(limit: Annotated[int, typer.Option(min=1, help="Newest entries.")] = 50) -> None:
    """Print what analysts and operators read and decided, one JSON object a line."""
    from freewill.asking import audit_lines

    for line in audit_lines(Settings(), limit):
        print(line)


@app.command()
def doctor() -> None:
    """Check the installation; exit code 1 when something is wrong."""
    from freewill.doctor import Level, examine

    findings = _run(examine(Settings()))
    for finding in findings:
        style = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}[finding.level]
        out.print(f"[{style}]{finding.level.value:7}[/] {finding.subject}: {finding.text}", highlight=False)
    sys.exit(any(finding.level is Level.ERROR for finding in findings))


@app.command()
def demo(
    people: Annotated[int, typer.Option(min=2, max=50)] = 6,
    clips: Annotated[int, typer.Option(min=1, max=100)] = 8,
) -> None:
    """Fill the running server with people, clips of clearly different kinds, follows and watching."""
    from freewill.demo import seed

    _run(seed(Settings(), people=people, clips=clips, console=out))


@dead.command("list")
def dead_list(
    topic: Annotated[str, typer.Option(help="Only this topic's.")] = "",
    code: Annotated[str, typer.Option(help="Only this code.")] = "",
    state: Annotated[str, typer.Option(help="Only open, replayed or dropped ones.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
) -> None:
    """List the newest dead letters."""
    from freewill.inspection import dead_letter_rows

    rows = _run(dead_letter_rows(Settings(), topic=topic, code=code, state=state, limit=limit))
    print_table(["id", "at", "key", "code", "state", "message"], rows)


@dead.command("show")
def dead_show(identity: Annotated[str, typer.Argument(help="TOPIC/PARTITION/OFFSET as listed.")]) -> None:
    """Show one dead letter whole, its original value included."""
    from freewill.inspection import dead_letter_text

    print(_run(dead_letter_text(Settings(), identity)))


@dead.command("replay")
def dead_replay(identities: Annotated[list[str], typer.Argument(help="Ids as listed.")]) -> None:
    """Send dead letters to their topics again, through the outbox of the running or next server."""
    from freewill.inspection import replay_dead_letters

    out.print(f"{_run(replay_dead_letters(Settings(), identities))} sent again")


@dead.command("drop")
def dead_drop(identities: Annotated[list[str], typer.Argument(help="Ids as listed.")]) -> None:
    """Decide that nothing is to be done about dead letters; they stay readable."""
    from freewill.inspection import drop_dead_letters

    out.print(f"{_run(drop_dead_letters(Settings(), identities))} dropped")


if __name__ == "__main__":
    main()
