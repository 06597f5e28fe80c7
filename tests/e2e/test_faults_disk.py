"""A disk that fills up under a server: it refuses, keeps what it answered for, and goes on (O9, O38)."""

import errno
import os
import shutil
import subprocess
from uuid import uuid4

import aiohttp
import pytest

CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
DISK_MB = 1024  # an encode wants half of it free
FULL = "INSUFFICIENT_STORAGE"


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
    """Shrink the disk to what is on it: not a byte more fits."""
    while not resize(folder, f"{shutil.disk_usage(folder).used // 1024}k", check=False):
        pass  # the server wrote meanwhile
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (folder / "one byte more").write_bytes(b"x")
    (folder / "one byte more").unlink()


def free(folder):
    resize(folder, f"{DISK_MB}m")


async def share(viewer, video_id, event_id):
    """Send a batch of one share and one watch event; return the status and the code."""
    watch = {"event_id": str(uuid4()), "video_id": video_id, "action": "watch_start"}
    answer = await viewer.post(
        "/api/v1/events", {"events": [{**watch, "action": "share", "event_id": event_id}, watch]}
    )
    return viewer.status, answer.get("error", {}).get("code")


async def test_requests_are_refused_and_all_goes_on_when_the_disk_was_full_for_a_while(
    small_disk, make_server, make_client, shared_dir
):
    """503 with its code for events, likes and uploads; reading goes on; nothing answered 2xx is lost."""
    server = make_server()
    assert server.data == small_disk
    await server.start()
    process = server.process.pid
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / CLIP))["id"]
    await owner.wait_status(video_id, "READY")
    viewer = await make_client(server).register()
    assert (await share(viewer, video_id, str(uuid4()))) == (202, None)

    fill(small_disk)
    sent, answered, refused = [], 1, set()
    for _ in range(60):
        event_id = str(uuid4())
        status, code = await share(viewer, video_id, event_id)
        if status == 202:
            answered += 1  # pages that were written before are written again
        else:
            sent.append(event_id)
            refused.add((status, code))
            retry_after = viewer.headers["Retry-After"]
    assert refused == {(503, FULL)}, (refused, server.tail())
    assert int(retry_after) > 0
    try:
        answer = await owner.upload(shared_dir / CLIP, title="Too much")
        assert (owner.status, answer["error"]["code"]) == (503, FULL)
    except aiohttp.ClientConnectionError:
        pytest.fail(f"an upload on a full disk got no answer:\n{server.tail()}")
    for path in ("/healthz", "/api/v1/feed", f"/api/v1/videos/{video_id}", "/readyz"):
        await viewer.get(path)
        assert viewer.status == 200, path

    free(small_disk)
    for event_id in sent:
        assert await share(viewer, video_id, event_id) == (202, None)
    counted = answered + len(sent)
    await viewer.eventually(
        f"/api/v1/videos/{video_id}/engagement",
        lambda body: (body["shares"], body["views"]) == (counted, 1),
    )
    again = await owner.upload(shared_dir / CLIP, title="Now it fits")
    assert owner.status == 201, again
    await owner.wait_status(again["id"], "READY")
    assert (server.process.pid, server.process.poll()) == (process, None), "it went on without a restart"
    assert [video["title"] for video in await owner.pages("/api/v1/videos")] == ["Now it fits", "A clip"]

    server.kill()  # what was answered was durable, too
    await server.start()
    body = await viewer.get(f"/api/v1/videos/{video_id}/engagement")
    assert (body["shares"], body["views"]) == (counted, 1)
