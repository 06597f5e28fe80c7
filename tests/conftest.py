"""Fixtures that every test may use."""

import asyncio
import os
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from xdist.scheduler import LoadFileScheduling

from tables.relational.engine import Database
from tables.relational.migrate import migrate
from tables.relational.models import Base

ROOT = Path(__file__).resolve().parent.parent


#: What takes long goes first, so that no worker is left alone with it at the end.
FIRST = ("tests/contract/test_transport", "tests/e2e/", "tests/faults/")
#: They take turns at the one broker: in two workers they would wait for each other.
TOGETHER = FIRST[0]


class ByFile(LoadFileScheduling):
    """Gives a worker a file at a time, or all the files that take turns."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if nodeid.startswith(TOGETHER) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Share the tests out."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""

    def rank(item: pytest.Item) -> int:
        return next((n for n, start in enumerate(FIRST) if item.nodeid.startswith(start)), len(FIRST))

    items.sort(key=rank)


def _shared() -> Path:
    return Path(os.environ.get("FREEWILL_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Return the folder of real clips, documents and interactions; in CI its absence is an error."""
    path = _shared()
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing: CI runs the tests on real material")
        pytest.skip(f"real material is not at {path} (set FREEWILL_SHARED)")
    return path


def _run(work: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine to its end in a thread, apart from the loop of the tests."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # handed to the test's thread below
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


async def _administer(url: str, statement: str) -> None:
    import asyncpg

    plain = make_url(url).set(drivername="postgresql")
    connection = await asyncpg.connect(plain.render_as_string(hide_password=False))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _run(migrate(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def _postgres_database() -> Iterator[str]:
    url = os.environ.get("FREEWILL_TEST_POSTGRES_URL")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("FREEWILL_TEST_POSTGRES_URL is missing: CI runs the tests on PostgreSQL too")
        pytest.skip("no PostgreSQL (set FREEWILL_TEST_POSTGRES_URL; `make services` starts one)")
    name = f"freewill_test_{uuid.uuid4().hex[:12]}"
    _run(_administer(url, f'CREATE DATABASE "{name}"'))
    own = make_url(url).set(database=name).render_as_string(hide_password=False)
    try:
        _run(migrate(own))
        yield own
    finally:
        _run(_administer(url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a migrated, empty database of its own; every test runs on both dialects."""
    if request.param == "sqlite":
        path = tmp_path / "freewill.db"
        shutil.copyfile(request.getfixturevalue("_sqlite_template"), path)
        yield f"sqlite+aiosqlite:///{path}"
        return
    url: str = request.getfixturevalue("_postgres_database")
    # Emptying is ten times faster than making a database for each test.
    wipe = "; ".join(f'DELETE FROM "{table.name}"' for table in reversed(Base.metadata.sorted_tables))
    _run(_administer(url, wipe))
    yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database, migrated and empty."""
    opened = Database.open(database_url, synchronous="NORMAL")
    yield opened
    await opened.close()
