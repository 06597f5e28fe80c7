"""What workers have to count and remember together, in Redis: rate limits, failed sign-ins, kept answers.

Each class is the twin of one in this process and raises ``RedisAway`` when Redis is; ``web/fallback.py`` puts
the two together. Scripts make every decision one step, so that two workers never let the same request pass.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from social.throttle import Tally
from web.idempotency import KEPT_SECONDS, Answer
from web.limits import Limit, Verdict, verdict
from web.redis_link import RedisLink

PREFIX = "freewill:"
# A request that runs holds its key for so long, and again while it goes on; after a crash the next one may.
CLAIM_SECONDS = 30.0

# The sliding window of web.limits: this window's counter and the one before, by what is left of it.
_HIT = """
local now, before = tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(redis.call('GET', KEYS[2]) or 0)
if now + before * tonumber(ARGV[1]) + 1 > tonumber(ARGV[2]) then return {0, now, before} end
redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, now + 1, before}
"""
_FAIL = """
for _, key in ipairs(KEYS) do
  local started = redis.call('HGET', key, 'started')
  if not started or tonumber(ARGV[1]) - tonumber(started) >= tonumber(ARGV[2]) then
    redis.call('HSET', key, 'started', ARGV[1], 'count', 0)
    redis.call('PEXPIRE', key, math.ceil(tonumber(ARGV[2]) * 1000))
  end
  redis.call('HINCRBY', key, 'count', 1)
end
"""
_CLAIM = """
local answer = redis.call('GET', KEYS[1])
if answer then return answer end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""
_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""
_RELEASE = """
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
if ARGV[2] ~= '' then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
"""


class _Store:
    def __init__(self, link: RedisLink, *, prefix: str = PREFIX) -> None:
        self._link = link
        self._prefix = prefix

    async def _run(self, use: str, script: str, keys: Sequence[str], *values: Any) -> Any:
        async def call(client: Redis) -> Any:
            # redis-py sends the digest and, when Redis does not know it, the script.
            return await client.register_script(script)(keys=keys, args=values)

        return await self._link.ask(use, call)


class RedisLimiter(_Store):
    """The twin of ``web.limits.MemoryLimiter``."""

    async def hit(self, key: str, limit: Limit, now: float) -> Verdict:
        """Count one request; see ``web.limits.Limiter``."""
        window, elapsed = divmod(now, limit.seconds)
        keys = [f"{self._prefix}rate:{{{key}}}:{int(window) - back}" for back in (0, 1)]
        weight, kept_ms = 1 - elapsed / limit.seconds, int(limit.seconds * 2000)
        allowed, current, previous = await self._run(
            "limits", _HIT, keys, repr(weight), limit.requests, kept_ms
        )
        return verdict(limit, bool(allowed), current + previous * weight, elapsed)


class RedisFailures(_Store):
    """The twin of ``social.throttle.MemoryFailures``."""

    async def read(self, keys: Sequence[str]) -> list[Tally | None]:
        """Return what is counted; see ``social.throttle.Failures``."""

        async def call(client: Redis) -> list[list[bytes | None]]:
            async with client.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.hmget(self._key(key), ["started", "count"])
                return cast("list[list[bytes | None]]", await pipeline.execute())

        found = await self._link.ask("sign-ins", call)
        return [Tally(float(at), int(count)) if at and count else None for at, count in found]

    async def add(self, keys: Sequence[str], now: float, window_seconds: float) -> None:
        """Count a failure; see ``social.throttle.Failures``."""
        await self._run("sign-ins", _FAIL, [self._key(key) for key in keys], repr(now), repr(window_seconds))

    async def forget(self, key: str) -> None:
        """Start again; see ``social.throttle.Failures``."""
        await self._link.ask("sign-ins", lambda client: client.delete(self._key(key)))

    def _key(self, key: str) -> str:
        return f"{self._prefix}sign-ins:{key}"


class RedisAnswers(_Store):
    """Answers by ``Idempotency-Key``, and which of them are being made."""

    async def claim(self, key: str, holder: str) -> Answer | bool:
        """Return the kept answer; else whether the key is the holder's now, for ``CLAIM_SECONDS``."""
        found = await self._run("answers", _CLAIM, self._keys(key), holder, int(CLAIM_SECONDS * 1000))
        return bool(found) if isinstance(found, int) else msgspec.msgpack.decode(found, type=Answer)

    async def renew(self, key: str, holder: str) -> None:
        """Hold a claimed key for another ``CLAIM_SECONDS``."""
        await self._run("answers", _RENEW, self._keys(key)[1:], holder, int(CLAIM_SECONDS * 1000))

    async def release(self, key: str, holder: str, answer: Answer | None) -> None:
        """Let go of a claimed key, and keep the answer if there is one to keep."""
        kept = msgspec.msgpack.encode(answer) if answer else b""
        await self._run("answers", _RELEASE, self._keys(key), holder, kept, int(KEPT_SECONDS * 1000))

    def _keys(self, key: str) -> list[str]:
        return [f"{self._prefix}answer:{{{key}}}", f"{self._prefix}claim:{{{key}}}"]
