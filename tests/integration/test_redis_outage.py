"""What workers share while Redis is killed and comes back (invariant 7, O22-O24)."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis import Redis
from redis.exceptions import RedisError

from freewill.settings import Settings
from freewill.shared import Shared
from social.throttle import LoginThrottle
from tables.errors import RateLimitExceeded
from web import fallback
from web.hub import Hub
from web.limits import Limit

LIMIT = Limit(5, 3600)


class Server:
    """A redis-server of the test's own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        with Redis.from_url(self.url) as client:
            for _ in range(600):
                with suppress(RedisError):
                    client.ping()
                    return
                time.sleep(0.05)
        pytest.fail("redis-server does not answer")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()


@pytest.fixture
def server(tmp_path):
    """Return a running redis-server; skips where there is none, fails in CI."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is missing")
        pytest.skip("no redis-server")
    made = Server(tmp_path)
    made.start()
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait()


@pytest.fixture
async def workers(server):
    """Return what two workers share, and what each has done without Redis."""
    made: list[tuple[Shared, Counter[str]]] = []
    for _ in range(2):
        counted: Counter[str] = Counter()

        def count(use: str, counted: Counter[str] = counted) -> None:
            counted[use] += 1

        # What is not about time has plenty of it.
        shared = Shared(Settings(redis_url=f"{server.url}?socket_timeout=30"), time.time, count)
        shared.start()
        made.append((shared, counted))
    yield made
    for shared, _ in made:
        await shared.close()


async def until(holds: Any) -> None:
    """Wait for something that has to come; the suite's own limit ends it when it does not."""
    for _ in range(3000):
        if await holds() if asyncio.iscoroutinefunction(holds) else holds():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not come")


async def test_workers_do_without_when_redis_is_killed_and_share_again_when_it_is_back(server, workers):
    """No request fails; what each worker does for itself meanwhile is counted."""
    (first, missed), (second, _) = workers
    hubs = Hub(time.time, first.bus), Hub(time.time, second.bus)
    with hubs[0].subscribe("ada", "s1") as here, hubs[1].subscribe("ada", "s2") as there:
        await until(lambda: first.bus.settled and second.bus.settled)
        hubs[0].push("ada", "before", {})
        assert b'"before"' in await asyncio.wait_for(there.frames.get(), 120)
        assert b'"before"' in here.frames.get_nowait()
        for shared in (first, second, first, second, first):
            assert (await shared.limiter.hit("ada", LIMIT, 3600.0)).allowed
        assert not (await second.limiter.hit("ada", LIMIT, 3600.0)).allowed

        server.signal(signal.SIGKILL)
        verdicts = [await second.limiter.hit("ada", LIMIT, 3600.0) for _ in range(6)]
        assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False]  # its own limiter
        assert hubs[0].push("ada", "meanwhile", {}) == 1
        assert b'"meanwhile"' in here.frames.get_nowait()
        await until(lambda: missed["bus"])

        server.start()

        async def shared_again() -> bool:
            await second.limiter.hit("eve", Limit(10_000, 3600), 3600.0)
            first_sees = await first.limiter.hit("eve", Limit(10_000, 3600), 3600.0)
            return first_sees.remaining < 10_000 - 1

        await until(shared_again)

        async def heard_again() -> bool:
            hubs[0].push("ada", "after", {})
            await asyncio.sleep(0.05)
            return not there.frames.empty() and b'"after"' in (there.frames.get_nowait() or b"")

        await until(heard_again)


async def test_creations_happen_once_in_a_worker_when_redis_dies_under_them(server, workers):
    """H8: the answer of a creation under way arrives, and is repeated by the worker that made it."""
    (first, missed), _ = workers
    calls = 0

    async def create() -> web.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            server.signal(signal.SIGKILL)
        return web.json_response({"n": calls}, status=201)

    for repeated in (None, "true"):
        answer = await first.once.once("k", create)
        assert (answer.status, answer.body) == (201, b'{"n": 1}')
        assert answer.headers.get("Idempotency-Replayed") == repeated
    assert (await first.once.once("other", create)).body == b'{"n": 2}'
    assert missed["answers"] >= 2


async def test_sign_ins_are_slowed_when_redis_hangs(server):
    """N28, O23: a Redis that takes connections and never answers counts as away."""
    missed: list[str] = []
    shared = Shared(Settings(redis_url=server.url), time.time, missed.append)
    throttle = LoginThrottle(time.time, shared.failures, per_account=2)
    server.signal(signal.SIGSTOP)
    for _ in range(2):
        await throttle.check("ada", "10.0.0.1")
        await throttle.failed("ada", "10.0.0.1")
    with pytest.raises(RateLimitExceeded):
        await throttle.check("ada", "10.0.0.1")
    assert missed == ["sign-ins"] * 5
    server.signal(signal.SIGCONT)
    await shared.close()


async def test_key_is_free_again_when_the_worker_that_held_it_died(server, workers, monkeypatch):
    """H8: a claim ends by itself; while its holder lives it is renewed, however long the creation takes."""
    monkeypatch.setattr(fallback, "CLAIM_SECONDS", 2.0)
    monkeypatch.setattr("web.redis_stores.CLAIM_SECONDS", 2.0)
    (first, _), (second, _) = workers
    assert await first.once._answers.claim("k", "somebody who dies") is True
    running, slow = 0, 0

    async def create() -> web.Response:
        nonlocal running, slow
        running += 1
        slow = max(slow, running)
        await asyncio.sleep(2.5)
        running -= 1
        return web.json_response({"worker": "one"}, status=201)

    answers = await asyncio.gather(*(shared.once.once("k", create) for shared in (first, second)))
    assert [answer.body for answer in answers] == [b'{"worker": "one"}'] * 2
    assert slow == 1
    assert sorted(answer.headers.get("Idempotency-Replayed", "") for answer in answers) == ["", "true"]
