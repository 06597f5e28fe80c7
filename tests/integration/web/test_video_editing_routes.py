"""Editing, lifecycle and events of videos over HTTP (C18-C20, C26, C42, C43, C48, A9, X5, X6, X48, X53)."""

import asyncio
import base64
import json

import pytest
from aiohttp import FormData
from sqlalchemy import Engine, event, update

from social.videos.polling import Polled
from tables.relational.models import VideoRow

STATES = ("DRAFT", "UPLOADING", "UPLOADED", "TRANSCODING", "READY", "FAILED")
FURTHER = {"hashtags": ["#Cats"], "content_type": "duet", "audio_url": "https://sound.example/1"}


async def call(front, method, path, person=None, headers=None, **options):
    headers = (person.headers if person else {}) | (headers or {})
    response = await front.client.request(method, path, headers=headers, **options)
    body = await response.read()
    return response, json.loads(body) if body else None


async def draft(front, person, **said):
    _, video = await call(front, "POST", "/api/v1/videos", person, json={"title": "A draft", **said})
    return video


async def test_edit_answers_both_shapes_when_owner_patches(front, ada):
    """C19, X6, X48, A9: snake_case whole, camelCase in 001's five fields, PUT replaces."""
    video = await draft(front, ada)
    path = f"/videos/{video['id']}"
    response, body = await call(
        front, "PATCH", f"/api{path}/", ada, json={"title": " New ", "audioUrl": None}
    )
    assert (response.status, set(body)) == (200, {"id", "title", "description", "status", "updatedAt"})
    assert body["title"] == "New"
    assert response.headers["ETag"] == (await call(front, "GET", f"/api{path}", ada))[0].headers["ETag"]
    response, body = await call(front, "PATCH", f"/api/v1{path}", ada, json={"description": "d", **FURTHER})
    assert (body["title"], body["description"], body["hashtags"]) == ("New", "d", ["cats"])
    assert (body["content_type"], body["audio_url"]) == ("duet", FURTHER["audio_url"])
    assert body["updated_at"] > video["updated_at"]
    assert response.headers["ETag"] == (await call(front, "GET", f"/api/v1{path}", ada))[0].headers["ETag"]
    _, body = await call(
        front, "PUT", f"/api/v1{path}", ada, json={"title": "Again", "visibility": "PRIVATE"}
    )
    assert (body["title"], body["description"], body["hashtags"]) == ("Again", "", [])
    assert (body["visibility"], body["content_type"], body["audio_url"]) == ("PRIVATE", "original", None)


@pytest.mark.parametrize(
    ("said", "code", "field"),
    [
        ({"title": ""}, "VALIDATION_ERROR", "title"),
        ({"title": "t" * 201}, "CONTENT_TOO_LONG", "title"),
        ({"title": None}, "VALIDATION_ERROR", "title"),
        ({"description": "d" * 2001}, "CONTENT_TOO_LONG", "description"),
        ({"tags": [str(n) for n in range(11)]}, "CONTENT_TOO_LONG", "tags"),
        ({"hashtags": ["h" * 51]}, "CONTENT_TOO_LONG", "hashtags"),
        ({"visibility": "public"}, "INVALID_VISIBILITY", "visibility"),
        ({"content_type": "remix"}, "VALIDATION_ERROR", "content_type"),
        ({"audio_url": "javascript:alert(1)"}, "VALIDATION_ERROR", "audio_url"),
        ({"audio_url": "http://[::1"}, "VALIDATION_ERROR", "audio_url"),
        ({"status": "READY"}, "VALIDATION_ERROR", "status"),
    ],
)
async def test_edit_is_refused_when_it_passes_a_limit_of_uploads(front, ada, said, code, field):
    """C19, A8, A9, O4: the field is named and nothing has changed."""
    video = await draft(front, ada)
    path = f"/api/v1/videos/{video['id']}"
    response, body = await call(front, "PATCH", path, ada, json={"tags": ["kept"], **said})
    assert (response.status, body["error"]["code"]) == (400, code)
    assert body["error"]["details"]["field"] == field
    assert (await call(front, "GET", path, ada))[1]["tags"] == []


