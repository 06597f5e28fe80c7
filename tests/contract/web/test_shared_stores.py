"""One contract for what workers share, in the process and in Redis (N7, N9, N28, H8, X54)."""

import asyncio
from uuid import uuid4

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from social.throttle import LoginThrottle, Tally
from tables.errors import RateLimitExceeded
from web.bus import RANKINGS
from web.hub import Hub
from web.idempotency import KEPT_SECONDS
from web.limits import Limit, MemoryLimiter


async def test_requests_pass_up_to_the_limit_when_they_come_to_both_workers(pair):
    """N7: exactly the limit over both, each refused one is not counted."""
    limit, sides = Limit(10, 60), (pair.first, pair.second)
    verdicts = [await sides[n % 2].limiter.hit("a", limit, 600.0 + n) for n in range(12)]
    assert [v.allowed for v in verdicts] == [True] * 10 + [False] * 2
    assert [v.remaining for v in verdicts] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert verdicts[0].reset_seconds == 60.0
    assert (await pair.second.limiter.hit("b", limit, 611.0)).allowed


async def test_requests_pass_only_once_each_when_they_come_at_once(pair):
    sides = (pair.first, pair.second)
    hits = [sides[n % 2].limiter.hit("a", Limit(10, 60), 600.0) for n in range(40)]
    assert sum(verdict.allowed for verdict in await asyncio.gather(*hits)) == 10


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(times=st.lists(st.floats(0, 300), min_size=1, max_size=30), most=st.integers(1, 5))
async def test_verdicts_are_those_of_one_process_when_requests_come_at_any_time(pair, times, most):
    """Both twins are one algorithm, to the last digit."""
    reference, key = MemoryLimiter(), uuid4().hex
    for number, at in enumerate(sorted(times)):
        side = (pair.first, pair.second)[number % 2]
        limit = Limit(most, 60)
        assert await side.limiter.hit(key, limit, at) == await reference.hit(key, limit, at)


async def test_failures_are_counted_together_when_they_happen_in_both_workers(pair):
    """N28."""
    await pair.first.failures.add(["a", "b"], 100.0, 60.0)
    await pair.second.failures.add(["a"], 130.5, 60.0)
    assert list(await pair.first.failures.read(["a", "b", "c"])) == [Tally(100.0, 2), Tally(100.0, 1), None]
    await pair.second.failures.add(["a"], 160.0, 60.0)  # the window is over
    assert list(await pair.second.failures.read(["a"])) == [Tally(160.0, 1)]
    await pair.first.failures.forget("a")
    assert list(await pair.second.failures.read(["a", "b"])) == [None, Tally(100.0, 1)]


async def test_throttle_closes_when_an_account_is_guessed_through_both_workers(pair):
    """N28."""
    first, second = (
        LoginThrottle(pair.clock, side.failures, per_account=3, window_seconds=60)
        for side in (pair.first, pair.second)
    )
    for throttle in (first, second, first):
        await throttle.check("ada", "10.0.0.1")
        await throttle.failed("ada", "10.0.0.1")
    for throttle in (first, second):
        with pytest.raises(RateLimitExceeded) as refused:
            await throttle.check("ada", "10.0.0.1")
        assert refused.value.retry_after_seconds == 60.0
        await throttle.check("ada", "10.0.0.2")
    pair.clock.now += 60
    await second.check("ada", "10.0.0.1")


class Creation:
    """Creates something, and counts how often."""

    def __init__(self, status: int = 201) -> None:
        self.calls = 0
        self.status = status
        self.go_on = asyncio.Event()

    async def __call__(self) -> web.Response:
        self.calls += 1
        number = self.calls
        await self.go_on.wait()
        if self.status == 0:
            raise ValueError("broken")
        return web.json_response({"n": number}, status=self.status)


