"""A server that dies loses nothing and leaves nothing behind (DESIGN invariants 1, 2 and 4; A19, A38, B8)."""

import asyncio
import contextlib
import random
import secrets
import subprocess
import sys
import time
from uuid import uuid4

import aiohttp
import psutil
import pytest

TINY = "media/clips/bear-vp9-odd-dimensions.webm"
LONGER = "media/clips/rotated_video.mp4"
STOP_WITHIN_SECONDS = 20


def form_of(path):
    """Return the two ends of a multipart upload around the file's bytes, and its content type."""
    boundary = secrets.token_hex(12)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="title"\r\n\r\nCut\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n\r\n'
    )
    body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    return body, {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(body)),
    }


class SlowUpload:
    """An upload that stops in its middle until it is let go, or cut."""

    def __init__(self, client, path):
        self.body, self.headers = form_of(path)
        self.go_on = asyncio.Event()
        self.task = asyncio.create_task(self._send(client))

    async def _send(self, client):
        try:
            answer = await client.call(
                "POST", "/api/v1/videos/upload", data=self._chunks(), headers=self.headers
            )
        except (aiohttp.ClientError, OSError):
            return None
        return client.status, answer

    async def _chunks(self):
        half = len(self.body) // 2
        step = half // 16 + 1
        for start in range(0, half, step):
            yield self.body[start : min(half, start + step)]
            await asyncio.sleep(0.01)
        await self.go_on.wait()
        yield self.body[half:]


async def until(holds, seconds=120.0):
    """Wait until a condition holds; it does, or the test fails."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        await asyncio.sleep(0.02)


def assert_nothing_arrived(server):
    """No row, no object, no temporary file."""
    assert server.query("SELECT count(*) FROM videos") == [(0,)]
    assert server.query("SELECT count(*) FROM upload_sessions") == [(0,)]
    assert server.files("objects") == set()
    assert server.files("tmp") == set()


async def test_upload_leaves_nothing_when_it_is_cut_off(make_server, make_client, shared_dir):
    """By the client alone, then by ``kill -9``; the same upload then works (A19, INTERFACE Upload)."""
    server = make_server()
    await server.start()
    owner = await make_client(server).register()
    path = shared_dir / "media/clips/flower.mp4"

    upload = SlowUpload(owner, path)
    await until(lambda: server.files("tmp/uploads"))
    upload.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await upload.task
    await until(lambda: not server.files("tmp/uploads"))
    assert_nothing_arrived(server)

    upload = SlowUpload(owner, path)
    await until(lambda: server.files("tmp/uploads"))
    server.kill()
    assert await upload.task is None
    assert server.files("tmp/uploads"), "the kill has to come while bytes lie in the data folder"
    await server.start()
    assert_nothing_arrived(server)
    assert (await owner.get("/api/v1/videos"))["items"] == []

    upload = SlowUpload(owner, path)
    upload.go_on.set()
    status, video = await upload.task
    assert status == 201, video
    assert (await owner.get(f"/api/v1/videos/{video['id']}"))["title"] == "Cut"


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.4])
async def test_upload_is_whole_or_absent_when_the_kill_meets_its_end(
    module_server, make_client, shared_dir, delay
):
    """All bytes are there, the answer is not: a row has its object, an object its row (A19, A46)."""
    server = module_server
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    upload = SlowUpload(owner, shared_dir / TINY)
    upload.go_on.set()
    await until(lambda: server.files("tmp/uploads") or upload.task.done())
    await asyncio.sleep(delay)
    server.kill()
    answer = await upload.task
    await server.start()
    mine = await owner.pages("/api/v1/videos")
    if answer is not None:
        assert answer[0] == 201
        assert [video["id"] for video in mine] == [answer[1]["id"]]
    assert len(mine) <= 1
    assert server.files("tmp/uploads") == set()
    rows = dict(server.query("SELECT id, source_key FROM videos"))
    objects = server.files("objects")
    assert {name.split("/")[1] for name in objects} == set(rows)
    assert {name for name in objects if "/source." in name} == set(rows.values())
    for video in mine:
        await owner.assert_playable(await owner.wait_status(video["id"], "READY"))


async def progress_until(client, video_id, percent, seen):
    """Poll until a progress, or READY, is reached; every value seen is kept."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        video = await client.get(f"/api/v1/videos/{video_id}")
        seen.append(video["progress"])
        assert video["status"] != "FAILED", video
        if video["status"] == "READY" or video["progress"] >= percent:
            return video
        await asyncio.sleep(0.03)
    raise AssertionError(f"never reached {percent}: {seen[-1:]}")


