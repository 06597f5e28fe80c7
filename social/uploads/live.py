"""What of an upload lives for seconds: which parts are on their way, and how far (A15, A36, A38, A39).

Confirmed parts are in the database and nowhere else. What is here may be lost at any moment and costs
nothing but a frame of progress: the locks keep two requests from sending the same bytes twice, and the
database and the part store decide when they fail.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar
from uuid import uuid4

import structlog

from tables.errors import Conflict

T = TypeVar("T")
log = structlog.get_logger(__name__)

TTL_SECONDS: Final = 30.0
"""How long a lock lives without a sign of its request: a process that died holds nobody up for longer."""
RETRY_SECONDS: Final = 5.0
"""How long a store that failed is left alone."""


class LiveState(Protocol):
    """Locks and byte counts of parts that are on their way; ``number`` 0 stands for an appended stream."""

    async def claim(self, session_id: str, number: int, token: str) -> bool:
        """Take the lock of a part; False when another request has it."""

    async def advance(self, session_id: str, number: int, token: str, sent: int) -> None:
        """Note how many bytes of the part have come, and keep its lock alive."""

    async def release(self, session_id: str, number: int, token: str) -> None:
        """Give the lock back, if it is still this request's."""

    async def arriving(self, session_id: str) -> dict[int, int]:
        """Return the bytes that have come of each part on its way."""


@dataclass(slots=True)
class _Part:
    token: str
    until: float
    sent: int = 0


@dataclass(slots=True)
class MemoryLive:
    """Live state of one process."""

    clock: Callable[[], float] = time.monotonic
    _parts: dict[str, dict[int, _Part]] = field(default_factory=dict)

    async def claim(self, session_id: str, number: int, token: str) -> bool:
        """Take the lock of a part; see ``LiveState``."""
        now, parts = self.clock(), self._parts.setdefault(session_id, {})
        held = parts.get(number)
        if held is not None and held.until > now and held.token != token:
            return False
        parts[number] = _Part(token, now + TTL_SECONDS)
        return True

    async def advance(self, session_id: str, number: int, token: str, sent: int) -> None:
        """Note how many bytes of the part have come."""
        held = self._parts.get(session_id, {}).get(number)
        if held is not None and held.token == token:
            held.sent, held.until = sent, self.clock() + TTL_SECONDS

    async def release(self, session_id: str, number: int, token: str) -> None:
        """Give the lock back."""
        parts = self._parts.get(session_id, {})
        if number in parts and parts[number].token == token:
            del parts[number]
        if not parts:
            self._parts.pop(session_id, None)

    async def arriving(self, session_id: str) -> dict[int, int]:
        """Return the bytes that have come of each part on its way."""
        now, parts = self.clock(), self._parts.get(session_id, {})
        return {number: part.sent for number, part in parts.items() if part.until > now}


class FallbackLive:
    """Shared live state, and this process's own while the shared one does not answer (A15)."""

    def __init__(
        self, shared: LiveState, failures: tuple[type[Exception], ...], own: LiveState | None = None
    ) -> None:
        """Take the shared state and what it raises when it is lost."""
        self._shared = shared
        self._failures = failures
        self._own = own or MemoryLive()
        self._lost_until = 0.0

    async def claim(self, session_id: str, number: int, token: str) -> bool:
        """Take the lock here and there, so that a store that comes back finds no second holder."""
        if not await self._own.claim(session_id, number, token):
            return False
        if await self._ask(lambda: self._shared.claim(session_id, number, token), otherwise=True):
            return True
        await self._own.release(session_id, number, token)
        return False

    async def advance(self, session_id: str, number: int, token: str, sent: int) -> None:
        """Note how many bytes of the part have come."""
        await self._own.advance(session_id, number, token, sent)
        await self._ask(lambda: self._shared.advance(session_id, number, token, sent), otherwise=None)

    async def release(self, session_id: str, number: int, token: str) -> None:
        """Give the lock back."""
        await self._own.release(session_id, number, token)
        await self._ask(lambda: self._shared.release(session_id, number, token), otherwise=None)

    async def arriving(self, session_id: str) -> dict[int, int]:
        """Return the bytes that have come of each part on its way, as far as it is known."""
        own = await self._own.arriving(session_id)
        return await self._ask(lambda: self._shared.arriving(session_id), otherwise=own) | own

    async def _ask(self, ask: Callable[[], Awaitable[T]], *, otherwise: T) -> T:
        if time.monotonic() < self._lost_until:
            return otherwise
        try:
            return await ask()
        except self._failures as error:
            log.warning("upload_live_state_lost", error=repr(error))
            self._lost_until = time.monotonic() + RETRY_SECONDS
            return otherwise


@dataclass(slots=True)
class Arrival:
    """One part on its way: counts what comes and keeps its lock alive."""

    live: LiveState
    session_id: str
    number: int
    token: str
    every_seconds: float
    on_progress: Callable[[], Awaitable[None]]
    sent: int = 0

    async def watch(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the body, telling of it at most every ``every_seconds``."""
        told = time.monotonic()
        async for chunk in body:
            self.sent += len(chunk)
            now = time.monotonic()
            if now - told >= self.every_seconds:
                told = now
                await self.live.advance(self.session_id, self.number, self.token, self.sent)
                await self.on_progress()
            yield chunk
            del chunk  # not held until the next comes


@asynccontextmanager
async def arriving(
    live: LiveState,
    session_id: str,
    number: int,
    on_progress: Callable[[], Awaitable[None]],
    *,
    every_seconds: float = 0.5,
) -> AsyncIterator[Arrival]:
    """Hold the lock of a part for as long as the block runs.

    Raises:
        Conflict: another request is sending this part (CONFLICT, with Retry-After).
    """
    token = uuid4().hex
    if not await live.claim(session_id, number, token):
        raise Conflict(
            "Another request is sending this part.",
            details={"part_number": number},
            retry_after_seconds=1.0,
        )
    try:
        yield Arrival(live, session_id, number, token, every_seconds, on_progress)
    finally:
        await asyncio.shield(live.release(session_id, number, token))
