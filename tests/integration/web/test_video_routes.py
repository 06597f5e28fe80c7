"""Uploads and videos over HTTP (INTERFACE Video; A4, A19, A20, A58, C13, C17, C18, C23, C42, C45, N23)."""

import asyncio
import io
from collections import Counter

import pytest
import structlog
from aiohttp import FormData, MultipartWriter

from tables.records import MediaResult
from web.uploads import SUFFIX


def form(file=b"video bytes", *, first=True, name="clip.mp4", **fields):
    """Build a form with the file before or after the other fields."""
    made = FormData()
    if file is not None and first:
        made.add_field("file", io.BytesIO(file), filename=name)
    for field, values in ({"title": "A clip"} | fields).items():
        for value in values if isinstance(values, list) else [values]:
            made.add_field(field, value)
    if file is not None and not first:
        made.add_field("file", io.BytesIO(file), filename=name)
    return made


async def post(front, person, data, path="/api/v1/videos/upload", **headers):
    response = await front.client.post(path, data=data, headers=person.headers | headers)
    return response.status, await response.json()


def leftovers(front):
    return list((front.folder / "uploads").glob(f"*{SUFFIX}"))


def objects(front):
    return [path for path in (front.folder / "objects").rglob("*") if path.is_file()]


@pytest.mark.parametrize("first", [True, False])
async def test_video_is_uploaded_when_fields_come_in_any_order(front, ada, first):
    """A20, INTERFACE Video: the canonical shape."""
    data = form(first=first, tags=["Cats, #Dogs", "birds"], description="About", visibility="PRIVATE")
    status, video = await post(front, ada, data)
    assert status == 201
    assert (video["status"], video["owner_id"], video["visibility"]) == ("UPLOADED", ada.id, "PRIVATE")
    assert video["tags"] == ["cats", "dogs", "birds"]
    assert video["playback"]["ready"] is False
    assert {value for name, value in video["playback"].items() if name.endswith("url")} == {None}
    assert len(objects(front)) == 1
    assert leftovers(front) == []


async def test_answer_has_document_000_shape_when_the_alias_is_used(front, ada):
    """C45, A20, B32."""
    status, post_ = await post(front, ada, form(), "/api/posts/")
    assert (status, post_["status"], post_["user_id"]) == (201, "processing", ada.id)
    assert {"moderation_status", "is_federated", "resolutions", "thumbnails", "duration"} <= set(post_)