@pytest.mark.parametrize(
    "percent", [20, 89, *(pytest.param(percent, marks=pytest.mark.slow) for percent in (0, 70, 100))]
)
async def test_video_ends_ready_once_when_the_server_is_killed_at(
    module_server, make_client, shared_dir, percent
):
    """After the 201, in the transcode, while it packages, at READY (B8, B18, A38, C6, DESIGN invariant 4)."""
    server = module_server
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    video = await owner.upload(shared_dir / (LONGER if 0 < percent < 100 else TINY))
    assert owner.status == 201, video
    video_id = video["id"]
    seen = []
    at_kill = await progress_until(owner, video_id, percent, seen)
    server.kill()
    assert (at_kill["status"] == "READY") == (percent == 100), f"the kill came late: {at_kill['progress']}"

    await server.start()
    video = await progress_until(owner, video_id, 100, seen)
    assert seen == sorted(seen), "progress fell"
    await owner.assert_playable(video)
    assert server.query("SELECT status, progress FROM encoding_jobs WHERE video_id = ?", video_id) == [
        ("completed", 100.0)
    ]
    analyst = await (await make_client(server).register()).become("analyst")
    await analyst.eventually(
        f"/api/v1/tables/catalogue/rows/{video_id}", lambda body: body["value"]["card"]["embedding"]
    )
    keys = [row["key"] for row in await analyst.pages("/api/v1/tables/catalogue/rows")]
    assert keys.count(video_id) == 1
    shown = [item["id"] for item in await analyst.pages("/api/v1/feed?profile=chronological")]
    assert shown.count(video_id) == 1
    assert server.files("tmp") == set(), "the killed encode left its work behind"


class Person:
    """Somebody who likes, saves and shares, and knows what was answered."""

    def __init__(self, client, video_id, dice):
        self.client, self.video_id, self.dice = client, video_id, dice
        self.likes = self.saves = False
        self.shares = set()
        self.answered = 0
        self.open = None  # what got no answer

    async def act(self):
        """Do one thing; what is not answered is done again until it is (each is idempotent)."""
        verb, what, body = self.open or self._choose()
        self.open = (verb, what, body)
        path = f"/api/v1/posts/{self.video_id}/{what}"
        try:
            answer = await self.client.call(verb, path, json=body)
        except (aiohttp.ClientError, OSError):
            return False
        assert self.client.status in (200, 201), answer
        self.open = None
        self.answered += 1
        if what == "like":
            self.likes = verb == "POST"
        elif what == "save":
            self.saves = verb == "POST"
        else:
            self.shares.add(body["event_id"])
        return True

    def _choose(self):
        what = self.dice.choice(("like", "save", "share"))
        if what == "share":
            return "POST", what, {"event_id": str(uuid4())}
        return self.dice.choice(("POST", "DELETE")), what, None


async def test_interactions_equal_the_relational_truth_when_killed_in_their_middle(
    module_server, make_client, shared_dir
):
    """Rows and outbox are one transaction: counters end where the rows are (H3-H5, H14)."""
    server = module_server
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / TINY))["id"]
    await owner.wait_status(video_id, "READY")
    crowd = [
        Person(await make_client(server).register(), video_id, random.Random(number)) for number in range(8)
    ]

    async def keep_acting(person):
        while await person.act():
            pass

    # Three kills: what a wrong order of relay and rows loses lies in a window of milliseconds.
    for answered in (60, 120, 180):
        load = [asyncio.create_task(keep_acting(person)) for person in crowd]
        await until(lambda answered=answered: sum(person.answered for person in crowd) > answered)
        server.kill()
        await asyncio.gather(*load)
        assert any(person.open for person in crowd), "nothing was under way at the kill"
        await server.start()
    for person in crowd:
        assert person.open is None or await person.act()
    truth = {
        "likes": sum(person.likes for person in crowd),
        "saves": sum(person.saves for person in crowd),
        "shares": sum(len(person.shares) for person in crowd),
    }
    for table, count in truth.items():
        assert server.query(f"SELECT count(*) FROM {table} WHERE video_id = ?", video_id) == [(count,)]
    counted = await owner.eventually(
        f"/api/v1/videos/{video_id}/engagement",
        lambda body: {name: body[name] for name in truth} == truth,
    )
    assert counted["views"] == 0
    await until(lambda: server.query("SELECT count(*) FROM outbox") == [(0,)])
    await asyncio.sleep(0.5)  # nothing may still arrive that would count again
    counted = await owner.get(f"/api/v1/videos/{video_id}/engagement")
    assert {name: counted[name] for name in truth} == truth


