"""Starting while the log is away: what needs it waits, and what does not goes on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from streams.log.errors import LogUnreachable
from streams.log.ports import MessageLog

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.5
LAST_PAUSE_SECONDS: Final = 5.0


async def connect_when_reachable(log: MessageLog, prepare: Callable[[], Awaitable[None]]) -> None:
    """Connect and prepare, however long the log is unreachable; every other failure is raised.

    ``prepare`` does what has to be done first on a connected log, and may be repeated.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            await log.connect()
            await prepare()
            return
        except LogUnreachable as error:
            logger.warning("waiting for the log, next try in %.1f s: %s", pause, error)
            await log.close()
        await asyncio.sleep(pause)
        pause = min(2 * pause, LAST_PAUSE_SECONDS)