async def test_first_answer_is_repeated_when_the_key_comes_to_both_workers(pair):
    """H8: also while the first request still runs."""
    create = Creation()
    asked = [asyncio.create_task(side.once.once("k", create)) for side in (pair.first, pair.second) * 3]
    while not create.calls:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    create.go_on.set()
    answers = await asyncio.gather(*asked)
    assert create.calls == 1
    assert {(answer.status, bytes(answer.body)) for answer in answers} == {(201, b'{"n": 1}')}
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers].count("true") == 5
    assert {answer.content_type for answer in answers} == {"application/json"}
    assert (await pair.second.once.once("other", create)).body == b'{"n": 2}'
    pair.clock.now += KEPT_SECONDS + 1
    assert (await pair.first.once.once("k", create)).body == b'{"n": 3}'


@pytest.mark.parametrize("status", [0, 500])
async def test_failure_is_not_kept_when_the_other_worker_tries_again(pair, status):
    """H8."""
    broken, whole = Creation(status), Creation()
    broken.go_on.set()
    whole.go_on.set()
    outcome = await asyncio.gather(pair.first.once.once("k", broken), return_exceptions=True)
    assert isinstance(outcome[0], ValueError) if status == 0 else outcome[0].status == 500
    assert (await pair.second.once.once("k", whole)).body == b'{"n": 1}'


async def test_creation_goes_on_when_the_worker_before_gave_up(pair):
    """H8: a client that leaves does not block its key."""
    slow, whole = Creation(), Creation()
    asked = asyncio.create_task(pair.first.once.once("k", slow))
    while not slow.calls:
        await asyncio.sleep(0.01)
    asked.cancel()
    whole.go_on.set()
    assert (await pair.second.once.once("k", whole)).body == b'{"n": 1}'


async def test_frames_arrive_once_and_in_order_when_the_socket_is_in_another_worker(pair):
    """I2, X54: also at the sockets of the worker that sends; nobody else hears them."""
    first, second = Hub(pair.clock, pair.first.bus), Hub(pair.clock, pair.second.bus)
    with (
        first.subscribe("ada", "s1") as here,
        second.subscribe("ada", "s2") as there,
        second.subscribe("eve", "s3") as other,
    ):
        await pair.settle()
        assert first.push("ada", "n", {"number": 0}) == 1
        for number in range(1, 20):
            first.push("ada", "n", {"number": number})
        second.push("eve", "end", {})
        for subscriber in (here, there):
            frames = [await asyncio.wait_for(subscriber.frames.get(), 120) for _ in range(20)]
            assert [b'"number":%d}' % n in frame for n, frame in enumerate(frames)] == [True] * 20
        assert b'"end"' in await asyncio.wait_for(other.frames.get(), 120)
        second.push("ada", "back", {})
        assert b'"back"' in await asyncio.wait_for(here.frames.get(), 120)
        assert b'"back"' in there.frames.get_nowait()
        assert there.frames.empty()
        assert here.frames.empty()
        assert other.frames.empty()


async def test_connections_close_in_every_worker_when_the_session_ends(pair):
    """I18."""
    first, second = Hub(pair.clock, pair.first.bus), Hub(pair.clock, pair.second.bus)
    with second.subscribe("ada", "s1") as there, second.subscribe("ada", "s2") as other:
        await pair.settle()
        first.close_session("s1")
        assert await asyncio.wait_for(there.frames.get(), 120) is None
        assert other.frames.empty()


async def test_only_those_listen_who_have_a_connection(pair):
    """A worker hears of nobody whose sockets are elsewhere, and stops when the last one closes."""
    hub, heard = Hub(pair.clock, pair.second.bus), []
    with hub.subscribe("ada", "s1"):
        pass
    end = pair.second.bus.listen("user:ada", heard.append)
    await pair.settle()
    end()
    end()
    pair.second.bus.listen(RANKINGS, heard.append)
    pair.second.bus.listen("broken", lambda data: 1 / 0)
    await pair.settle()
    pair.first.bus.send("user:ada", b"1")
    pair.first.bus.send("broken", b"2")
    pair.first.bus.send(RANKINGS, b"3")
    while b"3" not in heard:
        await asyncio.sleep(0.01)
    assert heard == [b"3"]
