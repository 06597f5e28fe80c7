"""Encoders on other machines over HTTP: every step of the protocol, and who may take it (Y14, B48)."""

import asyncio
import base64
import hashlib

import msgspec

from streams.agents import encoding
from streams.offering import LOST_TIMES
from streams.remote import LEASE_SECONDS, RESUMED_SECONDS
from streams.rests import AVOIDED_SECONDS, FAILURES, REST_SECONDS
from tests.integration.media.encoder_world import LEASES, RUNGS, SECONDS, Desk, Machine

# -- who encoders are


async def test_operators_make_and_revoke_encoders_and_nobody_else_does(front, ada, desk):
    """Y14, N11: audited, the token shown once and kept as a hash only; a new one ends the old one."""
    root = await front.person("root", "operator")
    paths = (("GET", ""), ("POST", ""), ("DELETE", "/x"))
    for method, path in paths:
        answer = await front.client.request(
            method, f"/api/v1/encoders{path}", headers=ada.headers, json={"name": "x"}
        )
        assert answer.status == 403
    answer = await front.client.post("/api/v1/encoders", headers=root.headers, json={"name": "gpu-1"})
    body = await answer.json()
    assert (answer.status, answer.headers["Cache-Control"], body["encoder"]["name"]) == (
        201,
        "no-store",
        "gpu-1",
    )
    first = Machine(front, body["token"])
    assert await first.take() is None
    listed = await (await front.client.get("/api/v1/encoders", headers=root.headers)).text()
    assert body["token"] not in listed
    assert body["token"].encode() not in (front.folder / "front.db").read_bytes()
    answer = await front.client.post("/api/v1/encoders", headers=root.headers, json={"name": "gpu-1"})
    second = Machine(front, (await answer.json())["token"])
    assert (await first.call("POST", "/api/v1/encoding/request", {}))[0] == 401
    assert await second.take() is None
    assert (await front.client.delete("/api/v1/encoders/gpu-1", headers=root.headers)).status == 200
    assert (await second.call("POST", "/api/v1/encoding/request", {}))[0] == 401
    assert (await front.client.delete("/api/v1/encoders/none", headers=root.headers)).status == 404
    noted = [action for _, action, _ in front.deps.analysts.audit.kept]
    assert noted == ["encoder.token", "encoder.token", "encoder.revoke", "encoder.revoke"]


async def test_tokens_open_only_what_they_are_for(front, ada, desk, machine):
    """N3: a person's token does not encode, an encoder's reads no account, none opens neither."""
    gpu = await machine()
    assert (await gpu.call("GET", "/api/v1/users/me"))[0] == 401
    person = Machine(front, ada.token)
    assert (await person.call("POST", "/api/v1/encoding/request", {}))[0] == 401
    assert (await front.client.post("/api/v1/encoding/request", json={})).status == 401
    assert (await gpu.call("POST", "/api/v1/encoding/request", {"codecs": ["av1"]}))[0] == 400


async def test_answer_is_503_when_the_worker_has_no_queue(front, machine):
    gpu = await machine()
    assert (await gpu.call("POST", "/api/v1/encoding/request", {}))[0] == 503


# -- the way of a job


