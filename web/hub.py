"""Live frames to the people connected to this process (I1, I2, I7, I16)."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

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

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._subscribers: dict[str, list[Subscriber]] = defaultdict(list)

    def push(self, recipient_id: str, event: str, data: Mapping[str, Any]) -> int:
        """Send one frame to every connection of a person; return how many took it.

        A connection that does not read is closed rather than waited for.
        """
        subscribers = self._subscribers.get(recipient_id)
        if not subscribers:
            return 0
        frame = self.frame(event, data)
        return sum([self._offer(subscriber, frame) for subscriber in tuple(subscribers)])

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
        if len(mine) > MAX_PER_USER:
            self._close(mine[0])
        try:
            yield subscriber
        finally:
            self._remove(subscriber)

    def close_session(self, session_id: str) -> None:
        """Close the connections of a session that has ended."""
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
