"""Writing and hashing a body while it arrives, in threads (DESIGN: nothing heavy on the loop)."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import BinaryIO

from media.parts import over_limit
from media.stores import run_blocking

BLOCK_BYTES = 256 * 1024
"""Handed to a thread at once: large enough to be cheap, small enough for a thousand uploads at a time."""


@dataclass(slots=True)
class Receiver:
    """Feeds one body to a file and counts, hashes and bounds it."""

    out: BinaryIO
    max_bytes: int
    size_bytes: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    async def take(self, body: AsyncIterator[bytes]) -> None:
        """Take in the body; what came before it was cut is in the file, unsynced.

        Raises:
            FileTooLarge: more than ``max_bytes``; what is over the limit is not written (FILE_TOO_LARGE).
        """
        block: list[bytes] = []
        waiting = 0
        try:
            async for chunk in body:
                if self.size_bytes + len(chunk) > self.max_bytes:
                    raise over_limit(self.max_bytes)
                self.size_bytes += len(chunk)
                block.append(chunk)
                waiting += len(chunk)
                if waiting >= BLOCK_BYTES:
                    full, block, waiting = block, [], 0
                    await run_blocking(self._store, full)
        finally:
            if block:
                await run_blocking(self._store, block)

    def _store(self, block: list[bytes]) -> None:
        for chunk in block:
            self.out.write(chunk)
            self.digest.update(chunk)
