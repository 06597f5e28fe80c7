"""Uploads over a real server that is killed between their steps: they finish, and nothing else is left."""

import asyncio
import contextlib
import hashlib
import io
import json

import aiohttp

from tables.lifecycle import VideoStatus


def cut(data, count):
    """Return bytes in so many pieces."""
    size = -(-len(data) // count)
    return [data[start : start + size] for start in range(0, len(data), size)]


async def put(client, path, data):
    return await client.call("PUT", path, data=io.BytesIO(data))


async def test_upload_finishes_when_the_server_is_killed_in_the_middle(make_server, make_client, shared_dir):
    """A15, A19, A36, A37, DESIGN invariant 2: what was confirmed survives, finalize is asked again."""
    data = (shared_dir / "media/clips/sample_fragmented.mp4").read_bytes()
    chunks = cut(data, 6)
    server = make_server()
    await server.start()
    owner = await make_client(server).register()
    session = await owner.post(
        "/api/v1/uploads",
        {
            "filename": "clip.mp4",
            "file_size": len(data),
            "total_chunks": 6,
            "checksum": hashlib.sha256(data).hexdigest(),
        },
    )
    path = f"/api/v1/uploads/{session['session_id']}"
    for number in (4, 1):
        await put(owner, f"{path}/chunks/{number}", chunks[number - 1])
        assert owner.status == 200

    async def half():
        yield chunks[1][:5000]
        server.kill()
        yield chunks[1][5000:]

    with contextlib.suppress(aiohttp.ClientError):
        await owner.call("PUT", f"{path}/chunks/2", data=half())
    await server.start()
    seen = await owner.get(path)
    assert seen["received_chunks"] == [1, 4]
    for number in (2, 3, 5, 6):
        await put(owner, f"{path}/chunks/{number}", chunks[number - 1])
        assert owner.status == 200
    asking = asyncio.create_task(owner.post(f"{path}/finalize", {"title": "Cut and finished"}))
    await asyncio.sleep(0.3)  # anywhere between its steps: all of them are tried one by one elsewhere
    server.kill()
    with contextlib.suppress(aiohttp.ClientError):
        await asking
    await server.start()
    video = await owner.post(f"{path}/finalize", {"title": "Cut and finished"})
    assert owner.status == 201, video
    assert server.query("SELECT count(*) FROM videos") == [(1,)]
    stored = (server.data / "objects" / "videos" / video["id"] / "source.mp4").read_bytes()
    assert stored == data
    assert server.files("uploads") == set()
    await owner.wait_status(video["id"], VideoStatus.READY)


async def test_owner_sees_progress_live_and_cancel_leaves_nothing(shared_server, make_client):
    """A28, A40, A41, A50: parts at signed URLs, frames on the socket, then cancel."""
    owner = await make_client(shared_server).register()
    size = 2 * 5_242_880 + 1
    video = await owner.post(
        "/api/videos", {"title": "Film", "sourceMime": "video/mp4", "sourceSizeBytes": size}
    )
    session = await owner.post(
        f"/api/videos/{video['id']}/uploads", {"sourceMime": "video/mp4", "sourceSizeBytes": size}
    )
    assert (owner.status, session["partCount"]) == (201, 3)
    path = f"/api/uploads/{session['uploadSessionId']}"
    targets = await owner.post(f"{path}/parts", {"partNumbers": [1, 3]})
    socket_url = f"{shared_server.url}/api/v1/ws/notifications?token={owner.token}"
    async with owner.session.ws_connect(socket_url) as socket:
        for target in targets["parts"]:
            body = io.BytesIO(b"x" * target["sizeBytes"])
            async with owner.session.put(target["uploadUrl"], data=body) as answer:
                assert answer.status == 200
        progress = 0.0
        while progress < 50.0:
            frame = json.loads(await socket.receive_str(timeout=120))
            if frame["event"] == "upload_progress":
                assert frame["data"]["upload_session_id"] == session["uploadSessionId"]
                assert frame["data"]["progress"] >= progress
                progress = frame["data"]["progress"]
        assert progress == 50.0
    assert shared_server.files(f"uploads/{session['uploadSessionId']}") != set()
    canceled = await owner.post(f"{path}/cancel")
    assert (owner.status, canceled["status"]) == (200, "CANCELED")
    assert shared_server.files(f"uploads/{session['uploadSessionId']}") == set()
    await owner.post(f"{path}/complete", {"parts": []})
    assert owner.status == 409
