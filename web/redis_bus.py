"""The bus between processes: Redis publish and subscribe, one channel for each person with a connection."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

import structlog

from web.bus import Listeners, Take
from web.redis_link import FAILURES, PAUSE_SECONDS, RedisAway, RedisLink

log = structlog.get_logger("web.bus")

PREFIX = "freewill:bus:"
# Subscribed to from the start: with none at all there would be no connection to notice an outage with.
ALIVE = "alive"
# Messages that wait for Redis: past it the oldest goes, for which its receiver has polled by now.
MAX_WAITING = 10_000
BATCH = 500
ORIGIN_BYTES = 8
# A connection that shows no life for so long is asked for some, and replaced when it still shows none.
QUIET_SECONDS = 5.0


class RedisBus:
    """See ``web.bus.Bus``; ``run`` keeps it going, and again after each outage."""

    def __init__(self, link: RedisLink, *, prefix: str = PREFIX) -> None:
        """Take the link; ``prefix`` keeps instances on one Redis apart."""
        self._link = link
        self._prefix = prefix
        self._origin = os.urandom(ORIGIN_BYTES)
        self._listeners = Listeners()
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MAX_WAITING)
        self._changed = asyncio.Event()
        self._subscribed: frozenset[str] = frozenset()
        self._away = False

    def send(self, channel: str, data: bytes) -> None:
        """Put a message behind those that wait."""
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait((channel, self._origin + data))

    def listen(self, channel: str, take: Take) -> Callable[[], None]:
        """Listen; what is sent before Redis has heard of it does not arrive."""
        end = self._listeners.add(channel, take)
        self._changed.set()

        def end_and_tell() -> None:
            end()
            self._changed.set()

        return end_and_tell

    @property
    def settled(self) -> bool:
        """Whether Redis sends what is listened to just now."""
        return self._wanted() <= self._subscribed

    async def run(self) -> None:
        """Send and receive until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(), name="bus: send")
            tasks.create_task(self._receive(), name="bus: receive")

    async def _send(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            with contextlib.suppress(RedisAway):  # counted; the messages are too late afterwards
                await self._link.ask("bus", lambda client, batch=batch: self._publish(client, batch))  # type: ignore[misc]

    async def _publish(self, client: Any, batch: list[tuple[str, bytes]]) -> None:
        async with client.pipeline(transaction=False) as pipeline:
            for channel, data in batch:
                pipeline.publish(self._prefix + channel, data)
            await pipeline.execute()

    async def _receive(self) -> None:
        while True:
            try:
                async with self._link.client.pubsub() as pubsub:
                    await self._attend(pubsub)
            except FAILURES as error:
                if not self._away:
                    log.warning("bus_away", error=repr(error))
                self._away = True
                self._link.note_failure("bus", error)
            self._subscribed = frozenset()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _attend(self, pubsub: Any) -> None:
        """Receive over one connection until it fails."""
        await self._subscribe(pubsub)
        following = asyncio.create_task(self._follow(pubsub))
        asked = False
        try:
            while not following.done():
                message = await pubsub.get_message(timeout=QUIET_SECONDS)
                if message is None and asked:
                    raise TimeoutError("Redis does not show any life")
                asked = message is None
                if message is None:
                    await pubsub.ping()
                elif message["type"] == "message":
                    self._take(message["channel"], message["data"])
            following.result()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, pubsub: Any) -> None:
        """Tell Redis of every change of what is listened to."""
        while True:
            await self._changed.wait()
            await self._subscribe(pubsub)

    async def _subscribe(self, pubsub: Any) -> None:
        self._changed.clear()
        wanted = self._wanted()
        if new := wanted - self._subscribed:
            await pubsub.subscribe(*new)
        if gone := self._subscribed - wanted:
            await pubsub.unsubscribe(*gone)
        self._subscribed = wanted
        if self._away:
            log.info("bus_back")
            self._away = False

    def _wanted(self) -> frozenset[str]:
        return frozenset(self._prefix + channel for channel in (ALIVE, *self._listeners.channels))

    def _take(self, channel: bytes, data: bytes) -> None:
        origin, rest = data[:ORIGIN_BYTES], data[ORIGIN_BYTES:]
        if origin != self._origin:
            self._listeners.take(channel.decode()[len(self._prefix) :], rest)
