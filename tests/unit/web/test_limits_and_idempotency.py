"""Sliding windows, kept answers, the hub and the sweep (N7, N9, H8, I16)."""

import asyncio
import os

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from web.hub import Hub
from web.idempotency import KEPT_SECONDS, IdempotencyStore
from web.limits import Limit, MemoryLimiter
from web.pages import CLIENT_PATHS
from web.uploads import sweep


async def test_requests_pass_up_to_the_limit_when_a_window_is_fresh():
    """N7: exactly the limit, and one more is refused without being counted."""
    limiter, limit = MemoryLimiter(), Limit(100, 60)
    verdicts = [await limiter.hit("a", limit, 600.0 + n / 10) for n in range(101)]
    assert [v.allowed for v in verdicts] == [True] * 100 + [False]
    assert [v.remaining for v in verdicts[:3]] == [99, 98, 97]
    assert (await limiter.hit("b", limit, 611.0)).allowed
    assert not (await limiter.hit("a", limit, 659.0)).allowed
    assert (await limiter.hit("a", limit, 720.0)).allowed


@given(st.lists(st.floats(0, 300), min_size=1, max_size=200), st.integers(1, 20))
def test_window_is_never_exceeded_when_requests_come_at_any_time(times, most):
    """N7: an aligned window never lets more than the limit through; a sliding one twice at most."""

    async def run():
        limiter = MemoryLimiter()
        return [at for at in sorted(times) if (await limiter.hit("k", Limit(most, 60), at)).allowed]

    passed = asyncio.run(run())
    for window in range(6):
        assert sum(window * 60 <= at < window * 60 + 60 for at in passed) <= most
    for start in passed:
        assert sum(start <= at < start + 60 for at in passed) <= 2 * most


async def test_memory_is_bounded_when_addresses_are_many():
    limiter = MemoryLimiter(max_keys=10)
    for n in range(100):
        await limiter.hit(str(n), Limit(1, 60), 0.0)
    assert len(limiter._windows) == 10


async def test_first_answer_is_repeated_when_the_key_is_known():
    """H8."""
    now, calls = [0.0], []
    store = IdempotencyStore(lambda: now[0], max_answers=2)

    async def create():
        calls.append(1)
        await asyncio.sleep(0)
        return web.json_response({"n": len(calls)}, status=201)

    answers = await asyncio.gather(*(store.once("k", create) for _ in range(5)))
    assert {answer.body for answer in answers} == {b'{"n": 1}'}
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers].count("true") == 4
    now[0] = KEPT_SECONDS + 1
    assert (await store.once("k", create)).body == b'{"n": 2}'
    for key in "abc":
        await store.once(key, create)
    assert len(store._answers) == 2


async def test_failure_is_not_kept_when_a_creation_breaks():
    """H8: a repetition after a failure is a new try, also for those who waited."""
    store, calls = IdempotencyStore(lambda: 0.0), []

    async def create():
        calls.append(1)
        await asyncio.sleep(0)
        if len(calls) == 1:
            raise ValueError("broken")
        return web.json_response({"n": len(calls)})

    answers = await asyncio.gather(*(store.once("k", create) for _ in range(3)), return_exceptions=True)
    assert isinstance(answers[0], ValueError)
    assert {answer.body for answer in answers[1:]} == {b'{"n": 2}'}
    assert not store._running


async def test_answer_is_not_kept_when_it_is_no_success():
    store = IdempotencyStore(lambda: 0.0)

    async def refuse():
        return web.json_response({}, status=500)

    assert (await store.once("k", refuse)).status == 500
    assert not store._answers


def test_frames_reach_only_the_recipient_when_pushed():
    """I2."""
    hub = Hub(lambda: 0.0)
    with hub.subscribe("a", "s1") as first, hub.subscribe("b", "s2") as second:
        assert hub.push("a", "video_status", {"video_id": "v"}) == 1
        frame = first.frames.get_nowait()
        assert frame is not None
        assert b'"timestamp":"1970-01-01T00:00:00Z"' in frame
        assert second.frames.empty()
        hub.close_session("s2")
        assert second.frames.get_nowait() is None
    assert len(hub) == 0


def test_sweep_removes_only_uploads_when_a_crash_left_them(tmp_path):
    folder = tmp_path / "uploads"
    assert sweep(folder) == 0
    (folder / "a.part").write_bytes(b"1")
    (folder / "keep.txt").write_bytes(b"1")
    os.utime(folder / "a.part", (1, 1))
    assert sweep(folder) == 1
    assert [path.name for path in folder.iterdir()] == ["keep.txt"]


@pytest.mark.parametrize("path", ["/", "/upload", "/v/abc", "/@ada", "/signup/"])
def test_client_addresses_are_known(path):
    assert CLIENT_PATHS.fullmatch(path)


@pytest.mark.parametrize("path", ["/api/v1/feed", "/v/", "/x", "/v/a/b", "/assets/x.js"])
def test_other_addresses_are_not_the_clients(path):
    assert not CLIENT_PATHS.fullmatch(path)
