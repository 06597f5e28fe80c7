"""Encoding jobs over HTTP: who decides, encodes again and reports (B15, B35, B43, B44)."""

import msgspec
import pytest

from media import layout
from tables.records import Asset, MediaResult


@pytest.fixture
async def encoding(front, ada):
    """Return a video of Ada's that is being processed, and its job."""
    video = await front.upload(ada)
    await front.deps.videos.enqueue_encoding(video["id"])
    (job,) = await front.deps.videos.unfinished_jobs()
    return video["id"], job


@pytest.fixture
async def root(front):
    return await front.person("root", "operator")


@pytest.fixture
def ask(front):
    """Return a function that makes a request for somebody and returns status and body."""

    async def call(person, method, path, body=None):
        response = await front.client.request(method, path, headers=person.headers, json=body)
        return response.status, await response.json() if response.content_length else None

    return call


async def test_jobs_are_closed_to_others_when_they_are_no_operators(front, ada, ask):
    """N11."""
    for method, path, body in (
        ("GET", "/api/v1/media/jobs", None), ("GET", "/api/v1/media/jobs/x", None),
        ("POST", "/api/v1/media/jobs/x/cancel", None), ("GET", "/api/v1/media/queue", None),
        ("PUT", "/api/v1/media/jobs/x/priority", {"priority": 1}),
        ("PUT", "/api/v1/media/queue", {"paused": True}),
        ("POST", "/api/webhooks/transcoding", {"videoId": "x", "status": "FAILED"}),
    ):  # fmt: skip
        assert (await ask(ada, method, path, body))[0] == 403, path
        assert (await front.client.request(method, path, json=body)).status == 401, path


async def test_operator_sees_orders_and_ends_jobs(front, ada, root, encoding, ask):
    """B43, B10: listed, found with what is left of a failure, made urgent, canceled; all of it audited."""
    video_id, job = encoding
    status, page = await ask(root, "GET", f"/api/v1/media/jobs?status=queued&owner_id={ada.id}")
    assert (status, [item["id"] for item in page["items"]]) == (200, [job.job_id])
    assert (page["items"][0]["priority"], page["items"][0]["owner_id"]) == (10, ada.id)
    assert (await ask(root, "GET", "/api/v1/media/jobs?status=completed"))[1]["items"] == []
    assert (await ask(root, "GET", "/api/v1/media/jobs?status=lost"))[0] == 400
    await front.deps.partials.keep(job.job_id, {"code": "TRANSCODE_ERROR", "said": "x264"})
    assert (await ask(root, "GET", f"/api/v1/media/jobs/{job.job_id}"))[1]["partial"]["said"] == "x264"
    assert (await ask(root, "GET", f"/api/v1/media/jobs/{video_id}"))[0] == 404
    path = f"/api/v1/media/jobs/{job.job_id}"
    assert (await ask(root, "PUT", f"{path}/priority", {"priority": 50}))[1]["priority"] == 50
    assert (await ask(root, "PUT", f"{path}/priority", {"priority": 101}))[0] == 400
    status, ended = await ask(root, "POST", f"{path}/cancel")
    assert (status, ended["status"], ended["error_code"]) == (200, "failed", "CANCELED")
    assert (await ask(root, "POST", f"{path}/cancel"))[1]["error"]["code"] == "INVALID_STATE_TRANSITION"
    video = (await ask(ada, "GET", f"/api/v1/videos/{video_id}"))[1]
    assert (video["status"], video["fail_code"]) == ("FAILED", "CANCELED")
    actions = [note[1] for note in front.deps.analysts.audit.kept]
    assert actions == ["media.priority", "media.cancel", "media.cancel"]


async def test_queue_is_paused_and_throttled_when_an_operator_says_so(front, root, encoding, ask):
    """B15: durable, for all workers; what is left out stays."""
    path = "/api/v1/media/queue"
    assert (await ask(root, "GET", path))[1] == {
        "paused": False, "reason": "", "slots": None, "queued": 1, "processing": 0,
    }  # fmt: skip
    assert (await ask(root, "PUT", path, {"paused": True, "reason": "upgrade"}))[1]["paused"] is True
    _, body = await ask(root, "PUT", path, {"slots": 4})
    assert (body["paused"], body["reason"], body["slots"]) == (True, "upgrade", 4)
    assert (await ask(root, "PUT", path, {"slots": 65}))[0] == 400
    assert (await ask(root, "PUT", path, {"paused": False, "slots": 0}))[1]["slots"] is None
    assert (await front.deps.jobs.control()).paused is False


async def test_qualities_grow_while_a_video_plays(front, ada, encoding, ask):
    """Y5, B44: the answer says that more is coming, how far it is, and then what there is."""
    video_id, job = encoding
    master = layout.master_key(video_id)
    kinds = (("HLS_MASTER", master, None), ("HLS_RENDITION", layout.rendition_key(video_id, "360p"), "360p"))
    assets = tuple({"type": kind, "key": key, "quality": quality, "width": 640, "height": 360}
                   for kind, key, quality in kinds)  # fmt: skip
    said = {"job_id": job.job_id, "video_id": video_id, "at": front.clock(), "assets": assets}
    first = msgspec.convert({**said, "outcome": "playable"}, MediaResult)
    assert await front.deps.videos.apply_playable(first)
    video = (await ask(ada, "GET", f"/api/v1/videos/{video_id}"))[1]
    assert (video["status"], video["processing_more"], video["progress"]) == ("READY", True, 100)
    assert video["available_qualities"] == ["360p"]
    progress = msgspec.structs.replace(first, outcome="progress", progress=40.0, stage="transcoding")
    await front.deps.videos.apply_progress(progress)
    more = (await ask(ada, "GET", f"/api/v1/videos/{video_id}/encoding"))[1]
    assert (more["status"], more["job_status"], more["progress"]) == ("READY", "processing", 40)
    await front.deps.videos.apply_completed(msgspec.structs.replace(first, outcome="completed"))
    video = (await ask(ada, "GET", f"/api/v1/videos/{video_id}"))[1]
    assert (video["status"], video["processing_more"]) == ("READY", False)
    assert (await ask(ada, "GET", f"/api/v1/videos/{video_id}/encoding"))[1]["job_status"] == "completed"