async def test_video_gets_the_same_as_from_the_own_encoder_when_it_is_encoded_elsewhere(
    front, ada, desk, machine, made
):
    """Y14, B50: request, read, progress, put, finish; assets are read from the files, equal to local ones."""
    video_id = await desk.video(ada)
    gpu = await machine()
    job = await gpu.take(cores=8, hardware=["h264_nvenc"])
    assert (job["video_id"], job["ladder"], job["settings"]["preset"]) == (video_id, RUNGS, "ultrafast")
    (source,) = job["inputs"]
    answer = await front.client.get(source["url"])
    assert (answer.status, await answer.read()) == (200, b"video bytes")
    answer = await front.client.get(source["url"], headers={"Range": "bytes=6-"})
    assert (answer.status, await answer.read()) == (206, b"bytes")
    for wrong in (
        source["url"][:-1] + "x",
        source["url"].replace("/source?", "/en.vtt?"),
        source["url"].split("?")[0],
    ):
        assert (await front.client.get(wrong)).status == 403
    assert await gpu.tell("progress", {"percent": 40.0, "stage": "transcoding"}) == (
        200, {"wanted": True, "lease_seconds": LEASE_SECONDS},
    )  # fmt: skip
    await gpu.put_all(made.files)
    assert await desk.outputs_of(video_id) == set(), "nothing counts before all of it is verified"
    assert await gpu.tell("finish", {"notes": ["two\nlines"]}) == (400, "VALIDATION_ERROR")
    assert (await gpu.tell("finish", {"notes": ["The sound is damaged."]}))[0] == 204
    assert (await gpu.tell("finish"))[0] == 204, "whose answer was lost asks again"
    await desk.handled()
    results = desk.outcomes
    assert [(result.outcome, result.duration_seconds, result.width) for result in results] == [
        ("completed", SECONDS, 640)
    ]
    expected = [msgspec.structs.replace(a, key=a.key.replace("/v/", f"/{video_id}/")) for a in made.assets]
    assert sorted(results[0].assets, key=repr) == sorted(expected, key=repr)
    assert results[0].notes == ("The sound is damaged.",)
    assert await front.deps.videos.apply_completed(results[0])
    assert await desk.outputs_of(video_id) == set(made.files)
    assert desk.staged() == []
    assert (await gpu.tell("progress", {})) == (409, "LEASE_LOST")
    (known,) = await front.deps.encoders.list()
    assert (known.done, known.failed, known.refused, known.capabilities["cores"]) == (1, 0, 0, 8)


async def test_waiting_request_is_answered_when_a_job_comes(front, ada, desk, machine):
    gpu = await machine()
    waiting = asyncio.create_task(gpu.take(wait_seconds=25))
    await asyncio.sleep(0.05)
    video_id = await desk.video(ada)
    assert (await waiting)["video_id"] == video_id


async def test_waiting_request_is_answered_when_the_server_stops(desk, machine):
    gpu = await machine()
    waiting = asyncio.create_task(gpu.take(wait_seconds=25))
    await asyncio.sleep(0.05)
    desk.remote.stop()
    assert await waiting is None


async def test_first_rung_plays_while_the_others_are_made_elsewhere(front, ada, desk, machine, made):
    """Y5: the first set is verified and stored; what comes at the end replaces it, and is whole."""
    video_id = await desk.video(ada)
    gpu = await machine()
    assert (await gpu.take())["playable"]
    await gpu.put_all(made.first)
    assert (await gpu.tell("playable"))[0] == 204
    assert (await gpu.tell("playable"))[0] == 204, "whose answer was lost asks again"
    assert [
        (r.outcome, {a.quality for a in r.assets if a.type == "HLS_RENDITION"}) for r in desk.outcomes
    ] == [("playable", {"240p"})]
    assert await front.deps.videos.apply_playable(desk.outcomes[0])
    assert "hls/240p/playlist.m3u8" in await desk.outputs_of(video_id)
    await gpu.put_all(made.files)
    assert (await gpu.tell("finish"))[0] == 204
    await desk.handled()
    assert [result.outcome for result in desk.outcomes] == ["playable", "completed"]
    assert await front.deps.videos.apply_completed(desk.outcomes[1])
    assert await desk.outputs_of(video_id) == set(made.files)


