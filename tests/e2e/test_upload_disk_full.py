"""A store that is full when bytes come: its code, a state to go on from, nothing left over (A36, A54, O9)."""

import asyncio
import errno
import os
import shutil
import subprocess

import pytest
from upload_ways import WAYS, leftovers, stored

CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
DISK_MB = 1024


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


async def test_uploads_go_on_when_the_disk_was_full_for_their_bytes(
    small_disk, make_server, make_client, shared_dir
):
    """Form, chunks and parts: INSUFFICIENT_STORAGE, sessions stay open, and all finish when there is room."""
    server = make_server()
    await server.start()
    data = (shared_dir / CLIP).read_bytes()
    uploads = [WAYS[way](await make_client(server).register(), "clip.webm", data) for way in WAYS]
    for upload in uploads[1:]:  # the sessions are open, and no byte was sent
        await upload.open()
    fill(small_disk)
    for upload in uploads:
        answer = await upload.go()
        assert (upload.client.status, answer["error"]["code"]) == (503, "INSUFFICIENT_STORAGE"), answer
    states = server.query("SELECT DISTINCT status FROM upload_sessions")
    assert {state for (state,) in states} <= {"INITIATED", "IN_PROGRESS"}
    assert stored(server) == {}
    assert server.files("tmp/uploads") == set()
    resize(small_disk, f"{DISK_MB}m")
    await asyncio.gather(*(upload.go() for upload in uploads))
    assert all(upload.video for upload in uploads)
    for upload in uploads:
        [source] = (server.data / "objects" / "videos" / upload.video).glob("source.*")
        assert source.read_bytes() == data
    assert leftovers(server) == {}
    assert server.files("uploads") == set()