async def test_ready_video_is_encoded_again_when_its_owner_asks(front, ada, root, ask):
    """B44: recorded with its parameters; priorities are the operators'."""
    eve = await front.person("eve")
    video_id = (await front.upload(ada))["id"]
    path = f"/api/v1/videos/{video_id}/encoding"
    assert (await ask(ada, "POST", path, {}))[1]["error"]["code"] == "INVALID_STATE_TRANSITION"
    await front.make_ready(video_id)
    assert (await ask(eve, "POST", path, {}))[1]["error"]["code"] == "NOT_CONTENT_OWNER"
    assert (await ask(ada, "POST", path, {"priority": 5}))[0] == 403
    status, refused = await ask(ada, "POST", path, {"qualities": ["4k"]})
    assert (status, refused["error"]["details"]["field"]) == (400, "qualities")
    status, job = await ask(root, "POST", path, {"qualities": ["720p"], "preset": "slow", "priority": 5})
    assert (status, job["qualities"], job["preset"], job["priority"]) == (202, ["360p", "720p"], "slow", 5)
    assert (await ask(ada, "POST", path, {}))[0] == 409
    video = (await ask(ada, "GET", f"/api/v1/videos/{video_id}"))[1]
    assert (video["status"], video["processing_more"]) == ("READY", True)


async def test_outside_report_counts_once_when_its_assets_are_there(front, ada, root, encoding, ask):
    """B35, B8, X67: READY with assets that the store has; again, or FAILED after it, nothing changes."""
    video_id, _ = encoding
    key = layout.master_key(video_id)
    good = {"type": "HLS_MASTER", "fileKey": key}
    rung = {
        "type": "HLS_RENDITION",
        "quality": "360p",
        "bandwidth": 800000,
        "fileKey": layout.rendition_key(video_id, "360p"),
    }
    report = {"videoId": video_id, "status": "READY", "durationSeconds": 2.5, "width": 640, "height": 360}
    path = "/api/webhooks/transcoding"
    for assets in (
        [good, rung],
        [{**good, "fileKey": "videos/other/hls/master.m3u8"}],
        [{**good, "type": "SECRET"}],
    ):
        assert (await ask(root, "POST", path, {**report, "assets": assets}))[0] == 400
    for asset in (good, rung):
        await front.deps.store.put_bytes(asset["fileKey"], b"#EXTM3U", content_type="text/plain")
    assert (await ask(root, "POST", path, {**report, "assets": [good, good]}))[0] == 400
    assert (await ask(root, "POST", path, {**report, "assets": [rung]}))[1]["error"][
        "code"
    ] == "INVALID_STATE_TRANSITION"
    for _ in range(2):
        assert await ask(root, "POST", path, {**report, "assets": [good, rung], "extra": 1}) == (204, None)
    video = (await ask(ada, "GET", f"/api/v1/videos/{video_id}"))[1]
    assert (video["status"], video["duration_seconds"], video["available_qualities"]) == (
        "READY",
        2.5,
        ["360p"],
    )
    assert (await ask(root, "POST", path, {"videoId": video_id, "status": "FAILED", "failReason": "no"}))[
        0
    ] == 204
    assert (await ask(ada, "GET", f"/api/v1/videos/{video_id}"))[1]["status"] == "READY"
    assert (await ask(root, "POST", path, {**report, "videoId": "what"}))[0] == 404


async def test_outside_failure_reaches_the_owner(front, ada, root, encoding, ask):
    """B35: FAILED with its reason."""
    video_id, _ = encoding
    body = {"videoId": video_id, "status": "FAILED", "failReason": "No such codec."}
    assert (await ask(root, "POST", "/api/v1/webhooks/transcoding", body))[0] == 204
    video = (await ask(ada, "GET", f"/api/v1/videos/{video_id}"))[1]
    assert (video["status"], video["fail_reason"]) == ("FAILED", "No such codec.")


async def test_notes_of_what_was_made_are_told_when_a_job_is_done(front, ada, root, encoding, ask):
    """B37: damaged sound is no failure; owner and operators can read of it."""
    video_id, job = encoding
    key = layout.master_key(video_id)
    await front.deps.store.put_bytes(key, b"#EXTM3U\n", content_type="application/vnd.apple.mpegurl")
    done = MediaResult(
        job_id=job.job_id, video_id=video_id, outcome="completed", at=1.0, notes=("Parts are silent.",),
        assets=(Asset(type="HLS_MASTER", key=key, container="m3u8"),),
    )  # fmt: skip
    assert await front.deps.videos.apply_completed(
        msgspec.json.decode(msgspec.json.encode(done), type=MediaResult)
    )
    _, told = await ask(ada, "GET", f"/api/v1/videos/{video_id}/encoding")
    assert (told["job_status"], told["notes"]) == ("completed", ["Parts are silent."])
    _, known = await ask(root, "GET", f"/api/v1/media/jobs/{job.job_id}")
    assert (known["status"], known["error"], known["notes"]) == ("completed", None, ["Parts are silent."])
