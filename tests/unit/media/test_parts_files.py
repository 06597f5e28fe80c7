"""Faults and crashes of uploads that are kept in folders (A41, A48, A54, O9)."""

import asyncio
import errno
import itertools
import os
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from media.file_parts import FileParts
from media.parts import Incoming, PartInfo
from media.stores import FileStore
from tables.errors import Conflict, StorageFailure

KEY = "videos/1/source.mp4"


class Killed(BaseException):
    """Stands for the death of the process: nothing but ``finally`` runs after it."""


async def body(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.fixture
def parts(tmp_path: Path) -> FileParts:
    return FileParts(tmp_path / "uploads", FileStore(tmp_path / "objects"))


@pytest.fixture
async def upload(parts: FileParts) -> Incoming:
    return await parts.begin("s-1", KEY, content_type="video/mp4")


async def two_parts(parts: FileParts, upload: Incoming) -> list[PartInfo]:
    return [await parts.put(upload, n, body(data), max_bytes=9) for n, data in ((1, b"one"), (2, b"two"))]


@contextmanager
def full_after(size_bytes: int) -> Iterator[None]:
    """Let the system refuse to make any file longer than this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("chunks", [[300_000] * 5, [1 << 20, 1_024, 300_000]])
async def test_nothing_of_a_part_stays_when_the_disk_is_full(
    parts: FileParts, upload: Incoming, tmp_path: Path, chunks: list[int]
) -> None:
    """O9: STORAGE_ERROR, and the room is free again, also when a few bytes had waited for more to come."""
    before = sorted(path.name for path in (tmp_path / "uploads/s-1").iterdir())
    with full_after(1 << 20), pytest.raises(StorageFailure) as failure:
        await parts.put(upload, 1, body(*(b"x" * size for size in chunks)), max_bytes=1 << 30)
    assert failure.value.details["cause"] == os.strerror(errno.EFBIG)
    assert sorted(path.name for path in (tmp_path / "uploads/s-1").iterdir()) == before
    assert await parts.parts(upload) == []


@pytest.mark.parametrize("chunks", [[300_000] * 5, [1 << 20, 1_024, 300_000]])
async def test_append_goes_on_when_the_disk_was_full(
    parts: FileParts, upload: Incoming, chunks: list[int]
) -> None:
    """What was stored counts, as after a cut."""
    with full_after(1 << 20), pytest.raises(StorageFailure):
        await parts.append(upload, 0, body(*(b"x" * size for size in chunks)), max_bytes=1 << 30)
    at = await parts.offset(upload)
    assert 0 < at <= 1 << 20
    assert await parts.append(upload, at, body(b"y"), max_bytes=1) == at + 1


async def test_nothing_half_written_stays_when_the_disk_is_full_before_and_after_the_bytes(
    parts: FileParts, upload: Incoming, tmp_path: Path
) -> None:
    """O9: beginning and putting together can be asked for again, and do not fill the disk by that."""
    with full_after(0), pytest.raises(StorageFailure):
        await parts.begin("s-2", "videos/2/source.mp4", content_type="video/mp4")
    assert list((tmp_path / "uploads/s-2").iterdir()) == []
    received = [await parts.put(upload, n, body(b"x" * 700_000), max_bytes=700_000) for n in (1, 2)]
    before = sorted((tmp_path / "uploads/s-1").iterdir())
    for _ in range(2):
        with full_after(1 << 20), pytest.raises(StorageFailure):
            await parts.complete(upload, received)
    assert sorted((tmp_path / "uploads/s-1").iterdir()) == before
    assert (await parts.complete(upload, received)).size_bytes == 1_400_000


@pytest.mark.parametrize(
    ("way", "step"),
    [
        ("parts", "media.file_parts._join"),
        *itertools.product(
            ("parts", "one part", "appended"),
            ("media.stores.FileStore.place", "media.file_parts.FileParts._discard"),
        ),
    ],
)
async def test_completion_ends_when_it_was_killed_at_a_step(
    parts: FileParts, upload: Incoming, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, step: str
) -> None:
    """A48: killed before the step; another process completes the same upload, and nothing is left."""
    known: list[PartInfo] = []
    if way == "parts":
        known = await two_parts(parts, upload)
    elif way == "one part":
        known = [await parts.put(upload, 1, body(b"onetwo"), max_bytes=9)]
    else:
        await parts.append(upload, 0, body(b"onetwo"), max_bytes=9)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(step, killed)
        with pytest.raises(Killed):
            await parts.complete(upload, known)
    later = FileParts(tmp_path / "uploads", FileStore(tmp_path / "objects"))
    assert [each.session_id async for each in later.unfinished()] == ["s-1"]
    assert (await later.complete(upload, known)).size_bytes == 6
    assert (tmp_path / "objects" / KEY).read_bytes() == b"onetwo"
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_removal_ends_when_it_was_killed(
    parts: FileParts, upload: Incoming, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A41: a half-removed upload is found by its session and goes with the next abort."""
    await two_parts(parts, upload)

    def killed(path: Path, **_: object) -> None:
        if path.exists():
            (path / "upload.json").unlink()
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("media.file_parts.shutil.rmtree", killed)
        with pytest.raises(Killed):
            await parts.abort(upload)
    found = [each async for each in parts.unfinished()]
    assert [each.session_id for each in found] == ["s-1"]
    await parts.abort(found[0])
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_upload_is_found_when_its_beginning_was_killed(parts: FileParts, tmp_path: Path) -> None:
    (tmp_path / "uploads/s-9").mkdir(parents=True)
    assert [each.session_id async for each in parts.unfinished()] == ["s-9"]
    again = await parts.begin("s-9", KEY, content_type="video/mp4")
    assert again.key == KEY


async def test_newer_part_counts_when_a_crash_left_two_of_its_number(
    parts: FileParts, upload: Incoming, tmp_path: Path
) -> None:
    old = await parts.put(upload, 1, body(b"old"), max_bytes=9)
    left = next((tmp_path / "uploads/s-1").glob("part-00001-*"))
    kept = left.read_bytes()
    new = await parts.put(upload, 1, body(b"new!"), max_bytes=9)
    assert not left.exists()
    left.write_bytes(kept)
    os.utime(left, ns=(0, 0))
    assert old != new
    assert await parts.parts(upload) == [new]


async def test_bytes_are_copied_when_links_are_not_possible(
    parts: FileParts, upload: Incoming, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("media.trees.os.link", refuse)
    known = await two_parts(parts, upload)
    await parts.assemble(upload, known, tmp_path / "x")
    await parts.complete(upload, known)
    assert (tmp_path / "objects" / KEY).read_bytes() == (tmp_path / "x").read_bytes() == b"onetwo"


async def test_bytes_are_joined_once_when_hashed_and_completed(
    parts: FileParts, upload: Incoming, tmp_path: Path
) -> None:
    """Completing is a rename: the probed file and the object share their blocks."""
    known = await two_parts(parts, upload)
    await parts.assemble(upload, known, tmp_path / "x")
    await parts.complete(upload, known)
    assert os.stat(tmp_path / "x").st_ino == os.stat(tmp_path / "objects" / KEY).st_ino


async def test_session_is_refused_when_it_is_begun_for_another_key(
    parts: FileParts, upload: Incoming
) -> None:
    with pytest.raises(Conflict):
        await parts.begin(upload.session_id, "videos/2/source.mp4", content_type="video/mp4")


async def test_parts_all_stay_when_they_come_at_once(parts: FileParts, upload: Incoming) -> None:
    """A16: simultaneous parts, the same number among them."""
    sent = [(n, b"%d" % n) for n in range(1, 21)] + [(7, b"seven"), (7, b"VII")]
    await asyncio.gather(*(parts.put(upload, n, body(data), max_bytes=9) for n, data in sent))
    assert [part.number for part in await parts.parts(upload)] == list(range(1, 21))
