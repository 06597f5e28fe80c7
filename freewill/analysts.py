"""Wires what analysts and operators use: change feeds, the lake, dead letters, the audit (Y10)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import structlog

from freewill.audit import FileAudit
from freewill.keyring import open_keyring
from freewill.paths import audit_path, changelog, lake_path, log_path
from freewill.settings import Settings
from streams.changes import TableChanges
from streams.lake.columns import FACTS
from streams.lake.service import Lake, LakeSettings, json_line
from streams.letters import LetterDesk
from tables.analytics import AnalystTools
from tables.definitions import TABLES
from tables.errors import AppError, NotAcceptable

if TYPE_CHECKING:
    from freewill.node import Node

log = structlog.get_logger(__name__)
YIELD_ROWS = 500


def lake_settings(settings: Settings) -> LakeSettings:
    """Return where the lake of these settings is, and its bounds."""
    return LakeSettings(
        lake=lake_path(settings),
        log=log_path(settings),
        broker=settings.broker,
        key=open_keyring(settings.secrets_path).lake,
        changelogs={table.name: changelog(table.name) for table in TABLES},
        retention_days=settings.lake_retention_days,
        query_seconds=settings.lake_query_seconds,
        query_mb=settings.lake_query_mb,
    )


def open_lake(settings: Settings, clock: Callable[[], float] = time.time) -> Lake:
    """Return the lake for the command line, beside a running server or without one."""
    return Lake(lake_settings(settings), FileAudit(audit_path(settings), clock), clock)


class Analysts:
    """The analysts' side of one node."""

    def __init__(self, node: "Node") -> None:
        """Args: the node, with its log, tables and database built."""
        self._node = node
        self._lake = open_lake(node.settings, node.clock)
        self._lake.position = self._position
        self._changes = TableChanges(
            node.streams.tables,
            node.log,
            settle=node.streams.writer.settle,
            whole=node.owners is None,
            clock=node.clock,
        )
        self.tools = AnalystTools(
            changes=self._changes,
            sql=self._lake,
            letters=LetterDesk(node.log, node.database, node.clock),
            audit=self._lake.audit,
            arrow=self._arrow,
            personal=frozenset(table.name for table in TABLES if table.personal),
        )

    def start(self) -> list[asyncio.Task[None]]:
        """Begin writing the lake on its schedule; nothing is done while the log has nothing new."""
        seconds = self._node.settings.lake_seconds
        return [asyncio.create_task(self._write_lake(seconds), name="lake")] if seconds else []

    def stop(self) -> None:
        """End the open change feeds."""
        self._changes.close()

    async def _write_lake(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self._lake.refresh()
            except AppError as error:
                log.warning("lake_not_written", error=str(error))
            except Exception:
                log.exception("lake_not_written")

    def _position(self) -> object:
        """Return how far the log is in everything that the lake takes."""
        known = self._node.log
        names = [*(facts.source for facts in FACTS), *(changelog(table.name) for table in TABLES)]
        return [known.highwater(name, p) for name in names for p in range(known.partitions(name) or 0)]

    async def _arrow(self, name: str, limit: int | None, after: str | None) -> bytes:
        streams = self._node.streams
        if self._node.owners is not None and streams.read[name] is streams.tables[name]:
            raise NotAcceptable("Several workers hold this table: ask for CSV or JSON lines.")
        return await self._lake.table_arrow(name, self._stored(name, limit, after))

    async def _stored(self, name: str, limit: int | None, after: str | None) -> AsyncIterator[bytes]:
        table: Any = self._node.streams.read[name]
        codec = self._node.streams.tables[name].codec
        keys = sorted(key for key, _ in list(table.scan()) if after is None or key > after)
        for number, key in enumerate(keys if limit is None else keys[:limit]):
            value = table.lookup(key)
            if value is not None:
                yield json_line(key, codec.dumps(value))
            if number % YIELD_ROWS == 0:
                await asyncio.sleep(0)