async def test_operators_see_who_does_what(front, ada, desk, machine):
    """Y14: jobs that an encoder holds, and when it was heard of."""
    root = await front.person("root", "operator")
    gpu, idle = await machine("gpu"), await machine("idle")
    await desk.video(ada)
    job = await gpu.take()
    body = await (await front.client.get("/api/v1/encoders", headers=root.headers)).json()
    assert [(item["name"], item["jobs"]) for item in body["items"]] == [
        ("gpu", [job["job_id"]]),
        ("idle", []),
    ]
    assert [item["seen_at"] is None for item in body["items"]] == [False, True]
    await idle.take()
    body = await (await front.client.get("/api/v1/encoders", headers=root.headers)).json()
    assert body["items"][1]["seen_at"] is not None


async def test_smaller_machine_is_passed_over_when_the_pictures_are_too_large(ada, desk, machine):
    gpu = await machine()
    await desk.video(ada)
    assert await gpu.take(max_pixels=640 * 360 - 1) is None
    assert await gpu.take(max_pixels=640 * 360) is not None


# -- jobs that are lost, given back, failed, canceled


async def test_job_is_anothers_when_nothing_is_heard_of_its_encoder(front, ada, desk, machine, made):
    """Y14: whatever the late one asks is refused, what it brought is gone; the other one finishes."""
    video_id = await desk.video(ada)
    late, other = await machine("late"), await machine("other")
    await late.take()
    assert await other.take() is None
    await late.put("hls/master.m3u8", made.files["hls/master.m3u8"])
    front.clock.ahead += LEASE_SECONDS + 1
    assert (await other.take())["video_id"] == video_id
    await desk.remote.tidy()
    assert desk.staged() == []
    assert await late.put("hls/master.m3u8", b"#EXTM3U") == (409, "LEASE_LOST")
    for what, said in (("progress", {}), ("playable", None), ("finish", None), ("give-back", None),
                       ("fail", {"reason": "no"})):  # fmt: skip
        assert await late.tell(what, said) == (409, "LEASE_LOST"), what
    assert (await front.client.get(late.job["inputs"][0]["url"])).status == 403
    await other.put_all(made.files)
    assert (await other.tell("finish"))[0] == 204
    assert await late.tell("finish") == (409, "LEASE_LOST")
    assert [r.outcome for r in desk.outcomes] == ["completed"]


async def test_lease_is_nobody_elses_when_its_id_is_known(ada, desk, machine, made):
    """Y14: another encoder with a token of its own can do nothing to it."""
    await desk.video(ada)
    one, other = await machine("one"), await machine("other")
    other.job = await one.take()
    assert await other.put("hls/master.m3u8", b"#EXTM3U") == (409, "LEASE_LOST")
    for what in ("finish", "give-back", "playable"):
        assert await other.tell(what) == (409, "LEASE_LOST")
    assert (await one.tell("progress", {}))[0] == 200


async def test_job_is_next_again_when_it_is_given_back(front, ada, desk, machine, made):
    """A stop costs no try."""
    await desk.video(ada)
    gpu = await machine()
    first = await gpu.take()
    await gpu.put("hls/master.m3u8", made.files["hls/master.m3u8"])
    assert (await gpu.tell("give-back"))[0] == 204
    assert desk.staged() == []
    second = await gpu.take()
    assert (second["job_id"], second["attempt"]) == (first["job_id"], 0)
    assert second["lease_id"] != first["lease_id"]


