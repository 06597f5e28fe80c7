"""Bad input gets its code, and the next request works (DESIGN invariant 5; A3-A7, N3, N4, O1-O3, O39)."""

import asyncio
import base64
import io
import json
import re
import secrets
import time
from uuid import uuid4

import aiohttp
import psutil
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

MIB = 1024 * 1024
SHORT_LIMIT = 500 * MIB
# The server is shared, so it is not idle: this bounds what hostile input may make of it.
SERVER_MEMORY_BYTES = 450 * MIB
STREAMING_BYTES = 64 * MIB
TINY = "media/clips/bear-vp9-odd-dimensions.webm"
NOBODYS = "00000000-0000-4000-8000-000000000000"


def assert_refused(client, body, status, *codes):
    """The answer has the one shape of errors (O1), this status and one of these codes."""
    assert client.status == status, body
    assert set(body) == {"error", "request_id", "timestamp"}, body
    assert set(body["error"]) == {"code", "message", "details"}, body
    assert body["error"]["code"] in codes, body
    assert "Traceback" not in json.dumps(body)


@pytest.fixture
async def alice(alice):
    """After every case the server still does its work for the caller."""
    yield alice
    assert alice.server.running
    me = await alice.get("/api/v1/users/me")
    assert (alice.status, me["id"]) == (200, alice.user["id"])


REGISTER = "/api/v1/auth/register"
PERSON = {"username": "mallory", "email": "mallory@example.org", "password": "correct horse battery"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (REGISTER, b'{"username": ', "body"),
        (REGISTER, b"", "body"),
        (REGISTER, b"\xff\xfe\x00", "body"),
        (REGISTER, b"[1, 2]", "body"),
        (REGISTER, b"null", "body"),
        (REGISTER, b"[" * 5_000, "body"),
        (REGISTER, json.dumps(PERSON | {"username": 7}).encode(), "username"),
        (REGISTER, json.dumps(PERSON | {"email": None}).encode(), "email"),
        (REGISTER, json.dumps(PERSON | {"password": ["x"]}).encode(), "password"),
        (REGISTER, json.dumps({"username": "mallory", "password": "x" * 12}).encode(), "email"),
        (REGISTER, json.dumps(PERSON | {"role": "operator"}).encode(), "role"),
        ("/api/v1/auth/login", b'{"username": {}, "password": "x"}', "username"),
        ("/api/v1/feed/feedback", b'{"kind": "less"}', None),
        ("/api/v1/feed/feedback", b'{"kind": "hate", "tag": "cats"}', "kind"),
        ("/api/v1/events", b'{"events": "all"}', None),
        ("/api/v1/events", b"7", None),
    ],
)
async def test_json_body_is_refused_with_its_field_when_wrong(alice, path, body, field):
    """Malformed JSON, wrong types, unknown fields where they matter (INTERFACE Errors, O1)."""
    answer = await alice.call("POST", path, data=body, headers={"Content-Type": "application/json"})
    assert_refused(alice, answer, 400, "VALIDATION_ERROR")
    if field is not None:
        assert answer["error"]["details"]["field"] == field


async def test_json_body_is_refused_when_too_large_or_of_another_type(alice):
    """PAYLOAD_TOO_LARGE and UNSUPPORTED_MEDIA, not a crash (O3)."""
    huge = json.dumps(PERSON | {"username": "x" * (8 * MIB)}).encode()
    answer = await alice.call(
        "POST", REGISTER, data=io.BytesIO(huge), headers={"Content-Type": "application/json"}
    )
    assert_refused(alice, answer, 413, "PAYLOAD_TOO_LARGE")
    answer = await alice.call("POST", REGISTER, data=b"<a/>", headers={"Content-Type": "application/xml"})
    assert_refused(alice, answer, 415, "UNSUPPORTED_MEDIA")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/videos?limit=0", 400, "VALIDATION_ERROR"),
        ("/api/v1/videos?limit=many", 400, "VALIDATION_ERROR"),
        ("/api/v1/videos?cursor=%00nonsense", 400, "VALIDATION_ERROR"),
        ("/api/v1/feed?cursor=nonsense", 400, "VALIDATION_ERROR"),
        ("/api/v1/feed?profile=nonsense", 400, "VALIDATION_ERROR"),
        ("/api/v1/videos/not-a-uuid", 404, "CONTENT_NOT_FOUND"),
        (f"/api/v1/videos/{NOBODYS}", 404, "CONTENT_NOT_FOUND"),
        ("/api/v1/nowhere", 404, "NOT_FOUND"),
        ("/media/forged/videos/x/hls/master.m3u8", 403, "SIGNATURE_REFUSED"),
    ],
)
async def test_request_is_refused_with_its_code_when_it_names_nothing(alice, path, status, code):
    """Bad limits, cursors, ids and routes (INTERFACE Errors)."""
    assert_refused(alice, await alice.get(path), status, code)


