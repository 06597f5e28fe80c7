"""Live frames (I1, I2, I7, I16, I18)."""

import asyncio
import json

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from web import hub as hubs

PATH = "/api/v1/ws/notifications"


async def until(condition):
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("did not happen")


async def connect(front, person, how):
    """Open a socket with the token in header, query or first frame, and read its first frame."""
    if how == "header":
        socket = await front.client.ws_connect(PATH, headers=person.headers)
    elif how == "query":
        socket = await front.client.ws_connect(f"{PATH}?token={person.token}")
    else:
        socket = await front.client.ws_connect(PATH)
        await socket.send_json({"token": person.token})
    return socket, await socket.receive_json(timeout=120)


@pytest.mark.parametrize("how", ["header", "query", "first frame"])
async def test_frames_arrive_when_the_token_comes_in_any_way(front, ada, how):
    """I1, I2, I18."""
    socket, hello = await connect(front, ada, how)
    assert hello["event"] == "connected"
    assert (hello["data"]["user_id"], hello["data"]["unread_notifications"]) == (ada.id, 0)
    assert hello["data"]["timestamp"].endswith("Z")
    assert front.deps.hub.push(ada.id, "video_progress", {"video_id": "v", "progress": 40.0}) == 1
    assert front.deps.hub.push("somebody else", "video_progress", {}) == 0
    frame = await socket.receive_json(timeout=120)
    assert (frame["event"], frame["data"]["progress"]) == ("video_progress", 40.0)
    assert frame["data"]["timestamp"].endswith("Z")
    await socket.close()
    await until(lambda: len(front.deps.hub) == 0)


async def test_handshake_is_refused_when_the_token_is_bad(front, ada):
    """I18: 401 before the upgrade."""
    for headers, query in (({"Authorization": "Bearer x"}, ""), ({}, "?token=x")):
        with pytest.raises(WSServerHandshakeError) as refused:
            await front.client.ws_connect(PATH + query, headers=headers)
        assert refused.value.status == 401
    front.clock.ahead = 1000
    with pytest.raises(WSServerHandshakeError) as expired:
        await front.client.ws_connect(f"{PATH}?token={ada.token}")
    assert expired.value.status == 401


@pytest.mark.parametrize("frame", ["not json", "[]", '{"token": 5}', '{"token": "x"}', '"x"'])
async def test_socket_is_closed_when_the_first_frame_holds_no_token(front, frame):
    """I18: the error is the last frame."""
    socket = await front.client.ws_connect(PATH)
    await socket.send_str(frame)
    last = await socket.receive_json(timeout=120)
    assert (last["event"], last["data"]["error"]["code"]) == ("error", "INVALID_TOKEN")
    closed = await socket.receive(timeout=120)
    assert (closed.type, socket.close_code) == (WSMsgType.CLOSE, 1008)


async def test_plain_request_is_refused_when_it_is_no_upgrade(front, ada):
    """O2."""
    response = await front.client.get(PATH, headers=ada.headers)
    assert (response.status, (await response.json())["error"]["code"]) == (400, "BAD_REQUEST")


async def test_socket_closes_when_the_session_ends(front, ada):
    """N5: a log out closes what the session has open."""
    from social.views import Principal

    socket, _ = await connect(front, ada, "header")
    principal = await front.deps.accounts.authenticate(ada.token)
    assert isinstance(principal, Principal)
    assert (await front.client.post("/api/v1/auth/logout", headers=ada.headers)).status == 204
    assert (await socket.receive(timeout=120)).type == WSMsgType.CLOSE


async def test_stream_carries_the_same_frames_when_a_client_reads_events(build):
    """Server-sent events, with a sign of life when idle."""
    front = await build(stream_idle_seconds=0.05)
    ada = await front.person("ada")
    refused = await front.client.get("/api/v1/notifications/stream")
    assert refused.status == 401
    async with front.client.get("/api/v1/notifications/stream", headers=ada.headers) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        blocks = []

        async def block(start):
            while not any(found.startswith(start) for found in blocks):
                read = response.content.readuntil(b"\n\n")
                blocks.append(await asyncio.wait_for(read, 120))
            return next(found for found in blocks if found.startswith(start))

        await block(b"event: connected\n")
        front.deps.hub.push(ada.id, "video_status", {"status": "READY"})
        sent = await block(b"event: video_status\ndata: ")
        assert json.loads(sent.partition(b"data: ")[2])["data"]["status"] == "READY"
        assert await block(b": alive")


async def test_reader_is_dropped_when_it_is_too_slow(front, ada, monkeypatch):
    """I16: nobody waits for it."""
    monkeypatch.setattr(hubs, "MAX_WAITING", 3)
    hub = front.deps.hub
    with hub.subscribe(ada.id, "s") as subscriber:
        assert [hub.push(ada.id, "e", {"n": n}) for n in range(5)] == [1, 1, 1, 0, 0]
        frames = [subscriber.frames.get_nowait() for _ in range(4)]
        assert frames[-1] is None
    assert len(hub) == 0


async def test_oldest_connection_goes_when_a_person_opens_too_many(front, ada, monkeypatch):
    """A bound per person."""
    monkeypatch.setattr(hubs, "MAX_PER_USER", 1)
    first, _ = await connect(front, ada, "header")
    second, _ = await connect(front, ada, "header")
    assert (await first.receive(timeout=120)).type == WSMsgType.CLOSE
    assert front.deps.hub.push(ada.id, "e", {}) == 1
    await second.close()
