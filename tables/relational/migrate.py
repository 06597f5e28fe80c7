"""Apply and inspect the Alembic migrations of the package (R5)."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from tables.errors import DatabaseFailure
from tables.relational.engine import prepare_sqlite

if TYPE_CHECKING:
    from alembic.config import Config

Work = Callable[[Connection], str | None]

SCRIPTS = Path(__file__).parent / "migrations"
# Any constant: workers that start together on PostgreSQL migrate one after the other.
_ADVISORY_LOCK = 0x46524545
QUICK_CHECK_BYTES = 64 << 20
"""SQLite files up to this size are checked whole before use, about 0.1 s; larger ones as they are read."""


def configuration(connection: Connection | None = None) -> "Config":
    """Build Alembic's configuration; nothing is read from the working directory."""
    from alembic.config import Config  # 20 MB that only a migrating process needs

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


async def migrate(url: str) -> None:
    """Bring the database to the newest revision; a second call changes nothing.

    Runs in a thread with a loop of its own: Alembic is synchronous.

    Raises:
        DatabaseFailure: an SQLite file is damaged (DATABASE_ERROR); it is left as it was found.
    """
    await asyncio.to_thread(check_file, url)
    await asyncio.to_thread(lambda: asyncio.run(_connected(url, _upgrade)))


def check_file(url: str) -> None:
    """Look through an SQLite file for damage (blocking); other databases look after themselves.

    Raises:
        DatabaseFailure: it is damaged; the message names the file and says what to do.
    """
    parts = make_url(url)
    path = Path(parts.database or "")
    if parts.get_backend_name() != "sqlite" or not path.is_file() or path.stat().st_size > QUICK_CHECK_BYTES:
        return
    try:
        # read-only: closing must not move the write-ahead log into a damaged file
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as reading:
            found = reading.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise DatabaseFailure(
            f"{path}: {found}; the file was left as it is: restore it from a backup,"
            " or move it away to begin with an empty database"
        )


async def current_revision(url: str) -> str | None:
    """Return the revision that the database is at, None when it was never migrated."""
    return await asyncio.to_thread(lambda: asyncio.run(_connected(url, _current)))


def head_revision() -> str:
    """Return the newest revision that this code knows."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(configuration()).get_current_head()
    if head is None:
        raise AssertionError("the package has no migrations")
    return head


async def _connected(url: str, work: Work) -> str | None:
    engine = create_async_engine(url)
    if engine.dialect.name == "sqlite":
        # DDL is transactional in SQLite once the driver's own BEGIN is off: a half-applied schema cannot be.
        prepare_sqlite(engine, "BEGIN IMMEDIATE", "FULL")
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> str | None:
    from alembic import command

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    command.upgrade(configuration(connection), "head")
    return None


def _current(connection: Connection) -> str | None:
    from alembic.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()
