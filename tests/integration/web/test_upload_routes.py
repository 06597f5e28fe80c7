"""Upload sessions over HTTP: the shapes of documents 000, 001, 002, their codes, signed parts, reports."""

import asyncio
import hashlib
import io
import json
import re
from uuid import uuid4

import pytest
from aiohttp import FormData

from social.uploads import sign_report
from social.views import Principal
from web.routes import RateClass
from web.table import TABLE

SECRET = b"shared with the store"
DATA = b"video" + bytes(range(200))
DIGEST = hashlib.sha256(DATA).hexdigest()


async def call(front, person, method, path, body=None, **options):
    """Make a request; return status and JSON body."""
    headers = (person.headers if person else {}) | options.pop("headers", {})
    path = path.removeprefix("http://front.test")
    async with front.client.request(method, path, json=body, headers=headers, **options) as answer:
        text = await answer.text()
        front.headers = answer.headers
        return answer.status, json.loads(text) if text else {}


async def post(front, person, path, body=None, **options):
    return await call(front, person, "POST", path, body, **options)


async def opened(front, person, **said):
    """Open a session of document 000."""
    body = {"filename": "a.mp4", "file_size": len(DATA), "total_chunks": 2, "checksum": DIGEST} | said
    return await post(front, person, "/api/v1/uploads", body)


async def draft(front, person, root="/api/v1"):
    body = {"title": "A film", "source_mime": "video/mp4", "source_size_bytes": len(DATA)}
    if root == "/api":
        body = {"title": "A film", "sourceMime": "video/mp4", "sourceSizeBytes": len(DATA)}
    status, video = await post(front, person, f"{root}/videos", body)
    assert status == 201, video
    return video


async def test_chunks_become_a_video_when_finalized(front, ada):
    """A12, A13, A18: document 000's operations, routes and shapes; chunks in any order."""
    status, session = await opened(front, ada)
    assert (status, session["status"], session["total_chunks"]) == (201, "active", 2)
    assert front.headers["Location"] == f"/api/v1/uploads/{session['session_id']}"
    path = f"/api/v1/uploads/{session['session_id']}"
    for number, data, left in ((2, DATA[100:], 1), (1, DATA[:100], 0)):
        status, done = await call(front, ada, "PUT", f"{path}/chunks/{number}", data=data)
        assert (status, done["chunk_number"], done["remaining"], done["status"]) == (
            200,
            number,
            left,
            "active",
        )
        assert done["etag"] == front.headers["ETag"]
    status, seen = await call(front, ada, "GET", path)
    assert (status, seen["received_chunks"], seen["status"], seen["state"]) == (
        200, [1, 2], "active", "IN_PROGRESS",
    )  # fmt: skip
    for _ in range(2):  # A37
        status, video = await post(front, ada, f"{path}/finalize", {"title": "T", "tags": ["#Cats"]})
        assert (status, video["title"], video["tags"], video["status"]) == (201, "T", ["cats"], "UPLOADED")
    status, seen = await call(front, ada, "GET", path)
    assert (seen["status"], seen["state"], seen["video_id"]) == ("completed", "COMPLETED", video["id"])
    status, seen = await call(front, ada, "GET", path.replace("/v1", ""))
    assert (seen["status"], seen["videoId"], seen["bytesUploaded"]) == ("COMPLETED", video["id"], len(DATA))


