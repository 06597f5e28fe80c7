"""An encode that is killed, at any stage, ends READY or FAILED with a reason, without leftovers (B9)."""

import asyncio
import contextlib
import json
import time

import psutil
import pytest

CLIP = "media/clips/rotated_video.mp4"
WORKER = "media.workers.encode"
TRIES = 5

# Of the job: status, stage, progress; and the status of its video.
STAGES = {
    "probing": lambda job, stage, progress, video: stage == "probing",
    "first rung": lambda job, stage, progress, video: stage == "transcoding" and video == "TRANSCODING",
    "playable": lambda job, stage, progress, video: video == "READY" and job == "processing",
    "rest": lambda job, stage, progress, video: video == "READY" and stage == "transcoding" and progress > 45,
    "packaging": lambda job, stage, progress, video: stage in ("packaging", "pictures") and progress > 85,
    "storing": lambda job, stage, progress, video: stage == "storing",
    # and the scratch is gone: all is stored, the outcome on its way to the log, or to the rows
    "applying": lambda job, stage, progress, video: stage == "storing" and job == "processing",
}


@pytest.fixture(scope="module")
def server(module_server):
    """A server whose videos always play with their first rung first."""
    module_server.configure(FREEWILL_MEDIA_FIRST_RUNG_SECONDS="0")
    return module_server


def seen(server, video_id):
    rows = server.query(
        "SELECT j.status, j.stage, j.progress, v.status FROM encoding_jobs j"
        " JOIN videos v ON v.id = j.video_id WHERE v.id = ?",
        video_id,
    )
    return rows[0] if rows else None