async def test_each_error_is_told_when_a_video_cannot_be_edited(front, ada):
    """C19, C23, O1, O6, O7, X34."""
    video, bob = await draft(front, ada), await front.person("bob")
    await front.make_ready((ready := await front.upload(ada))["id"])
    expected = [
        (video["id"], None, 401, "MISSING_AUTH_HEADER"),
        (video["id"], bob, 404, "CONTENT_NOT_FOUND"),
        (ready["id"], bob, 403, "NOT_CONTENT_OWNER"),
        ("no-id", ada, 404, "CONTENT_NOT_FOUND"),
    ]
    for method in ("PATCH", "PUT"):
        for video_id, person, status, code in expected:
            path = f"/api/v1/videos/{video_id}"
            response, body = await call(front, method, path, person, json={"title": "t"})
            assert (response.status, body["error"]["code"]) == (status, code)
            assert body["request_id"] == response.headers["X-Request-ID"]
    path = f"/api/v1/videos/{video['id']}"
    response, body = await call(front, "PATCH", path, ada, {"If-Match": "abc"}, json={"title": "t"})
    assert (response.status, body["error"]["details"]["field"]) == (400, "If-Match")
    assert (await call(front, "DELETE", path, ada))[0].status == 204
    response, body = await call(front, "PATCH", path, ada, json={"title": "t"})
    assert (response.status, body["error"]["code"]) == (409, "CONTENT_ALREADY_DELETED")
    assert (await call(front, "DELETE", path, ada))[0].status == 404


async def test_later_of_two_edits_is_refused_when_both_began_from_one_answer(front, ada):
    """C19, RFC 9110 13.1.1: 412; ``*`` and no header go through, a weak tag never."""
    video = await draft(front, ada)
    path = f"/api/v1/videos/{video['id']}"
    tag = (await call(front, "GET", path, ada))[0].headers["ETag"]
    edits = [
        call(front, "PATCH", path, ada, {"If-Match": f'"other", {tag}'}, json={"title": title})
        for title in ("One", "Two")
    ]
    answers = await asyncio.gather(*edits)
    assert sorted(response.status for response, _ in answers) == [200, 412]
    winner = next(body["title"] for response, body in answers if response.status == 200)
    refused = next(body for response, body in answers if response.status == 412)
    assert refused["error"]["code"] == "PRECONDITION_FAILED"
    response, body = await call(front, "GET", path, ada)
    assert body["title"] == winner
    newest = response.headers["ETag"]
    for header, status in ((f"W/{newest}", 412), (tag, 412), (newest, 200), ("*", 200), (None, 200)):
        said = {"If-Match": header} if header else {}
        assert (await call(front, "PATCH", path, ada, said, json={"tags": []}))[0].status == status
    assert (await call(front, "DELETE", path, ada, {"If-Match": tag}))[0].status == 412
    assert (await call(front, "DELETE", path, ada, {"If-Match": newest}))[0].status == 204


async def test_edit_goes_through_when_only_counters_moved_since(front, ada):
    """C19: a like is nobody's edit; the answer's own tag changes all the same."""
    video = await front.upload(ada)
    await front.make_ready(video["id"])
    path = f"/api/v1/videos/{video['id']}"
    tag = (await call(front, "GET", path, ada))[0].headers["ETag"]
    assert (await call(front, "POST", f"{path}/like", ada))[0].status == 200
    assert (await call(front, "GET", path, ada, {"If-None-Match": tag}))[0].status == 200
    assert (await call(front, "PATCH", path, ada, {"If-Match": tag}, json={"title": "t"}))[0].status == 200