@pytest.mark.parametrize("root", ["/api", "/api/v1"])
async def test_parts_become_the_source_when_completed(front, ada, root):
    """A26-A30, C16, X5, X6, X12: 001's routes in both spellings."""
    camel = root == "/api"

    def said(name):
        return re.sub(r"_(.)", lambda match: match[1].upper(), name) if camel else name

    video = await draft(front, ada, root)
    assert (video["status"], video["source"][said("size_bytes")]) == ("DRAFT", len(DATA))
    body = {said("source_mime"): "video/mp4", said("source_size_bytes"): len(DATA)}
    status, session = await post(front, ada, f"{root}/videos/{video['id']}/uploads", body)
    assert (status, session["status"], session[said("part_size_bytes")]) == (201, "INITIATED", 5_242_880)
    path = f"{root}/uploads/{session[said('upload_session_id')]}"
    status, target = await post(front, ada, f"{path}/parts", {said("part_number"): 1})
    assert (status, target[said("part_number")]) == (200, 1)
    status, several = await post(front, ada, f"{path}/parts", {said("part_numbers"): [1]})
    assert [part[said("upload_url")] for part in several["parts"]] == [target[said("upload_url")]]
    for move, state in (("pause", "PAUSED"), ("resume", "IN_PROGRESS")):
        status, moved = await post(front, ada, f"{path}/{move}")
        assert (status, moved["status"]) == (200, state)
    status, part = await call(front, None, "PUT", target[said("upload_url")], data=DATA)
    assert (status, front.headers["ETag"]) == (200, part["etag"])
    status, seen = await call(front, ada, "GET", path)
    assert (seen["status"], seen[said("bytes_uploaded")], len(seen["parts"])) == ("IN_PROGRESS", len(DATA), 1)
    named = {"parts": [{said("part_number"): 1, "etag": part["etag"]}]}
    for _ in range(2):
        status, done = await post(front, ada, f"{path}/complete", named)
        assert (status, done["status"]) == (200, "COMPLETED")
    assert (await call(front, ada, "GET", f"/api/v1/videos/{video['id']}"))[1]["status"] == "UPLOADED"
    status, refused = await post(front, ada, f"{path}/resume")
    assert (status, refused["error"]["code"]) == (409, "INVALID_STATE_TRANSITION")


async def test_signed_part_is_refused_as_an_object_store_would(front, ada):
    """A50: 403 for what is altered, expired, of another size, or not signed at all."""
    video = await draft(front, ada)
    body = {"source_mime": "video/mp4", "source_size_bytes": len(DATA)}
    _, session = await post(front, ada, f"/api/v1/videos/{video['id']}/uploads", body)
    path = f"/api/v1/uploads/{session['upload_session_id']}/parts"
    _, target = await post(front, ada, path, {"part_number": 1})
    url = target["upload_url"]
    for wrong, data in (
        (url, DATA + b"!"),
        (url, DATA[:-1]),
        (url.replace("/parts/1", "/parts/2"), DATA),
        (re.sub(r"size=\d+", "size=1", url), b"x"),
        (re.sub(r"expires=\d+", "expires=99999999999", url), DATA),
        (url[:-1] + ("0" if url[-1] != "0" else "1"), DATA),
        (url.partition("?")[0], DATA),
    ):
        status, refused = await call(front, ada, "PUT", wrong, data=data)
        assert (status, refused["error"]["code"]) == (403, "SIGNATURE_REFUSED"), wrong
    front.clock.ahead = 3_601
    assert (await call(front, ada, "PUT", url, data=DATA))[0] == 403
    front.clock.ahead = 86_401
    ada.token = front.tokens.issue(Principal(ada.id, ada.username, ada.role, str(uuid4())))
    status, gone = await post(front, ada, path, {"part_number": 1})
    assert (status, gone["error"]["code"]) == (410, "SESSION_EXPIRED")


