"""Redis as a neighbour that may be away (invariant 7, O22-O24).

Calls are short: a timeout, one repetition (O23), and then whoever asked does without. After a failure nobody
tries for a second, and then one does, so that an outage costs one request a second its wait and the others
nothing. Redis that is full or refuses counts as away, too.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

log = structlog.get_logger("web.redis")

Answer = TypeVar("Answer")
# In one network an answer takes less than a millisecond; what waits longer is not worth a client's time.
TIMEOUT_SECONDS = 0.25
RETRIES = 1
PAUSE_SECONDS = 1.0
FAILURES = (RedisError, OSError, TimeoutError)


class RedisAway(Exception):
    """Redis did not answer, or was not asked because it did not just now; never shown to clients."""


class RedisLink:
    """One pool of connections to Redis, and whether it answers."""

    def __init__(
        self,
        url: str,
        failed: Callable[[str], None] = lambda use: None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep where Redis is; nothing is opened before the first call.

        Args:
            url: ``redis://[user:password@]host:port/database``, or ``rediss://``; options of redis-py in its
                query, as ``?socket_timeout=1``, come before what is set here.
            failed: told what could not be done, each time.
            timeout_seconds: for connecting and for each answer.
            clock: monotonic.
        """
        self.client: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            socket_keepalive=True,
            retry=Retry(NoBackoff(), RETRIES, supported_errors=(RedisConnectionError, RedisTimeoutError)),
        )
        self._failed = failed
        self._clock = clock
        self._silent_until = 0.0
        self._away = False

    @property
    def away(self) -> bool:
        """Whether the last call failed."""
        return self._away

    async def ask(self, use: str, call: Callable[[Redis], Awaitable[Answer]]) -> Answer:
        """Call Redis and return what it answers.

        Args:
            use: what it is for, in logs and metrics.
            call: one or more commands; it may run twice.

        Raises:
            RedisAway: it did not answer in time, refused, or is left alone after a failure.
        """
        now = self._clock()
        if now < self._silent_until:
            self._failed(use)
            raise RedisAway
        if self._away:
            self._silent_until = now + PAUSE_SECONDS  # this call tries; the others do not wait for it
        try:
            answer = await call(self.client)
        except FAILURES as error:
            self.note_failure(use, error)
            raise RedisAway from error
        self.note_success()
        return answer

    def note_failure(self, use: str, error: BaseException) -> None:
        """Leave Redis alone for a while; the first failure is logged, every one is counted."""
        if not self._away:
            log.warning("redis_away", use=use, error=repr(error))
        self._away = True
        self._silent_until = self._clock() + PAUSE_SECONDS
        self._failed(use)

    def note_success(self) -> None:
        """Use Redis again."""
        if self._away:
            log.info("redis_back")
        self._away, self._silent_until = False, 0.0

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()
