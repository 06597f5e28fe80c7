"""What the stages of a job cost the child: processor time, wall time, peak memory."""

import resource
import sys
import time
from typing import Any

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Usage:
    """Adds what was spent since the last lap to a stage."""

    def __init__(self) -> None:
        """Count from the start of the process: importing belongs to the first stage."""
        self._stages: dict[str, dict[str, float]] = {}
        self._cpu = 0.0
        self._wall = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Charge a stage with all since the last lap."""
        spent = resource.getrusage(resource.RUSAGE_SELF)
        cpu, wall = spent.ru_utime + spent.ru_stime, time.perf_counter()
        found = self._stages.setdefault(stage, {"cpu_seconds": 0.0, "wall_seconds": 0.0})
        found["cpu_seconds"] += cpu - self._cpu
        found["wall_seconds"] += wall - self._wall
        self._cpu, self._wall = cpu, wall

    def told(self) -> dict[str, Any]:
        """Return seconds by stage, and the largest resident size in bytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
        return {"stages": self._stages, "peak_bytes": peak}
