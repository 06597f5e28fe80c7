"""Failed sign-ins are slowed down, per account and per address (N28)."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tables.errors import RateLimitExceeded

MAX_KEYS = 20_000


@dataclass(frozen=True, slots=True)
class Tally:
    """How many failures there were since the first one, which was at ``started``, seconds."""

    started: float
    count: int


class Failures(Protocol):
    """Counts failures by key, in a fixed window after the first one; workers share one in Redis."""

    async def read(self, keys: Sequence[str]) -> Sequence[Tally | None]:
        """Return what is counted for each key, None for nothing; a window that is over may still show."""

    async def add(self, keys: Sequence[str], now: float, window_seconds: float) -> None:
        """Count a failure for each key; a window that is over begins anew."""

    async def forget(self, key: str) -> None:
        """Forget the failures of a key."""


class MemoryFailures:
    """Counts in this process, for a bounded number of keys."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._tallies: OrderedDict[str, Tally] = OrderedDict()
        self._max_keys = max_keys

    async def read(self, keys: Sequence[str]) -> Sequence[Tally | None]:
        """Return what is counted; see ``Failures``."""
        return [self._tallies.get(key) for key in keys]

    async def add(self, keys: Sequence[str], now: float, window_seconds: float) -> None:
        """Count a failure; see ``Failures``."""
        for key in keys:
            known = self._tallies.pop(key, None)
            if known is None or now - known.started >= window_seconds:
                known = Tally(now, 0)
            self._tallies[key] = Tally(known.started, known.count + 1)
        while len(self._tallies) > self._max_keys:
            self._tallies.popitem(last=False)

    async def forget(self, key: str) -> None:
        """Start again; see ``Failures``."""
        self._tallies.pop(key, None)


class LoginThrottle:
    """Refuses sign-ins after too many failures.

    The limit of an account counts per address as well, so that a stranger cannot lock somebody out from
    afar: an account is closed for one address after ``per_account`` failures, and for all only after ten
    times as many. ``enabled=False`` lets everything pass (``FREEWILL_RATE_LIMITS=off``).
    """

    ELSEWHERE_FACTOR = 10

    def __init__(
        self,
        clock: Callable[[], float],
        failures: Failures | None = None,
        *,
        enabled: bool = True,
        per_account: int = 10,
        per_address: int = 50,
        window_seconds: float = 300.0,
    ) -> None:
        self._clock = clock
        self._failures = failures if failures is not None else MemoryFailures()
        self._enabled = enabled
        self._per_account = per_account
        self._per_address = per_address
        self._window = window_seconds

    async def check(self, account: str, address: str) -> None:
        """Refuse while a limit is reached.

        Raises:
            RateLimitExceeded: RATE_LIMIT_EXCEEDED with the seconds to wait.
        """
        if not self._enabled:
            return
        limits = self._limits(account, address)
        tallies = await self._failures.read([key for key, _ in limits])
        for tally, (_, limit) in zip(tallies, limits, strict=True):
            wait = tally.started + self._window - self._clock() if tally else 0.0
            if tally and tally.count >= limit and wait > 0:
                raise RateLimitExceeded("Too many failed sign-ins.", retry_after_seconds=wait)

    async def failed(self, account: str, address: str) -> None:
        """Count a failure for the pair, the account and the address."""
        if self._enabled:
            keys = [key for key, _ in self._limits(account, address)]
            await self._failures.add(keys, self._clock(), self._window)

    async def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of the pair; one good account does not excuse those of the address."""
        if self._enabled:
            await self._failures.forget(self._limits(account, address)[0][0])

    def _limits(self, account: str, address: str) -> tuple[tuple[str, int], ...]:
        # The typed account name may be anything, even a password: only a digest is kept.
        name = hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return (
            (f"pair:{name}:{address}", self._per_account),
            (f"account:{name}", self._per_account * self.ELSEWHERE_FACTOR),
            (f"address:{address}", self._per_address),
        )