BAD_EVENTS = (
    ({"event_id": "7"}, "VALIDATION_ERROR"),
    ({"action": "teleport"}, "VALIDATION_ERROR"),
    ({"watch_seconds": -1}, "VALIDATION_ERROR"),
    ({"watch_seconds": "long"}, "VALIDATION_ERROR"),
    ({"video_id": NOBODYS}, "CONTENT_NOT_FOUND"),
    ({"occurred_at": "yesterday"}, "VALIDATION_ERROR"),
    ({"video_id": None}, "VALIDATION_ERROR"),
)


async def test_event_is_rejected_by_index_when_its_neighbours_are_fine(
    alice, shared_server, make_client, shared_dir
):
    """A bad event of a batch costs only itself; alone it answers 400 (INTERFACE Engagement)."""
    video_id = (await alice.upload(shared_dir / TINY))["id"]
    await alice.wait_status(video_id, "READY")
    viewer = await make_client(shared_server).register()

    def event(**change):
        return {"event_id": str(uuid4()), "video_id": video_id, "action": "watch_50"} | change

    bad = [event(**change) for change, _ in BAD_EVENTS]
    batch = [event(), *(each for one in bad for each in (one, event())), 7, None]
    answer = await viewer.post("/api/v1/events", {"events": batch})
    assert viewer.status == 202, answer
    assert (answer["accepted"], answer["duplicates"]) == (len(bad) + 1, 0), answer
    found = {item["index"]: item["code"] for item in answer["rejected"]}
    expected = {2 * number + 1: code for number, (_, code) in enumerate(BAD_EVENTS)}
    assert found == expected | dict.fromkeys((len(batch) - 2, len(batch) - 1), "VALIDATION_ERROR")
    for (_, code), alone in zip(BAD_EVENTS, bad, strict=True):
        assert_refused(viewer, await viewer.post("/api/v1/events", alone), 400, code)
    counted = await viewer.eventually(
        f"/api/v1/videos/{video_id}/engagement", lambda body: body["views"] == 1
    )
    assert counted["completion_rate"] == 0.5


def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def forged_tokens(token):
    """Return tokens that look like the real one and are not."""
    head, claims, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(claims + "=="))
    key = OctKey.import_key(secrets.token_bytes(32))
    changed = encoded(told | {"role": "operator"})
    return {
        "alg none": f"{encoded({'alg': 'none', 'typ': 'at+jwt'})}.{claims}.",
        "alg None, kept signature": f"{encoded({'alg': 'None', 'typ': 'at+jwt'})}.{claims}.{signature}",
        "other key": jwt.encode({"alg": "HS256", "typ": "at+jwt"}, told, key),
        "changed claims": f"{head}.{changed}.{signature}",
        "changed signature": f"{head}.{claims}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "no signature": f"{head}.{claims}.",
        "garbage": "garbage",
        "dots": "..",
        "long": "x" * 7_000,
    }


async def test_token_is_refused_when_it_is_forged(alice):
    """Another algorithm, another key, other claims (N3, N4)."""
    for name, token in forged_tokens(alice.token).items():
        answer = await alice.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"})
        assert alice.status == 401, name
        assert_refused(alice, answer, 401, "INVALID_TOKEN")
    for header in ("Bearer", "Bearer ", "Basic YTpi", alice.token):
        answer = await alice.get("/api/v1/users/me", headers={"Authorization": header})
        assert_refused(alice, answer, 401, "INVALID_TOKEN", "MISSING_AUTH_HEADER")
    answer = await alice.get("/api/v1/tables")
    assert_refused(alice, answer, 403, "INSUFFICIENT_ROLE")


async def test_token_is_refused_when_it_has_expired(make_server, make_client):
    """TOKEN_EXPIRED, and a refresh gives a new one (N3, INTERFACE Process)."""
    server = make_server(FREEWILL_ACCESS_TOKEN_SECONDS="1")
    await server.start()
    client = make_client(server)
    name = "expiring"
    opened = await client.post(REGISTER, PERSON | {"username": name})
    assert opened["expires_in"] == 1
    client.token = opened["access_token"]
    await asyncio.sleep(2.1)
    assert_refused(client, await client.get("/api/v1/users/me"), 401, "TOKEN_EXPIRED")
    fresh = await client.post("/api/v1/auth/refresh", {"refresh_token": opened["refresh_token"]})
    assert client.status == 200, fresh
    client.token = fresh["access_token"]
    await client.get("/api/v1/users/me")
    assert client.status == 200