async def test_stop_is_clean_and_work_goes_on_when_terminated_during_an_encode(
    make_server, make_client, shared_dir
):
    """SIGTERM with a transcode running, sockets, streams and an upload open (INTERFACE Process, P38)."""
    server = make_server()
    await server.start()
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / LONGER))["id"]
    seen = []
    await progress_until(owner, video_id, 5, seen)
    bearer = {"Authorization": f"Bearer {owner.token}"}
    uploading = SlowUpload(make_client(server), shared_dir / TINY)
    uploading.headers |= bearer
    url = server.url + "/api/v1/notifications/stream"
    async with (
        owner.session.ws_connect(server.url + "/api/v1/ws/notifications", headers=bearer) as socket,
        owner.session.get(url, headers=bearer) as stream,
    ):
        assert stream.status == 200
        started = time.monotonic()
        code = await asyncio.to_thread(server.stop)
        took = time.monotonic() - started
        while not socket.closed:
            await socket.receive(timeout=120)
    uploading.go_on.set()
    await uploading.task
    assert code == 0, server.tail()
    assert took < STOP_WITHIN_SECONDS, took
    assert "Traceback" not in server.log.read_text(errors="replace"), server.tail(60)

    await server.start()
    video = await progress_until(owner, video_id, 100, seen)
    assert seen == sorted(seen)
    await owner.assert_playable(video)


async def test_second_server_refuses_when_the_data_folder_is_in_use(module_server, make_client, shared_dir):
    """It says why, ends with 1, and harms neither what runs nor what is being uploaded (Z5, R3)."""
    server = module_server
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    upload = SlowUpload(owner, shared_dir / TINY)
    await until(lambda: server.files("tmp/uploads"))

    environment = server.environment | {"FREEWILL_PORT": "0"}
    for setting in (environment, environment | {"FREEWILL_TABLES_STORE": "rocksdb://"}):
        second = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "freewill.cli", "serve"],
            env=setting,
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = second.stdout + second.stderr
        assert second.returncode == 1, said
        assert "another process" in said, said
        assert "Traceback" not in said, said

    upload.go_on.set()
    status, video = await upload.task
    assert status == 201, video
    await owner.assert_playable(await owner.wait_status(video["id"], "READY"))


async def test_server_refuses_when_its_port_is_taken(module_server, make_server):
    """The message names the address; the exit code is 1 (INTERFACE Process)."""
    if not module_server.running:
        await module_server.start()
    other = make_server(FREEWILL_PORT=str(module_server.port))
    second = await asyncio.to_thread(other.run, "serve")
    said = second.stdout + second.stderr
    assert second.returncode == 1, said
    assert f"127.0.0.1:{module_server.port}" in said, said
    assert "Traceback" not in said, said


async def test_no_child_outlives_the_server_when_only_the_server_is_killed(
    module_server, make_client, shared_dir
):
    """An encode left running would write into what the next start encodes again (B18, B41)."""
    server = module_server
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / LONGER))["id"]
    seen = []
    await progress_until(owner, video_id, 10, seen)
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children, "nothing encodes"
    server.process.kill()
    server.process.wait()
    await until(lambda: not any(child.is_running() for child in children))

    await server.start()
    video = await progress_until(owner, video_id, 100, seen)
    assert seen == sorted(seen)
    await owner.assert_playable(video)


async def test_first_start_can_be_repeated_when_it_was_killed_at_any_point(make_server, make_client):
    """Keys, schema and log are made whole or not at all (R5, Z5)."""
    server = make_server()
    for made in ("secrets", "log", "freewill.db"):
        for _ in range(2):
            server.launch()
            await until(lambda made=made: (server.data / made).exists())
            server.kill()
    # Right in the migration: the file is there, the schema may be.
    server.launch()
    await until(lambda: (server.data / "freewill.db").exists())
    await asyncio.sleep(0.15)
    server.kill()
    await server.start()
    client = await make_client(server).register()
    assert (await client.get("/api/v1/videos"))["items"] == []
    assert server.stop() == 0
