"""INTERFACE.md, Accounts, and what it says of JSON and errors in general."""

import re
import secrets
import time
from datetime import datetime
from uuid import UUID

import pytest

PASSWORD = "correct horse battery"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def newcomer():
    name = f"u{secrets.token_hex(5)}"
    return {"username": name, "email": f"{name}@example.org", "password": PASSWORD}


def assert_session(body, username):
    """ "`{user: {id, username, ...}, access_token, refresh_token, token_type: "Bearer", expires_in}`"."""
    assert set(body) == {"user", "access_token", "refresh_token", "token_type", "expires_in"}
    assert str(UUID(body["user"]["id"])) == body["user"]["id"]  # "UUID strings as ids"
    assert body["user"]["username"] == username
    assert MOMENT.fullmatch(body["user"]["created_at"])  # "times as RFC 3339 UTC with `Z`"
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)


def assert_error(client, body, status, code):
    """ "Errors have the shape O1": error{code, message, details}, request_id, timestamp."""
    assert client.status == status, body
    assert set(body) == {"error", "request_id", "timestamp"}
    assert set(body["error"]) == {"code", "message", "details"}
    assert body["error"]["code"] == code, body
    assert body["error"]["message"]
    assert isinstance(body["error"]["details"], dict)
    assert body["request_id"] == client.headers["X-Request-ID"]
    assert MOMENT.fullmatch(body["timestamp"])
    assert abs(datetime.fromisoformat(body["timestamp"]).timestamp() - time.time()) < 60


async def test_account_opens_and_signs_in_when_asked(shared_server, make_client):
    """ "`POST /api/v1/auth/register` ... → 201", "`login` `{username, password}` (user name or e-mail) → 200,
    same body", "`refresh` → 200 with new tokens", "`logout` → 204"."""
    client, person = make_client(shared_server), newcomer()
    opened = await client.post("/api/v1/auth/register", person)
    assert client.status == 201, opened
    assert_session(opened, person["username"])
    assert "password" not in opened["user"]
    for name in (person["username"], person["email"]):
        body = await client.post("/api/v1/auth/login", {"username": name, "password": PASSWORD})
        assert client.status == 200
        assert_session(body, person["username"])
    renewed = await client.post("/api/v1/auth/refresh", {"refresh_token": body["refresh_token"]})
    assert client.status == 200
    assert_session(renewed, person["username"])
    assert renewed["refresh_token"] != body["refresh_token"]
    client.token = renewed["access_token"]
    me = await client.get("/api/v1/users/me")
    assert (client.status, me["id"], me["role"]) == (200, opened["user"]["id"], "user")
    assert await client.post("/api/v1/auth/logout") == ""
    assert client.status == 204
    assert_error(client, await client.get("/api/v1/users/me"), 401, "INVALID_TOKEN")
    gone = await client.post("/api/v1/auth/refresh", {"refresh_token": renewed["refresh_token"]})
    assert_error(client, gone, 401, "INVALID_TOKEN")
    # The session that register opened is another one, and lives on.
    client.token = opened["access_token"]
    await client.get("/api/v1/users/me")
    assert client.status == 200


