"""A system clock that jumps a day forward and two back: nothing is lost or negative (F21, F31, F32)."""

from uuid import uuid4

CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
DAY = 86400
#: Loaded by every Python before anything else: the clock that the server is built with reads the shift.
SHIFTED = """
import os, time
real, path = time.time, os.environ["SHIFT_FILE"]
def shifted():
    with open(path) as file:
        return real() + float(file.read() or 0)
time.time = shifted
"""


async def act(viewer, video_id):
    """Share and watch from the start, at the time that the server takes for now."""
    events = [
        {"event_id": str(uuid4()), "video_id": video_id, "action": action}
        for action in ("watch_start", "watch_complete", "share")
    ]
    answer = await viewer.post("/api/v1/events", {"events": events})
    assert (viewer.status, answer["accepted"]) == (202, 3), answer


async def test_counts_stay_exact_when_the_clock_jumps(make_server, make_client, shared_dir, tmp_path):
    """Views follow event time, shares their ids, hours and decay stay sane, sessions and uploads go on."""
    shift, code = tmp_path / "shift", tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(SHIFTED)

    def jump(seconds):
        following = shift.with_suffix(".new")
        following.write_text(str(seconds))
        following.replace(shift)

    jump(0)
    server = make_server(PYTHONPATH=str(code), SHIFT_FILE=str(shift))
    await server.start()
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / CLIP))["id"]
    await owner.wait_status(video_id, "READY")
    viewer = await make_client(server).register()
    name = viewer.user["username"]

    # (the clock, views afterwards): a day later it is another view, and earlier times are within a view
    shares = 0
    for seconds, views in ((0, 1), (DAY + 60, 2), (-DAY, 2), (0, 2)):
        jump(seconds)
        await viewer.get("/api/v1/feed")
        assert viewer.status in (200, 401), "a token of another time is good or refused"
        await viewer.login(name)
        await act(viewer, video_id)
        shares += 1
        counted = await viewer.eventually(
            f"/api/v1/videos/{video_id}/engagement",
            lambda body, shares=shares: body["shares"] == shares,
        )
        assert (counted["views"], counted["completion_rate"]) == (views, 1.0)
        for path in ("/readyz", "/api/v1/feed?profile=trending", "/api/v1/feed?profile=blend"):
            body = await viewer.get(path)
            assert viewer.status == 200, (path, body)

    await owner.login(owner.user["username"])
    told = await owner.get(f"/api/v1/reels/{video_id}/analytics")
    assert owner.status == 200, told
    assert 0 <= told["trending_score"] < 1
    assert all(hour["count"] > 0 for hour in told["trajectory"]), told["trajectory"]
    assert sum(hour["count"] for hour in told["trajectory"]) == 2 + shares
    again = await owner.upload(shared_dir / CLIP, title="After the jumps")
    assert owner.status == 201, again
    await owner.wait_status(again["id"], "READY")

    jump(-DAY)
    server.kill()
    await server.start()
    await viewer.login(name)
    counted = await viewer.get(f"/api/v1/videos/{video_id}/engagement")
    assert (counted["shares"], counted["views"]) == (shares, 2)
