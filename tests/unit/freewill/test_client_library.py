"""The client library against a server that fails in every way that a network and a server can (Q28).

The server here is small and honest: it keeps parts, judges the whole, and makes trouble when it is told to.
"""

import asyncio
import hashlib
import os
import time
from collections import deque

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from freewill.client import Client, FileRefused, Phase, RequestFailed, Upload, UploadStopped, Words, retrying
from freewill.client.state import default_path

PART = 1000
VIDEO = {
    "id": "v1", "title": "Film", "description": "", "tags": [], "status": "TRANSCODING", "fail_code": None,
    "fail_reason": None, "progress": 0, "duration_seconds": None,
    "playback": {"ready": False, "hls_url": None, "dash_url": None, "mp4_url": None, "poster_url": None},
}  # fmt: skip
LIMITS = {
    "items": [
        {"name": "short", "max_bytes": 20_000, "max_seconds": 180, "formats": ["mp4", "webm", "mov"]},
        {"name": "long", "max_bytes": 40_000, "max_seconds": None, "formats": ["mp4", "mov", "avi"]},
    ],
    "max_title": 20, "max_description": 50, "max_tags": 2,
}  # fmt: skip


def refusal(status, code, headers=None, **details):
    body = {"error": {"code": code, "message": code.lower(), "details": details}}
    return web.json_response(body, status=status, headers=headers)


async def cut(request):
    """End the connection without an answer."""
    request.transport.close()
    return web.Response()


class Flaky:
    """A server of uploads; ``trouble`` holds, per kind of request, what comes before the honest answers."""

    def __init__(self):
        self.trouble = {}
        self.seen = []
        self.parts, self.asked, self.state, self.opened = {}, {}, "INITIATED", 0
        self.token, self.refreshed, self.owner = "t0", 0, "ada"
        self.status = deque([VIDEO])
        self.hang_up = asyncio.Event()
        self.port = unused_port()
        self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def start(self):
        app = web.Application()
        app.router.add_post("/api/v1/auth/{how}", self.sign_in)
        app.router.add_get("/api/v1/uploads/policies", self.policies)
        app.router.add_post("/api/v1/uploads", self.open)
        app.router.add_get("/api/v1/uploads/{id}", self.look)
        app.router.add_put("/api/v1/uploads/{id}/chunks/{number}", self.put)
        app.router.add_post("/api/v1/uploads/{id}/{move}", self.move)
        app.router.add_get("/api/v1/videos/v1", self.video)
        app.router.add_get("/api/v1/ws/notifications", self.socket)
        app.middlewares.append(self.troubled)
        self._server = TestServer(app, port=self.port)
        await self._server.start_server()

    async def stop(self):
        self.hang_up.set()
        if self._server is not None:
            await self._server.close()

    @web.middleware
    async def troubled(self, request, handler):
        kind = handler.__name__ if handler.__name__ != "move" else request.match_info["move"]
        self.seen.append(kind)
        waiting = self.trouble.get(kind)
        if waiting and (answer := await waiting.popleft()(request)) is not None:
            return answer
        public = kind in {"sign_in", "policies"}
        if not public and request.headers.get("Authorization") != f"Bearer {self.token}":
            return refusal(401, "TOKEN_EXPIRED")
        return await handler(request)

    def fails(self, kind, *answers):
        self.trouble[kind] = deque(answers)

    async def sign_in(self, request):
        body = await request.json()
        if request.match_info["how"] == "refresh":
            if body["refresh_token"] != f"r{self.refreshed}":
                return refusal(401, "INVALID_TOKEN")
            self.refreshed += 1
            self.token = f"t{self.refreshed}"
        return web.json_response(
            {
                "user": {"id": "1", "username": "ada", "role": "user"},
                "access_token": self.token,
                "refresh_token": f"r{self.refreshed}",
                "expires_in": 900,
            }
        )

    async def policies(self, request):
        return web.json_response(LIMITS)

    async def open(self, request):
        self.opened += 1
        self.asked, self.parts, self.state = await request.json(), {}, "INITIATED"
        count = -(-self.asked["file_size"] // PART)
        answer = {"session_id": f"s{self.opened}", "total_chunks": count, "chunk_size": PART}
        return web.json_response(answer | {"expires_at": "2030-01-01T00:00:00Z"}, status=201)

    def _known(self, request):
        return request.match_info["id"] == f"s{self.opened}"

    async def look(self, request):
        if not self._known(request):
            return refusal(404, "CONTENT_NOT_FOUND")
        return web.json_response(self._session(request))

    def _session(self, request):
        return {
            "session_id": request.match_info["id"], "state": self.state, "video_id": None, "fail_code": None,
            "part_size_bytes": PART, "part_count": None, "received_chunks": sorted(self.parts),
            "bytes_uploaded": sum(map(len, self.parts.values())), "expires_at": None,
        }  # fmt: skip

    async def put(self, request):
        body = await request.read()
        if self.state not in {"INITIATED", "IN_PROGRESS"}:
            return refusal(409, "INVALID_STATE_TRANSITION", **{"from": self.state})
        self.parts[int(request.match_info["number"])] = body
        self.state = "IN_PROGRESS"
        return web.json_response({})

    async def move(self, request):
        how = request.match_info["move"]
        if how == "finalize":
            return self._finish()
        if how == "cancel" and self.state in {"CANCELED", "FAILED", "COMPLETED"}:
            return refusal(409, "INVALID_STATE_TRANSITION", **{"from": self.state})
        self.state = {"pause": "PAUSED", "resume": "IN_PROGRESS", "cancel": "CANCELED"}[how]
        return web.json_response(self._session(request))

    def _finish(self):
        if self.state != "COMPLETED":
            if hashlib.sha256(self.whole).hexdigest() != self.asked["checksum"]:
                self.state = "FAILED"
                return refusal(400, "CHECKSUM_MISMATCH")
            self.state = "COMPLETED"
        return web.json_response(VIDEO, status=201)

    @property
    def whole(self):
        return b"".join(self.parts[number] for number in sorted(self.parts))

    async def video(self, request):
        return web.json_response(self.status[0] if len(self.status) == 1 else self.status.popleft())

    async def socket(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"event": "connected", "data": {}})
        await self.hang_up.wait()
        self.hang_up.clear()
        request.transport.close()
        return socket


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path):
    monkeypatch.setattr(retrying, "FIRST_SECONDS", 0.01)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def flaky():
    server = Flaky()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(flaky):
    async with Client(flaky.url) as client:
        await client.login("ada", "secret")
        yield client


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(bytes.fromhex("00000018") + b"ftypisom" + os.urandom(9_500))
    return path


