"""Requests between two workers in one process: what passes, what stays, what happens when one is away (F17).

Routes of their own over the real middlewares: the front's rows are tried in tests/integration/web.
"""

import asyncio
import gzip
import io
import socket
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from social.views import Principal
from tables.errors import InvalidToken, ServiceUnavailable
from web import forwarding, hops
from web.app import create_app
from web.forwarding import caller_key, end_to_end, row_key
from web.http import address_of, caller
from web.keys import AWAY, HOP, REQUEST_ID, Readiness, WebSettings
from web.limits import Limit, MemoryLimiter
from web.metrics import Metrics
from web.routes import Auth, Keyed, RateClass, Route
from web.service import FrontRunner

MB = 1 << 20


class ProductionServer(TestServer):
    """A test server that runs as in production: a handler goes on when its client has left."""

    __test__ = False

    async def _make_runner(self, **kwargs: Any) -> Any:
        return FrontRunner(self.app, access_log=None)


@dataclass
class Worker:
    """One front whose ownership a test decides."""

    name: str
    owner: Any = None
    seen: list[web.Request] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    missing: tuple[str, ...] = ()
    server: TestServer | None = None
    taken: int = 0

    def owners(self, table: str, key: str) -> str | None:
        if isinstance(self.owner, Exception):
            raise self.owner
        return None if self.owner is None else str(self.owner)

    async def authenticate(self, token: str) -> Principal:
        if token != "ada":
            raise InvalidToken
        return Principal("ada", "ada", "user", "s")

    @property
    def url(self) -> str:
        assert self.server is not None
        return str(self.server.make_url("")).rstrip("/")

    async def show(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        return web.json_response(
            {
                "worker": self.name,
                "path": request.rel_url.raw_path_qs,
                "request_id": request[REQUEST_ID],
                "address": address_of(request),
                "hop": HOP in request,
                "away": AWAY in request,
                "caller": known.user_id if (known := caller(request)) else None,
                "headers": {name.lower(): value for name, value in request.headers.items()},
            },
            headers={"X-Mine": "kept", "Connection": "X-Dropped", "X-Dropped": "1"},
        )

    async def echo(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(
            status=207, headers={"X-Length": request.headers.get("Content-Length", "-")}
        )
        await answer.prepare(request)
        async for chunk in request.content.iter_any():
            self.taken += len(chunk)
            await answer.write(chunk)
        return answer

    async def pour(self, request: web.Request) -> web.StreamResponse:
        """Write until the reader is gone or 64 MB are through."""
        answer = web.StreamResponse()
        try:
            await answer.prepare(request)
            for _ in range(64):
                await answer.write(b"x" * MB)
                self.taken += MB
        finally:
            self.left.set()
        return answer

    async def think(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.01)
        self.left.set()
        return web.Response()

    async def tear(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half of it")
        assert request.transport is not None
        request.transport.abort()
        return answer

    async def fail(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        raise ServiceUnavailable(details={"why": "mine"}, retry_after_seconds=7)

    def rows(self) -> list[Route]:
        here = Keyed("{name}", row_key)
        mine = Keyed("taste", caller_key, degrades=True)

        def row(method: str, path: str, handler: Any, keyed: Keyed, auth: Auth = Auth.NONE) -> Route:
            return Route(
                method=method, path=path, handler=handler, name=path, summary="", tag="",
                keyed_by=keyed, auth=auth,
            )  # fmt: skip

        return [
            row("GET", "/show/{name}/{key}", self.show, here),
            row("POST", "/echo/{name}/{key}", self.echo, here),
            row("GET", "/pour/{name}/{key}", self.pour, here),
            row("GET", "/think/{name}/{key}", self.think, here),
            row("GET", "/tear/{name}/{key}", self.tear, here),
            row("GET", "/fail/{name}/{key}", self.fail, here),
            row("GET", "/feed", self.show, mine, Auth.OPTIONAL),
            row("POST", "/feed", self.show, mine, Auth.REQUIRED),
        ]


@pytest.fixture
async def pair(tmp_path):
    """Return two workers with one secret; the first says that the second owns everything."""
    workers = [Worker("first"), Worker("second")]
    settings = WebSettings(
        base_url="http://front.test",
        upload_dir=tmp_path,
        client_dir=tmp_path,
        hop_secret=b"shared",
        limits={RateClass.GENERAL: Limit(50, 3600)},
    )
    for worker in workers:
        deps = SimpleNamespace(
            settings=settings,
            clock=time.time,
            readiness=lambda worker=worker: Readiness(worker.missing),
            accounts=worker,
            metrics=Metrics(),
            limiter=MemoryLimiter(),
            owners=worker.owners,
            once=None,
        )
        worker.server = ProductionServer(create_app(deps, worker.rows()))
        await worker.server.start_server()
    workers[0].owner = workers[1].url
    yield workers
    for worker in workers:
        await worker.server.close()


@pytest.fixture
async def client(pair):
    """Return a client of the first worker that shows bodies as they come."""
    async with aiohttp.ClientSession(pair[0].url, auto_decompress=False) as session:
        yield session


async def test_owner_answers_when_a_row_is_elsewhere(pair, client):
    """F17: path, query, caller's headers, request id and address arrive; what ends at the hop does not."""
    sent = {"X-Request-ID": "r-1", "X-Own": "1", "Connection": "X-Once", "X-Once": "1", "Cookie": "a=b"}
    async with client.get("/show/t/k%2F%C3%A9?q=%26x&q=2", headers=sent) as answer:
        got = await answer.json()
    assert (got["worker"], got["path"]) == ("second", "/show/t/k%2F%C3%A9?q=%26x&q=2")
    assert (got["request_id"], got["address"], got["hop"]) == ("r-1", "127.0.0.1", True)
    assert got["headers"]["x-own"] == "1"
    assert got["headers"]["cookie"] == "a=b"
    assert "x-once" not in got["headers"]
    assert got["headers"]["via"].startswith("1.1 freewill-")
    assert answer.headers["X-Mine"] == "kept"
    assert "X-Dropped" not in answer.headers
    assert answer.headers["X-Request-ID"] == "r-1"


async def test_owner_knows_the_caller_when_credentials_are_passed_on(pair, client):
    async with client.get("/feed", headers={"Authorization": "Bearer ada"}) as answer:
        got = await answer.json()
    assert (got["worker"], got["caller"], got["away"]) == ("second", "ada", False)
    async with client.get("/feed") as answer:  # nobody's feed reads no row
        assert (await answer.json())["worker"] == "first"
    async with client.get("/feed", headers={"Authorization": "Bearer eve"}) as answer:
        assert answer.status == 401
    assert len(pair[1].seen) == 1


async def test_request_is_counted_once_when_it_makes_a_hop(pair, client):
    """N7, N9: the first worker counts, and its headers are on the streamed answer."""
    for left in (49, 48):
        async with client.get("/show/t/k") as answer:
            assert answer.headers["RateLimit-Remaining"] == str(left)
    async with aiohttp.ClientSession(pair[1].url) as direct, direct.get("/show/t/k") as answer:
        assert answer.headers["RateLimit-Remaining"] == "49"


async def test_hop_is_ignored_when_a_client_made_it_up(pair):
    """A forged mark changes neither the address nor the counting."""
    forged = {"X-FreeWill-Hop": "100.000 10.9.9.9 " + "0" * 64}
    for worker in pair:
        async with aiohttp.ClientSession(worker.url) as session, session.get(
            "/show/t/k", headers=forged
        ) as answer:  # fmt: skip
            got = await answer.json()
            assert (got["worker"], got["address"]) == ("second", "127.0.0.1")
            assert "RateLimit-Remaining" in answer.headers


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_arrive_whole_when_they_are_streamed_both_ways(pair, client, chunked):
    body = bytes(range(256)) * 8192

    async def pieces():
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    async with client.post("/echo/t/k", data=pieces() if chunked else io.BytesIO(body)) as answer:
        assert answer.status == 207
        assert await answer.read() == body
        assert answer.headers["X-Length"] == ("-" if chunked else str(len(body)))


async def test_body_is_whole_when_it_was_compressed(client):
    """The first worker's parser has decoded it, so what is passed on is plain."""
    async with client.post(
        "/echo/t/k", data=gzip.compress(b"plain" * 1000), headers={"Content-Encoding": "gzip"}
    ) as answer:
        assert await answer.read() == b"plain" * 1000


async def test_owner_is_slowed_when_the_client_reads_slowly(pair, client):
    """Back-pressure: nobody holds the 64 MB that the client has not read; and its leaving ends it all."""
    answer = await client.get("/pour/t/k")
    await answer.content.readexactly(MB)
    taken = -1
    while taken != pair[1].taken:  # until nothing moves any more
        taken = pair[1].taken
        await asyncio.sleep(0.3)
    assert taken < 32 * MB
    answer.close()
    await asyncio.wait_for(pair[1].left.wait(), 120)
    assert pair[1].taken < 64 * MB


async def test_owner_is_let_go_when_the_client_leaves_before_the_answer(pair, client, monkeypatch):
    monkeypatch.setattr(forwarding, "READ_SECONDS", 3600.0)
    asking = asyncio.create_task(client.get("/think/t/k"))
    while not pair[1].seen:
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait_for(pair[1].left.wait(), 120)


async def test_answer_is_cut_when_the_owner_dies_in_the_middle(client):
    with pytest.raises(aiohttp.ClientPayloadError):
        async with client.get("/tear/t/k") as answer:
            await answer.read()


async def test_refusal_is_503_when_both_point_at_each_other(pair, client):
    """One hop at most: no loop, and the client is told when to come back."""
    pair[1].owner = pair[0].url
    async with client.get("/show/t/k") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json())["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert pair[0].seen == pair[1].seen == []


async def test_nothing_is_passed_on_twice_when_workers_see_the_partitions_otherwise(pair, client):
    """One hop at most: the second worker does not ask the third."""
    asked = []
    third = await asyncio.start_server(lambda reader, writer: asked.append(writer), "127.0.0.1", 0)
    pair[1].owner = "http://{}:{}".format(*third.sockets[0].getsockname())
    async with client.get("/show/t/k") as answer:
        assert answer.status == 503
    assert asked == []
    third.close()


async def test_refusal_is_503_when_a_loop_has_no_mark(pair, client, monkeypatch):
    """Via shows a loop even to workers that cannot read each other's marks (RFC 9110 section 7.6.3)."""
    monkeypatch.setattr(hops, "read", lambda *said: None)
    pair[1].owner = pair[0].url
    async with client.get("/show/t/k") as answer:
        assert answer.status == 503


async def test_owner_s_own_refusal_is_shown_when_the_row_is_needed(client):
    async with client.get("/fail/t/k") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
        assert (await answer.json())["error"]["details"] == {"why": "mine"}


def refuse() -> str:
    """Return a URL where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize("owner", [ServiceUnavailable(retry_after_seconds=1), "nobody listens", "recovering"])
async def test_row_is_503_and_feed_is_degraded_when_the_owner_is_away(pair, client, owner):
    """DESIGN invariant 7: a feed is answered without taste and says so; a point read waits."""
    if owner == "recovering":
        pair[1].missing = ("tables",)
    else:
        pair[0].owner = refuse() if owner == "nobody listens" else owner
    async with client.get("/show/t/k") as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
    known = {"Authorization": "Bearer ada"}
    async with client.get("/feed", headers=known) as answer:
        assert (await answer.json())["away"] is True
    async with client.post("/feed", headers=known, data=b"a wish") as answer:
        # An owner that took some of the body may have acted on it.
        assert answer.status == (503 if owner == "recovering" else 200)


async def test_feed_does_not_wait_when_the_owner_hangs(pair, client, monkeypatch):
    """DESIGN invariant 7; and for the next second nobody asks that owner again."""
    monkeypatch.setattr(forwarding, "IMPATIENT_SECONDS", 0.05)
    monkeypatch.setattr(forwarding, "AVOIDED_SECONDS", 3600.0)
    connected = []

    async def hang(reader, writer):
        connected.append(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    pair[0].owner = "http://{}:{}".format(*server.sockets[0].getsockname())
    for _ in range(3):
        async with client.get("/feed", headers={"Authorization": "Bearer ada"}) as answer:
            assert (await answer.json())["away"] is True
    assert len(connected) == 1
    for writer in connected:
        writer.close()
    server.close()


async def test_target_stays_the_owner_when_the_request_line_names_a_host(pair):
    """A request in absolute form goes to the owner all the same, never to the host that it names."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pair[0].server.port)
    writer.write(b"GET http://203.0.113.1/show/t/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b'"worker": "second"' in await reader.read()
    writer.close()


def test_only_end_to_end_headers_pass():
    """RFC 9110 section 7.6.1."""
    sent = {"Connection": "Upgrade, X-A", "Upgrade": "websocket", "X-A": "1", "TE": "trailers", "X-B": "2"}
    assert dict(end_to_end(sent)) == {"X-B": "2"}
