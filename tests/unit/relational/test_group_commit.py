"""Whole transactions of SQLite: together in one commit, apart in what fails (O11, O14)."""

import asyncio
import sqlite3
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tables.errors import Conflict, DatabaseFailure, ValidationFailed
from tables.relational import sqlite
from tables.relational.engine import Database


@pytest.fixture
async def database(tmp_path):
    opened = Database.open(f"sqlite+aiosqlite:///{tmp_path}/a.db")
    await opened.run(
        lambda session: session.execute(text("CREATE TABLE t(a INTEGER PRIMARY KEY CHECK(a < 100))"))
    )
    yield opened
    await opened.close()


def insert(number, error=None):
    async def work(session):
        await session.execute(text(f"INSERT INTO t VALUES ({number})"))
        if error is not None:
            raise error
        return number

    return work


async def numbers(database):
    async def query(session):
        return list(await session.scalars(text("SELECT a FROM t ORDER BY a")))

    return await database.read(query, whole=True)


async def test_writes_share_commits_when_many_wait(database, monkeypatch):
    """A hundred writes at one moment: each has its answer, all are there, with a few commits."""
    monkeypatch.setattr("tables.relational.grouping.SECONDS", 60.0)
    commits, real = [], sqlite.Connection.commit

    async def counted(self):
        commits.append(self)
        await real(self)

    monkeypatch.setattr(sqlite.Connection, "commit", counted)
    answers = await asyncio.gather(*(database.run(insert(each), whole=True) for each in range(99)))
    assert answers == list(range(99)) == await numbers(database)
    assert len(commits) < 10


async def test_who_comes_first_is_answered_first_when_there_is_no_time_for_all(database, monkeypatch):
    """A commit that took its time takes no further one: each is answered by its own, in order."""
    monkeypatch.setattr("tables.relational.grouping.SECONDS", 0.0)
    answered = []

    async def write(number):
        answered.append(await database.run(insert(number), whole=True))

    await asyncio.gather(*map(write, range(9)))
    assert answered == list(range(9)) == await numbers(database)


async def test_only_the_failing_write_is_undone_when_others_share_its_commit(database):
    """An error of a rule, one of a constraint and one of the driver: the others stand."""
    works = [insert(1), insert(2, Conflict()), insert(100), insert(3), insert(1), insert(4)]
    outcomes = await asyncio.gather(
        *(database.run(work, whole=True) for work in works), return_exceptions=True
    )
    assert [outcome if isinstance(outcome, int) else type(outcome) for outcome in outcomes] == [
        1, Conflict, ValidationFailed, 3, ValidationFailed, 4,
    ]  # fmt: skip
    assert await numbers(database) == [1, 3, 4]


async def test_nobody_is_told_of_success_when_the_transaction_is_lost(database):
    """What ends the transaction under all of them, as a full disk does, fails all of them."""

    async def lose(session):
        await session.execute(text("INSERT INTO t VALUES (50)"))
        await session.execute(text("ROLLBACK"))
        raise OSError("full")

    outcomes = await asyncio.gather(
        *(database.run(work, whole=True) for work in (insert(1), lose, insert(2))), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [DatabaseFailure] * 3
    assert await numbers(database) == []
    assert await database.run(insert(5), whole=True) == 5


async def test_whole_reads_need_no_thread_but_while_the_database_is_locked(database, monkeypatch):
    """What a reader cannot have at once is waited for elsewhere."""
    await database.run(insert(1), whole=True)
    threads = []

    async def query(session):
        threads.append(threading.current_thread())
        return list(await session.scalars(text("SELECT a FROM t")))

    assert await database.read(query, whole=True) == [1]

    def locked(self, work):
        work.close()
        raise OperationalError("", {}, sqlite3.OperationalError("database is locked"))

    monkeypatch.setattr(sqlite.Here, "whole", locked)
    assert await database.read(query, whole=True) == [1]
    assert threads[0] is threading.main_thread()
    assert threads[1] is not threads[0]


async def test_a_change_is_decided_when_its_caller_is_cancelled(database):
    """Whoever is cancelled leaves after the commit, and the connection serves the next."""
    task = asyncio.create_task(database.run(insert(1), whole=True))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await numbers(database) == [1]
    assert await database.run(insert(2), whole=True) == 2


async def test_nobody_waits_for_ever_when_the_writer_is_stopped(database):
    """As when the loop ends: who is in the commit hears of it, and who waits for the next, too."""
    tasks = [asyncio.create_task(database.run(insert(each), whole=True)) for each in range(99)]
    await asyncio.sleep(0)
    [writer] = [task for task in asyncio.all_tasks() if task.get_name() == "database writer"]
    await asyncio.sleep(0)
    writer.cancel()
    async with asyncio.timeout(120):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {int, asyncio.CancelledError}
    assert isinstance(outcomes[-1], asyncio.CancelledError)


async def test_a_read_takes_no_turn_of_the_loop(database):
    """It is answered in the step of the task that asks."""
    await numbers(database)  # the connection is open
    asking = numbers(database)
    with pytest.raises(StopIteration) as done:
        asking.send(None)
    assert done.value.value == []


async def test_a_work_is_refused_when_it_waits_for_something_else(database):
    """A thread has no loop: what awaits one is a mistake of the program, and nothing is written."""

    async def work(session):
        await session.execute(text("INSERT INTO t VALUES (1)"))
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError):
        await database.run(work, whole=True)
    with pytest.raises(RuntimeError):
        await database.read(work, whole=True)
    assert await numbers(database) == []
    assert await database.run(insert(1)) == 1
