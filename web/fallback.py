"""The shared store while there is one, this process's own while there is none (invariant 7)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from aiohttp import web

from social.throttle import Failures, Tally
from web.idempotency import Answer, IdempotencyStore, kept_form
from web.limits import Limit, Limiter, Verdict
from web.redis_link import RedisAway
from web.redis_stores import CLAIM_SECONDS, RedisAnswers

# Between two looks at a request that another worker is answering.
WAIT_SECONDS = 0.05


class FallbackLimiter:
    """Counts in Redis; while it is away each worker counts for itself."""

    def __init__(self, shared: Limiter, own: Limiter) -> None:
        self._shared, self._own = shared, own

    async def hit(self, key: str, limit: Limit, now: float) -> Verdict:
        """Count one request; see ``web.limits.Limiter``."""
        try:
            return await self._shared.hit(key, limit, now)
        except RedisAway:
            return await self._own.hit(key, limit, now)


class FallbackFailures:
    """Counts failed sign-ins in Redis; while it is away each worker counts for itself."""

    def __init__(self, shared: Failures, own: Failures) -> None:
        self._shared, self._own = shared, own

    async def read(self, keys: Sequence[str]) -> Sequence[Tally | None]:
        """Return what is counted; see ``social.throttle.Failures``."""
        try:
            return await self._shared.read(keys)
        except RedisAway:
            return await self._own.read(keys)

    async def add(self, keys: Sequence[str], now: float, window_seconds: float) -> None:
        """Count a failure; see ``social.throttle.Failures``."""
        try:
            await self._shared.add(keys, now, window_seconds)
        except RedisAway:
            await self._own.add(keys, now, window_seconds)

    async def forget(self, key: str) -> None:
        """Start again, in both: what was counted during an outage is over, too."""
        await self._own.forget(key)
        with contextlib.suppress(RedisAway):
            await self._shared.forget(key)


class SharedIdempotency:
    """Keeps answers in Redis, and in this process for as long as it is away."""

    def __init__(self, answers: RedisAnswers, own: IdempotencyStore, clock: Callable[[], float]) -> None:
        self._answers = answers
        self._own = own
        self._clock = clock

    async def once(self, key: str, call: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """Answer once; see ``web.idempotency.IdempotencyStore``.

        Repetitions in this process wait for each other first, so that Redis hears of one.
        """
        return await self._own.once(key, lambda: self._among_workers(key, call))

    async def _among_workers(
        self, key: str, call: Callable[[], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        holder = uuid4().hex
        try:
            claimed = await self._claim(key, holder)
        except RedisAway:
            return await call()
        if isinstance(claimed, Answer) and claimed.is_fresh(self._clock()):
            return claimed.response()
        answer: Answer | None = None
        try:
            async with self._holding(key, holder):
                response = await call()
            answer = kept_form(response, self._clock())
            return response
        finally:
            with contextlib.suppress(RedisAway):
                await asyncio.shield(self._answers.release(key, holder, answer))

    async def _claim(self, key: str, holder: str) -> Answer | bool:
        """Return the kept answer, or True when it is ours to make; waits while another worker makes it."""
        while True:
            if claimed := await self._answers.claim(key, holder):
                return claimed
            await asyncio.sleep(WAIT_SECONDS)

    @asynccontextmanager
    async def _holding(self, key: str, holder: str) -> AsyncIterator[None]:
        """Keep the claim while the block runs: an upload takes longer than a crash may block its key."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(CLAIM_SECONDS / 3)
                with contextlib.suppress(RedisAway):
                    await self._answers.renew(key, holder)

        task = asyncio.create_task(renew())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
