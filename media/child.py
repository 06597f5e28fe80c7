"""Run one of our child modules in its own process group, bounded in memory, time and files.

Protocol: one JSON request on stdin; JSON lines on stdout, each an object with ``kind``: any number of
messages, then one ``result`` or ``error``. The child sets its own rlimits and parent-death signal before
it opens anything (``media.workers.protocol``); the parent bounds the wall time and kills the group.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from media.limits import ChildLimits

Message = dict[str, Any]
OnMessage = Callable[[Message], Awaitable[None]]

ROOT = Path(__file__).resolve().parent.parent
LINE_BYTES = 1024 * 1024
STDERR_TAIL_BYTES = 8192
GONE = (BrokenPipeError, ConnectionResetError, RuntimeError)
"""Writing to a child that is gone: uvloop says RuntimeError once it has seen the end of the pipe."""
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT",
                    "CUDA_VISIBLE_DEVICES", "LIBVA_DRIVER_NAME")  # fmt: skip


class ChildError(Exception):
    """The child answered with an error of its own: a code, a text safe to show, details."""

    def __init__(self, code: str, reason: str, details: Mapping[str, Any], *, retryable: bool) -> None:
        """Keep what the child said."""
        self.code = code
        self.reason = reason
        self.details = dict(details)
        self.retryable = retryable
        super().__init__(f"{code}: {reason}")


class ChildCrashed(Exception):
    """The child ended without an answer: ``cause`` is timeout, silence, ``signal N`` or ``exit N``."""

    def __init__(self, cause: str, stderr_tail: str) -> None:
        """Keep the cause and the last of stderr, for the log only."""
        self.cause = cause
        self.stderr_tail = stderr_tail
        super().__init__(f"{cause}: {stderr_tail[-500:]}")


def child_environment() -> dict[str, str]:
    """Return an environment without secrets: a hostile file that takes over a decoder finds none."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


async def run_child(
    module: str, request: Mapping[str, Any], limits: ChildLimits, on_message: OnMessage | None = None
) -> Message:
    """Run ``python -m module`` on one request and return its result message.

    Args:
        module: A child module, such as ``media.workers.probe``.
        request: JSON-serialisable request.
        limits: Bounds; the wall time is enforced here, the others in the child.
        on_message: Awaited for every message before the result, in order.

    Raises:
        ChildError: The child refused, with its code.
        ChildCrashed: It died, ran out of a limit, or broke the protocol.
    """
    process = await _start(module)
    stderr = asyncio.create_task(_tail(process.stderr))
    try:
        async with asyncio.timeout(limits.wall_seconds):
            await _send(process, {"limits": limits.as_json(), **request})
            answer = await _listen(process, on_message, limits.silent_seconds)
            await process.wait()
    except ChildSilent:
        raise ChildCrashed("silence", "") from None
    except TimeoutError:
        raise ChildCrashed("timeout", "") from None
    finally:
        await _end(process)
        tail = await stderr
    if answer is None:
        raise ChildCrashed(_cause(process.returncode), tail)
    return _checked(answer)


async def _start(module: str) -> asyncio.subprocess.Process:
    """Start the child as leader of its own process group, so that all it starts can be killed with it."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-s",
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=child_environment(),
        cwd="/",
        start_new_session=True,
        limit=LINE_BYTES,
    )


async def _send(process: asyncio.subprocess.Process, request: Mapping[str, Any]) -> None:
    """Write the request; a child that is already gone is found out when its answer is missing."""
    assert process.stdin is not None
    line = json.dumps(request).encode() + b"\n"
    with contextlib.suppress(*GONE):
        process.stdin.write(line)
        await process.stdin.drain()
    process.stdin.close()


class ChildSilent(Exception):
    """The child said nothing for as long as it may."""


async def _listen(
    process: asyncio.subprocess.Process, on_message: OnMessage | None, silent_seconds: float | None
) -> Message | None:
    """Pass messages on until the final one; None when stdout ended without it.

    Raises:
        ChildSilent: nothing came for too long; what handling a message takes does not count.
    """
    assert process.stdout is not None
    while True:
        try:
            async with asyncio.timeout(silent_seconds) as patience:
                line = await process.stdout.readline()
        except TimeoutError:
            if patience.expired():
                raise ChildSilent from None
            raise
        except ValueError:
            return None  # a line beyond LINE_BYTES
        try:
            message = json.loads(line) if line else None
        except ValueError:
            return None
        if message is None or message.get("kind") in {"result", "error"}:
            return message
        if on_message is not None:
            await on_message(message)


async def _tail(stream: asyncio.StreamReader | None) -> str:
    """Drain stderr so that the child never blocks on it, keeping the end."""
    assert stream is not None
    kept = b""
    while chunk := await stream.read(4096):
        kept = (kept + chunk)[-STDERR_TAIL_BYTES:]
    return kept.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is left of the process group and reap the child."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _cause(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"signal {-returncode}"
    return f"exit {returncode}"


def _checked(answer: Message) -> Message:
    if answer["kind"] == "error":
        raise ChildError(
            str(answer.get("code", "TRANSCODE_ERROR")),
            str(answer.get("reason", "")),
            answer.get("details") or {},
            retryable=bool(answer.get("retryable", False)),
        )
    return answer
