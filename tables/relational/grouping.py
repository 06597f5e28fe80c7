"""Many transactions of SQLite's one writer in one commit (O14, DESIGN section 8).

What a commit costs is waiting for the disk, once, however much is in it. So whoever waits while one is on its
way goes into the next together, each in a savepoint of its own: one that fails takes only its own changes
back. Nobody has an answer before the commit that has its changes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, NamedTuple, cast

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from tables.relational.capture import capturing_session
from tables.relational.sqlite import Connection

AT_ONCE: Final = 64
"""Transactions in one commit, at most."""
SECONDS: Final = 0.01
"""After this long a commit takes no further one: the first waits for the last, and who comes for the next."""
Work = Callable[[AsyncSession], Awaitable[Any]]


@dataclass(slots=True)
class _Asked:
    """A transaction that somebody waits for, until there is an outcome."""

    work: Work
    waiter: "asyncio.Future[None]"
    outcome: "_Done | BaseException | None" = None

    def decide(self, outcome: "_Done | BaseException") -> None:
        self.outcome = outcome
        if not self.waiter.done():
            self.waiter.set_result(None)


class Groups:
    """Runs works of sessions on a writer's thread, together with whatever else waits."""

    def __init__(self, writers: AsyncEngine) -> None:
        """Take the engine of the one writer; nothing starts."""
        self._writers = writers
        self._waiting: list[_Asked] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self, work: Work) -> Any:
        """Return what ``work`` returns, committed; raise what it or the commit raises.

        A caller who is cancelled leaves only when it is decided whether the change was made.
        """
        loop, cancelled = asyncio.get_running_loop(), None
        asked = _Asked(work, loop.create_future())
        self._waiting.append(asked)
        if self._task is None:
            self._task = loop.create_task(self._drain(), name="database writer")
        while asked.outcome is None:  # awaited as it is: each layer between is another turn of the loop
            try:
                await asked.waiter
            except asyncio.CancelledError as error:
                cancelled, asked.waiter = error, loop.create_future()
        if cancelled is not None:
            raise cancelled
        if isinstance(asked.outcome, BaseException):
            raise asked.outcome
        return asked.outcome.result

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._next()
        except BaseException as error:  # the loop ends: nobody else would tell them
            for asked in self._waiting:
                asked.decide(error)
            self._waiting.clear()
            raise
        finally:
            self._task = None

    async def _next(self) -> None:
        """Write what waits when it is our turn; when the transaction fails, all in it hear why."""
        group: list[_Asked] | None = None
        try:
            async with self._writers.connect() as connection:
                group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                driver = cast("Connection", (await connection.get_raw_connection()).driver_connection)
                outcomes = await driver.whole(_together(connection, driver, [asked.work for asked in group]))
                self._waiting[:0] = group[len(outcomes) :]
                for asked, outcome in zip(group, outcomes, strict=False):
                    asked.decide(outcome)  # now: giving the connection back takes a while
                group = []
        except BaseException as error:
            if group is None:  # there was no connection to be had
                group, self._waiting = self._waiting, []
            for asked in group:
                asked.decide(error)
            if not isinstance(error, Exception):
                raise


class _Done(NamedTuple):
    result: Any


async def _together(
    connection: AsyncConnection, driver: Connection, works: Sequence[Work]
) -> list[_Done | BaseException]:
    """Do some works in one transaction, the first that there is time for; runs on the connection's thread."""
    outcomes: list[_Done | BaseException] = []
    until = monotonic() + SECONDS
    try:
        await connection.begin()
        for work in works:
            if outcomes and monotonic() > until:
                break
            outcomes.append(await _apart(connection, work))
            if isinstance(outcome := outcomes[-1], BaseException) and not driver.in_transaction:
                raise outcome  # a full disk ends a transaction, and with it what the others wrote
        await connection.commit()
    except BaseException:
        await connection.rollback()
        raise
    return outcomes


async def _apart(connection: AsyncConnection, work: Work) -> _Done | BaseException:
    session = AsyncSession(
        connection,
        expire_on_commit=False,
        autoflush=False,
        sync_session_class=capturing_session(),
        join_transaction_mode="create_savepoint",
    )
    try:
        result = await work(session)
        await session.commit()  # of the savepoint
    except Exception as error:
        return error
    else:
        return _Done(result)
    finally:
        await session.close()  # not left to its block, which would ask for a loop
