"""A server that encodes nothing itself, and encoders in processes of their own (Y14)."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from social.encoders import Encoders
from tables.relational.engine import Database

CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
WORKER = "media.workers.encode"


class Encoder:
    """One process, which can be killed."""

    def __init__(self, server, folder, name, token):
        self.token = token
        self.folder, self.log = folder / name, folder / f"{name}.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FREEWILL_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "freewill.cli", "encoder", "--server", server.url,
                 "--encoder", "libx264", "--workdir", str(self.folder)],
                cwd=server.root, env=kept | {"FREEWILL_ENCODER_TOKEN": token},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self):
        """``kill -9`` of the process alone: its child ends with it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def encodes(self):
        """Tell whether an encode child of it runs."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return any(WORKER in child.cmdline() for child in psutil.Process(self.process.pid).children())
        return False

    def left(self):
        """Return the scratch that is left, but for locks."""
        # Unlike rglob, walk does not mind that the encoder is removing folders meanwhile.
        return [name for _, _, names in os.walk(self.folder) for name in names if name != "lock"]


@pytest.fixture
def server(make_server):
    return make_server(
        FREEWILL_MEDIA_WORKERS="0",
        FREEWILL_MEDIA_LEASE_SECONDS="5",
        FREEWILL_MEDIA_FIRST_RUNG_SECONDS="0",
        FREEWILL_MEDIA_LADDER="reels",
    )


@pytest.fixture
def encoder(server, tmp_path):
    """Return a function that starts an encoder by name."""
    started = []

    async def start(name):
        database = Database.open(f"sqlite+aiosqlite:///{server.data}/freewill.db")
        _, token = await Encoders(database, time.time).issue(name)
        await database.close()
        started.append(Encoder(server, tmp_path, name, token))
        return started[-1]

    yield start
    for process in started:
        process.kill()


async def until(condition, seconds=240):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def assert_nothing_is_left(server, video):
    """Every object is the source, an asset, or named by a playlist that is one."""
    assert server.files("tmp") == set()
    prefix = f"videos/{video['id']}/"
    mine = {name.removeprefix(prefix) for name in server.files("objects") if name.startswith(prefix)}
    keys = {key.removeprefix(prefix) for (key,) in server.query(
        "SELECT file_key FROM video_assets WHERE video_id = ?", video["id"]
    )}  # fmt: skip
    folder = server.data / "objects" / prefix
    for name in sorted(mine):
        if name.endswith(".m3u8"):
            lines = (folder / name).read_text().splitlines()
            named = [line for line in lines if line and not line.startswith("#")]
            named += [line.split('URI="')[1].split('"')[0] for line in lines if 'URI="' in line]
            keys |= {os.path.normpath(os.path.join(os.path.dirname(name), one)) for one in named}
    assert {name for name in mine if not name.startswith("source.")} == keys


async def test_video_is_ready_when_encoders_elsewhere_stop_and_die_on_the_way(
    server, make_client, encoder, shared_dir, tmp_path
):
    """Y14, B48: one gives its job back, one is killed and loses its lease, one finishes; nothing is left.

    None of that costs a try, and one whose token is revoked does not begin.
    """
    await server.start()
    owner = await make_client(server).register()
    video = await owner.upload(shared_dir / CLIP)
    assert owner.status == 201, video
    stopped = await encoder("stopped")
    await until(stopped.encodes)
    assert await asyncio.to_thread(stopped.stop) == 0
    assert stopped.left() == []
    assert "job_given_back" in stopped.log.read_text()
    killed = await encoder("killed")
    await until(killed.encodes)
    killed.kill()
    assert killed.left(), "it was killed in the middle"
    last = await encoder("last")
    await owner.wait_status(video["id"], "READY", "FAILED")
    await owner.eventually(f"/api/v1/videos/{video['id']}", lambda body: not body["processing_more"], 120)
    video = await owner.get(f"/api/v1/videos/{video['id']}")
    await owner.assert_playable(video)
    assert_nothing_is_left(server, video)
    await until(lambda: "job_done" in last.log.read_text())
    rows = server.query("SELECT name, done, failed, refused FROM encoders ORDER BY name")
    assert rows == [("killed", 0, 0, 0), ("last", 1, 0, 0), ("stopped", 0, 0, 0)]
    assert server.query("SELECT attempts FROM encoding_jobs") == [(0,)]
    await until(lambda: last.left() == [])
    assert server.run("encoder-token", "last", "--revoke").returncode == 0
    refused = Encoder(server, tmp_path, "refused", last.token)
    assert await asyncio.to_thread(refused.process.wait) == 1
    assert "INVALID_TOKEN" in refused.log.read_text()
    assert '"encoder.revoke"' in server.run("audit").stdout


@pytest.mark.slow
async def test_encode_goes_on_when_the_server_is_killed_under_it(server, make_client, encoder, shared_dir):
    """The lease is gone with the process; the encoder takes its job up again and encodes nothing twice."""
    await server.start()
    owner = await make_client(server).register()
    video = await owner.upload(shared_dir / "media/clips/flower.mp4")
    assert owner.status == 201, video
    one = await encoder("one")
    await until(one.encodes)
    server.kill()
    await asyncio.sleep(1)
    idle = await encoder("idle")
    await server.start()
    await owner.wait_status(video["id"], "READY", "FAILED")
    await owner.eventually(f"/api/v1/videos/{video['id']}", lambda body: not body["processing_more"], 120)
    video = await owner.get(f"/api/v1/videos/{video['id']}")
    await owner.assert_playable(video)
    assert_nothing_is_left(server, video)
    await until(lambda: "job_done" in one.log.read_text())
    assert one.log.read_text().count("job_begun") == 1
    assert "job_taken_up_again" in one.log.read_text()
    assert "job_begun" not in idle.log.read_text()
