"""Where media objects live: one protocol, a folder and (``media.s3``) a bucket behind it (B40, C27).

A write is acknowledged only when it is durable: READY must survive a power cut (DESIGN invariant 2).
"""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, ParamSpec, Protocol, TypeVar

from media.delivery import content_type
from media.trees import Tree
from tables.errors import ContentArchived, ContentNotFound, StorageFailure

P = ParamSpec("P")
T = TypeVar("T")

READ_BYTES = 256 * 1024
COPY_BYTES = 1024 * 1024
ARCHIVE = ".archive"
RESTORED_DAYS = 7
STALE_SECONDS = 24 * 3600.0
"""Nothing is written for so long."""
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_KEY_LENGTH = 512


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of an object; times in seconds since the epoch.

    ``archived``: it cannot be read before it is restored; ``restoring``: that was asked for (R32).
    """

    key: str
    size_bytes: int
    content_type: str
    etag: str
    modified_at: float
    archived: bool = False
    restoring: bool = False


class ObjectStore(Protocol):
    """Whole objects under ``/``-separated keys. Every method raises StorageFailure when the store fails."""

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Store a file; with ``move`` the file is gone afterwards. Replaces what was there, atomically."""

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store bytes. Replaces what was there, atomically."""

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, None when there is none."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes from ``start`` to before ``end``.

        Raises:
            ContentNotFound: there is no object (CONTENT_NOT_FOUND).
            ContentArchived: it has to be restored first (CONTENT_ARCHIVED).
        """

    async def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file; errors as ``read``."""

    def local_path(self, key: str) -> Path | None:
        """Return the object's own file for zero-copy serving, None when it is not on this machine."""

    def open_local(self, key: str) -> tuple[ObjectInfo, BinaryIO] | None:
        """Open an object's own file on the calling thread; None when ``local_path`` has none."""

    async def delete(self, key: str) -> None:
        """Delete an object; no error when there is none."""

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object whose key starts with ``prefix`` (ending in ``/``); returns how many."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose keys start with ``prefix``, archived ones too, in key order."""

    async def archive(self, key: str) -> None:
        """Move an object to storage that is cheap and not readable at once; no error when it is there (R32).

        Raises:
            ContentNotFound: there is no object (CONTENT_NOT_FOUND).
        """

    async def restore(self, key: str, *, days: int = RESTORED_DAYS) -> None:
        """Ask for an archived object back, readable for at least so many days; idempotent (R32).

        A cloud takes hours: ``stat`` tells when it is there. Errors as ``archive``.
        """

    async def tidy(self, older_seconds: float = STALE_SECONDS) -> int:
        """Remove what crashes left of objects that were being written, and return how many there were."""


def check_key(key: str) -> str:
    """Return the key, or refuse one that could name something outside the store.

    >>> check_key("videos/1/hls/master.m3u8")
    'videos/1/hls/master.m3u8'

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND: such an object cannot exist.
    """
    if len(key) > _KEY_LENGTH or not _KEY.fullmatch(key):
        raise ContentNotFound
    return key


