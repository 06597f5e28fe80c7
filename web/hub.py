"""Live frames to connected people, whichever worker they are connected to (I1, I2, I7, I16, X54).

A frame goes to the connections of this process at once, and over the bus to the other workers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from web.bus import SESSIONS, Bus, LocalBus, user_channel
from web.errors import rfc3339

# Frames waiting for one connection: a reader that is further behind is dropped, and polls or reconnects.
MAX_WAITING = 256
# Connections of one person, over all windows and devices.
MAX_PER_USER = 20


@dataclass(slots=True, eq=False)
class Subscriber:
    """One open connection; ``frames`` yields encoded frames, None means: close."""

    user_id: str
    session_id: str
    frames: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING + 1))


class Hub:
    """Delivers notifications to open sockets and event streams."""

    def __init__(self, clock: Callable[[], float], bus: Bus | None = None) -> None:
        self._clock = clock
        self._bus = bus if bus is not None else LocalBus()
        self._subscribers: dict[str, list[Subscriber]] = defaultdict(list)
        self._listening: dict[str, Callable[[], None]] = {}
        self._bus.listen(SESSIONS, lambda session_id: self._close_session(session_id.decode()))

    def push(self, recipient_id: str, event: str, data: Mapping[str, Any]) -> int:
        """Send one frame to every connection of a person; return how many of this process took it.

        A connection that does not read is closed rather than waited for.
        """
        frame = self.frame(event, data)
        self._bus.send(user_channel(recipient_id), frame)
        return self._deliver(recipient_id, frame)

    def frame(self, event: str, data: Mapping[str, Any]) -> bytes:
        """Encode ``{event, data}``; data always has a timestamp (I2)."""
        stamped = {"timestamp": rfc3339(self._clock()), **data}
        return orjson.dumps({"event": event, "data": stamped}, default=str)

    @contextmanager
    def subscribe(self, user_id: str, session_id: str) -> Iterator[Subscriber]:
        """Register a connection for as long as the block runs; the oldest goes past the limit."""
        subscriber = Subscriber(user_id, session_id)
        mine = self._subscribers[user_id]
        mine.append(subscriber)
        if user_id not in self._listening:
            self._listening[user_id] = self._bus.listen(
                user_channel(user_id), lambda frame: self._deliver(user_id, frame)
            )
        if len(mine) > MAX_PER_USER:
            self._close(mine[0])
        try:
            yield subscriber
        finally:
            self._remove(subscriber)

    def close_session(self, session_id: str) -> None:
        """Close the connections of a session that has ended, in every worker."""
        self._bus.send(SESSIONS, session_id.encode())
        self._close_session(session_id)

    def _close_session(self, session_id: str) -> None:
        for subscriber in [s for mine in self._subscribers.values() for s in mine]:
            if subscriber.session_id == session_id:
                self._close(subscriber)

    def close_all(self) -> None:
        """Close every connection: the server is stopping."""
        for mine in list(self._subscribers.values()):
            for subscriber in tuple(mine):
                self._close(subscriber)

    def __len__(self) -> int:
        """Return the number of open connections."""
        return sum(len(mine) for mine in self._subscribers.values())

    def _deliver(self, recipient_id: str, frame: bytes) -> int:
        subscribers = tuple(self._subscribers.get(recipient_id, ()))
        return sum([self._offer(subscriber, frame) for subscriber in subscribers])

    def _offer(self, subscriber: Subscriber, frame: bytes) -> bool:
        if subscriber.frames.qsize() >= MAX_WAITING:
            self._close(subscriber)
            return False
        subscriber.frames.put_nowait(frame)
        return True

    def _close(self, subscriber: Subscriber) -> None:
        self._remove(subscriber)
        if not subscriber.frames.full():  # one place is kept for this
            subscriber.frames.put_nowait(None)

    def _remove(self, subscriber: Subscriber) -> None:
        mine = self._subscribers.get(subscriber.user_id, [])
        if subscriber in mine:
            mine.remove(subscriber)
        if not mine:
            self._subscribers.pop(subscriber.user_id, None)
            if (end := self._listening.pop(subscriber.user_id, None)) is not None:
                end()
