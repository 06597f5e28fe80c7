"""The loop that every agent runs: no data and no error ever leaves it (DESIGN invariant 5, O39).

Faust acks an event whose agent raised, which loses it. So a handler that fails is tried again: without
end while something that we depend on is down, a few times otherwise, and then the record that fails goes
to the dead letters and its neighbours go on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog

from streams.dead_letters import UNDECODABLE, DeadLetters, Unrepeatable, code_of
from streams.log.errors import LogError
from streams.log.lanes import in_lanes
from streams.log.slices import Poison, Received, Slice
from tables.errors import Failure

log = structlog.get_logger(__name__)
T = TypeVar("T")

ATTEMPTS = 3
FIRST_RETRY_SECONDS = 0.2
LAST_RETRY_SECONDS = 10.0


async def each_slice(
    agent: str,
    stream: Any,
    handle: Callable[[Slice[T]], Awaitable[None]],
    dead_letters: DeadLetters,
) -> None:
    """Handle every slice of a Faust stream, partitions side by side.

    What cannot be decoded or handled goes to the dead letters.
    """

    async def take(batch: Slice[T]) -> None:
        if batch.poison:
            await patiently(agent, partial(_bury_poison, agent, batch, dead_letters))
        if batch.records:
            await _handle(agent, batch, handle, dead_letters)

    await in_lanes(stream, take)


async def _handle(
    agent: str, batch: Slice[T], handle: Callable[[Slice[T]], Awaitable[None]], dead_letters: DeadLetters
) -> None:
    """Handle a slice; when it keeps failing, find the records that fail by handling one at a time."""
    error = await attempt(agent, lambda: handle(batch))
    if error is None:
        return
    if len(batch.records) > 1:
        for position in range(len(batch.records)):
            await _handle(agent, only(batch, position), handle, dead_letters)
        return
    value = msgspec.json.encode(batch.records[0])
    place = (batch.topic, batch.partition, batch.offsets[0])
    letter = dead_letters.letter(place, batch.keys[0], value, (code_of(error), str(error)), agent=agent)
    await patiently(agent, lambda: dead_letters.bury([letter]))


def only(batch: Slice[T], position: int) -> Slice[T]:
    """Return a slice of the one record at ``position``."""
    at = slice(position, position + 1)
    return replace(
        batch,
        records=batch.records[at],
        keys=batch.keys[at],
        offsets=batch.offsets[at],
        timestamps=batch.timestamps[at],
        headers=batch.headers[at],
        poison=[],
        first_offset=batch.offsets[position],
        last_offset=batch.offsets[position],
    )


async def each_event(
    agent: str,
    item: Received[T],
    handle: Callable[[T], Awaitable[None]],
    dead_letters: DeadLetters,
) -> None:
    """Handle one event of a record topic; what cannot be decoded or handled goes to the dead letters."""
    value = item.value
    if isinstance(value, Poison):
        raw, reason = value.value or b"", (UNDECODABLE, value.error)
    else:
        error = await attempt(agent, lambda: handle(value))
        if error is None:
            return
        raw, reason = msgspec.json.encode(value), (code_of(error), str(error))
    place = (item.topic, item.partition, item.offset)
    letter = dead_letters.letter(place, item.key, raw, reason, agent=agent)
    await patiently(agent, lambda: dead_letters.bury([letter]))


async def _bury_poison(agent: str, batch: Slice[Any], dead_letters: DeadLetters) -> None:
    await dead_letters.bury(
        [
            dead_letters.letter(
                (batch.topic, batch.partition, poison.offset),
                poison.key,
                poison.value or b"",
                (UNDECODABLE, poison.error),
                agent=agent,
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
        except Unrepeatable as error:
            return error
        except (Failure, LogError) as error:
            log.warning("agent_waits", agent=agent, error=str(error), retry_in_seconds=pause)
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