async def test_errors_have_their_codes_when_chunks_are_wrong(front, ada):
    """A11, A17, A55, N3, O1."""
    bob = await front.person("bob")
    _, session = await opened(front, ada)
    path = f"/api/v1/uploads/{session['session_id']}"
    wrong = [
        ("PUT", f"{path}/chunks/3", ada, 400, "INVALID_CHUNK_SEQUENCE"),
        ("PUT", f"{path}/chunks/x", ada, 400, "INVALID_CHUNK_SEQUENCE"),
        ("PUT", f"{path}/chunks/1", bob, 403, "NOT_CONTENT_OWNER"),
        ("PUT", f"{path}/chunks/1", None, 401, "MISSING_AUTH_HEADER"),
        ("PUT", "/api/v1/uploads/nothing/chunks/1", ada, 404, "CONTENT_NOT_FOUND"),
        ("GET", path, bob, 403, "NOT_CONTENT_OWNER"),
        ("GET", f"/api/uploads/{'0' * 8}-0000-0000-0000-{'0' * 12}", ada, 404, "CONTENT_NOT_FOUND"),
    ]
    for method, target, person, status, code in wrong:
        answered, body = await call(front, person, method, target, data=b"x" if method == "PUT" else None)
        assert (answered, body["error"]["code"]) == (status, code), target
    status, body = await call(front, ada, "PUT", f"{path}/chunks/1", data=b"x" * 1000)
    assert (status, body["error"]["code"], body["error"]["details"]["limit"]) == (
        413,
        "FILE_TOO_LARGE",
        len(DATA),
    )
    status, body = await post(front, ada, f"{path}/finalize", {"title": "T"})
    assert (status, body["error"]["code"]) == (400, "INVALID_CHUNK_SEQUENCE")
    for said, code, http in (
        ({"file_size": 524_288_001}, "FILE_TOO_LARGE", 413),
        ({"filename": "a.mkv"}, "INVALID_FORMAT", 400),
        ({"file_size": 0}, "CORRUPTED_FILE", 400),
        ({"file_size": -1}, "VALIDATION_ERROR", 400),
        ({"total_chunks": 0}, "VALIDATION_ERROR", 400),
        ({"checksum": "md5"}, "VALIDATION_ERROR", 400),
        ({"policy": "huge"}, "VALIDATION_ERROR", 400),
        ({"total_chunks": "2"}, "VALIDATION_ERROR", 400),
    ):
        status, body = await opened(front, ada, **said)
        assert (status, body["error"]["code"]) == (http, code), said
    _, session = await opened(front, ada, checksum="0" * 64, total_chunks=1)
    path = f"/api/v1/uploads/{session['session_id']}"
    await call(front, ada, "PUT", f"{path}/chunks/1", data=DATA)
    status, body = await post(front, ada, f"{path}/finalize", {"title": "T"})
    assert (status, body["error"]["code"]) == (400, "CHECKSUM_MISMATCH")
    assert (await call(front, ada, "GET", path))[1]["status"] == "failed"


async def test_report_of_the_store_is_taken_when_it_is_signed(front, ada):
    """A42: 204; 401 without the secret; it has the effect of complete, twice too (A37)."""
    video = await draft(front, ada)
    body = {"source_mime": "video/mp4", "source_size_bytes": len(DATA)}
    _, session = await post(front, ada, f"/api/v1/videos/{video['id']}/uploads", body)
    _, target = await post(
        front, ada, f"/api/v1/uploads/{session['upload_session_id']}/parts", {"part_number": 1}
    )
    await call(front, None, "PUT", target["upload_url"], data=DATA)
    report = {
        "uploadSessionId": session["upload_session_id"], "videoId": video["id"], "status": "COMPLETED",
        "sourceFileKey": f"videos/{video['id']}/source.mp4", "sourceSizeBytes": len(DATA),
        "sourceMime": "video/mp4",
    }  # fmt: skip
    raw = json.dumps(report).encode()
    kind = {"Content-Type": "application/json"}
    for signature in (None, "sha256=0", sign_report(b"another", raw)):
        headers = kind | ({"X-Signature": signature} if signature else {})
        status, refused = await call(front, None, "POST", "/api/webhooks/uploads", data=raw, headers=headers)
        assert (status, refused["error"]["code"]) == (401, "REPORT_NOT_SIGNED")
    signed = kind | {"X-Signature": sign_report(SECRET, raw)}
    for path in ("/api/webhooks/uploads", "/api/v1/webhooks/uploads"):
        assert (await call(front, None, "POST", path, data=raw, headers=signed))[0] == 204
    assert (await call(front, ada, "GET", f"/api/v1/videos/{video['id']}"))[1]["status"] == "UPLOADED"


