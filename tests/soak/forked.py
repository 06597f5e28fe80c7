"""Starts of a server that cost a fork: a parent loads the program once, and every start is a child of it.

Most of a start is loading modules, which no kill makes interesting; what follows is the whole of it.
"""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Self

import psutil

#: Forks a server for each line that it reads, and writes its process id. Its children reap themselves.
_PARENT = """
import os, signal, sys
import freewill.cli, freewill.node, freewill.serving
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("loaded", flush=True)
for path in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(path.rstrip("\\n"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
            os.dup2(file, number)
        sys.argv = ["freewill", "serve"]
        freewill.cli.main()
        os._exit(0)
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # it has done so itself
    print(pid, flush=True)
"""


class Forked:
    """A process that is not our child, with what is needed of ``subprocess.Popen``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode = "unknown"
        self._process: psutil.Process | None = None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._process = psutil.Process(pid)

    def poll(self) -> str | None:
        """Return something when it has ended."""
        return None if self._process is not None and self._process.is_running() else self.returncode

    def wait(self, timeout: float = 30.0) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            self._process.wait(timeout)

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)


class ForkingParent:
    """The loaded parent of one server's starts; a context manager."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT],
            cwd=server.root,
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._expect()  # loaded
        server.launch = self._launch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.kill()
        self._pipe(self._parent.stdin).close()
        self._pipe(self._parent.stdout).close()
        self._parent.wait(timeout=30)

    def _launch(self) -> None:
        """Start the server, as its own ``launch`` does."""
        log: Path = self._server.log
        pipe = self._pipe(self._parent.stdin)
        pipe.write(f"{log}\n")
        pipe.flush()
        self._server.process = Forked(int(self._expect()))

    def _expect(self) -> str:
        line = self._pipe(self._parent.stdout).readline()
        assert line, "the parent of the servers ended"
        return line

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe
