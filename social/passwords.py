"""Passwords: argon2id, off the event loop, a bounded number at a time (N6, DESIGN invariant 6)."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# RFC 9106 leaves the choice open; this is OWASP's second profile. Its 19 MiB a hash keep the server
# under its memory target with two hashes at a time, where 64 MiB would not.
TIME_COST, MEMORY_KIB, PARALLELISM = 2, 19_456, 1


class Passwords:
    """Hashes and verifies in threads; argon2 releases the interpreter lock."""

    def __init__(self, *, threads: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Return the encoded argon2id hash, salt and parameters included."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._hasher.hash, password)

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Tell whether the password fits; None, for an unknown user, costs the same time and never fits."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._verify, encoded, password)

    def is_outdated(self, encoded: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Let running hashes end and start no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, encoded: str | None, password: str) -> bool:
        if encoded is None and self._decoy is None:
            self._decoy = self._hasher.hash(secrets.token_hex(16))
        try:
            fits = self._hasher.verify(encoded or self._decoy or "", password)
        except (VerificationError, InvalidHashError):
            return False
        return fits and encoded is not None
