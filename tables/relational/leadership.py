"""Work that one process at a time does, of all that share a database (DESIGN invariant 2).

On PostgreSQL the right to do it is an advisory lock of a session: it ends with its process, so that another
takes over within about a second. A leader that is stopped or cut off loses it when its session has been
silent for ``SILENCE_SECONDS``, and stops by itself when it cannot reach the database. SQLite has one process.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from tables.errors import AppError
from tables.relational.engine import Database

log = structlog.get_logger(__name__)

#: How often those who wait ask, and the leader shows that it lives.
BEAT_SECONDS: Final = 1.0
#: How long an answer to that may take; less than the silence after which another may lead.
ANSWER_SECONDS: Final = 4.0
SILENCE_SECONDS: Final = 8


class Leadership:
    """The right to one kind of work."""

    def __init__(self, database: Database, name: str) -> None:
        """Args: the database that decides, and the name of the work, the same in every process."""
        self._database = database
        self._key = zlib.crc32(f"freewill {name}".encode())
        self._name = name
        self.leads = False

    async def hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work whenever it is this process's turn, until cancelled; ``work`` is cancelled with it.

        Work that ends or fails is begun anew after a pause, by whoever gets the right then.
        """
        while True:
            try:
                await self._lead_once(work)
            except (AppError, SQLAlchemyError, OSError) as error:
                log.warning("leadership_lost", work=self._name, error=repr(error))
            except Exception:
                log.exception("leader_failed", work=self._name)
            await asyncio.sleep(BEAT_SECONDS)

    async def _lead_once(self, work: Callable[[], Awaitable[None]]) -> None:
        if self._database.dialect != "postgresql":
            await self._do(work, None)
            return
        async with self._database.connection() as connection:
            try:
                await connection.execute(text(f"SET idle_session_timeout = {SILENCE_SECONDS * 1000}"))
                while not await self._asked(connection):  # noqa: ASYNC110
                    await asyncio.sleep(BEAT_SECONDS)
                log.info("leads", work=self._name)
                await self._do(work, connection)
            finally:
                await connection.invalidate()  # given back to the pool it would keep the lock

    async def _asked(self, connection: AsyncConnection) -> bool:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key})
            return bool(answer.scalar())

    async def _do(self, work: Callable[[], Awaitable[None]], connection: AsyncConnection | None) -> None:
        working = asyncio.ensure_future(work())
        self.leads = True
        try:
            while connection is not None and not working.done():
                await asyncio.wait({working}, timeout=BEAT_SECONDS)
                async with asyncio.timeout(ANSWER_SECONDS):
                    await connection.execute(text("SELECT 1"))
            await working
        finally:
            self.leads = False
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