def uploading(client, film, **options):
    upload = Upload(client, film, Words("Film"), **options)
    upload.phases = []
    upload.on_progress = lambda progress: upload.phases.append(progress.phase)
    return upload


async def later(request):
    """Answer when asked again."""
    return refusal(503, "SERVICE_UNAVAILABLE", {"Retry-After": "1"})


async def pass_on(request):
    """Let the honest answer through."""


async def test_only_the_failed_part_is_sent_again_when_connections_are_cut(flaky, client, film):
    """Q2-Q4, A32: parts in order, RETRYING in between, all bytes counted once."""

    async def cut_inside(request):
        await request.content.readexactly(300)
        return await cut(request)

    flaky.fails("put", pass_on, pass_on, cut_inside, cut)
    upload = uploading(client, film)
    video = await upload.run()
    assert video.id == "v1"
    assert flaky.whole == film.read_bytes()
    assert flaky.seen.count("put") == 10 + 2
    assert flaky.asked["checksum"] == hashlib.sha256(film.read_bytes()).hexdigest()
    assert (flaky.asked["policy"], flaky.asked["mime"]) == ("short", "video/mp4")
    assert Phase.RETRYING in upload.phases
    assert (upload.progress.phase, upload.progress.done) == (Phase.COMPLETED, film.stat().st_size)
    assert not default_path(flaky.url, film).exists()


async def test_answer_of_finalize_is_asked_again_when_it_was_lost(flaky, client, film):
    """A37: the session is completed; no part is sent twice and there is one video."""

    async def finish_and_cut(request):
        flaky._finish()
        flaky.parts = dict.fromkeys(())  # a finished session need not know its parts any more
        return await cut(request)

    flaky.fails("finalize", finish_and_cut)
    await uploading(client, film).run()
    assert (flaky.seen.count("put"), flaky.opened, flaky.state) == (10, 1, "COMPLETED")


async def test_upload_waits_as_long_as_asked_when_the_server_is_busy(flaky, client, film):
    """N9: 503 with Retry-After."""
    flaky.fails("put", later)
    began = time.monotonic()
    await uploading(client, film).run()
    assert time.monotonic() - began >= 1
    assert flaky.whole == film.read_bytes()


async def test_token_is_renewed_once_when_it_is_refused(flaky, client, film):
    """A refresh token is good once: requests side by side that are refused renew it together."""

    async def forget_token(request):
        flaky.token = "another"

    flaky.fails("put", pass_on, forget_token)
    await uploading(client, film).run()
    assert flaky.refreshed == 1
    assert flaky.whole == film.read_bytes()
    flaky.token = "another"
    await asyncio.gather(*(client.video("v1") for _ in range(5)))
    assert flaky.refreshed == 2