async def test_try_is_spent_when_an_encoder_fails(front, ada, desk, machine, monkeypatch):
    """B9, B10: queued again with what it said; that it cannot be helped is believed at the second time."""
    monkeypatch.setattr(encoding, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    await desk.video(ada)
    gpu = await machine()
    job = await gpu.take()
    said = {"code": "TRANSCODE_ERROR", "reason": "It broke.", "retryable": False, "said": "nvenc: no session"}
    assert (await gpu.tell("fail", said))[0] == 204
    await desk.handled()
    listed = (await desk.jobs.find(job["job_id"])).job
    assert (listed.attempts, listed.status, listed.error) == (1, "queued", "It broke.")
    assert (await desk.partials.find(job["job_id"]))["said"] == "nvenc: no session"
    (again,) = await front.deps.videos.unfinished_jobs()
    desk.deliver(again)
    assert await gpu.take(wait_seconds=0.3) is None, "others first"
    front.clock.ahead += AVOIDED_SECONDS
    assert (await gpu.take(wait_seconds=25))["attempt"] == 1
    await gpu.tell("fail", said)
    await desk.handled()
    assert desk.results[-1].outcome == "failed"
    assert len(desk.buried) == 1
    assert (await front.deps.encoders.list())[0].failed == 2


async def test_try_is_spent_when_encoders_are_lost_again_and_again(front, ada, desk, machine, monkeypatch):
    """B42: a job that ends every machine that takes it does not go round for ever."""
    monkeypatch.setattr(encoding, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    await desk.video(ada)
    gpu = await machine()
    for _ in range(LOST_TIMES):
        job = await gpu.take()
        front.clock.ahead += LEASE_SECONDS + 1
        await desk.remote.tidy()
    assert await gpu.take() is None
    await desk.handled()
    assert (await desk.jobs.find(job["job_id"])).job.attempts == 1


async def test_encoder_hears_that_nobody_wants_it_when_the_job_is_canceled(front, ada, desk, machine, made):
    """B43: with its next sign of life; what it had brought is gone."""
    video_id = await desk.video(ada)
    gpu = await machine()
    job = await gpu.take()
    await gpu.put_all(dict(list(made.files.items())[:3]))
    await desk.jobs.cancel(job["job_id"])
    front.clock.ahead += encoding.WANTED_SECONDS
    assert (await gpu.tell("progress", {}))[1]["wanted"] is False
    assert await gpu.tell("finish") == (409, "LEASE_LOST")
    await desk.handled()
    assert (desk.staged(), await desk.outputs_of(video_id)) == ([], set())


async def test_nothing_is_left_when_the_video_is_deleted_while_it_is_encoded_elsewhere(
    front, ada, desk, machine, made
):
    """C24: what arrives for it later is stored nowhere."""
    video_id = await desk.video(ada)
    gpu = await machine()
    await gpu.take()
    await gpu.put_all(made.files)
    assert (await front.client.delete(f"/api/v1/videos/{video_id}", headers=ada.headers)).status == 204
    assert await gpu.tell("finish") == (409, "LEASE_LOST")
    await desk.handled()
    assert (desk.staged(), await desk.outputs_of(video_id)) == ([], set())
    assert desk.outcomes == []


async def test_jobs_are_given_out_fairly_and_not_while_the_queue_is_paused(front, ada, desk, machine):
    """Y14, B15: the queue of encoders elsewhere is the one that everybody has."""
    bob = await front.person("bob")
    of_ada = [await desk.video(ada) for _ in range(3)]
    of_bob = await desk.video(bob)
    gpu = await machine()
    desk.scheduler.hold(encoding.PAUSED)
    assert await gpu.take() is None
    desk.scheduler.release(encoding.PAUSED)
    assert [(await gpu.take())["video_id"] for _ in range(2)] == [of_ada[0], of_bob]


async def test_nothing_is_left_when_a_job_is_lost_while_a_file_comes(front, desk, ada, machine, made):
    """What arrives behind the end of a lease is removed, too."""
    await desk.video(ada)
    gpu = await machine()
    await gpu.take()
    data, going = made.files["thumbs/poster.jpg"], asyncio.Event()

    async def slowly():
        yield data[:100]
        await going.wait()
        yield data[100:]

    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    headers = {"Content-Digest": f"sha-256=:{digest}:", "Content-Length": str(len(data))}
    where = f"{LEASES}/{gpu.job['lease_id']}/files/thumbs/poster.jpg"
    coming = asyncio.create_task(gpu.call("PUT", where, data=slowly(), headers=headers))
    async with asyncio.timeout(120):
        while not desk.staged():
            await asyncio.sleep(0.01)
    front.clock.ahead += LEASE_SECONDS + 1
    await desk.remote.tidy()
    going.set()
    assert (await coming)[0] == 409
    assert desk.staged() == []


async def test_job_fails_when_nobody_could_do_it(front, ada, desk, machine, monkeypatch):
    """B9: what an encoder would only find out later is not given out: no source, no such ladder."""
    monkeypatch.setattr(encoding, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    gpu = await machine()
    await desk.video(ada, "none")
    assert await gpu.take(wait_seconds=0.5) is None
    await desk.handled()
    assert "no ladder" in desk.outcomes[-1].fail_reason
    video_id = await desk.video(ada)
    await front.deps.store.delete_prefix(f"videos/{video_id}/")
    assert await gpu.take(wait_seconds=0.5) is None
    await desk.handled()
    assert [told.fail_code for told in desk.outcomes] == ["TRANSCODE_ERROR", "CORRUPTED_FILE"]


async def test_job_is_had_again_by_who_had_it_when_its_lease_ran_out(front, ada, desk, machine):
    """A network that was away for minutes costs no encode, as long as nobody else has begun."""
    for _ in range(2):
        await desk.video(ada)
    one, other = await machine("one"), await machine("other")
    first = await one.take()
    front.clock.ahead += LEASE_SECONDS + 1
    again = await one.take(resume=first["resume"])
    assert (again["job_id"], again["lease_id"] != first["lease_id"]) == (first["job_id"], True)
    assert await one.take(resume=first["resume"]) is None, "it is held"
    for wrong in ("x", f"{first['job_id']}.0.x", first["resume"].replace(".0.", ".1."), "..", "a.\u0661.b"):
        status, _ = await one.call("POST", "/api/v1/encoding/request", {"resume": wrong})
        assert status == 403, wrong
    status, _ = await other.call("POST", "/api/v1/encoding/request", {"resume": first["resume"]})
    assert status == 403, "a ticket is for one encoder"
    assert (await other.take())["job_id"] != first["job_id"]


async def test_job_waits_for_who_had_it_when_the_server_has_started_anew(front, ada, desk, machine):
    """A start costs no encode: others get it only when its encoder does not come back."""
    await desk.video(ada)
    one, other = await machine("one"), await machine("other")
    first = await one.take()
    await one.tell("progress", {"percent": 40.0, "stage": "transcoding"})
    await front.deps.videos.apply_progress(desk.results[-1])
    for task in desk.agents:
        task.cancel()
    await asyncio.gather(*desk.agents, return_exceptions=True)
    anew = Desk(front)
    (record,) = await front.deps.videos.unfinished_jobs()
    anew.deliver(record)
    assert await one.tell("progress", {}) == (409, "LEASE_LOST")
    assert await other.take(wait_seconds=0.3) is None
    assert (await one.take(resume=first["resume"]))["job_id"] == first["job_id"]
    assert (await one.tell("give-back"))[0] == 204
    assert await other.take() is not None, "it was given out once: nobody is waited for"
    assert (await other.tell("give-back"))[0] == 204
    late = Desk(front)
    late.deliver(record)
    assert await other.take(wait_seconds=0.3) is None
    front.clock.ahead += RESUMED_SECONDS
    assert await other.take(wait_seconds=0.3) is not None


async def test_broken_machine_does_not_spend_every_job_when_it_fails_at_once(front, ada, desk, machine):
    """One that is free again at once would take all there is; what it failed with goes to others first."""
    broken, other = await machine("broken"), await machine("other")
    for _ in range(FAILURES + 2):
        await desk.video(ada)
    for _ in range(FAILURES + 1):
        assert await broken.take(wait_seconds=25) is not None
        assert (await broken.tell("fail", {"reason": "No device."}))[0] == 204
    assert (await broken.call("POST", "/api/v1/encoding/request", {}))[0] == 429
    assert 0 < float(broken.retry_after) <= REST_SECONDS
    assert await other.take(wait_seconds=25) is not None