REFUSED = [
    (form(None), 400, "VALIDATION_ERROR", "file"),
    (form(b""), 400, "CORRUPTED_FILE", None),
    (form(b"#!/bin/sh"), 400, "INVALID_FORMAT", None),
    (form(title=""), 400, "VALIDATION_ERROR", "title"),
    (form(title="a" * 201), 400, "CONTENT_TOO_LONG", "title"),
    (form(description="a" * 2001), 400, "CONTENT_TOO_LONG", "description"),
    (form(tags=[f"t{n}" for n in range(11)]), 400, "CONTENT_TOO_LONG", "tags"),
    (form(visibility="SECRET"), 400, "INVALID_VISIBILITY", "visibility"),
    (form(policy="huge"), 400, "VALIDATION_ERROR", "policy"),
    (form(description="a" * 70_000), 400, "VALIDATION_ERROR", "description"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
async def test_upload_is_refused_when_the_form_is_wrong(front, ada, case):
    """A8, O3, O10: its code, and neither row nor object nor temporary file remain (A19)."""
    data, status, code, field = REFUSED[case]
    answered, body = await post(front, ada, data)
    assert (answered, body["error"]["code"]) == (status, code)
    if field:
        assert body["error"]["details"]["field"] == field
    assert objects(front) == leftovers(front) == []
    listed = await (await front.client.get("/api/v1/videos", headers=ada.headers)).json()
    assert listed == {"items": [], "next_cursor": None}


async def test_upload_is_refused_when_nobody_is_signed_in(front):
    """N3."""
    response = await front.client.post("/api/v1/videos/upload", data=form())
    assert response.status == 401
    assert (await response.json())["error"]["code"] == "MISSING_AUTH_HEADER"


@pytest.mark.parametrize(
    ("raw", "content_type", "status", "code"),
    [
        (b"{}", "application/json", 415, "UNSUPPORTED_MEDIA"),
        (b"nonsense", "multipart/form-data; boundary=x", 400, "VALIDATION_ERROR"),
        (b"nonsense", "multipart/form-data", 400, "VALIDATION_ERROR"),
        (b'--x\r\nContent-Disposition: form-data; name="file"', "multipart/form-data; boundary=x", 400, None),
        (b"--x\r\n\r\nabc\r\n--x--\r\n", "multipart/form-data; boundary=x", 400, "VALIDATION_ERROR"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 400, "VALIDATION_ERROR"),
        (b"", "multipart/form-data; boundary=x", 400, "VALIDATION_ERROR"),
    ],
)
async def test_upload_is_refused_when_the_body_is_no_form(front, ada, raw, content_type, status, code):
    """Bad input has its code and the next request works."""
    answered, body = await post(front, ada, io.BytesIO(raw), **{"Content-Type": content_type})
    assert answered == status
    assert code in (None, body["error"]["code"])
    assert (await post(front, ada, form()))[0] == 201


async def test_file_is_cut_off_when_it_is_over_the_limit(front, ada, monkeypatch):
    """A4, A58: the limit passes, one byte more does not, and the client can read why."""
    from dataclasses import replace

    from media import policies

    small = {name: replace(policy, max_bytes=3_000_000) for name, policy in policies.POLICIES.items()}
    monkeypatch.setattr("media.policies.POLICIES", small)
    monkeypatch.setattr("web.uploads.POLICIES", small)
    for first in (True, False):
        for policy in ({}, {"policy": "short"}):
            exact = form(b"video".ljust(3_000_000, b"."), first=first, **policy)
            over = form(b"video".ljust(3_000_001, b"."), first=first, **policy)
            assert (await post(front, ada, exact))[0] == 201
            status, body = await post(front, ada, over)
            assert (status, body["error"]["code"]) == (413, "FILE_TOO_LARGE")
            assert body["error"]["details"]["limit"] == 3_000_000
    much = form(b"video".ljust(20_000_000, b"."))
    status, body = await post(front, ada, much)
    assert (status, body["error"]["code"]) == (413, "FILE_TOO_LARGE")
    assert leftovers(front) == []


async def test_nothing_remains_when_the_client_goes_away(front, ada):
    """A19, INTERFACE: an upload that is cut off leaves no row and no object."""
    url = front.client.make_url("/")
    _, writer = await asyncio.open_connection(url.host, url.port)
    head = (
        f"POST /api/v1/videos/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    )
    writer.write(head.encode() + b"video" * 400_000)
    await writer.drain()
    for _ in range(200):
        if leftovers(front):
            break
        await asyncio.sleep(0.01)
    assert leftovers(front)
    with structlog.testing.capture_logs() as logs:
        writer.close()
        for _ in range(500):
            if not leftovers(front) and any(entry["event"] == "client went away" for entry in logs):
                break
            await asyncio.sleep(0.01)
    assert leftovers(front) == objects(front) == []
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_same_video_is_answered_when_the_key_is_repeated(front, ada):
    """H8: the same Idempotency-Key creates once, also at the same time; another person's key is theirs."""
    both = await asyncio.gather(
        *(post(front, ada, form(), **{"Idempotency-Key": "k1"}) for _ in range(2)),
    )
    again = await post(front, ada, form(), **{"Idempotency-Key": "k1"})
    bob = await front.person("bob")
    other = await post(front, bob, form(), **{"Idempotency-Key": "k1"})
    assert {status for status, _ in [*both, again, other]} == {201}
    ids = Counter(body["id"] for _, body in [*both, again, other])
    assert sorted(ids.values()) == [1, 3]
    refused = await post(front, ada, form(), **{"Idempotency-Key": "k" * 300})
    assert refused[1]["error"]["details"]["field"] == "Idempotency-Key"


async def test_file_name_is_no_path_when_it_looks_like_one(front, ada):
    """N23."""
    status, _ = await post(front, ada, form(name="../../../../evil.mp4"))
    assert status == 201
    assert not list(front.folder.rglob("evil*"))


async def test_playback_is_signed_when_ready_and_nothing_before(front, ada):
    """C13, C17, C34: and others see the video only then (C37)."""
    video = await front.upload(ada)
    path = f"/api/v1/videos/{video['id']}"
    assert (await front.client.get(path)).status == 404
    await front.make_ready(video["id"])
    seen = await (await front.client.get(path)).json()
    assert seen["status"] == "READY"
    assert seen["progress"] == 100
    playback = seen["playback"]
    assert playback["ready"] is True
    assert playback["stream_url"] == playback["hls_url"]
    assert playback["hls_url"].startswith("http://front.test/media/")
    assert playback["hls_url"].endswith(f"/videos/{video['id']}/hls/master.m3u8")
    assert playback["qualities"] == ["360p"]
    assert playback["dash_url"] is None
    assert seen["thumbnails"]["small"].endswith("small.jpg")
    assert seen["created_at"].endswith("Z")


async def test_not_modified_when_the_client_has_this_answer(front, ada):
    """C17 with a validator."""
    video = await front.upload(ada)
    path = f"/api/v1/videos/{video['id']}"
    first = await front.client.get(path, headers=ada.headers)
    second = await front.client.get(path, headers=ada.headers | {"If-None-Match": first.headers["ETag"]})
    assert (second.status, await second.read()) == (304, b"")


async def test_own_videos_are_paged_when_there_are_many(front, ada):
    """C18, C1: newest first, each once, filtered by status; bad parameters are named."""
    made = [(await front.upload(ada, title=f"clip {n}"))["id"] for n in range(5)]
    seen, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = await (await front.client.get("/api/v1/videos", params=query, headers=ada.headers)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]
    ready = await front.client.get("/api/v1/videos?status=READY&limit=1000", headers=ada.headers)
    assert (await ready.json())["items"] == []
    for name, value in (("limit", "0"), ("limit", "x"), ("cursor", "!"), ("status", "DONE")):
        bad = await front.client.get("/api/v1/videos", params={name: value}, headers=ada.headers)
        body = await bad.json()
        assert (bad.status, body["error"]["code"]) == (400, "VALIDATION_ERROR")
        assert body["error"]["details"]["field"] == name


async def test_only_the_owner_deletes_when_others_try(front, ada):
    """C23, C24, H7."""
    video = await front.upload(ada)
    await front.make_ready(video["id"])
    path = f"/api/v1/videos/{video['id']}"
    bob = await front.person("bob")
    refused = await front.client.delete(path, headers=bob.headers)
    assert (refused.status, (await refused.json())["error"]["code"]) == (403, "NOT_CONTENT_OWNER")
    assert (await front.client.delete(path, headers=ada.headers)).status == 204
    for answer in (
        await front.client.get(path, headers=ada.headers),
        await front.client.delete(path, headers=ada.headers),
    ):
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "CONTENT_NOT_FOUND")
    assert objects(front) == []


async def test_retry_follows_the_transition_table_when_asked(front, ada):
    """C42, C48: refused unless FAILED."""
    video = await front.upload(ada)
    path = f"/api/v1/videos/{video['id']}"
    await front.deps.videos.enqueue_encoding(video["id"])
    refused = await front.client.post(f"{path}/retry", headers=ada.headers)
    assert (refused.status, (await refused.json())["error"]["code"]) == (409, "INVALID_STATE_TRANSITION")
    (job,) = await front.deps.videos.unfinished_jobs()
    failed = MediaResult(
        job_id=job.job_id, video_id=video["id"], outcome="failed", at=front.clock(),
        fail_code="TRANSCODE_ERROR", fail_reason="It broke.",
    )  # fmt: skip
    await front.deps.videos.apply_failed(failed)
    state = await (await front.client.get(f"{path}/encoding", headers=ada.headers)).json()
    assert (state["status"], state["fail_code"]) == ("FAILED", "TRANSCODE_ERROR")
    retried = await front.client.post(f"{path}/retry", headers=ada.headers)
    assert (retried.status, (await retried.json())["status"]) == (202, "TRANSCODING")


@pytest.mark.parametrize("name", ["nonsense", "00000000-0000-4000-8000-000000000000", "..%2f..", "a%00b"])
async def test_video_is_not_found_when_the_id_names_none(front, ada, name):
    """O7."""
    for method, tail in (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("GET", "/encoding")):
        path = f"/api/v1/videos/{name}{tail}"
        response = await front.client.request(method, path, headers=ada.headers)
        assert (response.status, (await response.json())["error"]["code"]) == (404, "CONTENT_NOT_FOUND")


async def test_limits_are_announced_when_asked(front):
    """Y5: known before the first byte."""
    body = await (await front.client.get("/api/v1/uploads/policies")).json()
    assert body["max_title"] == 200
    by_name = {item["name"]: item for item in body["items"]}
    assert by_name["short"]["max_seconds"] == 180
    assert by_name["long"]["max_seconds"] is None
    assert "webm" in by_name["short"]["formats"]


async def test_profile_lists_only_what_is_public_when_others_look(front, ada):
    """C44."""
    shown, hidden = await front.upload(ada), await front.upload(ada, visibility="PRIVATE")
    await front.upload(ada)
    for video in (shown, hidden):
        await front.make_ready(video["id"])
    page = await (await front.client.get(f"/api/v1/users/{ada.id}/videos")).json()
    assert [item["id"] for item in page["items"]] == [shown["id"]]


async def test_form_is_read_when_a_part_is_encoded_oddly(front, ada):
    """A part that claims another encoding, or nests a form, is refused without a stack trace."""
    for headers in ({"Content-Transfer-Encoding": "odd"}, {"Content-Encoding": "odd"}):
        with MultipartWriter("form-data", boundary="x") as writer:
            part = writer.append(b"video bytes")
            part.set_content_disposition("form-data", name="file", filename="a.mp4")
            raw = (
                b'--x\r\nContent-Disposition: form-data; name="title"\r\n'
                + "".join(f"{k}: {v}\r\n" for k, v in headers.items()).encode()
                + b"\r\nHello\r\n--x--\r\n"
            )
        status, body = await post(
            front, ada, io.BytesIO(raw), **{"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert status == 400, body