async def test_signed_out_is_said_and_nothing_forgotten_when_no_token_can_be_had(flaky, film):
    """401 without a refresh token ends the run; signed in again it goes on."""

    async def forget_token(request):
        flaky.token = "another"

    flaky.fails("put", pass_on, forget_token)
    async with Client(flaky.url, token="t0") as client:
        with pytest.raises(RequestFailed, match="TOKEN_EXPIRED") as caught:
            await uploading(client, film).run()
        assert caught.value.status == 401
    async with Client(flaky.url, token="another") as client:
        await uploading(client, film).run()
    assert (flaky.seen.count("put"), flaky.opened) == (1 + 1 + 9, 1)


@pytest.mark.parametrize(("status", "code"), [(410, "SESSION_EXPIRED"), (404, "CONTENT_NOT_FOUND")])
async def test_new_session_is_opened_when_the_old_one_is_over(flaky, client, film, status, code):
    """A17: what an expired session had is gone; the file begins anew by itself."""

    async def over(request):
        return refusal(status, code)

    flaky.fails("put", pass_on, pass_on, over)
    await uploading(client, film).run()
    assert flaky.opened == 2
    assert flaky.whole == film.read_bytes()


async def test_upload_ends_when_sessions_are_lost_again_and_again(flaky, client, film):
    async def over(request):
        return refusal(410, "SESSION_EXPIRED")

    flaky.fails("put", *[over] * 10)
    with pytest.raises(RequestFailed, match="SESSION_EXPIRED"):
        await uploading(client, film).run()
    assert flaky.opened == 4


async def test_upload_goes_on_when_the_process_died(flaky, client, film):
    """A36, Q7: another process with the same file sends the rest, and only that."""

    async def die(request):
        await asyncio.Event().wait()

    flaky.fails("put", *[pass_on] * 4, die)
    dying = asyncio.create_task(uploading(client, film).run())
    while flaky.seen.count("put") < 5:
        await asyncio.sleep(0.01)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert sorted(flaky.parts) == [1, 2, 3, 4]
    async with Client(flaky.url, token=flaky.token) as fresh:
        await uploading(fresh, film).run()
    assert (flaky.opened, flaky.seen.count("put")) == (1, 4 + 1 + 6)
    assert flaky.whole == film.read_bytes()


async def test_file_begins_anew_when_it_is_another_one(flaky, client, film):
    """The state file of other bytes under the same name is of no use."""

    async def die(request):
        return refusal(403, "FORBIDDEN")

    flaky.fails("put", pass_on, die)
    with pytest.raises(RequestFailed, match="FORBIDDEN"):
        await uploading(client, film).run()
    film.write_bytes(film.read_bytes()[:-1] + b"!")
    await uploading(client, film).run()
    assert flaky.opened == 2
    assert flaky.whole == film.read_bytes()


async def test_paused_upload_goes_on_when_it_is_run_again(flaky, client, film):
    """A30, Q6: pause tells the server, run resumes."""
    upload = uploading(client, film)
    reached = asyncio.Event()

    async def wait_there(request):
        reached.set()
        await asyncio.sleep(30)

    flaky.fails("put", pass_on, pass_on, wait_there)
    running = asyncio.create_task(upload.run())
    await reached.wait()
    await upload.pause()
    with pytest.raises(UploadStopped, match="pause"):
        await running
    assert (flaky.state, upload.progress.phase, sorted(flaky.parts)) == ("PAUSED", Phase.PAUSED, [1, 2])
    await upload.run()
    assert "resume" in flaky.seen
    assert flaky.whole == film.read_bytes()
    await upload.pause()  # too late to change anything
    assert upload.progress.phase is Phase.COMPLETED


async def test_cancelled_upload_is_forgotten_when_the_server_knows(flaky, client, film):
    """A30: nothing is forgotten before the server has forgotten."""
    upload = uploading(client, film)
    reached = asyncio.Event()

    async def wait_there(request):
        reached.set()
        await asyncio.sleep(30)

    flaky.fails("put", pass_on, wait_there)
    flaky.fails("cancel", cut)
    running = asyncio.create_task(upload.run())
    await reached.wait()
    with pytest.raises(RequestFailed, match="NETWORK"):
        await upload.cancel()
    with pytest.raises(UploadStopped, match="cancel"):
        await running
    assert default_path(flaky.url, film).exists()
    await upload.cancel()
    assert (flaky.state, upload.progress.phase) == ("CANCELED", Phase.CANCELED)
    assert not default_path(flaky.url, film).exists()
    await upload.cancel()


async def test_cancel_says_so_when_the_video_is_made_already(flaky, client, film):
    """A35: a completed session is not cancelled, and the video is not hidden from who asked."""

    async def finish_and_hang(request):
        flaky._finish()
        reached.set()
        await asyncio.sleep(30)

    reached = asyncio.Event()
    upload = uploading(client, film)
    flaky.fails("finalize", finish_and_hang)
    running = asyncio.create_task(upload.run())
    await reached.wait()
    with pytest.raises(RequestFailed, match="INVALID_STATE_TRANSITION"):
        await upload.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await upload.run()).id == "v1"


