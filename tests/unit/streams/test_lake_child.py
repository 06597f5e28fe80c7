"""Children of the lake run when serving leaves a processor idle (Y10)."""

import os
import subprocess
import sys

import psutil
import pytest

from streams.lake.child import _put_last


@pytest.mark.skipif(sys.platform != "linux", reason="scheduling classes are Linux's")
def test_process_comes_last_when_it_is_a_child_of_the_lake():
    """Lowest niceness, idle class of processor and disk; threads that it starts inherit them."""
    show = "import threading; threading.Thread(target=threading.Event().wait).start(); print(1)"
    with subprocess.Popen([sys.executable, "-c", "input();" + show], stdin=-1, stdout=-1) as process:
        try:
            _put_last(process.pid, 19)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"1\n"
            seen = psutil.Process(process.pid)
            assert (seen.nice(), seen.ionice().ioclass) == (19, psutil.IOPRIO_CLASS_IDLE)
            threads = [int(thread) for thread in os.listdir(f"/proc/{process.pid}/task")]
            assert [os.sched_getscheduler(thread) for thread in threads] == [os.SCHED_IDLE] * 2
        finally:
            process.kill()
