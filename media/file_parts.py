"""Unfinished uploads in a folder each (A28, A41, A52, A54).

uploads/{session}/upload.json         what the upload is
                  part-00001-{sha256} a received part; its hash is its ETag
                  appended            the bytes of an appended upload
                  whole-{digest}      parts put together, until the upload is complete
uploads/.gone-{session}               being removed

Everything is written beside its place, synced and renamed, so a crash leaves the old state or the new.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

from media.parts import (
    Incoming,
    PartInfo,
    check_number,
    check_session,
    ended,
    match_parts,
    wrong_offset,
)
from media.receiving import Receiver, flush
from media.stores import READ_BYTES, FileStore, ObjectInfo, check_key, run_blocking
from media.trees import share, sync
from tables.errors import (
    Conflict,
    ContentNotFound,
    InvalidChunkSequence,
    InvalidStateTransition,
    StorageFailure,
)

UPLOAD = "upload.json"
APPENDED = "appended"
GONE = ".gone-"
_PART = re.compile(r"part-(\d{5})-([0-9a-f]{64})")


class FileParts:
    """Uploads below one folder, completed into a file store."""

    direct: ClassVar[bool] = False

    def __init__(self, root: Path, store: FileStore) -> None:
        """Take the folder; on the store's file system completing is a rename."""
        self._root = Path(os.path.abspath(root))
        self._store = store

    async def begin(self, session_id: str, key: str, *, content_type: str) -> Incoming:
        """Open an upload: its folder and what it is."""
        upload = Incoming(check_session(session_id), check_key(key), session_id, content_type)
        return await run_blocking(self._begin, upload)

    async def put(
        self, upload: Incoming, number: int, body: AsyncIterator[bytes], *, max_bytes: int
    ) -> PartInfo:
        """Receive a part into a file that gets its name when all of it is durable."""
        check_number(number)
        temporary = self._folder(upload) / f".{uuid.uuid4().hex}"
        out = await _open(temporary, "xb")
        try:
            receiver = Receiver(out, max_bytes)
            await receiver.take(body)
            await flush(out)
            return await run_blocking(self._keep, temporary, number, receiver)
        finally:
            _close(out)
            await run_blocking(temporary.unlink, missing_ok=True)

    async def append(
        self, upload: Incoming, offset: int, body: AsyncIterator[bytes], *, max_bytes: int
    ) -> int:
        """Add to the one growing file and sync it, also when the body is cut."""
        out = await _open(self._folder(upload) / APPENDED, "ab")
        try:
            await run_blocking(_claim, out, offset)
            receiver = Receiver(out, max_bytes)
            try:
                await receiver.take(body)
            finally:
                await flush(out)
            await run_blocking(_still_there, out)
            return offset + receiver.size_bytes
        finally:
            _close(out)

    async def offset(self, upload: Incoming) -> int:
        """Return the size of the growing file."""
        return await run_blocking(self._offset, upload)

    async def sign_put(
        self, upload: Incoming, number: int, *, size_bytes: int, expires_seconds: int
    ) -> str | None:
        """Return None: parts come through the server's own route (A50)."""
        check_number(number)
        return None

    async def parts(self, upload: Incoming) -> list[PartInfo]:
        """Return the received parts, by number."""
        return await run_blocking(self._parts, self._folder(upload))

    async def read(self, upload: Incoming, parts: Sequence[PartInfo]) -> AsyncIterator[bytes]:
        """Yield the bytes of the parts, or what was appended."""
        for path in await run_blocking(self._sources, self._folder(upload), parts):
            with await _open(path, "rb") as file:
                while chunk := await run_blocking(file.read, READ_BYTES):
                    yield chunk

    async def assemble(self, upload: Incoming, parts: Sequence[PartInfo], path: Path) -> str:
        """Link all bytes to ``path`` and hash them."""
        return await run_blocking(self._assemble, upload, parts, path)

    async def complete(self, upload: Incoming, parts: Sequence[PartInfo]) -> ObjectInfo:
        """Rename the bytes into the store and remove the folder."""
        return await run_blocking(self._complete, upload, parts)

    async def abort(self, upload: Incoming) -> None:
        """Rename the folder away, so that nothing more gets into it, and remove it."""
        await run_blocking(self._remove, check_session(upload.session_id))

    async def unfinished(self) -> AsyncIterator[Incoming]:
        """Yield an upload for every folder, also for one whose beginning or removal was cut off."""
        for upload in await run_blocking(lambda: list(self._unfinished())):
            yield upload

    def _folder(self, upload: Incoming) -> Path:
        return self._root / check_session(upload.session_id)

    def _begin(self, upload: Incoming) -> Incoming:
        folder = self._folder(upload)
        if not self._root.is_dir():
            self._root.mkdir(parents=True, exist_ok=True)  # two may begin the first at once
            sync(self._root.parent)
        folder.mkdir(exist_ok=True)
        sync(self._root)
        with _locked(folder):
            known = _known(folder)
            if known is None:
                with _temporary(folder) as path:
                    path.write_text(json.dumps({"key": upload.key, "content_type": upload.content_type}))
                    sync(path)
                    path.replace(folder / UPLOAD)
                sync(folder)
            elif known.key != upload.key:
                raise Conflict("The session has another upload.", details={"session_id": upload.session_id})
            return _known(folder) or upload

    def _keep(self, temporary: Path, number: int, receiver: Receiver) -> PartInfo:
        """Name a received part; whatever had this number goes."""
        sha256 = receiver.digest.hexdigest()
        name = f"part-{number:05d}-{sha256}"
        with _locked(temporary.parent) as folder:
            temporary.replace(folder / name)
            for other in folder.glob(f"part-{number:05d}-*"):
                if other.name != name:
                    other.unlink()
            sync(folder)
        return PartInfo(number, receiver.size_bytes, f'"{sha256}"', sha256)

    def _offset(self, upload: Incoming) -> int:
        folder = self._folder(upload)
        if not folder.is_dir():
            raise ended()
        with contextlib.suppress(FileNotFoundError):
            return (folder / APPENDED).stat().st_size
        return 0

    def _parts(self, folder: Path) -> list[PartInfo]:
        if not folder.is_dir():
            raise ended()
        named = [(path, match) for path in folder.iterdir() if (match := _PART.fullmatch(path.name))]
        # A crash may leave two files of one number: the newer was about to replace the older.
        newest = sorted(((path.stat(), match) for path, match in named), key=lambda each: each[0].st_mtime_ns)
        parts = {
            int(match[1]): PartInfo(int(match[1]), stat.st_size, f'"{match[2]}"', match[2])
            for stat, match in newest
        }
        return [parts[number] for number in sorted(parts)]

    def _sources(self, folder: Path, parts: Sequence[PartInfo]) -> list[Path]:
        """Return the files that make up the upload, in order."""
        if parts:
            stored = match_parts(parts, self._parts(folder))
            return [folder / f"part-{part.number:05d}-{part.sha256}" for part in stored]
        if not folder.is_dir():
            raise ended()
        if not (folder / APPENDED).is_file():
            raise InvalidChunkSequence(details={"missing": [1], "parts": 0})
        return [folder / APPENDED]

    def _whole(self, folder: Path, parts: Sequence[PartInfo]) -> Path:
        """Return one file with all bytes; parts are put together once, for hashing and for completing."""
        sources = self._sources(folder, parts)
        if len(sources) == 1:
            return sources[0]
        names = "".join(source.name for source in sources)
        whole = folder / f"whole-{hashlib.sha256(names.encode()).hexdigest()}"
        if not whole.exists():
            with _temporary(folder) as path:
                _join(sources, path)
                path.replace(whole)
        return whole

    def _assemble(self, upload: Incoming, parts: Sequence[PartInfo], path: Path) -> str:
        with _locked(self._folder(upload)) as folder:
            whole = self._whole(folder, parts)
            path.unlink(missing_ok=True)
            share(whole, path)
        received = _PART.fullmatch(whole.name)
        return received[2] if received else _sha256(path)

    def _complete(self, upload: Incoming, parts: Sequence[PartInfo]) -> ObjectInfo:
        try:
            with _locked(self._folder(upload)) as folder, _temporary(folder) as out:
                # The folder keeps its own link until the object stands: a crash in between changes nothing.
                share(self._whole(folder, parts), out)
                self._store.place(upload.key, out, move=True)
                self._discard(upload.session_id)
        except InvalidStateTransition:
            pass  # completed before, if the object says so
        found = self._store.look(upload.key)
        if found is None or (parts and found.size_bytes != sum(part.size_bytes for part in parts)):
            raise ended()
        return found

    def _remove(self, session_id: str) -> None:
        with contextlib.suppress(InvalidStateTransition), _locked(self._root / session_id):
            self._discard(session_id)
        shutil.rmtree(self._root / f"{GONE}{session_id}", ignore_errors=True)

    def _discard(self, session_id: str) -> None:
        """Remove the folder: under another name, so that a part in flight finds no place to go."""
        gone = self._root / f"{GONE}{session_id}"
        shutil.rmtree(gone, ignore_errors=True)
        (self._root / session_id).rename(gone)
        sync(self._root)
        shutil.rmtree(gone)

    def _unfinished(self) -> Iterator[Incoming]:
        for folder in sorted(self._root.iterdir()) if self._root.is_dir() else ():
            with contextlib.suppress(FileNotFoundError, ContentNotFound):
                session_id = check_session(folder.name.removeprefix(GONE))
                begun_at = folder.stat().st_mtime
                yield _known(folder) or Incoming(session_id, "", session_id, "", begun_at)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Hold an upload's folder, against other threads and processes; a folder that is gone has ended."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise ended() from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not folder.exists() or folder.stat().st_ino != os.fstat(handle).st_ino:
            raise ended()  # removed while we waited
        yield folder
    finally:
        os.close(handle)


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """Give a block a path of its own; what it leaves there, as when the disk is full, is removed."""
    path = folder / f".{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _known(folder: Path) -> Incoming | None:
    try:
        with (folder / UPLOAD).open() as file:
            known, begun_at = json.load(file), os.fstat(file.fileno()).st_mtime
    except (FileNotFoundError, ValueError):
        return None
    session_id = folder.name.removeprefix(GONE)
    return Incoming(session_id, known["key"], session_id, known["content_type"], begun_at)


