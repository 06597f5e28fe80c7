"""Writing and hashing a body while it arrives, in threads (DESIGN: nothing heavy on the loop)."""

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO, ClassVar, TypeVar, cast

from media.parts import over_limit
from media.stores import run_blocking, run_on

T = TypeVar("T")
BLOCK_BYTES = 256 * 1024
"""Handed to a thread at once: large enough to be cheap."""
LEAST_BYTES = 16 * 1024
HELD_BYTES = 16 * 1024 * 1024
"""What all bodies together may gather before it is handed on, as long as blocks are not too small."""
THREADS = 4
"""For writing, hashing and syncing: not the loop's own, where short calls would wait behind the disk."""


@dataclass(slots=True)
class Receiver:
    """Feeds a body to a file and counts, hashes and bounds it."""

    taking: ClassVar[int] = 0
    """How many bodies are being taken in by this process."""

    out: BinaryIO
    max_bytes: int = sys.maxsize
    size_bytes: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    async def take(self, body: AsyncIterator[bytes]) -> None:
        """Take in the body; what came before it was cut is in the file, unsynced.

        Raises:
            FileTooLarge: more than ``max_bytes``; what is over the limit is not written (FILE_TOO_LARGE).
        """
        block: list[bytes] = []
        waiting = 0
        Receiver.taking += 1
        try:
            async for chunk in body:
                if self.size_bytes + len(chunk) > self.max_bytes:
                    raise over_limit(self.max_bytes)
                self.size_bytes += len(chunk)
                block.append(chunk)
                waiting += len(chunk)
                del chunk  # a thousand senders who pause must not have a thousand last chunks held
                if waiting >= block_bytes(Receiver.taking):
                    full, block, waiting = block, [], 0
                    await _on_disk(partial(self._store, full))
                    del full
        finally:
            Receiver.taking -= 1
            if block:
                await _on_disk(partial(self._store, block))

    async def rewound(self) -> BinaryIO:
        """Return the file, written out and at its start."""
        await run_blocking(self.out.seek, 0)
        return self.out

    def _store(self, block: list[bytes]) -> None:
        for chunk in block:
            self.out.write(chunk)
            self.digest.update(chunk)


class Feed:
    """A body that is taken in portions."""

    def __init__(self, body: AsyncIterator[bytes], max_bytes: int = sys.maxsize) -> None:
        """Take the body, and the most that it may hold."""
        self._body = aiter(body)
        self._max_bytes = max_bytes
        self._size = 0
        self._rest = b""
        self.ended = False

    async def up_to(self, size_bytes: int) -> AsyncIterator[bytes]:
        """Yield so many bytes, or fewer when the body ends (FILE_TOO_LARGE)."""
        while size_bytes > 0 and not self.ended:
            chunk = self._rest or await self._next()
            portion, self._rest = chunk[:size_bytes], chunk[size_bytes:]
            size_bytes -= len(portion)
            if portion:
                yield portion

    async def _next(self) -> bytes:
        try:
            chunk = await anext(self._body)
        except StopAsyncIteration:
            self.ended = True
            return b""
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise over_limit(self._max_bytes)
        return chunk


@contextlib.asynccontextmanager
async def spooled(folder: Path, max_bytes: int = sys.maxsize) -> AsyncIterator[Receiver]:
    """Receive into a nameless file of a folder, which no crash leaves behind."""
    out = await run_blocking(_nameless, folder)
    try:
        yield Receiver(out, max_bytes)
    finally:
        await run_blocking(out.close)


async def flush(out: BinaryIO) -> None:
    """Make what was written durable."""
    await _on_disk(partial(_flush, out))


def block_bytes(bodies: int) -> int:
    """Return how much to gather of each of so many bodies.

    >>> block_bytes(1), block_bytes(256), block_bytes(1_000)
    (262144, 65536, 16777)
    """
    return max(LEAST_BYTES, min(BLOCK_BYTES, HELD_BYTES // bodies))


async def _on_disk(call: Callable[[], T]) -> T:
    return await run_on(_threads(), call)


@cache
def _threads() -> Executor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="upload")


def _flush(out: BinaryIO) -> None:
    out.flush()
    os.fsync(out.fileno())


def _nameless(folder: Path) -> BinaryIO:
    folder.mkdir(parents=True, exist_ok=True)
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))