def form(*parts):
    """Return a multipart form: (name, value) or (name, bytes, file name)."""
    made = aiohttp.FormData(default_to_multipart=True)
    for name, value, *file in parts:
        if file:
            made.add_field(name, value, filename=file[0], content_type="video/mp4")
        else:
            made.add_field(name, value)
    return made


TITLE = ("title", "Bad")
FORMS = {
    "no file": (lambda clip: [TITLE], 400, "VALIDATION_ERROR"),
    "file as text": (lambda clip: [TITLE, ("file", "hello")], 400, "CORRUPTED_FILE INVALID_FORMAT"),
    "empty file": (lambda clip: [TITLE, ("file", b"", "a.mp4")], 400, "CORRUPTED_FILE"),
    "renamed text": (
        lambda clip: [TITLE, ("file", b"Dear diary, " * 999, "diary.mp4")],
        400,
        "CORRUPTED_FILE INVALID_FORMAT",
    ),
    "text": (lambda clip: [TITLE, ("file", b"Dear diary, " * 999, "diary.txt")], 400, "INVALID_FORMAT"),
    "two files": (
        lambda clip: [TITLE, ("file", clip, "a.webm"), ("file", clip, "b.webm")],
        400,
        "VALIDATION_ERROR",
    ),
    "no title": (lambda clip: [("file", clip, "a.webm")], 400, "VALIDATION_ERROR"),
    "long title": (lambda clip: [("title", "x" * 201), ("file", clip, "a.webm")], 400, "CONTENT_TOO_LONG"),
    "visibility": (
        lambda clip: [TITLE, ("visibility", "SECRET"), ("file", clip, "a.webm")],
        400,
        "INVALID_VISIBILITY",
    ),
    "policy": (lambda clip: [TITLE, ("policy", "huge"), ("file", clip, "a.webm")], 400, "VALIDATION_ERROR"),
}


@pytest.mark.parametrize("case", FORMS)
async def test_form_is_refused_and_leaves_nothing_when_it_is_wrong(alice, shared_dir, case):
    """No file, empty, renamed, wrong fields (A3, A4, A7, A8, H6, INTERFACE Upload and media)."""
    parts, status, codes = FORMS[case]
    objects = alice.server.files("objects")
    data = form(*parts((shared_dir / TINY).read_bytes()))
    answer = await alice.call("POST", "/api/v1/videos/upload", data=data)
    assert_refused(alice, answer, status, *codes.split())
    assert (await alice.get("/api/v1/videos"))["items"] == []
    assert alice.server.files("tmp/uploads") == set()
    assert {name for name in alice.server.files("objects") - objects if "/source." in name} == set()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n--y--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc'),
        ("multipart/form-data; boundary=x", b"--x\r\nnonsense\r\n\r\n\r\n--x--\r\n"),
        ("multipart/mixed; boundary=x", b"--x--\r\n"),
        ("application/json", b"{}"),
    ],
)
async def test_form_is_refused_when_it_is_none(alice, kind, body):
    """Broken multipart bodies are the client's fault (O1, O3)."""
    answer = await alice.call("POST", "/api/v1/videos/upload", data=body, headers={"Content-Type": kind})
    assert alice.status in (400, 415), answer
    assert_refused(
        alice, answer, alice.status, "VALIDATION_ERROR", "UNSUPPORTED_MEDIA", "CORRUPTED_FILE", "BAD_REQUEST"
    )


async def test_upload_is_refused_early_when_its_declared_length_is_over_the_limit(alice):
    """FILE_TOO_LARGE before the bytes have come: the body never ends (A4, X3)."""

    async def never_ends():
        yield b"--x\r\n"
        await asyncio.sleep(60)

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(3 * 1024 * MIB)}
    started = time.monotonic()
    answer = await alice.call("POST", "/api/v1/videos/upload", data=never_ends(), headers=headers)
    assert_refused(alice, answer, 413, "FILE_TOO_LARGE")
    assert time.monotonic() - started < 30


async def test_upload_is_cut_while_it_streams_when_it_grows_over_the_limit(alice):
    """501 MiB in chunks of unknown total: cut at 500, memory flat, nothing kept (A4, S-memory, X3)."""
    process = psutil.Process(alice.server.process.pid)
    sent, peak = 0, process.memory_info().rss
    before = peak
    block = b"\0" * MIB

    async def chunks():
        nonlocal sent, peak
        yield b'--x\r\nContent-Disposition: form-data; name="policy"\r\n\r\nshort\r\n'
        yield b'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nBig\r\n'
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        while sent < 2 * SHORT_LIMIT:
            sent += MIB
            if sent % (32 * MIB) == 0:
                peak = max(peak, process.memory_info().rss)
            yield block

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        answer = await alice.call("POST", "/api/v1/videos/upload", data=chunks(), headers=headers)
        assert_refused(alice, answer, 413, "FILE_TOO_LARGE")
    except (aiohttp.ClientError, ConnectionError):
        pass  # cut off in the middle of what was still being sent
    assert SHORT_LIMIT <= sent < SHORT_LIMIT + 64 * MIB, sent
    assert peak - before < STREAMING_BYTES, (before, peak)
    assert (await alice.get("/api/v1/videos"))["items"] == []
    assert alice.server.files("tmp/uploads") == set()


