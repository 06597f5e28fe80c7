"""Changes, SQL, downloads and dead letters over HTTP (INTERFACE Analysts, Y10, F16, O20)."""

import asyncio
import csv
import io
import json

import pytest

from tables.reducers.engagement import Counters, VideoEngagement

ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture
async def eve(front):
    front.deps.engagement.values.update({k: VideoEngagement(local=Counters(views=1)) for k in "abc"})
    return await front.person("eve", "analyst")


async def lines(response, count):
    return [json.loads(await asyncio.wait_for(response.content.readline(), 120)) for _ in range(count)]


async def test_changes_are_json_lines_when_followed(front, eve):
    """Rows, changes, a cursor; key, value, partition, offset and time on each line; audited when personal."""
    response = await front.client.get("/api/v1/tables/video_engagement/changes", headers=eve.headers)
    assert (response.status, response.content_type) == (200, "application/x-ndjson")
    found = await lines(response, 6)
    assert [item["op"] for item in found] == ["row", "row", "row", "change", "change", "cursor"]
    assert found[0] == {
        "op": "row", "key": "a", "value": {"views": 1}, "partition": 0, "offset": 4,
        "time": "1970-01-01T00:00:01Z",
    }  # fmt: skip
    assert (found[4]["value"], found[5]["cursor"]) == (None, "0:7")
    response.close()
    resumed = await front.client.get("/api/v1/tables/video_engagement/changes?since=0:6", headers=eve.headers)
    assert [item.get("offset") for item in await lines(resumed, 2)] == [6, None]
    resumed.close()
    assert [note[:2] for note in front.deps.analysts.audit.kept] == [("eve", "table.changes")] * 2
    front.deps.analysts.changes.closed = True


async def test_changes_are_server_sent_events_when_asked_for(front, eve):
    """The id of a cursor is what a browser sends back in Last-Event-ID."""
    headers = eve.headers | {"Accept": "text/event-stream", "Last-Event-ID": "0:6"}
    response = await front.client.get("/api/v1/tables/video_engagement/changes", headers=headers)
    assert response.content_type == "text/event-stream"
    text = b""
    while b"event: cursor" not in text:
        text += await asyncio.wait_for(response.content.readany(), 120)
    assert text.startswith(b'event: change\ndata: {"op":"change","key":"z","value":null')
    assert b"id: 0:7\nevent: cursor\n" in text
    response.close()
    front.deps.analysts.changes.closed = True


async def test_feed_is_over_when_the_client_goes_away(build):
    """The follower ends by itself: nothing is kept for who is gone."""
    front = await build(stream_idle_seconds=0.05)
    eve = await front.person("eve", "analyst")
    response = await front.client.get("/api/v1/tables/video_engagement/changes", headers=eve.headers)
    await lines(response, 1)
    response.close()
    async with asyncio.timeout(120):
        while not front.deps.analysts.changes.left:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/tables/nothing/changes", 404, "NOT_FOUND"),
        ("/api/v1/tables/video_engagement/changes?since=x", 400, "VALIDATION_ERROR"),
    ],
)
async def test_changes_are_refused_when_they_cannot_be_followed(front, eve, path, status, code):
    response = await front.client.get(path, headers=eve.headers)
    assert (response.status, (await response.json())["error"]["code"]) == (status, code)


async def test_query_answers_in_the_accepted_form(front, eve):
    """JSON as INTERFACE has it; CSV and Arrow with the counts in headers."""

    async def ask(accept, **body):
        headers = eve.headers | ({"Accept": accept} if accept else {})
        return await front.client.post(
            "/api/v1/analytics/query", json={"sql": "SELECT 1"} | body, headers=headers
        )

    response = await ask("")
    assert set(await response.json()) >= {"columns", "rows", "truncated", "elapsed_ms"}
    response = await ask("text/csv")
    assert (response.content_type, await response.text()) == ("text/csv", "a\r\n1\r\n")
    assert (response.headers["X-Rows"], response.headers["X-Truncated"]) == ("1", "true")
    response = await ask(ARROW + ", */*;q=0.1", limit=5, fresh=True)
    assert (response.content_type, await response.read()) == (ARROW, b"arrow")
    assert front.deps.analysts.sql.asked[-1] == ("analyst", "SELECT 1", "arrow", 5, True)
    response = await ask("image/png")
    assert (response.status, (await response.json())["error"]["code"]) == (406, "NOT_ACCEPTABLE")
    response = await ask("", sql="bad")
    assert (response.status, (await response.json())["error"]["code"]) == (400, "INVALID_SQL")
    for body in ({"sql": ""}, {"sql": "x" * 20_001}, {"limit": 0}, {"limit": 100_001}, {"more": 1}):
        assert (await ask("", **body)).status == 400


