"""One process at a time does the work of all (DESIGN invariant 2), and another goes on when it is gone."""

import asyncio
import contextlib

import pytest
from sqlalchemy import text

from tables.relational.engine import Database
from tables.relational.leadership import Leadership


async def until(condition, seconds=120.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def contender(database, working, name):
    """One process that wants to lead; ``working`` holds the names of those that work."""

    async def work():
        working.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            working.remove(name)

    task = asyncio.create_task(Leadership(database, "test").hold(work))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_work_is_done_and_ends_when_the_holder_is_cancelled(database):
    """Both dialects."""
    working = []
    async with contender(database, working, "one"):
        await until(lambda: working == ["one"])
    assert working == []


@pytest.fixture
async def other(database, database_url):
    """A second process's pool on the same PostgreSQL."""
    if database.dialect != "postgresql":
        pytest.skip("SQLite has one process")
    opened = Database.open(database_url)
    yield opened
    await opened.close()


async def test_another_takes_over_when_the_leader_leaves(database, other):
    """Never two at once."""
    working = []
    async with contender(database, working, "one"):
        await until(lambda: working == ["one"])
        async with contender(other, working, "two") as second:
            await asyncio.sleep(1.5)
            assert working == ["one"]
            assert not second.done()
        async with contender(other, working, "three"):
            await asyncio.sleep(0.1)
            assert working == ["one"]
    async with contender(other, working, "four"):
        await until(lambda: working == ["four"])


async def test_leader_stops_working_when_its_session_is_ended(database, other):
    """As by a failover of the database, or after too long a silence."""
    working = []
    async with contender(database, working, "one"):
        await until(lambda: working == ["one"])
        async with contender(other, working, "two"):
            async with other.connection() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                        " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
                    )
                )
            await until(lambda: working in (["two"], ["one"]) and len(working) == 1)
            await asyncio.sleep(2.5)
            assert len(working) == 1
