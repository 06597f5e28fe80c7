"""The loop that every agent runs: no data and no error ever leaves it (DESIGN invariant 5, O39).

Faust acks an event whose agent raised, which loses it. So a handler that fails is tried again: without
end while something that we depend on is down, a few times otherwise, and then the record that fails goes
to the dead letters and its neighbours go on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import structlog

from streams.dead_letters import DeadLetters
from streams.log import Slice
from tables.errors import Failure

log = structlog.get_logger(__name__)
T = TypeVar("T")

ATTEMPTS = 3
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0


async def each_slice(
    agent: str,
    stream: AsyncIterator[Slice[T]],
    handle: Callable[[Slice[T]], Awaitable[None]],
    dead_letters: DeadLetters,
) -> None:
    """Handle every slice of a stream; what cannot be decoded or handled goes to the dead letters."""
    async for batch in stream:
        await patiently(agent, lambda b=batch: _bury_poison(agent, b, dead_letters))  # type: ignore[misc]
        if batch.records:
            await _handle(agent, batch, handle, dead_letters)


async def _handle(
    agent: str, batch: Slice[T], handle: Callable[[Slice[T]], Awaitable[None]], dead_letters: DeadLetters
) -> None:
    """Handle a slice; when it keeps failing, find the records that fail by handling one at a time."""
    error = await attempt(agent, lambda: handle(batch))
    if error is None:
        return
    if len(batch.records) > 1:
        for single in batch.split():
            await _handle(agent, single, handle, dead_letters)
        return
    letter = dead_letters.letter(
        (batch.topic, batch.partition, batch.offsets[0]), batch.keys[0], batch.raw(0), error, agent
    )
    await patiently(agent, lambda: dead_letters.bury([letter]))


async def _bury_poison(agent: str, batch: Slice[Any], dead_letters: DeadLetters) -> None:
    await dead_letters.bury(
        [
            dead_letters.letter(
                (batch.topic, batch.partition, poison.offset), poison.key, poison.value, poison.error, agent
            )
            for poison in batch.poison
        ]
    )


async def attempt(agent: str, work: Callable[[], Awaitable[None]]) -> Exception | None:
    """Do the work, a few times when it fails, without end while a dependency is down.

    Returns:
        None when it was done, else the error of the last try.
    """
    failures = 0
    pause = FIRST_RETRY_SECONDS
    while True:
        try:
            await work()
            return None
        except Failure as error:
            log.warning("agent_waits_for_dependency", agent=agent, code=error.code, retry_in_seconds=pause)
        except Exception as error:
            failures += 1
            log.warning("agent_failed", agent=agent, failures=failures, exc_info=True)
            if failures >= ATTEMPTS:
                return error
        await asyncio.sleep(pause)
        pause = min(pause * 2, LAST_RETRY_SECONDS)


async def patiently(agent: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, however long it takes until it succeeds."""
    while (error := await attempt(agent, work)) is not None:
        log.error("agent_cannot_go_on", agent=agent, error=str(error))
