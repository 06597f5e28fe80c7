"""Rate limits: a sliding window per caller and route class (N7-N9, X65)."""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from web.routes import RateClass

# Callers remembered at once: past it the longest idle is forgotten, so a flood of addresses costs no memory.
MAX_KEYS = 50_000
# One address may carry many signed-in people (an office, a mobile carrier), so its own limit is wider.
ADDRESS_FACTOR = 20


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``requests`` in any ``seconds``."""

    requests: int
    seconds: float


DEFAULT_LIMITS: Mapping[RateClass, Limit] = {
    RateClass.GENERAL: Limit(100, 60),
    RateClass.AUTH: Limit(100, 60),
    RateClass.UPLOADS: Limit(100, 86_400),
    RateClass.UPLOAD_PARTS: Limit(2_000, 60),  # six of the largest uploads, 308 parts each
    RateClass.IMAGES: Limit(300, 3_600),
    RateClass.EVENTS: Limit(600, 60),
    RateClass.POLLING: Limit(600, 60),
    RateClass.FEDERATION: Limit(600, 60),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a limiter decided: ``reset_seconds`` is when the window is free again."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: float

    def headers(self) -> dict[str, str]:
        """Return the ``RateLimit-*`` headers of the answer (N9)."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(math.ceil(self.reset_seconds)),
        }


def verdict(limit: Limit, allowed: bool, used: float, elapsed: float) -> Verdict:
    """Return the verdict on a window: ``elapsed`` seconds of it have gone, and ``used`` requests."""
    return Verdict(
        allowed, limit.requests, max(0, math.floor(limit.requests - used)), limit.seconds - elapsed
    )


class Limiter(Protocol):
    """Counts requests; workers share one in Redis (``web/redis_stores.py``)."""

    async def hit(self, key: str, limit: Limit, now: float) -> Verdict:
        """Count one request of ``key`` and say whether it may pass; a refused one is not counted."""


class MemoryLimiter:
    """A limiter in this process: two counters a key, the older one weighted by what is left of it."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._windows: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        self._max_keys = max_keys

    async def hit(self, key: str, limit: Limit, now: float) -> Verdict:
        """Count one request; see ``Limiter``."""
        window, elapsed = divmod(now, limit.seconds)
        index = int(window)
        known, current, previous = self._windows.pop(key, (index, 0, 0))
        if known != index:
            current, previous = 0, current if known == index - 1 else 0
        used = current + previous * (1 - elapsed / limit.seconds)
        allowed = used + 1 <= limit.requests
        if allowed:
            current, used = current + 1, used + 1
        self._windows[key] = (index, current, previous)
        if len(self._windows) > self._max_keys:
            self._windows.popitem(last=False)
        return verdict(limit, allowed, used, elapsed)
