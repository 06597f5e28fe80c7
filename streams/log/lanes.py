"""Slices of different partitions side by side, of one partition in their order (DESIGN invariant 1).

Faust gives an agent one event after the other, so each would wait for the acknowledgements of the one
before, whatever its partition. Here every partition has a lane. While a lane's slice is on its way to the
log, those that come wait, and go together into the next call: the busier, the larger, the cheaper.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

from streams.log.slices import Slice

T = TypeVar("T")

#: Slices that wait in one lane before the stream waits for it.
WAITING_SLICES: Final = 8
#: A call gets no further slice once it has this much: some ms of folding, since others wait for the loop.
JOINED_BYTES: Final = 128 << 10

Handle = Callable[[Slice[Any]], Awaitable[None]]


async def in_lanes(stream: Any, handle: Handle) -> None:
    """Run ``handle`` on the slices of a Faust stream; they are acknowledged when it returns.

    ``handle`` runs once at a time for a partition. What a rebalance has made void meanwhile is neither
    handled nor acknowledged: its records come again, to whoever has the partition.

    Raises:
        Exception: what left ``handle``; all lanes end.
    """
    lanes: dict[tuple[str, int], _Lane] = {}
    try:
        async with asyncio.TaskGroup() as running:
            async for event in stream.noack().events():
                place = event.value.topic, event.value.partition
                if place not in lanes:
                    lanes[place] = _Lane(handle)
                    running.create_task(lanes[place].run(), name=f"lane {place[0]}[{place[1]}]")
                await lanes[place].put(event)
            for lane in lanes.values():
                await lane.put(None)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures


class _Lane:
    """One partition's events in order."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._waiting: asyncio.Queue[Any] = asyncio.Queue(WAITING_SLICES)

    async def put(self, event: Any) -> None:
        """Hand over an event when there is room; None ends the lane after what came before."""
        await self._waiting.put(event)

    async def run(self) -> None:
        """Handle what comes until None does."""
        while (event := await self._waiting.get()) is not None:
            taken = [event]
            size = event.value.size_bytes
            while size < JOINED_BYTES and not self._waiting.empty():
                event = self._waiting.get_nowait()
                if event is None:
                    self._waiting.put_nowait(None)
                    break
                taken.append(event)
                size += event.value.size_bytes
            await self._take(taken)

    async def _take(self, events: Sequence[Any]) -> None:
        valid = [event for event in events if _is_valid(event)]
        if not valid:
            return
        await self._handle(joined([event.value for event in valid]))
        for event in valid:
            if _is_valid(event):
                event.ack()


def _is_valid(event: Any) -> bool:
    return bool(event.message.generation_id == event.app.consumer_generation_id)


def joined(slices: Sequence[Slice[T]]) -> Slice[T]:
    """Return neighbouring slices of one partition as one."""
    if len(slices) == 1:
        return slices[0]
    first, last = slices[0], slices[-1]
    return Slice(
        first.topic,
        first.partition,
        list(chain.from_iterable(one.records for one in slices)),
        list(chain.from_iterable(one.keys for one in slices)),
        list(chain.from_iterable(one.offsets for one in slices)),
        list(chain.from_iterable(one.timestamps for one in slices)),
        list(chain.from_iterable(one.poison for one in slices)),
        list(chain.from_iterable(one.headers for one in slices)),
        first.first_offset,
        last.last_offset,
        sum(one.size_bytes for one in slices),
    )
