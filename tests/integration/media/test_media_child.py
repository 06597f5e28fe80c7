"""Child processes: bounded, killed with everything they started, without secrets (DESIGN invariant 6)."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from media import child
from media.child import ROOT, ChildCrashed, ChildError, Message, run_child
from media.limits import ChildLimits

MODES = "tests.integration.media.child_modes"
GIB = 1024**3


async def ask(mode: str, limits: ChildLimits | None = None, **more: Any) -> Message:
    return await run_child(MODES, {"mode": mode, **more}, limits or ChildLimits())


async def gone(pids: list[int]) -> bool:
    """Wait until none of the processes runs any more."""
    for _ in range(200):
        alive = [pid for pid in pids if _running(pid)]
        if not alive:
            return True
        await asyncio.sleep(0.05)
    return False


def _running(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


async def test_child_sees_no_secret_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEWILL_SECRET_KEY", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    answer = await ask("environment")
    assert "hunter2" not in str(answer["environment"])
    assert answer["cwd"] == "/"


async def test_refusal_carries_code_and_details() -> None:
    with pytest.raises(ChildError) as refused:
        await ask("refuse")
    assert (refused.value.code, refused.value.details) == ("CORRUPTED_FILE", {"why": "test"})


async def test_memory_is_refused_when_over_the_limit() -> None:
    with pytest.raises(ChildError) as refused:
        await ask("memory", ChildLimits(address_space_bytes=GIB))
    assert refused.value.code == "CORRUPTED_FILE"


async def test_file_is_cut_when_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "big"
    with pytest.raises((ChildError, ChildCrashed)):
        await ask("file", ChildLimits(file_bytes=1024 * 1024), path=str(path))
    assert path.stat().st_size <= 1024 * 1024


@pytest.mark.parametrize(("mode", "cause"), [("crash", "signal 11"), ("garbage", "signal 9")])
async def test_crash_is_told_from_a_refusal(mode: str, cause: str) -> None:
    with pytest.raises(ChildCrashed) as crashed:
        await ask(mode)
    assert crashed.value.cause in {cause, "exit 0"}


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_child_that_is_killed_before_it_is_asked_has_crashed(
    monkeypatch: pytest.MonkeyPatch, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """B9: a server runs on uvloop, which has a word of its own for a pipe that nobody reads."""
    begin = child._start

    async def killed(module: str) -> asyncio.subprocess.Process:
        process = await begin(module)
        process.kill()
        await process.wait()
        await asyncio.sleep(0.05)
        return process

    monkeypatch.setattr(child, "_start", killed)
    with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(ChildCrashed, match="signal 9"):
        runner.run(ask("crash"))


async def test_much_stderr_and_many_messages_do_not_block() -> None:
    seen: list[int] = []

    async def note(message: Message) -> None:
        seen.append(message["number"])

    await run_child(MODES, {"mode": "chatter"}, ChildLimits(), note)
    assert seen == list(range(200))


async def _pids(started: "asyncio.Queue[list[int]]", limits: ChildLimits) -> None:
    async def note(message: Message) -> None:
        await started.put(message["pids"])

    await run_child(MODES, {"mode": "sleep"}, limits, note)


async def test_child_and_its_children_are_killed_when_time_is_up() -> None:
    started: asyncio.Queue[list[int]] = asyncio.Queue()
    with pytest.raises(ChildCrashed, match="timeout"):
        await _pids(started, ChildLimits(wall_seconds=3))
    assert await gone(started.get_nowait())


async def test_child_and_its_children_are_killed_when_it_says_nothing() -> None:
    """B42: it stands still, long before its time is up; what its messages take to handle does not count."""
    started: asyncio.Queue[list[int]] = asyncio.Queue()
    with pytest.raises(ChildCrashed, match="silence"):
        await _pids(started, ChildLimits(wall_seconds=60, silent_seconds=3))
    assert await gone(started.get_nowait())

    async def slowly(message: Message) -> None:
        await asyncio.sleep(0.02)

    await run_child(MODES, {"mode": "chatter"}, ChildLimits(silent_seconds=3), slowly)


async def test_child_and_its_children_are_killed_when_the_caller_is_cancelled() -> None:
    started: asyncio.Queue[list[int]] = asyncio.Queue()
    task = asyncio.create_task(_pids(started, ChildLimits(wall_seconds=60)))
    pids = await started.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pids)


async def test_child_dies_when_the_server_is_killed() -> None:
    """A server killed with -9 must not leave encoders behind."""
    script = (
        "import asyncio\n"
        "from media.child import run_child\n"
        "from media.limits import ChildLimits\n"
        "async def note(message): print(*message['pids'], flush=True)\n"
        f"asyncio.run(run_child({MODES!r}, {{'mode': 'sleep'}}, ChildLimits(wall_seconds=60), note))\n"
    )
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert server.stdout is not None
    child, grandchild = map(int, (await server.stdout.readline()).split())
    server.kill()
    await server.wait()
    try:
        assert await gone([child])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(grandchild, signal.SIGKILL)