async def test_each_state_is_listed_when_it_is_asked_for(front, ada):
    """C1, C18, X53: in both shapes, pages without a gap, the cursor is base64 of time and id."""
    made = {}
    for status in STATES:
        made[status] = (await draft(front, ada, title=status))["id"]
        async with front.database.transaction() as session:
            await session.execute(update(VideoRow).where(VideoRow.id == made[status]).values(status=status))
    for status, video_id in made.items():
        for root in ("/api", "/api/v1"):
            _, page = await call(front, "GET", f"{root}/videos/?status={status}", ada)
            assert [item["id"] for item in page["items"]] == [video_id]
            assert page["items"][0]["status"] == status
    seen, cursor = [], ""
    while cursor is not None:
        _, page = await call(front, "GET", f"/api/videos?limit=4&cursor={cursor}", ada)
        seen += [item["id"] for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor:
            at, last = json.loads(base64.urlsafe_b64decode(cursor + "=="))
            assert (at > 0, last) == (True, seen[-1])
    assert seen == list(reversed(made.values()))
    for query in ("status=ready", "cursor=x", "limit=0"):
        assert (await call(front, "GET", f"/api/videos?{query}", ada))[0].status == 400


async def test_poll_costs_no_query_when_nothing_moved(front, ada, monkeypatch):
    """C26: 304 while TRANSCODING; an edit and READY are seen at once, and nobody else sees anything."""
    monkeypatch.setattr(front.deps.videos, "_polled", Polled(lambda: 0.0))  # however long a second takes
    video = await front.upload(ada)
    await front.deps.videos.enqueue_encoding(video["id"])
    path = f"/api/v1/videos/{video['id']}"
    tag = (await call(front, "GET", path, ada))[0].headers["ETag"]
    asked = []

    def note(connection, cursor, statement, *rest):
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for root in ("/api/v1", "/api"):
            poll = await call(front, "GET", f"{root}/videos/{video['id']}", ada, {"If-None-Match": tag})
            assert (poll[0].status, poll[0].headers["ETag"]) == (304, tag)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [statement for statement in asked if "videos" in statement or "jobs" in statement] == []
    bob = await front.person("bob")
    assert (await call(front, "GET", path, bob, {"If-None-Match": tag}))[0].status == 404
    assert (await call(front, "PATCH", path, ada, json={"title": "New"}))[0].status == 200
    response, body = await call(front, "GET", path, ada, {"If-None-Match": tag})
    assert (response.status, body["title"]) == (200, "New")
    tag = response.headers["ETag"]
    await front.make_ready(video["id"])
    response, body = await call(front, "GET", path, ada, {"If-None-Match": tag})
    assert (response.status, body["status"]) == (200, "READY")


async def test_allowed_states_are_told_when_asked_and_when_a_move_is_refused(front, ada):
    """C42, C48, B16, X10: UPLOADED is for the queue, FAILED without a source waits for one."""
    video = await front.upload(ada)
    path = f"/api/v1/videos/{video['id']}"

    async def told():
        return (await call(front, "GET", f"{path}/transitions", ada))[1]

    assert await told() == {"video_id": video["id"], "status": "UPLOADED", "allowed": ["TRANSCODING"]}
    response, body = await call(front, "POST", f"{path}/retry", ada)
    assert (response.status, body["error"]["code"]) == (409, "INVALID_STATE_TRANSITION")
    assert body["error"]["details"]["allowed"] == ["TRANSCODING"]
    for status, source, allowed in (
        ("FAILED", "videos/x/source.mp4", ["TRANSCODING"]),
        ("FAILED", None, ["UPLOADING"]),
        ("READY", "videos/x/source.mp4", []),
    ):
        async with front.database.transaction() as session:
            row = await session.get(VideoRow, video["id"])
            row.status, row.source_key = status, source
        assert (await told())["allowed"] == allowed
    assert (await call(front, "GET", f"{path}/transitions"))[0].status == 200


async def read_event(response):
    lines = []
    while (line := (await response.content.readline()).decode().rstrip("\n")) or not lines:
        lines.append(line)
    fields = dict(line.split(": ", 1) for line in lines)
    return fields.get("id"), fields["event"], json.loads(fields["data"])["data"]


async def test_stream_goes_on_when_it_was_cut(front, ada):
    """C43: a status comes live; whoever was away gets the newest one by Last-Event-ID, and nobody else's."""
    stream = await front.client.get("/api/v1/videos/events", headers=ada.headers)
    last, name, _ = await asyncio.wait_for(read_event(stream), 120)
    assert (stream.content_type, name) == ("text/event-stream", "connected")
    front.deps.hub.push(ada.id, "video_status", {"video_id": "7", "updated_at": "2026-01-01T00:00:00Z"})
    front.deps.hub.push(ada.id, "message", {})
    front.deps.hub.push(ada.id, "video_progress", {"video_id": "7"})
    assert (await asyncio.wait_for(read_event(stream), 120))[:2] == ("2026-01-01T00:00:00Z", "video_status")
    assert (await asyncio.wait_for(read_event(stream), 120))[:2] == (None, "video_progress")
    stream.close()
    video, bob = await front.upload(ada), await front.person("bob")
    await front.upload(bob)
    again = await front.client.get(
        f"/api/v1/videos/events?token={ada.token}", headers={"Last-Event-ID": last}
    )
    await asyncio.wait_for(read_event(again), 120)
    event_id, name, data = await asyncio.wait_for(read_event(again), 120)
    assert (name, data["video_id"], data["status"]) == ("video_status", video["id"], "UPLOADED")
    assert event_id == data["updated_at"]
    again.close()
    for headers, status, code in (
        ({}, 401, "MISSING_AUTH_HEADER"),
        (ada.headers | {"Last-Event-ID": "7"}, 400, "VALIDATION_ERROR"),
    ):
        response, body = await call(front, "GET", "/api/v1/videos/events", headers=headers)
        assert (response.status, body["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("status", "in_000", "in_002", "in_004"),
    [
        ("DRAFT", "processing", "uploading", None),
        ("UPLOADING", "processing", "uploading", None),
        ("UPLOADED", "processing", "processing", "queued"),
        ("TRANSCODING", "processing", "processing", "processing"),
        ("READY", "ready", "published", "completed"),
        ("FAILED", "failed", "failed", "failed"),
    ],
)
async def test_state_has_its_word_when_each_document_asks(front, ada, status, in_000, in_002, in_004):
    """C2, C45, X7, X8: every row of the mapping in every alias; rejected goes over all but the job's."""
    video = await draft(front, ada)
    for moderation in ("pending", "approved", "flagged", "rejected"):
        async with front.database.transaction() as session:
            values = {"status": status, "moderation_status": moderation}
            await session.execute(update(VideoRow).where(VideoRow.id == video["id"]).values(**values))
        front.clock.ahead += 2.0  # nothing is remembered of an earlier state
        paths = ("/api/videos/{}", "/api/posts/{}", "/api/v1/reels/{}/status", "/api/v1/videos/{}/encoding")
        words = []
        for path in paths:
            _, body = await call(front, "GET", path.format(video["id"]), ada)
            words.append(body["job_status"] if "encoding" in path else body["status"])
        rejected = moderation == "rejected"
        shown = ("rejected", "failed") if rejected else (in_000, in_002)
        assert words == [status, *shown, in_004]


async def uploaded_by_form(front, ada, path, file):
    form = FormData()
    for name, value in {"title": "t", **FURTHER, "hashtags": "#Cats,#Dogs"}.items():
        form.add_field(name, value)
    form.add_field(file, b"video bytes", filename="a.mp4", content_type="video/mp4")
    response = await front.client.post(path, data=form, headers=ada.headers)
    body = await response.json()
    return body.get("id") or body["video_id"]


@pytest.mark.parametrize(
    ("path", "file"),
    [("/api/v1/videos/upload", "file"), ("/api/posts", "file"), ("/api/v1/reels/upload", "video")],
)
async def test_further_metadata_stands_when_a_form_says_it(front, ada, path, file):
    """A9, A21, C21: hashtags are tags, too; type and size of the source are those of the bytes."""
    video_id = await uploaded_by_form(front, ada, path, file)
    _, video = await call(front, "GET", f"/api/v1/videos/{video_id}", ada)
    assert (video["hashtags"], video["tags"]) == (["cats", "dogs"], ["cats", "dogs"])
    assert (video["content_type"], video["audio_url"]) == ("duet", FURTHER["audio_url"])
    assert video["source"] == {"mime": "video/mp4", "size_bytes": len(b"video bytes")}
    assert (video["engagement_score"], video["moderation_status"]) == (0.0, "pending")


async def test_further_metadata_stands_when_it_is_sent_as_json(front, ada):
    """A9, C16: drafts in both shapes; what is no such thing is refused."""
    camel = {"hashtags": ["cats"], "contentType": "duet", "audioUrl": FURTHER["audio_url"]}
    for root, said in (("/api/v1", FURTHER), ("/api", camel)):
        _, video = await call(front, "POST", f"{root}/videos", ada, json={"title": "t", **said})
        _, video = await call(front, "GET", f"/api/v1/videos/{video['id']}", ada)
        assert (video["hashtags"], video["content_type"]) == (["cats"], "duet")
        assert video["audio_url"] == FURTHER["audio_url"]
    response, body = await call(front, "POST", "/api/videos", ada, json={"title": "t", "contentType": "x"})
    assert (response.status, body["error"]["details"]["field"]) == (400, "content_type")
