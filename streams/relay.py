"""The transactional outbox: rows become events, in order, at least once (DESIGN section 1).

A row is deleted only after the log has its record, so a crash in between sends it again. Consumers take
that: facts carry their event id or the row's sequence.
"""

import asyncio
from collections.abc import Callable

import structlog

from streams.log.commit import LogWriter, Outgoing
from tables.relational.engine import Database
from tables.relational.outbox import delete, payload_of, pending

log = structlog.get_logger(__name__)
BATCH_ROWS = 1000
IDLE_SECONDS = 0.05
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 5.0


class OutboxRelay:
    """Moves outbox rows to the log until it is cancelled."""

    def __init__(
        self, database: Database, writer: LogWriter, *, moved: Callable[[int], None] = lambda rows: None
    ) -> None:
        """Args: where rows come from, where they go, and ``moved(rows)`` for the metrics."""
        self._database = database
        self._writer = writer
        self._moved = moved

    async def run(self) -> None:
        """Relay for ever; a failing database or log is tried again with growing pauses."""
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                rows = await self.relay_once()
                pause = FIRST_RETRY_SECONDS
                if not rows:
                    await asyncio.sleep(IDLE_SECONDS)
            except Exception:
                log.exception("outbox_relay_failed", retry_in_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LAST_RETRY_SECONDS)

    async def relay_once(self) -> int:
        """Move one batch of rows, oldest first.

        Returns:
            How many rows were moved; 0 when the outbox is empty.
        """
        async with self._database.session() as session:
            rows = await pending(session, BATCH_ROWS)
        if not rows:
            return 0
        await self._writer.publish([Outgoing(row.topic, row.key, payload_of(row)) for row in rows])
        async with self._database.transaction() as session:
            await delete(session, [row.id for row in rows])
        self._moved(len(rows))
        return len(rows)