async def test_session_ends_when_an_old_refresh_token_comes_back(shared_server, make_client):
    """ "the old refresh token is dead, and its reuse ends the session"."""
    client, person = make_client(shared_server), newcomer()
    first = await client.post("/api/v1/auth/register", person)
    second = await client.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]})
    client.token = second["access_token"]
    await client.get("/api/v1/users/me")
    assert client.status == 200
    reused = await client.post("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert_error(client, reused, 401, "INVALID_TOKEN")
    newest = await client.post("/api/v1/auth/refresh", {"refresh_token": second["refresh_token"]})
    assert_error(client, newest, 401, "INVALID_TOKEN")
    for token in (first["access_token"], second["access_token"]):
        client.token = token
        assert_error(client, await client.get("/api/v1/users/me"), 401, "INVALID_TOKEN")


async def test_name_and_address_are_refused_when_taken(shared_server, make_client):
    """ "USERNAME_TAKEN and EMAIL_TAKEN 400"."""
    client, person, other = make_client(shared_server), newcomer(), newcomer()
    await client.post("/api/v1/auth/register", person)
    same = await client.post("/api/v1/auth/register", {**other, "username": person["username"].upper()})
    assert_error(client, same, 400, "USERNAME_TAKEN")
    same = await client.post("/api/v1/auth/register", {**other, "email": person["email"].upper()})
    assert_error(client, same, 400, "EMAIL_TAKEN")


async def test_sign_in_is_refused_alike_when_name_or_password_is_wrong(shared_server, make_client):
    """Errors tell nobody which names exist (N5)."""
    client, person = make_client(shared_server), newcomer()
    await client.post("/api/v1/auth/register", person)
    answers = []
    for username, password in ((person["username"], "wrong horse"), ("nobody-here", PASSWORD)):
        body = await client.post("/api/v1/auth/login", {"username": username, "password": password})
        assert_error(client, body, 401, "INVALID_CREDENTIALS")
        answers.append(body["error"])
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "MISSING_AUTH_HEADER"),
        ("Bearer", "INVALID_TOKEN"),
        ("Bearer nonsense", "INVALID_TOKEN"),
        ("Basic dTpw", "INVALID_TOKEN"),
        ("Bearer a.b.c", "INVALID_TOKEN"),
    ],
)
async def test_request_is_refused_when_its_authorization_is(shared_server, make_client, header, code):
    """ "`Authorization: Bearer TOKEN`" (N3, N4)."""
    client = make_client(shared_server)
    headers = {} if header is None else {"Authorization": header}
    body = await client.get("/api/v1/users/me", headers=headers)
    assert_error(client, body, 401, code)
    assert client.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("authorization", [None, "Bearer nonsense", "Basic dTpw", "good"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/nothing/here", "/nothing", "/ap/nothing"])
async def test_unknown_route_is_not_found_for_everybody(alice, method, path, authorization):
    """ "NOT_FOUND 404 for an unknown route, for everybody"."""
    headers = {} if authorization is None else {"Authorization": authorization}
    if authorization == "good":
        headers = {"Authorization": f"Bearer {alice.token}"}
    elif authorization is None:
        alice.token = ""
    assert_error(alice, await alice.call(method, path, headers=headers), 404, "NOT_FOUND")


async def test_known_route_refuses_when_the_method_is_wrong(alice):
    body = await alice.call("PATCH", "/api/v1/auth/login")
    assert_error(alice, body, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in alice.headers["Allow"]


LISTS = ("/api/v1/videos", "/api/v1/users/me/saves", "/api/v1/feed", "/api/feed", "/api/v1/trending")


@pytest.mark.parametrize("path", LISTS)
async def test_list_is_refused_when_limit_or_cursor_is_bad(alice, path):
    """ "VALIDATION_ERROR 400 (malformed body, wrong type, bad cursor, `limit` below 1; `details.field` names
    it; a `limit` above the maximum is cut to it)"."""
    for name, value in (("limit", "0"), ("limit", "-1"), ("limit", "ten"), ("limit", "1.5"), ("limit", ""),
                        ("cursor", "nonsense"), ("cursor", "e30"), ("cursor", "%FF")):  # fmt: skip
        body = await alice.get(f"{path}?{name}={value}")
        assert_error(alice, body, 400, "VALIDATION_ERROR")
        assert body["error"]["details"]["field"] == name, value
    first = await alice.get(path)
    for query in ("limit=1000", f"limit={'9' * 30}", "cursor=", "cursor=&limit=20"):
        body = await alice.get(f"{path}?{query}")
        assert alice.status == 200, query
        assert set(body) == set(first)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"username": 7, "email": "a@b.org", "password": "long enough it is"}', "username"),
        (b'{"email": "a@b.org", "password": "long enough it is"}', "username"),
        (b'{"username": "ada7", "email": "a@b.org", "password": null}', "password"),
    ],
)
async def test_body_is_refused_with_its_field_when_it_is_wrong(shared_server, make_client, body, field):
    """ "malformed body, wrong type ...; `details.field` names it"."""
    client = make_client(shared_server)
    answer = await client.call(
        "POST", "/api/v1/auth/register", data=body, headers={"Content-Type": "application/json"}
    )
    assert_error(client, answer, 400, "VALIDATION_ERROR")
    assert answer["error"]["details"]["field"] == field


async def test_trailing_slash_is_the_same_request_when_added(alice):
    """X5: "Trailing slashes are accepted and equivalent"; asked for without following redirects."""
    paths = ("/api/v1/users/me", "/api/v1/uploads/policies", "/healthz", "/.well-known/nodeinfo")
    for path in paths:  # none that other tests' videos could change in between
        plain = await alice.get(path, allow_redirects=False)
        assert alice.status == 200
        slashed = await alice.get(path + "/", allow_redirects=False)
        assert alice.status == 200, path
        assert plain == slashed
    await alice.post("/api/v1/auth/logout/", allow_redirects=False)
    assert alice.status == 204
