"""SQLite behind asyncio, with few changes of thread (DESIGN section 8).

A connection has a thread of its own. The driver goes there to make a cursor, to execute, to fetch and to
close, and again to begin and to end: a read is nine changes of thread, each of which waits for a turn of the
loop and for a processor. On a busy server that is the time of a call, and it is how long a transaction keeps
the one writer. Here a statement with all its rows is one change of thread, its transaction begins with it,
and nobody waits for the end of a transaction that only read. A whole transaction can be one, too: see
``Connection.whole``. Short reads change no thread at all: see ``Here``.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from functools import partial
from threading import current_thread
from typing import Any, TypeVar, cast

import aiosqlite

T = TypeVar("T")
C = TypeVar("C", bound="Connection")


class Cursor:
    """One statement at a time, executed and fetched at once."""

    description: Any = None
    rowcount = -1
    lastrowid = 0
    arraysize = 1

    def __init__(self, connection: "Connection") -> None:
        """Take the connection; nothing happens there."""
        self._connection = connection
        self._rows: Sequence[Any] = ()

    async def __aenter__(self) -> "Cursor":
        """Be ready."""
        return self

    async def execute(self, sql: str, parameters: Any = ()) -> None:
        """Run a statement and fetch its rows."""
        await self._connection.work(lambda plain: self._run(plain.execute(sql, parameters)))

    async def executemany(self, sql: str, parameters: Any) -> None:
        """Run a statement with each of some parameters."""
        await self._connection.work(lambda plain: self._run(plain.executemany(sql, parameters)))

    async def fetchall(self) -> Sequence[Any]:
        """Return the rows."""
        return self._rows

    async def close(self) -> None:
        """Let the rows go; the cursor below is closed already."""
        self._rows = ()

    def _run(self, cursor: sqlite3.Cursor) -> None:
        self._rows = cursor.fetchall()
        # Read last: only a statement whose rows were fetched has counted what it returned.
        self.description, self.rowcount = cursor.description, cursor.rowcount
        self.lastrowid = cursor.lastrowid or 0
        cursor.close()


class Connection(aiosqlite.Connection):
    """A connection whose transaction begins with the first statement in it."""

    _begin = ""  # of a transaction that no statement has used
    _begun = False
    _reads = False

    def cursor(self) -> Any:
        """Return a cursor; nothing is awaited for it."""
        return Cursor(self)

    def begin(self, statement: str) -> None:
        """Open a transaction, ``BEGIN`` one to read; SQLite hears of it with the next statement."""
        self._begin, self._reads = statement, statement == "BEGIN"

    async def work(self, call: Callable[[sqlite3.Connection], object]) -> None:
        """Run a call on the connection's thread, in the transaction that is open."""
        begin, self._begin = self._begin, ""
        self._begun = self._begun or bool(begin)  # also when nobody waits for the answer any more
        await self._there(lambda: self._call(begin, call))

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that awaits nothing but this connection, all of it on the connection's thread.

        A caller who is cancelled leaves only when the thread has: nobody else gets the connection before.

        Raises:
            RuntimeError: it awaits something else.
            ValueError: the connection is closed.
        """
        if self._connection is None or not cast("Any", self)._running:
            raise ValueError("Connection closed")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((answer, partial(copy_context().run, _exhaust, work)))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            await asyncio.wait([answer])
            if not answer.cancelled():
                answer.exception()  # looked at, so that asyncio does not report it as forgotten
            raise

    async def commit(self) -> None:
        """End the transaction; one without statements was none."""
        self._begin = ""
        if self._begun:
            await self._there(self._conn.commit)
            self._begun = False

    async def rollback(self) -> None:
        """Drop the transaction; what comes next queues behind it, so nobody waits after having read."""
        self._begin = ""
        if not self._begun:
            return
        self._begun = False
        if self._reads and not self._is_there():
            self._tx.put_nowait((None, self._conn.rollback))
        else:
            await self._there(self._conn.rollback)

    def _is_there(self) -> bool:
        return current_thread() is cast("Any", self)._thread

    async def _there(self, call: Callable[[], Any]) -> Any:
        """Run a call on the connection's thread, at once when we are there."""
        return call() if self._is_there() else await cast("Any", self)._execute(call)

    def _call(self, begin: str, call: Callable[[sqlite3.Connection], object]) -> None:
        if begin:
            self._conn.execute(begin)
        call(self._conn)


class Here(Connection):
    """A connection that works on its caller's thread, for reads that are shorter than two changes of thread.

    What they cost is Python, for which other threads would have to wait as well. Pages that are asked for
    again and again are in memory, and a reader in WAL mode waits for no writer; where it would have to, after
    a crash of another process, it fails at once, and the read is for another connection.
    """

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that awaits nothing but this connection; errors as ``Connection.whole``."""
        return _exhaust(work)

    def _is_there(self) -> bool:
        return True


def _exhaust(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    work.close()
    raise RuntimeError("this transaction waits for something that is not its connection")


def connect(database: str, **options: Any) -> Connection:
    """Return a connection that opens when it is awaited; its thread keeps no process alive."""
    return _opening(Connection, lambda: sqlite3.connect(database, **options))


def connect_here(database: str, **options: Any) -> Here:
    """Return a connection that opens on a thread when it is awaited, and then needs none."""
    options |= {"check_same_thread": False, "timeout": 0.0}
    return _opening(Here, lambda: sqlite3.connect(database, **options))


def _opening(kind: type[C], open_plain: Callable[[], sqlite3.Connection]) -> C:
    connection = kind(open_plain, iter_chunk_size=64)
    cast("Any", connection)._thread.daemon = True
    return connection