async def test_reel_says_how_far_its_upload_is(front, ada):
    """A21, A23, A57: 002's words for an upload in parts and for a form."""
    video = await draft(front, ada)
    body = {"source_size_bytes": 2 * 5_242_880}
    _, session = await post(front, ada, f"/api/v1/videos/{video['id']}/uploads", body)
    _, target = await post(
        front, ada, f"/api/v1/uploads/{session['upload_session_id']}/parts", {"part_number": 1}
    )
    await call(front, None, "PUT", target["upload_url"], data=io.BytesIO(b"x" * 5_242_880))
    status, reel = await call(front, ada, "GET", f"/api/v1/reels/{video['id']}/status")
    assert (status, reel["status"], reel["upload_progress"], reel["processing_progress"]) == (
        200, "uploading", 50.0, 0.0,
    )  # fmt: skip
    form = FormData()
    form.add_field("title", "A reel")
    form.add_field("hashtags", "cats")
    form.add_field("video", DATA, filename="a.mp4")
    status, reel = await call(front, ada, "POST", "/api/v1/reels/upload", data=form)
    assert (status, reel["status"], reel["upload_progress"]) == (202, "uploading", 100.0)
    status, reel = await call(front, ada, "GET", f"/api/v1/reels/{reel['video_id']}/status")
    assert (reel["status"], reel["upload_progress"]) == ("processing", 100.0)


async def test_draft_is_refused_when_what_it_announces_cannot_be(front, ada):
    """Scenario 2, A10, A11, X1, X2: on create, with the list or the limit."""
    for said, status, code in (
        ({"sourceMime": "video/webm"}, 400, "INVALID_FORMAT"),
        ({"sourceSizeBytes": 1_610_612_737}, 413, "FILE_TOO_LARGE"),
        ({"sourceSizeBytes": 524_288_001, "policy": "short"}, 413, "FILE_TOO_LARGE"),
        ({"title": ""}, 400, "VALIDATION_ERROR"),
        ({"title": "a" * 201}, 400, "CONTENT_TOO_LONG"),
        ({"source_mime": "video/mp4"}, 400, "VALIDATION_ERROR"),
    ):
        body = {"title": "T", "sourceMime": "video/mp4", "sourceSizeBytes": 1} | said
        answered, refused = await post(front, ada, "/api/videos", body)
        assert (answered, refused["error"]["code"]) == (status, code), said
    body = {"title": "T", "sourceMime": "video/mp4", "sourceSizeBytes": 1_610_612_736}
    assert (await post(front, ada, "/api/videos", body))[0] == 201


async def test_part_leaves_nothing_when_its_client_goes_away(front, ada):
    """A36: and the session can go on."""
    _, session = await opened(front, ada, total_chunks=1)
    url = front.client.make_url("/")
    _, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(
        f"PUT /api/v1/uploads/{session['session_id']}/chunks/1 HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {ada.token}\r\nContent-Length: {len(DATA)}\r\n\r\n".encode()
        + DATA[:50]
    )
    await writer.drain()
    folder = front.folder / "parts" / session["session_id"]
    for _ in range(200):
        if any(folder.glob(".*")):
            break
        await asyncio.sleep(0.02)
    writer.close()
    path = f"/api/v1/uploads/{session['session_id']}"
    for _ in range(200):
        if not any(folder.glob(".*")):
            break
        await asyncio.sleep(0.02)
    assert [file.name for file in folder.iterdir()] == ["upload.json"]
    assert (await call(front, ada, "GET", path))[1]["received_chunks"] == []
    status = 409
    while status == 409:  # until the server is through with the first, whose file is gone already
        status, _ = await call(front, ada, "PUT", f"{path}/chunks/1", data=DATA)
    assert status == 200


def test_parts_have_a_wider_limit_than_other_calls():
    """X65: 308 part requests fit into a minute."""
    from web.limits import DEFAULT_LIMITS

    rows = {row.name: row.rate for row in TABLE}
    assert {rows[name] for name in ("put_chunk", "put_part", "sign_parts", "sign_parts_001")} == {
        RateClass.UPLOAD_PARTS
    }
    assert DEFAULT_LIMITS[RateClass.UPLOAD_PARTS].requests >= 2 * 308
