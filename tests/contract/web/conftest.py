"""The stores that workers share, in this process and in Redis, each as two workers see it."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from social.throttle import Failures, MemoryFailures
from web.bus import Bus, LocalBus
from web.fallback import SharedIdempotency
from web.idempotency import IdempotencyStore, Once
from web.limits import Limiter, MemoryLimiter
from web.redis_bus import RedisBus
from web.redis_link import RedisLink
from web.redis_stores import RedisAnswers, RedisFailures, RedisLimiter

PATIENT_SECONDS = 30.0  # a contract is about what is answered, not when


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Side:
    """What one of two workers has."""

    limiter: Limiter
    failures: Failures
    once: Once
    bus: Bus


@dataclass
class Pair:
    """Two workers of one instance."""

    first: Side
    second: Side
    clock: Clock

    async def settle(self) -> None:
        """Wait until what is listened to is known to the others."""
        for side in (self.first, self.second):
            while not getattr(side.bus, "settled", True):
                await asyncio.sleep(0.01)


def redis_url() -> str:
    """Return where the tests' Redis is; skips without one, fails in CI."""
    url = os.environ.get("FREEWILL_TEST_REDIS_URL")
    if url:
        return url
    if os.environ.get("CI"):
        pytest.fail("FREEWILL_TEST_REDIS_URL is missing: CI runs the tests on Redis too")
    pytest.skip("no Redis (set FREEWILL_TEST_REDIS_URL; `make services` starts one)")


def in_process(clock: Clock) -> Pair:
    limiter, failures, once = MemoryLimiter(), MemoryFailures(), IdempotencyStore(clock)
    exchange: list[LocalBus] = []
    sides = [Side(limiter, failures, once, LocalBus(exchange)) for _ in range(2)]
    return Pair(sides[0], sides[1], clock)


async def over_redis(clock: Clock, stack: AsyncExitStack) -> Pair:
    prefix = f"test:{uuid.uuid4().hex}:"
    sides = []
    for _ in range(2):
        link = RedisLink(redis_url(), timeout_seconds=PATIENT_SECONDS)
        stack.push_async_callback(link.close)
        bus = RedisBus(link, prefix=prefix)
        task = asyncio.create_task(bus.run())
        stack.push_async_callback(_end, task)
        once = SharedIdempotency(RedisAnswers(link, prefix=prefix), IdempotencyStore(clock), clock)
        sides.append(Side(RedisLimiter(link, prefix=prefix), RedisFailures(link, prefix=prefix), once, bus))
    return Pair(sides[0], sides[1], clock)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(params=["memory", "redis"])
async def pair(request: Any) -> AsyncIterator[Pair]:
    """Return two workers that share what they have to."""
    clock = Clock()
    async with AsyncExitStack() as stack:
        yield in_process(clock) if request.param == "memory" else await over_redis(clock, stack)
