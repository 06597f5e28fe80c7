"""Failed sign-ins are slowed down, per account and per address (N28)."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from tables.errors import RateLimitExceeded


class LoginThrottle:
    """Counts failures in a fixed window after the first one, in memory, for a bounded number of keys.

    The limit of an account counts per address as well, so that a stranger cannot lock somebody out from
    afar: an account is closed for one address after ``per_account`` failures, and for all only after ten
    times as many. ``enabled=False`` lets everything pass (``FREEWILL_RATE_LIMITS=off``).
    """

    KEYS = 20_000
    ELSEWHERE_FACTOR = 10

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        enabled: bool = True,
        per_account: int = 10,
        per_address: int = 50,
        window_seconds: float = 300.0,
    ) -> None:
        self._clock = clock
        self._enabled = enabled
        self._per_account = per_account
        self._per_address = per_address
        self._window = window_seconds
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def check(self, account: str, address: str) -> None:
        """Refuse while a limit is reached.

        Raises:
            RateLimitExceeded: RATE_LIMIT_EXCEEDED with the seconds to wait.
        """
        if not self._enabled:
            return
        now = self._clock()
        for key, limit in self._limits(account, address):
            started, count = self._failures.get(key, (now, 0))
            wait = started + self._window - now
            if count >= limit and wait > 0:
                raise RateLimitExceeded("Too many failed sign-ins.", retry_after_seconds=wait)

    def failed(self, account: str, address: str) -> None:
        """Count a failure for the pair, the account and the address."""
        now = self._clock()
        for key, _ in self._limits(account, address):
            started, count = self._failures.pop(key, (now, 0))
            if now - started >= self._window:
                started, count = now, 0
            self._failures[key] = (started, count + 1)
        while len(self._failures) > self.KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, account: str, address: str) -> None:
        """Forget the failures of the pair; one good account does not excuse those of the address."""
        self._failures.pop(self._limits(account, address)[0][0], None)

    def _limits(self, account: str, address: str) -> tuple[tuple[str, int], ...]:
        # The typed account name may be anything, even a password: only a digest is kept.
        name = hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return (
            (f"pair:{name}:{address}", self._per_account),
            (f"account:{name}", self._per_account * self.ELSEWHERE_FACTOR),
            (f"address:{address}", self._per_address),
        )
