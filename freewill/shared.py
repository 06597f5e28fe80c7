"""What the workers of an instance share beside database and log: in Redis, or in the one process."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from freewill.settings import Settings
from media.partials import Partials, RedisPartials
from social.throttle import Failures, MemoryFailures
from social.uploads.live import FallbackLive, LiveState, MemoryLive
from web.bus import Bus, LocalBus
from web.idempotency import IdempotencyStore, Once
from web.limits import Limiter, MemoryLimiter

if TYPE_CHECKING:
    from web.redis_bus import RedisBus
    from web.redis_link import RedisLink

log = structlog.get_logger(__name__)


class Shared:
    """Rate limits, failed sign-ins, kept answers, parts on their way, and the bus between workers."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float], failed: Callable[[str], None] = lambda use: None
    ) -> None:
        """Build the stores; nothing is opened. ``failed`` is told what was done without Redis."""
        self.limiter: Limiter = MemoryLimiter()
        self.failures: Failures = MemoryFailures()
        self.once: Once = IdempotencyStore(clock)
        self.bus: Bus = LocalBus()
        self.live: LiveState = MemoryLive()
        self._link: RedisLink | None = None
        self._redis_bus: RedisBus | None = None
        self._task: asyncio.Task[None] | None = None
        if url := settings.redis_url.get_secret_value():
            self._use_redis(url, clock, failed)

    def _use_redis(self, url: str, clock: Callable[[], float], failed: Callable[[str], None]) -> None:
        from social.uploads.live_redis import RedisLive
        from web.fallback import FallbackFailures, FallbackLimiter, SharedIdempotency
        from web.redis_bus import RedisBus
        from web.redis_link import FAILURES, RedisLink
        from web.redis_stores import RedisAnswers, RedisFailures, RedisLimiter

        self._link = link = RedisLink(url, failed)
        self.limiter = FallbackLimiter(RedisLimiter(link), self.limiter)
        self.failures = FallbackFailures(RedisFailures(link), self.failures)
        self.once = SharedIdempotency(RedisAnswers(link), IdempotencyStore(clock), clock)
        self.bus = self._redis_bus = RedisBus(link)
        self.live = FallbackLive(RedisLive(link.client), FAILURES, self.live)

    def partials(self, beside: Partials) -> Partials:
        """Return where workers keep what is left of failed encodes: in Redis, or each its own."""
        if self._link is None:
            return beside
        from web.redis_link import FAILURES

        return RedisPartials(self._link.client, FAILURES, beside)

    def start(self) -> None:
        """Begin to carry messages; Redis may come later."""
        if self._redis_bus is not None:
            self._task = asyncio.create_task(self._redis_bus.run(), name="bus")
            self._task.add_done_callback(_say_why)

    async def close(self) -> None:
        """Stop carrying, and close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._link is not None:
            await self._link.close()


def _say_why(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("bus_ended", exc_info=error)
