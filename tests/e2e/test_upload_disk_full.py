"""A store that is full when bytes come: its code, a state to go on from, nothing left over (A36, A54, O9)."""

import asyncio
import errno
import io
import os
import shutil
import subprocess

import pytest
from upload_ways import WAYS, leftovers, stored

CLIP = "media/clips/flower.mp4"
NUMBERED = {"chunks", "parts"}
OPEN = {"INITIATED", "IN_PROGRESS"}
DISK_MB = 1024
SIZE = 8_000_000  # two parts, three chunks


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of its own, which only root can mount."""
    folder = tmp_path / "data0"  # where the first server of a test keeps its data
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def resize(folder, size, *, check=True):
    """Make the disk as large as this; False when more is on it."""
    return not subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=check).returncode


def fill(folder):
    """Shrink the disk to what is on it."""
    while not resize(folder, f"{shutil.disk_usage(folder).used // 1024}k", check=False):
        pass  # the server wrote meanwhile
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (folder / "one byte more").write_bytes(b"x" * 4096)
    (folder / "one byte more").unlink(missing_ok=True)


class Halves:
    """Bodies of one upload that wait in their middle; the first may go through as it is."""

    def __init__(self, upload, *, whole_first):
        self.upload, self.task, self.go_on = upload, None, asyncio.Event()
        upload.body = self._whole if whole_first else self._cut

    def begin(self):
        self.task = asyncio.create_task(self.upload.go())

    async def end(self):
        self.go_on.set()
        self.upload.body = io.BytesIO
        return await self.task

    def _whole(self, body):
        self.upload.body = self._cut
        return io.BytesIO(body)

    async def _cut(self, body):
        yield body[: len(body) // 2]
        await self.go_on.wait()
        yield body[len(body) // 2 :]


def growing(server):
    """Return the sizes of the files that grow: of a form, of chunks and parts, of streams."""
    uploads = server.data / "uploads"
    files = [*(server.data / "tmp/uploads").glob("*"), *uploads.glob("*/.*"), *uploads.glob("*/appended")]
    return [path.stat().st_size for path in files]


def assert_full(upload, answer):
    assert (upload.client.status, answer["error"]["code"]) == (503, "INSUFFICIENT_STORAGE"), answer


async def test_uploads_go_on_when_the_disk_was_full_before_and_in_the_middle_of_their_bytes(
    small_disk, make_server, make_client, shared_dir
):
    """Every way in: INSUFFICIENT_STORAGE, sessions stay open with what was confirmed, nothing else is left.

    Of a stream, what came before is confirmed too.
    """
    server = make_server()
    await server.start()
    clip = (shared_dir / CLIP).read_bytes()
    data = clip + (SIZE - len(clip)).to_bytes(4) + b"free" + bytes(SIZE - len(clip) - 8)  # with an empty box
    uploads = {way: WAYS[way](await make_client(server).register(), "clip.mp4", data) for way in WAYS}
    for upload in uploads.values():  # the sessions are open, and no byte was sent
        await upload.open()
    fill(small_disk)
    for upload in uploads.values():
        assert_full(upload, await upload.go())
    assert {row[0] for row in server.query("SELECT status FROM upload_sessions")} <= OPEN
    assert stored(server) == {}
    assert server.files("tmp/uploads") == set()

    resize(small_disk, f"{DISK_MB}m")
    halves = [Halves(upload, whole_first=way in NUMBERED) for way, upload in uploads.items()]
    for each in halves:
        each.begin()
    async with asyncio.timeout(120):
        while len(list((server.data / "uploads").glob("*/part-*"))) < len(NUMBERED):
            await asyncio.sleep(0.02)
        while len(sizes := growing(server)) < len(WAYS) or min(sizes) < SIZE // 10:
            await asyncio.sleep(0.02)
    for each in halves:
        fill(small_disk)
        assert_full(each.upload, await each.end())
    assert {row[0] for row in server.query("SELECT status FROM upload_sessions")} == {"IN_PROGRESS"}
    assert SIZE // 10 <= await uploads["stream"].offset() < SIZE
    assert len(growing(server)) == 1
    for way in NUMBERED:
        seen = await uploads[way].client.get(uploads[way].path)
        assert (seen["state"], seen["received_chunks"]) == ("IN_PROGRESS", [1])
    assert stored(server) == {}

    resize(small_disk, f"{DISK_MB}m")
    await asyncio.gather(*(upload.go() for upload in uploads.values()))
    for upload in uploads.values():
        [source] = (server.data / "objects" / "videos" / upload.video).glob("source.*")
        assert source.read_bytes() == data
    assert leftovers(server) == {}
    assert server.files("uploads") == set()
