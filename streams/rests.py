"""For how long an encoder elsewhere gets no job after its results were refused (Y14). Pure.

One that brings wrong results would spend every try of every job; one that is broken is mended meanwhile.
"""

import math
from typing import Final

from tables.errors import RateLimitExceeded

REST_SECONDS: Final = 60.0
LONGEST_REST_SECONDS: Final = 3_600.0


class Rests:
    """Who rests, until when; the time is an argument."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._refused: dict[str, tuple[int, float]] = {}

    def refused(self, encoder_id: str, now: float) -> None:
        """Let an encoder rest a minute, and twice as long after each further refusal without a success.

        >>> rests = Rests()
        >>> for _ in range(3):
        ...     rests.refused("gpu", 0.0)
        >>> rests.left("gpu", 100.0), rests.left("cpu", 100.0)
        (140.0, 0.0)
        """
        times = self._refused.get(encoder_id, (0, 0.0))[0] + 1
        rest = min(REST_SECONDS * 2.0 ** min(times - 1, 10), LONGEST_REST_SECONDS)
        self._refused[encoder_id] = times, now + rest

    def succeeded(self, encoder_id: str) -> None:
        """Forget what was: its result was right."""
        self._refused.pop(encoder_id, None)

    def check(self, encoder_id: str, now: float) -> None:
        """Refuse an encoder that rests.

        Raises:
            RateLimitExceeded: RATE_LIMIT_EXCEEDED, with the time left.
        """
        if left := self.left(encoder_id, now):
            told = "Results of this encoder were refused. It gets no job for a while."
            raise RateLimitExceeded(told, retry_after_seconds=math.ceil(left))

    def left(self, encoder_id: str, now: float) -> float:
        """Return the seconds until an encoder gets jobs again."""
        return max(0.0, self._refused.get(encoder_id, (0, 0.0))[1] - now)
