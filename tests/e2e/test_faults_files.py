"""Files that a crash or a disk has damaged, and stores from another time (DESIGN invariants 2 and 3; R3)."""

import os
import shutil
from uuid import uuid4

import pytest

from streams.log.wal import commit_frames

CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
PAGE, WAL_HEADER, FRAME_HEADER = 8192, 32, 24


@pytest.fixture
async def world(module_server, make_client, shared_dir):
    """Return a running server, a viewer, a video, and how many shares it has."""
    server = module_server
    server.configure(FREEWILL_TABLES_STORE="rocksdb://")
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / CLIP))["id"]
    await owner.wait_status(video_id, "READY")
    viewer = await make_client(server).register()
    return server, viewer, video_id


async def share(viewer, video_id, times):
    """Share a video so many times; each share is answered, and so counts."""
    for _ in range(times):
        event = {"event_id": str(uuid4()), "video_id": video_id, "action": "share"}
        answer = await viewer.post("/api/v1/events", event)
        assert viewer.status == 202, answer


async def counted(viewer, video_id, shares):
    await viewer.eventually(f"/api/v1/videos/{video_id}/engagement", lambda body: body["shares"] == shares)


async def test_nothing_answered_is_lost_when_the_tail_of_the_log_is_torn(world):
    """What a power cut tears was not answered: half a transaction lies behind the last whole one."""
    server, viewer, video_id = world
    await share(viewer, video_id, 5)
    await counted(viewer, video_id, 5)
    server.kill()
    log = server.data / "log/log.db"
    wal = log.with_name("log.db-wal")
    end = WAL_HEADER + commit_frames(log)[-1] * (FRAME_HEADER + PAGE)
    with wal.open("r+b") as file:
        header = file.read(WAL_HEADER)
        file.truncate(end)
        file.seek(end)
        # a frame of this generation whose checksum is wrong, and the half of another
        file.write(bytes(8) + header[16:24] + os.urandom(8) + os.urandom(PAGE + PAGE // 2))
    await server.start()
    await counted(viewer, video_id, 5)
    await share(viewer, video_id, 1)
    await counted(viewer, video_id, 6)


@pytest.mark.parametrize("name", ["log/log.db", "freewill.db"])
async def test_start_is_refused_when_the_middle_of_a_file_is_damaged(world, name):
    """It says which file, and what to do; it starts no empty one, and leaves the damage to be looked at."""
    server, viewer, video_id = world
    await share(viewer, video_id, 2)
    await counted(viewer, video_id, 2)
    assert server.stop() == 0
    path = server.data / name
    sound = path.read_bytes()
    middle = len(sound) // 2 // PAGE * PAGE
    damaged = sound[:middle] + os.urandom(3 * PAGE) + sound[middle + 3 * PAGE :]
    path.write_bytes(damaged)
    refused = server.run("serve")
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1, said
    assert str(path) in said
    assert "restore it from a backup, or move it away" in said
    assert "Traceback" not in said, said
    assert path.read_bytes() == damaged

    path.write_bytes(sound)
    await server.start()
    await counted(viewer, video_id, 2)


async def test_tables_follow_the_log_when_their_store_is_from_a_later_time(world):
    """A restored log is the truth: RocksDB that knows more than it is rebuilt."""
    server, viewer, video_id = world
    await share(viewer, video_id, 2)
    await counted(viewer, video_id, 2)
    assert server.stop() == 0
    folder, backup = server.data / "log", server.data / "log.backup"
    shutil.copytree(folder, backup)
    await server.start()
    await share(viewer, video_id, 3)
    await counted(viewer, video_id, 5)
    assert server.stop() == 0

    shutil.rmtree(folder)
    backup.rename(folder)
    await server.start()
    await counted(viewer, video_id, 2)
    await share(viewer, video_id, 1)
    await counted(viewer, video_id, 3)
