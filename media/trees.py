"""One folder of objects, blocking; ``media.stores`` calls it on threads.

What is written appears under its key whole and durable, or not at all.
"""

import contextlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".incoming"


class Tree:
    """Files below one folder, by ``/``-separated keys that were checked before."""

    def __init__(self, root: Path) -> None:
        """Take the folder; it is created with the first object."""
        self.root = Path(os.path.abspath(root))

    def place(self, key: str, path: Path, *, move: bool) -> None:
        """Take a file in: renamed when it is on this file system, else copied and then renamed."""
        with self._incoming(key) as temporary:
            if move:
                # shutil.move renames within a file system and copies across two.
                shutil.move(path, temporary)
            else:
                shutil.copyfile(path, temporary)

    def write(self, key: str, data: bytes) -> None:
        """Take bytes in."""
        with self._incoming(key) as temporary:
            temporary.write_bytes(data)

    def adopt(self, key: str, other: "Tree") -> None:
        """Take an object over from another folder; a crash leaves it in one of them, or in both."""
        with self._incoming(key) as temporary:
            share(other.root / key, temporary)
        other.delete(key)

    def stat(self, key: str) -> os.stat_result | None:
        """Return what is known of an object's file, None when there is none."""
        try:
            found = (self.root / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def open(self, key: str) -> BinaryIO | None:
        """Open an object, None when there is none."""
        try:
            return (self.root / key).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def delete(self, key: str) -> None:
        """Delete an object and the folders that it leaves empty."""
        path = self.root / key
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        # Empty folders go too; a folder that another write just filled stays.
        for folder in path.parents:
            if folder == self.root or not _removed(folder):
                break

    def delete_tree(self, prefix: str) -> int:
        """Delete a folder of objects and return how many there were."""
        path = self.root / prefix
        count = sum(1 for found in path.rglob("*") if found.is_file()) if path.is_dir() else 0
        shutil.rmtree(path, ignore_errors=True)
        if count:
            sync(path.parent)
        return count

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys with a prefix, in no order."""
        folder = self.root / prefix.rpartition("/")[0]
        for path in folder.rglob("*"):
            key = path.relative_to(self.root).as_posix()
            # Folders with a dot are not objects: no key begins with one.
            if key.startswith(prefix) and not key.startswith(".") and path.is_file():
                yield key

    def tidy(self, older_seconds: float) -> int:
        """Remove what a crash left half-written, if it is old enough to be nobody's work."""
        latest, count = time.time() - older_seconds, 0
        for path in (self.root / TEMPORARY).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime <= latest:
                    path.unlink()
                    count += 1
        return count

    @contextlib.contextmanager
    def _incoming(self, key: str) -> Iterator[Path]:
        """Yield a temporary path of this file system, synced and renamed to the key at the end."""
        target, folder = self.root / key, self.root / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / uuid.uuid4().hex
        try:
            yield temporary
            sync(temporary)
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


def share(source: Path, target: Path) -> None:
    """Give a file a second name; where that cannot be, copy it."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copy2(source, target)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True
