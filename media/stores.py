"""Where media objects live: one protocol, a folder and (``media.s3``) a bucket behind it (B40, C27).

A write is acknowledged only when it is durable: READY must survive a power cut (DESIGN invariant 2).
"""

import asyncio
import contextlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from media.delivery import content_type
from tables.errors import ContentNotFound, StorageFailure

P = ParamSpec("P")
T = TypeVar("T")

READ_BYTES = 256 * 1024
TEMPORARY = ".incoming"
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_KEY_LENGTH = 512


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of an object; times in seconds since the epoch."""

    key: str
    size_bytes: int
    content_type: str
    etag: str
    modified_at: float


class ObjectStore(Protocol):
    """Whole objects under ``/``-separated keys. Every method raises StorageFailure when the store fails."""

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Store a file; with ``move`` the file is gone afterwards. Replaces what was there, atomically."""

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store bytes. Replaces what was there, atomically."""

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, None when there is none."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes from ``start`` to before ``end``; ContentNotFound when there is no object."""

    async def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file; ContentNotFound when there is none."""

    def local_path(self, key: str) -> Path | None:
        """Return the object's own file for zero-copy serving, None when it is not on this machine."""

    async def delete(self, key: str) -> None:
        """Delete an object; no error when there is none."""

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object whose key starts with ``prefix`` (ending in ``/``); returns how many."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose keys start with ``prefix``, in key order."""


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
    """Objects as files below one folder."""

    def __init__(self, root: Path) -> None:
        """Take the folder; it is created with the first object."""
        self._root = Path(os.path.abspath(root))

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Store a file: renamed when it is on the same file system, else copied and then renamed."""
        await run_blocking(self.place, key, path, move)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> None:
        """Store bytes."""
        await run_blocking(self._put_bytes, self._path(key), data)

    async def stat(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object; the etag changes with every write."""
        return await run_blocking(self.look, key)

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yield bytes from ``start`` to before ``end``."""
        file = await run_blocking(self._open, key)
        try:
            left = None if end is None else max(0, end - start)
            await run_blocking(file.seek, start)
            while left is None or left > 0:
                chunk = await run_blocking(file.read, READ_BYTES if left is None else min(READ_BYTES, left))
                if not chunk:
                    return
                left = None if left is None else left - len(chunk)
                yield chunk
        finally:
            file.close()

    async def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file."""
        source = self._path(key)
        await run_blocking(self._open(key).close)
        await run_blocking(shutil.copyfile, source, path)

    def local_path(self, key: str) -> Path | None:
        """Return the object's file, None when there is none."""
        path = self._path(key)
        return path if path.is_file() else None

    async def delete(self, key: str) -> None:
        """Delete an object and the folders that it leaves empty."""
        await run_blocking(self._delete, self._path(key))

    async def delete_prefix(self, prefix: str) -> int:
        """Delete a folder of objects."""
        return await run_blocking(self._delete_tree, self._path(prefix.rstrip("/")))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects below a prefix, in key order."""
        for key in await run_blocking(lambda: sorted(self._keys(prefix))):
            info = await run_blocking(self.look, key)
            if info is not None:
                yield info

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def place(self, key: str, path: Path, move: bool) -> None:
        """Store a file, as ``put_file``, on the calling thread."""
        target = self._path(key)
        with self._incoming(target) as temporary:
            if move:
                # shutil.move renames within a file system and copies across two.
                shutil.move(path, temporary)
            else:
                shutil.copyfile(path, temporary)
            sync(temporary)

    def _put_bytes(self, target: Path, data: bytes) -> None:
        with self._incoming(target) as temporary:
            temporary.write_bytes(data)
            sync(temporary)

    @contextlib.contextmanager
    def _incoming(self, target: Path) -> Iterator[Path]:
        """Yield a temporary path of the store's file system, renamed to the target at the end."""
        folder = self._root / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / uuid.uuid4().hex
        try:
            yield temporary
            self._make_folders(target.parent)
            temporary.replace(target)
            sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def _make_folders(self, folder: Path) -> None:
        """Create folders from the top and make each new entry durable."""
        if folder.is_dir():
            return
        self._make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)

    def look(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, as ``stat``, on the calling thread."""
        try:
            found = self._path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
        return ObjectInfo(key, found.st_size, content_type(key), etag, found.st_mtime)

    def _open(self, key: str) -> "_File":
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ContentNotFound from None

    def _delete(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        # Empty folders go too; a folder that another write just filled stays.
        for folder in path.parents:
            if folder == self._root or not _removed(folder):
                break

    def _delete_tree(self, path: Path) -> int:
        count = sum(1 for found in path.rglob("*") if found.is_file()) if path.is_dir() else 0
        shutil.rmtree(path, ignore_errors=True)
        if count:
            sync(path.parent)
        return count

    def _keys(self, prefix: str) -> Iterator[str]:
        folder = self._root / prefix.rpartition("/")[0]
        for path in folder.rglob("*"):
            key = path.relative_to(self._root).as_posix()
            if key.startswith(prefix) and not key.startswith(TEMPORARY) and path.is_file():
                yield key


class _File(Protocol):
    """What reading needs of an open file."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, /) -> int: ...

    def close(self) -> None: ...


async def run_blocking(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call on a thread; failures of the disk become StorageFailure.

    A cancelled caller leaves only when the thread has: nobody closes or removes a file under it.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # looked at, so that asyncio does not report it as forgotten
        raise
    except OSError as error:
        raise StorageFailure(details={"cause": os.strerror(error.errno or 0)}) from error


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
