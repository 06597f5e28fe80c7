"""What feeds showed to whom: logged in batches beside the answers, never in their way (E39, F11).

A page is noted in memory and written with the next batch. When the log is slow or down, the oldest pages
are dropped and counted: impressions are statistics, and a feed waits for nothing.
"""

import asyncio
import contextlib
from collections import deque

import msgspec
import structlog

from streams.log.commit import LogWriter, Outgoing
from streams.log.errors import LogError
from streams.topics import IMPRESSIONS
from tables.records import Impressions

log = structlog.get_logger(__name__)
FLUSH_SECONDS = 1.0
MAX_WAITING = 10_000
"""Pages held while the log does not take them, about 10 MB."""
BATCH = 1_000
ANONYMOUS = "anonymous"

_encode = msgspec.json.Encoder().encode


class ImpressionLog:
    """Notes pages and writes them; owned by one event loop."""

    def __init__(self, writer: LogWriter, flush_seconds: float = FLUSH_SECONDS) -> None:
        """Args: the log, and how often what was noted is written."""
        self._writer = writer
        self._flush_seconds = flush_seconds
        self._waiting: deque[Impressions] = deque()
        self.dropped = 0

    def note(self, page: Impressions) -> None:
        """Note one page; nothing is awaited and nothing fails."""
        if not page.videos:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(page)

    async def flush(self) -> None:
        """Write what was noted; on a failure it stays for the next time."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._writer.publish(
                    [Outgoing(IMPRESSIONS.name, page.viewer_id or ANONYMOUS, _encode(page)) for page in batch]
                )
            except LogError as error:
                self._waiting.extendleft(reversed(batch))
                log.warning("impressions_wait", error=str(error), pages=len(self._waiting))
                return

    async def run(self) -> None:
        """Write every second until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(self._flush_seconds)
                await self.flush()
        finally:
            with contextlib.suppress(LogError):
                await self.flush()
