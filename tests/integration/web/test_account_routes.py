"""Accounts over HTTP (INTERFACE Accounts; N3, N4, N5, N11, P33)."""

import io
import json

import pytest
import structlog

PASSWORD = "correct horse 1"


async def _register(front, name="ada"):
    asked = {"username": name, "email": f"{name}@example.org", "password": PASSWORD}
    response = await front.client.post("/api/v1/auth/register", json=asked)
    return response, await response.json()


def _code(body):
    return body["error"]["code"]


async def test_session_lives_when_it_is_used_as_documented(front):
    """Register, me, refresh once, reuse ends the session, log in, log out (N1, N5)."""
    response, session = await _register(front)
    assert response.status == 201
    assert session["token_type"] == "Bearer"
    assert session["expires_in"] == 900
    assert session["user"]["username"] == "ada"
    bearer = {"Authorization": f"Bearer {session['access_token']}"}
    own = await (await front.client.get("/api/v1/users/me", headers=bearer)).json()
    assert own["email"] == "ada@example.org"
    public = await (await front.client.get(f"/api/v1/users/{own['id']}")).json()
    assert "email" not in public
    assert (await (await front.client.get("/api/v1/users/@ADA")).json())["id"] == own["id"]

    asked = {"refresh_token": session["refresh_token"]}
    renewed = await front.client.post("/api/v1/auth/refresh", json=asked)
    assert renewed.status == 200
    reused = await front.client.post("/api/v1/auth/refresh", json=asked)
    assert (reused.status, _code(await reused.json())) == (401, "INVALID_TOKEN")
    ended = await front.client.get("/api/v1/users/me", headers=bearer)
    assert (ended.status, _code(await ended.json())) == (401, "INVALID_TOKEN")

    again = await front.client.post(
        "/api/v1/auth/login", json={"username": "ada@example.org", "password": PASSWORD}
    )
    assert again.status == 200
    bearer = {"Authorization": f"Bearer {(await again.json())['access_token']}"}
    assert (await front.client.post("/api/v1/auth/logout", headers=bearer)).status == 204
    assert (await front.client.get("/api/v1/users/me", headers=bearer)).status == 401


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"username": "a b"}, "INVALID_USERNAME"),
        ({"email": "nobody"}, "INVALID_EMAIL"),
        ({"password": "short"}, "VALIDATION_ERROR"),
        ({"username": 7}, "VALIDATION_ERROR"),
        ({"extra": 1}, "VALIDATION_ERROR"),
        ({"username": "ADA"}, "USERNAME_TAKEN"),
        ({"email": "Ada@example.org"}, "EMAIL_TAKEN"),
    ],
)
async def test_registration_is_refused_when_a_field_is_wrong(front, change, code):
    """O4, O10: each with its code."""
    if code.endswith("TAKEN"):
        await _register(front)
    asked = {"username": "bob", "email": "bob@example.org", "password": PASSWORD} | change
    response = await front.client.post("/api/v1/auth/register", json=asked)
    body = await response.json()
    assert (response.status, _code(body)) == (400, code)
    if code == "VALIDATION_ERROR":
        assert body["error"]["details"]["field"] == next(iter(change))


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "VALIDATION_ERROR"),
        (b"", "application/json", 400, "VALIDATION_ERROR"),
        (b"[]", "application/json", 400, "VALIDATION_ERROR"),
        (b'"x"', "application/json", 400, "VALIDATION_ERROR"),
        (b"{}", "application/xml", 415, "UNSUPPORTED_MEDIA"),
        (b"\xff\xfe", "application/json", 400, "VALIDATION_ERROR"),
        (b'{"username":"\\ud800","password":"x"}', "application/json", 400, "VALIDATION_ERROR"),
        (b"[" * 5000, "application/json", 400, "VALIDATION_ERROR"),
        (b'{"a":"' + b"a" * 3_000_000 + b'"}', "application/json", 413, "PAYLOAD_TOO_LARGE"),
    ],
)
async def test_body_is_refused_when_it_is_no_json_object(front, raw, content_type, status, code):
    """Bad input gets its code and the next request works."""
    response = await front.client.post(
        "/api/v1/auth/login", data=io.BytesIO(raw), headers={"Content-Type": content_type}
    )
    assert (response.status, _code(await response.json())) == (status, code)
    assert (await front.client.get("/healthz")).status == 200


async def test_token_is_refused_when_missing_forged_or_old(front):
    """N4."""
    ada = await front.person("ada")
    cases = {
        "MISSING_AUTH_HEADER": {},
        "INVALID_TOKEN": {"Authorization": f"Bearer {ada.token[:-4]}AAAA"},
    }
    for code, headers in cases.items():
        response = await front.client.get("/api/v1/users/me", headers=headers)
        assert (response.status, _code(await response.json())) == (401, code)
    for header in ("Basic abc", "Bearer", "Bearer ", "nonsense", "Bearer a.b.c"):
        response = await front.client.get("/api/v1/users/me", headers={"Authorization": header})
        assert _code(await response.json()) == "INVALID_TOKEN"
    front.clock.ahead = 901
    response = await front.client.get("/api/v1/users/me", headers=ada.headers)
    assert _code(await response.json()) == "TOKEN_EXPIRED"


async def test_credentials_are_refused_when_wrong(front):
    """N4: which of both is wrong is not said."""
    await _register(front)
    for asked in ({"username": "ada", "password": "wrong horse"}, {"username": "eve", "password": PASSWORD}):
        response = await front.client.post("/api/v1/auth/login", json=asked)
        assert (response.status, _code(await response.json())) == (401, "INVALID_CREDENTIALS")


async def test_nothing_secret_is_logged_when_requests_carry_it(front):
    """P33, N16: neither passwords nor tokens, in headers, bodies, queries or paths."""
    with structlog.testing.capture_logs() as logs:
        _, session = await _register(front)
        bearer = {"Authorization": f"Bearer {session['access_token']}"}
        await front.client.get(f"/api/v1/users/me?token={session['access_token']}", headers=bearer)
        await front.client.post("/api/v1/auth/refresh", json={"refresh_token": session["refresh_token"]})
        await front.client.get(f"/media/{session['access_token']}/videos/x/hls/master.m3u8")
        await front.client.post("/api/v1/auth/login", json={"username": "ada", "password": 12345678})
    written = json.dumps(logs, default=str)
    assert len(logs) >= 5
    for secret in (PASSWORD, session["access_token"], session["refresh_token"], "12345678"):
        assert secret not in written


async def test_user_is_not_found_when_unknown(front):
    """O7."""
    for asked in ("@nobody", "nonsense", "00000000-0000-4000-8000-000000000000", "%00"):
        response = await front.client.get(f"/api/v1/users/{asked}")
        assert (response.status, _code(await response.json())) == (404, "USER_NOT_FOUND")