async def test_verdict_is_final_when_the_server_refuses_the_bytes(flaky, client, film):
    """A16: the session failed; nothing is tried again and nothing is kept."""

    async def damage(request):
        flaky.parts[1] = b"other bytes"

    flaky.fails("finalize", damage)
    upload = uploading(client, film)
    with pytest.raises(RequestFailed, match="CHECKSUM_MISMATCH"):
        await upload.run()
    assert (upload.progress.phase, flaky.seen.count("finalize")) == (Phase.FAILED, 1)
    assert not default_path(flaky.url, film).exists()


async def test_quota_is_not_waited_for_when_it_lasts(flaky, client, film):
    """A24: a limit that frees tomorrow is said at once."""

    async def tomorrow(request):
        return refusal(429, "RATE_LIMIT_EXCEEDED", {"Retry-After": "50000"})

    flaky.fails("open", tomorrow)
    with pytest.raises(RequestFailed) as caught:
        await uploading(client, film).run()
    assert (caught.value.code, caught.value.retry_after) == ("RATE_LIMIT_EXCEEDED", 50_000)


async def test_upload_waits_when_the_server_is_not_there_yet(film):
    """Q7: no answer at all is waited out."""
    flaky = Flaky()
    async with Client(flaky.url, token="t0") as client:
        upload = uploading(client, film)
        running = asyncio.create_task(upload.run())
        while Phase.RETRYING not in upload.phases:
            await asyncio.sleep(0.01)
        await flaky.start()
        await running
    assert flaky.whole == film.read_bytes()
    await flaky.stop()


@pytest.mark.parametrize(
    ("content", "words", "code"),
    [
        (b"", Words("Film"), "CORRUPTED_FILE"),
        (b"no video at all", Words("Film"), "INVALID_FORMAT"),
        (bytes(4) + b"ftypisom" + bytes(40_000), Words("Film"), "FILE_TOO_LARGE"),
        (b"RIFF    AVI " + bytes(10), Words("Film", visibility="SECRET"), "INVALID_VISIBILITY"),
        (b"RIFF    AVI " + bytes(10), Words(" "), "VALIDATION_ERROR"),
        (b"RIFF    AVI " + bytes(10), Words("x" * 21), "CONTENT_TOO_LONG"),
        (b"RIFF    AVI " + bytes(10), Words("x", tags=("a", "b", "c")), "CONTENT_TOO_LONG"),
        (None, Words("Film"), "UNREADABLE"),
    ],
)
async def test_nothing_is_sent_when_the_server_would_refuse_it(flaky, client, tmp_path, content, words, code):
    """A10, Q1: the reason comes before the first byte."""
    path = tmp_path / "film.mp4"
    if content is not None:
        path.write_bytes(content)
    upload = Upload(client, path, words)
    with pytest.raises(FileRefused) as caught:
        await upload.run()
    assert caught.value.code == code
    assert upload.progress.phase is Phase.FAILED
    assert set(flaky.seen) <= {"sign_in", "policies"}


async def test_second_policy_is_chosen_when_only_it_takes_the_file(flaky, client, tmp_path):
    """A2: by container and size."""
    path = tmp_path / "old.avi"
    path.write_bytes(b"RIFF    AVI " + os.urandom(2_000))
    await uploading(client, path).run()
    assert (flaky.asked["policy"], flaky.asked["mime"]) == ("long", "video/x-msvideo")
    with pytest.raises(FileRefused, match="INVALID_FORMAT"):
        await uploading(client, path, policy="short").run()


async def test_video_is_waited_for_when_the_server_goes_and_comes(flaky, client):
    """Q12: news come by socket, and are asked for when there are none; what passes is waited for."""
    flaky.status = deque([VIDEO, VIDEO | {"progress": 40}, VIDEO | {"status": "READY", "progress": 100}])
    flaky.fails("video", pass_on, cut, later)
    told = []
    video = await client.wait_video("v1", told.append, poll_seconds=0.05)
    assert video.is_settled
    assert [seen.progress for seen in told] == [0, 40, 100]
    assert "socket" in flaky.seen


async def test_events_come_again_when_the_socket_is_cut(flaky, client):
    """Every opening is told, so that nothing in between is taken for known."""
    flaky.fails("socket", pass_on, cut)
    seen = 0
    async for frame in client.events():
        assert frame.event == "connected"
        seen += 1
        if seen == 2:
            break
        flaky.hang_up.set()
    assert flaky.seen.count("socket") == 3
    flaky.hang_up.set()