async def reach(server, video_id, stage):
    """Wait until a job is at a stage; False when it had passed it before anybody looked."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        now = seen(server, video_id)
        if now is not None and STAGES[stage](*now) and (stage != "applying" or not server.files("tmp")):
            return True
        if now is not None and now[0] in ("completed", "failed"):
            return False
        await asyncio.sleep(0.005)
    raise AssertionError(f"{video_id} never came to an end: {now}\n{server.tail()}")


async def at_stage(server, owner, clip, stage):
    """Return a video whose job is at a stage just now."""
    for _ in range(TRIES):
        video = await owner.upload(clip)
        assert owner.status == 201, video
        if await reach(server, video["id"], stage):
            return video["id"]
    raise AssertionError(f"no job was met in {stage}")


def kill_child(server):
    """``kill -9`` of the encoder alone."""
    killed = 0
    for child in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if WORKER in child.cmdline():
                child.kill()
                killed += 1
    return killed


def assert_nothing_is_left(server, video_id, video):
    """No scratch, no file that no playlist names, no row without its object."""
    assert server.files("tmp") == set()
    mine = {name.split("/", 2)[2] for name in server.files("objects") if f"/{video_id}/" in f"/{name}"}
    if video["status"] == "FAILED":
        assert all(name.startswith("source.") for name in mine), mine
        return
    keys = {key.split("/", 2)[2] for (key,) in server.query(
        "SELECT file_key FROM video_assets WHERE video_id = ?", video_id
    )}  # fmt: skip
    assert keys <= mine, keys - mine
    rungs = {name.split("/")[1] for name in mine if name.startswith("hls/") and name.count("/") == 2}
    assert rungs >= set(video["available_qualities"])
    folder = server.data / "objects" / "videos" / video_id / "hls"
    for quality in video["available_qualities"]:
        lines = (folder / quality / "playlist.m3u8").read_text().splitlines()
        named = {line for line in lines if line and not line.startswith("#")}
        assert {file.name for file in (folder / quality).glob("*.ts")} == named, quality


async def ended(owner, video_id):
    """Return the video when its job has ended."""
    video = await owner.wait_status(video_id, "READY", "FAILED")
    await owner.eventually(f"/api/v1/videos/{video_id}", lambda body: not body["processing_more"], 120)
    return await owner.get(f"/api/v1/videos/{video['id']}")


REGULAR = {("child", "first rung"), ("server", "playable")}
CASES = [
    pytest.param(
        victim, stage, marks=() if (victim, stage) in REGULAR else pytest.mark.slow, id=f"{victim}-{stage}"
    )
    for victim in ("child", "server")
    for stage in STAGES
    if victim == "server" or stage not in ("storing", "applying")  # the child has ended by then
]


@pytest.mark.parametrize(("victim", "stage"), CASES)
async def test_video_ends_ready_with_all_rungs_when_it_is_killed(
    server, make_client, shared_dir, victim, stage
):
    """B9, B18, B41, Y5, C10: one try is lost at most, READY never goes back, nothing is left over."""
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    video_id = await at_stage(server, owner, shared_dir / CLIP, stage)
    if victim == "server":
        server.kill()
        played = seen(server, video_id)[3] == "READY"
        await server.start()
    else:
        if not kill_child(server):
            pytest.fail("the child was gone")
        played = seen(server, video_id)[3] == "READY"
    if played:
        assert (await owner.get(f"/api/v1/videos/{video_id}"))["status"] == "READY"
    video = await ended(owner, video_id)
    await owner.assert_playable(video)
    assert video["available_qualities"] == ["1080p", "720p", "480p", "360p"]
    (row,) = server.query("SELECT status, progress, attempts FROM encoding_jobs WHERE video_id = ?", video_id)
    assert row == ("completed", 100.0, int(victim == "child"))
    assert_nothing_is_left(server, video_id, video)


@pytest.mark.slow
async def test_video_fails_with_a_reason_when_every_try_is_killed(server, make_client, shared_dir):
    """B9, B10, B12: three tries more, then FAILED, a dead letter, and what is left for operators."""
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / CLIP))["id"]
    deadline = time.monotonic() + 240
    while (now := seen(server, video_id)) is None or now[0] != "failed":
        kill_child(server)
        assert time.monotonic() < deadline, now
        await asyncio.sleep(0.1)
    video = await ended(owner, video_id)
    assert (video["status"], video["fail_code"]) == ("FAILED", "TRANSCODE_ERROR")
    assert "signal 9" in video["fail_reason"]
    assert_nothing_is_left(server, video_id, video)
    root = await (await make_client(server).register()).become("operator")
    (job,) = (await root.get(f"/api/v1/media/jobs?owner_id={owner.user['id']}"))["items"]
    left = (await root.get(f"/api/v1/media/jobs/{job['id']}"))["partial"]
    assert (left["attempt"], left["code"]) == (3, "TRANSCODE_ERROR")
    letters = await root.eventually("/api/v1/dead-letters", lambda body: body["items"])
    assert [letter["code"] for letter in letters["items"] if letter["key"] == video_id] == ["TRANSCODE_ERROR"]
    await owner.post(f"/api/v1/videos/{video_id}/retry")
    await owner.assert_playable(await ended(owner, video_id))


@pytest.mark.slow
async def test_queue_stays_paused_over_a_restart_and_goes_on_when_resumed(server, make_client, shared_dir):
    """B15, B43: from the command line, seen by the running server; nothing queued is lost."""
    if not server.running:
        await server.start()
    owner = await make_client(server).register()
    paused = await asyncio.to_thread(server.run, "media", "pause", "upgrade")
    assert paused.returncode == 0, paused.stderr
    await asyncio.sleep(2.5)  # a worker asks every two seconds
    video_id = (await owner.upload(shared_dir / CLIP))["id"]
    server.kill()
    await server.start()
    await asyncio.sleep(2.5)
    assert seen(server, video_id)[:2] == ("queued", "")
    listed = await asyncio.to_thread(server.run, "media", "jobs")
    assert "paused (upgrade)" in listed.stdout
    assert video_id not in listed.stdout
    assert (await owner.get("/metrics")).count('freewill_media_queue_held{reason="paused"} 1.0') == 1
    resumed = await asyncio.to_thread(server.run, "media", "resume")
    assert resumed.returncode == 0, resumed.stderr
    await owner.assert_playable(await ended(owner, video_id))
    audit = [
        json.loads(line)["action"] for line in (server.data / "audit/analysts.jsonl").read_text().splitlines()
    ]
    assert audit[-2:] == ["media.pause", "media.resume"]
