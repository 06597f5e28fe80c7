"""Redis as a neighbour that may be away: who asks, who waits, who is told (O22-O24)."""

import pytest
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as RedisTimeoutError

from web.redis_link import PAUSE_SECONDS, RedisAway, RedisLink


class Neighbour:
    """A Redis that fails as a test says, and counts who asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def __call__(self, client):
        self.asked += 1
        if self.error:
            raise self.error
        return "answer"


@pytest.fixture
async def world():
    now, counted = [100.0], []
    link = RedisLink("redis://127.0.0.1:1/0", counted.append, clock=lambda: now[0])
    yield link, now, counted
    await link.close()


@pytest.mark.parametrize(
    "error", [RedisTimeoutError(), ConnectionRefusedError(), OutOfMemoryError("OOM command not allowed")]
)
async def test_redis_is_left_alone_when_it_failed(world, error):
    """One try a second; everybody else does without at once, and each is counted."""
    link, now, counted = world
    redis = Neighbour()
    assert await link.ask("limits", redis) == "answer"
    redis.error = error
    for _ in range(5):
        with pytest.raises(RedisAway):
            await link.ask("limits", redis)
    assert (redis.asked, counted, link.away) == (2, ["limits"] * 5, True)
    now[0] += PAUSE_SECONDS
    with pytest.raises(RedisAway):
        await link.ask("answers", redis)
    assert redis.asked == 3
    now[0] += PAUSE_SECONDS
    redis.error = None
    assert await link.ask("limits", redis) == "answer"
    assert await link.ask("limits", redis) == "answer"
    assert not link.away


async def test_one_tries_and_nobody_waits_when_redis_may_be_back(world):
    link, now, _ = world
    redis = Neighbour()
    link.note_failure("bus", OSError())
    now[0] += PAUSE_SECONDS

    async def slow(client):
        with pytest.raises(RedisAway):
            await link.ask("limits", redis)
        return "slow"

    assert await link.ask("limits", slow) == "slow"
    assert redis.asked == 0
