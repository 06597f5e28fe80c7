"""For how long an encoder elsewhere gets no job, or not this one, after it went wrong (Y14). Pure.

One that brings wrong results, or fails at once, is free again at once: it would spend every try of every job.
"""

import math
from collections import OrderedDict
from typing import Final

from tables.errors import RateLimitExceeded

REST_SECONDS: Final = 60.0
LONGEST_REST_SECONDS: Final = 3_600.0
FAILURES: Final = 2
"""Failures in a row that may be the jobs' fault."""
AVOIDED_SECONDS: Final = 30.0
"""For how long a job that failed is left to other encoders."""
AVOIDED_REMEMBERED: Final = 1_000


class Rests:
    """Who rests, until when; the time is an argument."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._bad: dict[str, tuple[int, float]] = {}
        self._avoided: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def refused(self, encoder_id: str, now: float) -> None:
        """Let an encoder rest a minute, and twice as long after each further refusal without a success.

        >>> rests = Rests()
        >>> for _ in range(3):
        ...     rests.refused("gpu", 0.0)
        >>> rests.left("gpu", 100.0), rests.left("cpu", 100.0)
        (140.0, 0.0)
        """
        times = max(FAILURES, self._bad.get(encoder_id, (0, 0.0))[0]) + 1
        rest = min(REST_SECONDS * 2.0 ** min(times - FAILURES - 1, 10), LONGEST_REST_SECONDS)
        self._bad[encoder_id] = times, now + rest

    def failed(self, encoder_id: str, job_id: str, now: float) -> None:
        """Leave a job to others for a while; from the third failure without a success on, let it rest, too.

        >>> rests = Rests()
        >>> for job_id in "abc":
        ...     rests.failed("gpu", job_id, 0.0)
        ...     print(rests.left("gpu", 0.0), rests.avoids("gpu", job_id, 1.0))
        0.0 True
        0.0 True
        60.0 True
        >>> rests.avoids("cpu", "a", 1.0), rests.avoids("gpu", "a", 31.0)
        (False, False)
        """
        self._avoided[job_id] = encoder_id, now + AVOIDED_SECONDS
        if len(self._avoided) > AVOIDED_REMEMBERED:
            self._avoided.popitem(last=False)
        times = self._bad.get(encoder_id, (0, 0.0))[0]
        if times >= FAILURES:
            self.refused(encoder_id, now)
        else:
            self._bad[encoder_id] = times + 1, now

    def avoids(self, encoder_id: str, job_id: str, now: float) -> bool:
        """Tell whether a job has just failed with an encoder."""
        failed, until = self._avoided.get(job_id, ("", 0.0))
        return failed == encoder_id and now < until

    def succeeded(self, encoder_id: str) -> None:
        """Forget what was: a result was right."""
        self._bad.pop(encoder_id, None)

    def check(self, encoder_id: str, now: float) -> None:
        """Refuse an encoder that rests.

        Raises:
            RateLimitExceeded: RATE_LIMIT_EXCEEDED, with the time left.
        """
        if left := self.left(encoder_id, now):
            told = "Results of this encoder were wrong, or none. It gets no job for a while."
            raise RateLimitExceeded(told, retry_after_seconds=math.ceil(left))

    def left(self, encoder_id: str, now: float) -> float:
        """Return the seconds until an encoder gets jobs again."""
        return max(0.0, self._bad.get(encoder_id, (0, 0.0))[1] - now)