async def test_rows_are_downloaded_in_the_accepted_form(front, eve):
    """F16: all rows as JSON lines or CSV, streamed; limit and cursor hold; Arrow."""
    path = "/api/v1/tables/video_engagement/rows"

    async def get(accept, query=""):
        return await front.client.get(path + query, headers=eve.headers | {"Accept": accept})

    text = await (await get("application/x-ndjson")).text()
    assert [json.loads(line)["key"] for line in text.splitlines()] == ["a", "b", "c"]
    response = await get("text/csv", "?cursor=a&limit=1")
    assert [row[0] for row in csv.reader(io.StringIO(await response.text()))] == ["key", "b"]
    assert response.headers["X-Lag"] == "0"
    assert "attachment" in response.headers["Content-Disposition"]
    assert await (await get(ARROW)).read() == b"arrow of video_engagement"
    assert (await get("text/csv", "?limit=0")).status == 400
    assert (await (await get("*/*")).json())["items"][0]["key"] == "a"


async def test_analyst_routes_are_closed_when_the_role_is_another(front, ada, eve):
    """N11: people see none of it; analysts decide about no dead letters."""
    asked = [
        ("GET", "/api/v1/tables/video_engagement/changes"), ("POST", "/api/v1/analytics/query"),
        ("GET", "/api/v1/analytics/datasets"), ("GET", "/api/v1/dead-letters"),
        ("GET", "/api/v1/dead-letters/a.b/0/1"), ("POST", "/api/v1/dead-letters/drop"),
    ]  # fmt: skip
    for method, path in asked:
        assert (await front.client.request(method, path, json={})).status == 401
        assert (await front.client.request(method, path, headers=ada.headers, json={})).status == 403
        if "dead" in path:
            assert (await front.client.request(method, path, headers=eve.headers, json={})).status == 403


async def test_datasets_are_described_when_listed(front, eve):
    body = await (await front.client.get("/api/v1/analytics/datasets", headers=eve.headers)).json()
    assert body["items"][0]["columns"][0]["description"] == "The video."


async def test_dead_letters_are_decided_about_by_operators(front):
    """O20: list, show, replay, drop; who did it is kept."""
    root = await front.person("root", "operator")

    async def call(method, path, **body):
        response = await front.client.request(method, path, headers=root.headers, json=body or None)
        return response.status, await response.json()

    status, page = await call("GET", "/api/v1/dead-letters?code=&state=open")
    assert (status, page["items"][0]["id"], page["next_cursor"]) == (200, "a.b/0/1", None)
    assert "original" not in page["items"][0]
    assert (await call("GET", "/api/v1/dead-letters?state=what"))[0] == 400
    assert (await call("GET", "/api/v1/dead-letters/a.b/0/1"))[1]["original"] == "raw"
    assert (await call("GET", "/api/v1/dead-letters/a.b/0/2"))[0] == 404
    for act in ("replay", "drop"):
        assert await call("POST", f"/api/v1/dead-letters/{act}", ids=["a.b/0/1"]) == (200, {"count": 1})
        assert (await call("POST", f"/api/v1/dead-letters/{act}", ids=["x"]))[0] == 404
        assert (await call("POST", f"/api/v1/dead-letters/{act}", ids=[]))[0] == 400
    assert front.deps.analysts.letters.decided[0] == ("replay", ["a.b/0/1"], "root")
    actions = [note[1] for note in front.deps.analysts.audit.kept]
    assert actions == ["dead_letter.show", "dead_letter.replay", "dead_letter.drop"]
