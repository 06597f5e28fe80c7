"""The live state of uploads, in a process and in Redis: one contract, and Redis lost in the middle (A15)."""

import asyncio
import os
import subprocess
import uuid

import pytest

from social.uploads import live
from social.uploads.live import FallbackLive, MemoryLive, arriving
from tables.errors import Conflict


class Hands:
    """Time that a test moves."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(params=["memory", "redis", "fallback"])
async def state(request):
    if request.param == "memory":
        yield MemoryLive()
        return
    url = os.environ.get("FREEWILL_TEST_REDIS_URL")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("FREEWILL_TEST_REDIS_URL is missing: CI runs the contract on Redis too")
        pytest.skip("no Redis (set FREEWILL_TEST_REDIS_URL; `make services` starts one)")
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    from social.uploads.live_redis import RedisLive

    client = Redis.from_url(url)
    shared = RedisLive(client)
    yield shared if request.param == "redis" else FallbackLive(shared, (RedisError, OSError))
    await client.aclose()


@pytest.fixture
def session_id():
    return str(uuid.uuid4())


async def test_part_has_one_holder_until_it_is_released(state, session_id):
    """A36."""
    assert await state.claim(session_id, 1, "a")
    assert not await state.claim(session_id, 1, "b")
    assert await state.claim(session_id, 2, "b")
    await state.release(session_id, 1, "b")  # not the holder: nothing happens
    assert not await state.claim(session_id, 1, "b")
    await state.release(session_id, 1, "a")
    assert await state.claim(session_id, 1, "b")


async def test_bytes_on_their_way_are_those_of_the_holders(state, session_id):
    """A38, A39."""
    await state.claim(session_id, 1, "a")
    await state.claim(session_id, 2, "b")
    await state.advance(session_id, 1, "a", 10)
    await state.advance(session_id, 2, "x", 99)
    assert await state.arriving(session_id) == {1: 10, 2: 0}
    await state.release(session_id, 1, "a")
    assert await state.arriving(session_id) == {2: 0}
    assert await state.arriving(str(uuid.uuid4())) == {}


async def test_lock_ends_by_itself_when_its_process_died(session_id, monkeypatch):
    """A15: nobody is held up for longer than the lock lives; a request that goes on keeps it."""
    clock = Hands()
    state = MemoryLive(clock)
    assert await state.claim(session_id, 1, "a")
    clock.now = live.TTL_SECONDS - 1
    await state.advance(session_id, 1, "a", 5)
    clock.now += live.TTL_SECONDS - 1
    assert not await state.claim(session_id, 1, "b")
    clock.now += 2
    assert await state.arriving(session_id) == {}
    assert await state.claim(session_id, 1, "b")


async def test_redis_lock_ends_by_itself(state, session_id, monkeypatch):
    """A15: the same, by Redis's own clock."""
    if isinstance(state, MemoryLive | FallbackLive):
        pytest.skip("tried above with a clock")
    monkeypatch.setattr("social.uploads.live_redis.TTL_SECONDS", 0.2)
    assert await state.claim(session_id, 1, "a")
    for _ in range(200):
        if await state.claim(session_id, 1, "b"):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the lock never ended")


async def test_second_request_is_refused_while_a_part_arrives(state, session_id):
    """A36: and the lock is free again, however the first ends."""
    told = []

    async def tell():
        told.append(await state.arriving(session_id))

    async def body():
        yield b"12345"
        yield b"678"

    async with arriving(state, session_id, 1, tell, every_seconds=0.0) as arrival:
        with pytest.raises(Conflict):
            async with arriving(state, session_id, 1, tell):
                pass
        assert [chunk async for chunk in arrival.watch(body())] == [b"12345", b"678"]
    assert told == [{1: 5}, {1: 8}]
    with pytest.raises(ZeroDivisionError):
        async with arriving(state, session_id, 1, tell):
            raise ZeroDivisionError
    assert await state.claim(session_id, 1, "again")


async def test_uploads_go_on_when_redis_is_killed_in_the_middle(tmp_path, session_id):
    """A15: locks and counts of this process hold on; nothing raises."""
    if subprocess.run(["which", "redis-server"], capture_output=True, check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("redis-server is missing: CI kills one")
        pytest.skip("no redis-server")
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    from social.uploads.live_redis import RedisLive

    socket = tmp_path / "redis.sock"
    server = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    client = Redis(unix_socket_path=str(socket))
    try:
        for _ in range(500):
            if socket.exists():
                break
            await asyncio.sleep(0.02)
        state = FallbackLive(RedisLive(client), (RedisError, OSError))
        assert await state.claim(session_id, 1, "a")
        await state.advance(session_id, 1, "a", 3)
        assert await RedisLive(client).arriving(session_id) == {1: 3}
        server.kill()
        server.wait()
        await state.advance(session_id, 1, "a", 5)
        assert await state.arriving(session_id) == {1: 5}
        assert not await state.claim(session_id, 1, "b")
        assert await state.claim(session_id, 2, "b")
        await state.release(session_id, 1, "a")
        assert await state.arriving(session_id) == {2: 0}
    finally:
        server.kill()
        server.wait()
        await client.aclose()