async def _open(path: Path, mode: str) -> BinaryIO:
    try:
        return await run_blocking(cast("Callable[..., BinaryIO]", path.open), mode)
    except StorageFailure as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise ended() from None
        raise


def _close(out: BinaryIO) -> None:
    """Close a file; bytes that a full disk did not take were refused when they were flushed."""
    with contextlib.suppress(OSError):
        out.close()


def _claim(out: BinaryIO, offset: int) -> None:
    """Hold the growing file for one append at its end."""
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict("Another request is sending to this upload.", retry_after_seconds=1.0) from None
    size = os.fstat(out.fileno()).st_size
    if size != offset:
        raise wrong_offset(size)
    if size == 0:
        sync(Path(out.name).parent)


def _still_there(out: BinaryIO) -> None:
    """Refuse to confirm bytes of a file that an abort removed meanwhile."""
    try:
        same = os.stat(out.name).st_ino == os.fstat(out.fileno()).st_ino
    except FileNotFoundError:
        same = False
    if not same:
        raise ended()


def _join(sources: Sequence[Path], target: Path) -> None:
    """Copy files into one inside the kernel, sharing blocks where the file system can."""
    with target.open("xb") as out:
        for source in sources:
            with source.open("rb") as part:
                left = os.fstat(part.fileno()).st_size
                while left:
                    copied = os.copy_file_range(part.fileno(), out.fileno(), left)
                    if copied == 0:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    left -= copied
        os.fsync(out.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
