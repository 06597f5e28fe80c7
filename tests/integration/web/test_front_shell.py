"""The front around its handlers: errors, headers, readiness, methods (O1, O2, O38, P38, P40, N12, N9)."""

import json
import re

import pytest
from aiohttp import ClientSession

from web.limits import Limit
from web.routes import RateClass


async def test_error_shape_when_route_is_unknown(front):
    """O1, O2: also for somebody with a bad token."""
    for headers in ({}, {"Authorization": "Bearer forged"}):
        response = await front.client.get("/api/v1/nothing", headers=headers)
        assert response.status == 404
        body = await response.json()
        assert body["error"]["code"] == "NOT_FOUND"
        assert set(body) == {"error", "request_id", "timestamp"}
        assert set(body["error"]) == {"code", "message", "details"}
        assert body["timestamp"].endswith("Z")
        assert body["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/auth/login/"])
async def test_method_not_allowed_when_route_exists(front, path):
    """O38: 405 says what is allowed."""
    response = await front.client.get(path)
    assert response.status == 405
    assert response.headers["Allow"] == "POST"
    assert (await response.json())["error"]["code"] == "METHOD_NOT_ALLOWED"


async def test_request_id_is_kept_when_it_is_sane(front):
    """P40."""
    kept = await front.client.get("/healthz", headers={"X-Request-ID": "abc-1"})
    made = await front.client.get("/healthz", headers={"X-Request-ID": "a b<script>"})
    assert kept.headers["X-Request-ID"] == "abc-1"
    assert re.fullmatch("[0-9a-f]{32}", made.headers["X-Request-ID"])


async def test_only_health_answers_when_tables_recover(front):
    """P38: the front is up before the tables are."""
    front.missing.append("tables")
    assert (await front.client.get("/healthz")).status == 200
    ready = await front.client.get("/readyz")
    assert ready.status == 503
    assert await ready.json() == {"status": "starting", "missing": ["tables"], "checks": {}}
    refused = await front.client.post("/api/v1/auth/login", json={})
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert (await refused.json())["error"]["code"] == "SERVICE_UNAVAILABLE"
    front.missing.clear()
    assert (await front.client.get("/readyz")).status == 200


async def test_slash_makes_no_difference_when_it_ends_a_path(front):
    """X5."""
    assert (await front.client.get("/healthz/")).status == 200


async def test_security_headers_when_anything_is_answered(front):
    """EXPERIENCE: nothing third-party; O2 on errors too."""
    for path in ("/healthz", "/api/v1/nothing"):
        headers = (await front.client.get(path)).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "media-src 'self' blob: data: http://front.test;" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Server"] == "freewill"


async def test_cors_when_origin_is_configured_or_not(build):
    """N12."""
    front = await build(cors_origins=("https://app.example",))
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    allowed = await front.client.options("/api/v1/auth/login", headers=asked)
    assert allowed.status == 204
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
    refused = await front.client.options(
        "/api/v1/auth/login", headers=asked | {"Origin": "https://evil.example"}
    )
    assert "Access-Control-Allow-Origin" not in refused.headers
    answered = await front.client.get("/healthz", headers={"Origin": "https://app.example"})
    assert answered.headers["Access-Control-Allow-Origin"] == "https://app.example"


async def test_limit_holds_when_requests_are_too_many(build):
    """N7, N9: the headers count down, then 429 with Retry-After, and again after the window."""
    front = await build(rate_limits=True, limits={RateClass.AUTH: Limit(3, 60)})
    front.clock.ahead = -(front.clock() % 60)  # at the start of a window
    left = []
    for _ in range(3):
        response = await front.client.post("/api/v1/auth/refresh", json={"refresh_token": "x"})
        assert response.status == 401
        left.append(response.headers.get("RateLimit-Remaining"))
    refused = await front.client.post("/api/v1/auth/refresh", json={"refresh_token": "x"})
    assert refused.status == 429
    assert (await refused.json())["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Remaining"] == "0"
    front.clock.ahead += 120
    assert (await front.client.post("/api/v1/auth/refresh", json={"refresh_token": "x"})).status == 401


async def test_nothing_leaks_when_a_service_breaks(build):
    """O2: an unforeseen failure is INTERNAL_ERROR and says nothing of its cause."""

    class Broken:
        async def login(self, *_args, **_kwargs):
            raise RuntimeError("secret detail /etc/passwd")

        def close(self):
            pass

    front = await build()
    object.__setattr__(front.deps, "accounts", Broken())
    response = await front.client.post("/api/v1/auth/login", json={"username": "a", "password": "b"})
    text = await response.text()
    assert response.status == 500
    assert json.loads(text)["error"]["code"] == "INTERNAL_ERROR"
    assert "secret" not in text
    assert (await front.client.get("/healthz")).status == 200


async def test_error_shape_when_the_request_is_not_http(front):
    """O2: what cannot even be parsed gets the shape too, and the next connection works."""
    import asyncio

    url = front.client.make_url("/")
    for raw in (b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 40_000 + b"\r\n\r\n"):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(raw)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 120)
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 400 " in head.split(b"\r\n")[0]
        assert json.loads(body)["error"]["code"] == "BAD_REQUEST"
        assert b"aaaa" not in body
    async with ClientSession() as session, session.get(front.client.make_url("/healthz")) as response:
        assert response.status == 200


async def test_metrics_count_when_requests_come(front):
    """P37."""
    await front.client.get("/healthz")
    await front.client.get("/api/v1/nothing")
    text = await (await front.client.get("/metrics")).text()
    assert 'freewill_http_requests_total{method="GET",route="healthz",status="200"} 1.0' in text
    assert 'freewill_http_errors_total{code="NOT_FOUND"} 1.0' in text
    assert "process_resident_memory_bytes" in text


async def test_client_pages_when_the_client_is_built_or_not(front):
    """EXPERIENCE: every address of the client answers; API addresses stay JSON."""
    html = {"Accept": "text/html,*/*"}
    unbuilt = await front.client.get("/", headers=html)
    assert unbuilt.status == 200
    assert "make client" in await unbuilt.text()
    client = front.folder / "client"
    (client / "index.html").write_text("<!doctype html><title>app</title>")
    (client / "assets").mkdir()
    (client / "assets" / "app-abc.js").write_text("1")
    for path in ("/", "/upload", "/v/123", "/@ada", "/login"):
        page = await front.client.get(path, headers=html)
        assert (page.status, page.headers["Cache-Control"]) == (200, "no-cache")
        assert "app" in await page.text()
    assert (await front.client.get("/nowhere", headers=html)).status == 404
    script = await front.client.get("/assets/app-abc.js")
    assert "immutable" in script.headers["Cache-Control"]
    for path in ("/api/nowhere", "/nowhere.js", "/assets/..%2f..%2ffront.db", "/assets/%2e%2e/%2e%2e/x"):
        missing = await front.client.get(path)
        assert missing.status == 404
        assert (await missing.json())["error"]["code"] == "NOT_FOUND"