class FileStore:
    """Objects as files below one folder; archived ones below another, which may be a slower, cheaper disk."""

    def __init__(self, root: Path, archive: Path | None = None) -> None:
        """Take the folders, created with the first object in them; by default the archive is a subfolder."""
        self._live = Tree(root)
        self._archive = Tree(archive or self._live.root / ARCHIVE)
        self._restoring: set[str] = set()

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Store a file: renamed when it is on the same file system, else copied and then renamed."""
        await run_blocking(self.place, key, path, move=move)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store bytes."""
        await run_blocking(self._live.write, check_key(key), data)
        await run_blocking(self._archive.delete, key)

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object; the etag changes with every write."""
        return await run_blocking(self.look, key)

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes from ``start`` to before ``end``."""
        with await run_blocking(self._open, key) as file:
            left = None if end is None else max(0, end - start)
            await run_blocking(file.seek, start)
            while left is None or left > 0:
                chunk = await run_blocking(file.read, READ_BYTES if left is None else min(READ_BYTES, left))
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk

    async def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file."""
        await run_blocking(self._copy, key, path)

    def local_path(self, key: str) -> Path | None:
        """Return the object's file, None when there is none that can be read at once."""
        path = self._live.root / check_key(key)
        return path if path.is_file() else None

    def open_local(self, key: str) -> tuple[ObjectInfo, BinaryIO] | None:
        """Open an object's file; what is known of it is of this very file, whatever replaces it meanwhile."""
        file = self._live.open(check_key(key))
        return None if file is None else (_info(key, os.fstat(file.fileno())), file)

    async def delete(self, key: str) -> None:
        """Delete an object and the folders that it leaves empty."""
        check_key(key)
        for tree in (self._live, self._archive):
            await run_blocking(tree.delete, key)

    async def delete_prefix(self, prefix: str) -> int:
        """Delete a folder of objects."""
        folder = check_key(prefix.rstrip("/"))
        return sum([await run_blocking(tree.delete_tree, folder) for tree in (self._live, self._archive)])

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects below a prefix, in key order."""
        for key in await run_blocking(self._keys, prefix):
            info = await run_blocking(self.look, key)
            if info is not None:
                yield info

    async def archive(self, key: str) -> None:
        """Move an object's file below the archive folder."""
        await run_blocking(self._move, key, self._live, self._archive)

    async def restore(self, key: str, *, days: int = RESTORED_DAYS) -> None:
        """Move an object's file back, where it stays until it is archived again."""
        self._restoring.add(key)
        try:
            await run_blocking(self._move, key, self._archive, self._live)
        finally:
            self._restoring.discard(key)

    async def tidy(self, older_seconds: float = STALE_SECONDS) -> int:
        """Remove temporary files."""
        return sum([await run_blocking(tree.tidy, older_seconds) for tree in (self._live, self._archive)])

    def place(self, key: str, path: Path, *, move: bool) -> None:
        """Store a file, as ``put_file``, on the calling thread."""
        self._live.place(check_key(key), path, move=move)
        self._archive.delete(key)

    def look(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, as ``stat``, on the calling thread."""
        live = self._live.stat(check_key(key))
        found = live or self._archive.stat(key)
        if found is None:
            return None
        return _info(key, found, archived=live is None, restoring=live is None and key in self._restoring)

    def _open(self, key: str) -> BinaryIO:
        file = self._live.open(check_key(key))
        if file is None:
            raise ContentNotFound if self._archive.stat(key) is None else ContentArchived
        return file

    def _copy(self, key: str, path: Path) -> None:
        with self._open(key) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, COPY_BYTES)

    def _keys(self, prefix: str) -> Sequence[str]:
        return sorted({*self._live.keys(prefix), *self._archive.keys(prefix)})

    def _move(self, key: str, source: Tree, target: Tree) -> None:
        check_key(key)
        if source.stat(key) is not None:
            target.adopt(key, source)
        elif target.stat(key) is None:
            raise ContentNotFound


def _info(key: str, found: os.stat_result, *, archived: bool = False, restoring: bool = False) -> ObjectInfo:
    etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    return ObjectInfo(key, found.st_size, content_type(key), etag, found.st_mtime, archived, restoring)


async def run_blocking(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call on a thread; failures of the disk become StorageFailure.

    A cancelled caller leaves only when the thread has: nobody closes or removes a file under it.
    """
    return await run_on(None, partial(call, *args, **kwargs))


async def run_on(threads: Executor | None, call: Callable[[], T]) -> T:
    """Run a blocking call on one of some threads, None for the loop's own; as :func:`run_blocking`."""
    work = asyncio.get_running_loop().run_in_executor(threads, copy_context().run, call)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # looked at, so that asyncio does not report it as forgotten
        raise
    except OSError as error:
        raise StorageFailure(details={"cause": os.strerror(error.errno or 0)}) from error
