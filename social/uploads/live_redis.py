"""The live state of uploads in Redis, for many processes (A15): one hash and one lock key a part."""

from redis.asyncio import Redis

from social.uploads.live import TTL_SECONDS

PREFIX = "freewill:uploads:"
# Compare and act in one step: between a GET and a DEL of ours the lock could have become another's.
_RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  redis.call('hdel', KEYS[2], ARGV[2]); return redis.call('del', KEYS[1])
end
return 0
"""
_ADVANCE = """
if redis.call('get', KEYS[1]) == ARGV[1] then
  redis.call('pexpire', KEYS[1], ARGV[4])
  redis.call('hset', KEYS[2], ARGV[2], ARGV[3]); redis.call('pexpire', KEYS[2], ARGV[4])
  return 1
end
return 0
"""


class RedisLive:
    """Live state that every process sees; raises what redis raises when it is lost."""

    def __init__(self, redis: Redis) -> None:
        """Take a connection pool; its owner closes it."""
        self._redis = redis
        self._release = redis.register_script(_RELEASE)
        self._advance = redis.register_script(_ADVANCE)

    async def claim(self, session_id: str, number: int, token: str) -> bool:
        """Take the lock of a part; see ``LiveState``."""
        ttl = round(TTL_SECONDS * 1000)
        if await self._redis.set(_lock(session_id, number), token, nx=True, px=ttl):
            await self._redis.hset(_sent(session_id), str(number), "0")
            await self._redis.pexpire(_sent(session_id), ttl)
            return True
        return bool(await self._redis.get(_lock(session_id, number)) == token.encode())

    async def advance(self, session_id: str, number: int, token: str, sent: int) -> None:
        """Note how many bytes of the part have come, and keep its lock alive."""
        keys = [_lock(session_id, number), _sent(session_id)]
        await self._advance(keys=keys, args=[token, str(number), str(sent), str(round(TTL_SECONDS * 1000))])

    async def release(self, session_id: str, number: int, token: str) -> None:
        """Give the lock back, if it is still this request's."""
        await self._release(keys=[_lock(session_id, number), _sent(session_id)], args=[token, str(number)])

    async def arriving(self, session_id: str) -> dict[int, int]:
        """Return the bytes that have come of each part on its way."""
        found = await self._redis.hgetall(_sent(session_id))
        return {int(number): int(sent) for number, sent in found.items()}


def _lock(session_id: str, number: int) -> str:
    return f"{PREFIX}{session_id}:{number}:lock"


def _sent(session_id: str) -> str:
    return f"{PREFIX}{session_id}:sent"
