"""A child module that misbehaves on request: sleeps, forks, crashes, eats memory, writes too much."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

from media.workers.protocol import Refused, emit, serve


def handle(request: dict[str, Any]) -> dict[str, Any]:
    """Do what the request names."""
    mode = request["mode"]
    if mode == "environment":
        return {"environment": dict(os.environ), "cwd": os.getcwd()}
    if mode == "refuse":
        raise Refused("CORRUPTED_FILE", "no good", {"why": "test"})
    if mode == "memory":
        return {"size": len(bytearray(2**40))}
    if mode == "file":
        with open(request["path"], "wb") as file:
            file.write(bytes(64 * 1024 * 1024))
    if mode == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if mode == "garbage":
        sys.stdout.write("not json\n")
    if mode == "sleep":
        grandchild = subprocess.Popen(["sleep", "300"])
        emit("pids", pids=[os.getpid(), grandchild.pid])
        time.sleep(300)
    if mode == "chatter":
        sys.stderr.write("x" * 5_000_000)
        for number in range(200):
            emit("step", number=number)
    return {}


if __name__ == "__main__":
    serve(handle)
