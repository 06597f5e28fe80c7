"""One database, two dialects: sessions, transactions, retries (O13-O16, DESIGN section 2).

SQLite runs in WAL mode with two pools: readers see the last commit, and one writer connection takes
``BEGIN IMMEDIATE``, so that writers of this process queue in order instead of failing as locked. Short reads
have a connection on the loop's own thread.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from time import monotonic
from typing import Any, Literal, TypeVar, cast

import structlog
from sqlalchemy import event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from tables.errors import AppError, DatabaseFailure, ValidationFailed
from tables.relational import sqlite
from tables.relational.capture import capturing_session
from tables.relational.grouping import Groups

T = TypeVar("T")
Synchronous = Literal["FULL", "NORMAL"]
log = structlog.get_logger(__name__)

ATTEMPTS = 4  # the first try and O14's three retries
FIRST_DELAY_SECONDS = 0.05
BUSY_TIMEOUT_MS = 5_000  # another process, such as the command line, may hold the write lock
POOL_TIMEOUT_SECONDS = 5.0
# SQLite's one writer is a queue that moves: a thousand requests at one moment are through in ten seconds,
# and in thirty on a machine that has other work.
QUEUE_TIMEOUT_SECONDS = 30.0
# No new try after this long: the client that waits has a timeout too.
RETRY_WINDOW_SECONDS = 15.0
STATEMENT_TIMEOUT_SECONDS = 10.0
# SQLSTATEs worth another try: serialization, deadlock, connection failures, server going away.
_TRANSIENT_STATES = frozenset(
    {"40001", "40P01", "08000", "08003", "08006", "57P01", "57P02", "57P03", "53300"}
)
_TRANSIENT_TEXT = ("database is locked", "database table is locked", "database is busy")


class CommitUnknown(Exception):
    """The connection broke while it committed: the work may be done, so it is not tried again."""


class Database:
    """A pool of connections; open it in the composition root and close it there."""

    def __init__(self, readers: AsyncEngine, writers: AsyncEngine, short: AsyncEngine | None = None) -> None:
        self._readers = readers
        self._writers = writers
        self._short = short
        self._groups = Groups(writers)

    @classmethod
    def open(cls, url: str, *, echo: bool = False, synchronous: Synchronous = "FULL") -> "Database":
        """Prepare the pools; no connection is made yet.

        Args:
            url: ``sqlite+aiosqlite:///PATH`` (a file) or ``postgresql+asyncpg://...``.
            echo: Log every statement.
            synchronous: SQLite's durability. FULL syncs every commit, so that an answered request also
                survives a power cut; NORMAL survives the death of the process only.
        """
        if make_url(url).get_backend_name() == "sqlite":
            options: dict[str, Any] = {
                "echo": echo,
                "pool_timeout": QUEUE_TIMEOUT_SECONDS,
                "connect_args": {"async_creator_fn": sqlite.connect},
            }
            readers = create_async_engine(url, pool_size=4, max_overflow=0, **options)
            writers = create_async_engine(url, pool_size=1, max_overflow=0, **options)
            prepare_sqlite(readers, "BEGIN", synchronous)
            prepare_sqlite(writers, "BEGIN IMMEDIATE", synchronous)
            options["connect_args"] = {"async_creator_fn": sqlite.connect_here}
            short = create_async_engine(url, pool_size=1, max_overflow=0, **options)
            prepare_sqlite(short, "BEGIN", synchronous, busy_timeout_ms=0)
            return cls(readers, writers, short)
        engine = create_async_engine(
            url,
            echo=echo,
            pool_size=10,
            max_overflow=10,
            pool_timeout=POOL_TIMEOUT_SECONDS,
            pool_pre_ping=True,
            connect_args={"command_timeout": STATEMENT_TIMEOUT_SECONDS},
        )
        return cls(engine, engine)

    @property
    def dialect(self) -> str:
        """Return ``sqlite`` or ``postgresql``."""
        return self._readers.dialect.name

    def session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session to read; what is written in it is dropped.

        Raises:
            DatabaseFailure: DATABASE_ERROR.
        """
        return self._open(self._readers, commit=False)

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session that commits when the block ends and rolls back when it raises.

        The block runs once. What must be repeated after a deadlock or a lost connection goes to :meth:`run`.

        Raises:
            DatabaseFailure: DATABASE_ERROR.
            ValidationFailed: VALIDATION_ERROR naming a violated constraint (O11).
        """
        return self._open(self._writers, commit=True)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Take one connection out of the pool, each statement of which stands for itself."""
        async with self._writers.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def run(self, work: Callable[[AsyncSession], Awaitable[T]], *, whole: bool = False) -> T:
        """Run ``work`` in a transaction; after a transient failure run it again, up to three times (O14).

        ``work`` must do nothing but talk to its session: it may run more than once. With ``whole`` SQLite
        does all of it on the writer's thread, where nothing else can be awaited, and in one commit with what
        else waits: its one writer is free again as soon as the disk allows, however busy the loop is.
        """
        return await self._retried(lambda: self._written(work, whole), is_transient)

    async def read(self, work: Callable[[AsyncSession], Awaitable[T]], *, whole: bool = False) -> T:
        """Run a query in a reading session; a transient failure or timeout is retried (O13, O15).

        With ``whole``, for queries of a few rows by their keys, SQLite does all of it at once, where nothing
        else can be awaited, and on the caller's thread: how busy all threads are is no matter.
        """
        return await self._retried(
            lambda: self._found(work, whole),
            lambda error: is_transient(error) or isinstance(error, TimeoutError),
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._readers.dispose()
        if self._short is not None:
            await self._short.dispose()
        if self._writers is not self._readers:
            await self._writers.dispose()

    @asynccontextmanager
    async def _open(self, engine: AsyncEngine, *, commit: bool) -> AsyncIterator[AsyncSession]:
        with _translated():
            async with _session(engine) as session:
                yield session
                if commit:
                    await _commit(session)

    async def _written(self, work: Callable[[AsyncSession], Awaitable[T]], whole: bool) -> T:
        """Write once."""
        if not whole or self.dialect != "sqlite":
            async with self.transaction() as session:
                return await work(session)
        with _translated():
            return cast("T", await self._groups.run(work))

    async def _found(self, work: Callable[[AsyncSession], Awaitable[T]], whole: bool) -> T:
        """Read once."""
        if not whole or self._short is None:
            async with self.session() as session:
                return await work(session)
        with _translated():
            try:
                return await _here(self._short, work)
            except OperationalError as error:
                if not is_transient(error):
                    raise
            async with self._readers.connect() as connection:  # which waits for whoever has the lock
                return await _whole(connection, work)

    async def _retried(
        self,
        once: Callable[[], Awaitable[T]],
        worth: Callable[[BaseException | None], bool],
    ) -> T:
        delay, started = FIRST_DELAY_SECONDS, monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await once()
            except DatabaseFailure as failure:
                late = monotonic() - started > RETRY_WINDOW_SECONDS
                if attempt == ATTEMPTS or late or not worth(failure.__cause__):
                    raise
                log.warning("database_retry", attempt=attempt, error=repr(failure.__cause__))
            # Jitter keeps two transactions that deadlocked from meeting again.
            await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311
            delay *= 4
        raise AssertionError("unreachable: the last attempt returns or raises")


def _session(bind: AsyncEngine | AsyncConnection) -> AsyncSession:
    return AsyncSession(bind, expire_on_commit=False, autoflush=False, sync_session_class=capturing_session())


async def _here(engine: AsyncEngine, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """Read without a turn of the loop, which leaving a connection's block would take."""
    connection = await engine.connect()
    try:
        return await _whole(connection, work)
    finally:
        await connection.close()


async def _whole(connection: AsyncConnection, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    driver = (await connection.get_raw_connection()).driver_connection
    return await cast("sqlite.Connection", driver).whole(_unit(connection, work))


async def _unit(connection: AsyncConnection, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    session = _session(connection)
    try:
        return await work(session)
    finally:
        await session.close()  # not left to its block, which would ask for a loop


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except AppError:
        raise
    except (SQLAlchemyError, OSError, TimeoutError, CommitUnknown) as error:
        raise _translate(error) from error


async def _commit(session: AsyncSession) -> None:
    try:
        await session.commit()
    except (DBAPIError, OSError, TimeoutError) as error:
        if getattr(error, "connection_invalidated", True):
            raise CommitUnknown(str(error)) from error
        raise


def is_transient(error: BaseException | None) -> bool:
    """Tell whether a failed statement or connection is worth another try (O13, O14)."""
    if isinstance(error, PoolTimeout | ConnectionError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _TRANSIENT_STATES:
        return True
    text = str(error.orig).lower()
    return isinstance(error, OperationalError | InterfaceError) and any(
        part in text for part in _TRANSIENT_TEXT
    )


def constraint_of(error: IntegrityError) -> str:
    """Name the violated constraint or columns, as far as the driver says."""
    named = getattr(getattr(error.orig, "__cause__", None), "constraint_name", None)
    if named:
        return str(named)
    return str(error.orig).rpartition("failed: ")[2][:200]


def _translate(error: BaseException) -> AppError:
    if isinstance(error, IntegrityError):
        # O16: a violation that no service expected; statement and values stay in the log.
        log.error("database_integrity", statement=error.statement, constraint=constraint_of(error))
        return ValidationFailed(
            "A rule of the database refuses this.", details={"constraint": constraint_of(error)}
        )
    log.error("database_failure", error=repr(error))
    return DatabaseFailure()


def prepare_sqlite(
    engine: AsyncEngine, begin: str, synchronous: Synchronous, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS
) -> None:
    """Set the pragmas of every connection of ``engine``, and the statement that opens its transactions."""

    def on_connect(connection: Any, _record: object) -> None:
        # The driver's own implicit BEGIN is switched off: ours decides when the lock is taken.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        if isinstance(driver, sqlite.Connection):
            driver.begin(begin)
        else:
            connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
