"""What the workers of one instance tell each other at once: frames for sockets, and what to forget (X54).

Nothing rests on it: a message that is lost, as while Redis is away, costs a frame that the client finds by
polling, or a kept answer that lives a few seconds longer.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

import structlog

log = structlog.get_logger("web.bus")

Take = Callable[[bytes], object]
RANKINGS = "rankings"
"""Channel of user ids whose kept rankings are to be dropped."""
RELATIONS = "relations"
"""Channel of user ids whose likes or saves have changed."""
STANDINGS = "standings"
"""Channel of video ids that are for others than before."""
SESSIONS = "sessions"
"""Channel of session ids that have ended."""


def user_channel(user_id: str) -> str:
    """Return the channel of the frames for one person: only workers with a connection of theirs listen."""
    return f"user:{user_id}"


class Bus(Protocol):
    """Carries messages to the other workers, never back to the one that sent them."""

    def send(self, channel: str, data: bytes) -> None:
        """Send to the others; returns at once, and never fails."""

    def listen(self, channel: str, take: Take) -> Callable[[], None]:
        """Call ``take`` with what others send; returns the way to end it."""


class Listeners:
    """Who listens in this process, by channel."""

    def __init__(self) -> None:
        self._takes: dict[str, list[Take]] = defaultdict(list)

    def add(self, channel: str, take: Take) -> Callable[[], None]:
        """Add one; returns the way to remove it, which may be called again."""
        entry: Take = lambda data: take(data)  # noqa: E731  one function may listen twice
        self._takes[channel].append(entry)

        def end() -> None:
            takes = self._takes.get(channel, [])
            if entry in takes:
                takes.remove(entry)
            if not takes:
                self._takes.pop(channel, None)

        return end

    def take(self, channel: str, data: bytes) -> None:
        """Hand a message to everybody on its channel; one that fails does not keep it from the others."""
        for take in tuple(self._takes.get(channel, ())):
            try:
                take(data)
            except Exception:
                log.exception("message_not_taken", channel=channel)

    @property
    def channels(self) -> frozenset[str]:
        """The channels that somebody listens on."""
        return frozenset(self._takes)


class LocalBus:
    """The bus of an instance in one process; those that are given one ``exchange`` hear each other."""

    def __init__(self, exchange: "list[LocalBus] | None" = None) -> None:
        self._exchange = exchange if exchange is not None else []
        self._exchange.append(self)
        self._listeners = Listeners()

    def send(self, channel: str, data: bytes) -> None:
        """Hand a message to the others on the exchange."""
        for other in self._exchange:
            if other is not self:
                other._listeners.take(channel, data)

    def listen(self, channel: str, take: Take) -> Callable[[], None]:
        """Listen; see ``Bus``."""
        return self._listeners.add(channel, take)
