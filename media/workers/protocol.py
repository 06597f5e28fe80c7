"""The child's side of ``media.child``: limits first, then one request, then JSON lines."""

import ctypes
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

Request = dict[str, Any]
PR_SET_PDEATHSIG = 1
UNEXPECTED = "UNEXPECTED"


class Refused(Exception):
    """The source cannot be processed; the code is one of O3, or TRANSCODE_ERROR."""

    def __init__(
        self, code: str, reason: str, details: Mapping[str, Any] | None = None, *, retryable: bool = False
    ) -> None:
        """Keep a code, a text that may be shown to the owner, and details."""
        self.code = code
        self.reason = reason
        self.details = dict(details or {})
        self.retryable = retryable
        super().__init__(f"{code}: {reason}")


def emit(kind: str, **fields: Any) -> None:
    """Write one message line to the parent."""
    sys.stdout.write(json.dumps({"kind": kind, **fields}) + "\n")
    sys.stdout.flush()


def serve(handle: Callable[[Request], Mapping[str, Any]]) -> NoReturn:
    """Read the request, set the limits in it, answer with what ``handle`` returns or refuses.

    Every failure becomes an ``error`` message: the parent tells a refusal from a crash by it.
    """
    _die_with_parent()
    request = json.loads(sys.stdin.buffer.readline())
    _limit(request["limits"])
    try:
        answer = handle(request)
    except Refused as error:
        emit("error", code=error.code, reason=error.reason, details=error.details, retryable=error.retryable)
    except MemoryError:
        emit("error", code="CORRUPTED_FILE", reason="The file needs more memory than a video should.")
    except Exception:
        # libav and PyAV fail in ways that no list foresees; the parent logs this and refuses the file.
        emit("error", code=UNEXPECTED, reason="", details={"traceback": traceback.format_exc(limit=-8)})
    else:
        emit("result", **answer)
    sys.stdout.flush()
    # Not sys.exit: freeing decoders with frame threads at interpreter shutdown can deadlock on the GIL.
    os._exit(0)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; if it is dead already, leave now."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _limit(limits: Mapping[str, float]) -> None:
    """Apply the rlimits; a core of a decoder would hold somebody's private video."""
    cpu = int(limits["cpu_seconds"])
    # macOS refuses to limit the address space; servers run on Linux.
    space = int(limits["address_space_bytes"]) if sys.platform == "linux" else resource.RLIM_INFINITY
    for name, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_AS, space, space),
        (resource.RLIMIT_CPU, cpu, cpu + 5),
        (resource.RLIMIT_FSIZE, int(limits["file_bytes"]), int(limits["file_bytes"])),
        (resource.RLIMIT_NOFILE, int(limits["open_files"]), int(limits["open_files"])),
    ):
        ceiling = resource.getrlimit(name)[1]
        top = hard if ceiling == resource.RLIM_INFINITY else min(hard, ceiling)
        resource.setrlimit(name, (min(soft, top), top))
    if limits.get("nice"):
        os.nice(int(limits["nice"]))