def hostile(shared_dir):
    """Return (file, class) of every hostile file, as its README classes them."""
    text = (shared_dir / "media/README.md").read_text().split("## Hostile")[1]
    rows = re.findall(r"^\| (\S+) \| [\d.]+ \| [^|]+ \| ([FCNUTDPW]) \|", text, re.MULTILINE)
    assert len(rows) == 45, len(rows)
    return [(shared_dir / "media/hostile" / name, kind) for name, kind in rows]


REFUSALS = {
    "F": {"INVALID_FORMAT", "CORRUPTED_FILE"},
    "C": {"CORRUPTED_FILE"},
    "N": {"INVALID_FORMAT", "CORRUPTED_FILE"},
    "U": {"INVALID_FORMAT"},
    "T": {"CORRUPTED_FILE", "DURATION_EXCEEDED"},
    "D": {"CORRUPTED_FILE", "INVALID_FORMAT"},
}
"""What a class is refused with; F may be called damaged when its name claims a listed format (A7)."""
MAY_PASS = {"P", "W"}


async def upload_hostile(client, shared_dir):
    """Upload every hostile file; return the ids of what was accepted."""
    accepted = {}
    for path, kind in hostile(shared_dir):
        policy = "long" if path.suffix in {".avi", ".wmv", ".3gp"} else "short"
        started = time.monotonic()
        answer = await client.upload(path, policy=policy)
        assert time.monotonic() - started < 60, path.name
        if client.status == 201:
            assert kind in MAY_PASS | {"T"}, (path.name, kind, answer)
            accepted[path.name] = answer["id"]
        else:
            assert client.status in (400, 413), (path.name, answer)
            allowed = REFUSALS.get(kind, {"CORRUPTED_FILE", "INVALID_FORMAT", "DURATION_EXCEEDED"})
            assert_refused(client, answer, client.status, *allowed)
            assert answer["error"]["message"]
    return accepted


@pytest.fixture
async def hostile_uploads(module_server, make_client, shared_dir):
    """Return the owner and what was accepted of the hostile files, uploaded once for the module."""
    if not module_server.running:
        await module_server.start()
    client = make_client(module_server)
    known = getattr(module_server, "hostile", None)
    if known is None:
        await client.register()
        accepted = await upload_hostile(client, shared_dir)
        known = module_server.hostile = (client.token, accepted)
    client.token, accepted = known
    return client, accepted


async def test_hostile_file_is_refused_by_its_class_when_uploaded(module_server, shared_dir, hostile_uploads):
    """All 45 files: F, C, N, U, T, D refused with a code, P and W accepted or refused (A3-A7, A58)."""
    client, accepted = hostile_uploads
    assert accepted, "something sound was refused"
    # A container that the policy does not list is another kind of file, sound or not (X2).
    for name in ("fuzz_avi_0.avi", "fuzz_3gp_0.3gp", "fuzz_wmv_2.wmv"):
        answer = await client.upload(shared_dir / "media/hostile" / name, policy="short")
        assert_refused(client, answer, 400, "INVALID_FORMAT")
    process = psutil.Process(module_server.process.pid)
    assert process.memory_info().rss < SERVER_MEMORY_BYTES
    assert (await client.get("/healthz"))["status"]
    # What it may not do: keep what it refused.
    owned = {video["id"] for video in await client.pages("/api/v1/videos?limit=100")}
    assert owned == set(accepted.values())
    assert {name.split("/")[1] for name in module_server.files("objects")} == owned


@pytest.mark.slow
async def test_hostile_file_ends_ready_or_failed_with_a_code_when_accepted(module_server, hostile_uploads):
    """Whatever was taken in is either playable or says why not; nothing hangs (C7, O32, A58)."""
    client, accepted = hostile_uploads
    for name, video_id in accepted.items():
        video = await client.wait_status(video_id, "READY", "FAILED", seconds=300)
        if video["status"] == "FAILED":
            assert video["fail_code"], (name, video)
            assert video["fail_reason"], (name, video)
        else:
            await client.assert_playable(video)
    process = psutil.Process(module_server.process.pid)
    assert process.memory_info().rss < SERVER_MEMORY_BYTES
