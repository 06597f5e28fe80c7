"""INTERFACE.md, Feeds and Analysts, and the settled readings "Feeds and tables"."""

import json
import re
from uuid import uuid4

import pytest

ITEM = {
    "id", "title", "description", "tags", "creator", "duration_seconds", "created_at", "thumbnails",
    "playback", "view_count", "like_count", "comment_count", "share_count", "score", "reason", "signals",
}  # fmt: skip
TABLES = ("video_engagement", "watch_history", "user_preference", "catalogue")  # DESIGN.md section 4
PROFILES = ("similarity", "video", "social", "hybrid", "blend", "chronological", "trending")


async def test_feed_items_say_why_when_listed(alice, flower):
    """ "`GET /api/v1/feed?profile=P&limit&cursor` → `{items: [...], next_cursor, profile, degraded}`; each
    item carries `id`, the card, `score`, `reason` and `signals: {name: {value, weight}}`"."""
    body = await alice.eventually("/api/v1/feed?profile=blend", lambda page: page["items"])
    assert set(body) >= {"items", "next_cursor", "profile", "degraded"}
    assert (body["profile"], body["degraded"]) == ("blend", False)
    for item in body["items"]:
        assert set(item) >= ITEM
        assert not re.search(r'"[a-z_]+[A-Z]\w*":', json.dumps(item))  # camelCase is of other surfaces (X6)
        assert isinstance(item["score"], float | int)
        assert item["signals"]
        for name, signal in item["signals"].items():
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
            assert set(signal) == {"value", "weight"}
        assert item["playback"]["ready"] is True
        assert item["playback"]["hls_url"].startswith(alice.server.url)
        assert item["created_at"].endswith("Z")
    mine = next(item for item in body["items"] if item["id"] == flower.id)
    assert mine["creator"]["username"] == flower.username


async def test_document_000_feed_has_its_shape_when_asked(alice, flower):
    """ "`GET /api/feed` ... → `{videos: [...], cursor}`"; its default profile is similarity (E25)."""
    body = await alice.get("/api/feed")
    assert alice.status == 200
    assert set(body) == {"videos", "cursor"}
    assert flower.id in [item["id"] for item in body["videos"]]


async def test_profile_is_social_when_none_is_named(alice, flower):
    """ "`/api/v1/feed` without `profile` or `algo` is `social` (E25)"; `algo=ch`, `algo=time`."""
    assert (await alice.get("/api/v1/feed"))["profile"] == "social"
    assert (await alice.get("/api/v1/feed?algo=ch"))["profile"] == "social"
    assert (await alice.get("/api/v1/feed?algo=time"))["profile"] == "chronological"
    for profile in PROFILES:
        assert (await alice.get(f"/api/v1/feed?profile={profile}"))["profile"] == profile
    refused = await alice.get("/api/v1/feed?profile=magic")
    assert (alice.status, refused["error"]["details"]["field"]) == (400, "profile")


async def test_item_is_trending_when_the_viewer_is_new(alice, flower):
    """ "A cold-start item has `reason: "trending"` and trending's signals." """
    trending = (await alice.get("/api/v1/trending"))["items"]
    for path in ("/api/v1/feed?profile=blend", "/api/v1/feed?profile=similarity", "/api/v1/feed"):
        items = (await alice.get(path))["items"]
        assert items
        assert {item["reason"] for item in items} == {"trending"}
        assert {frozenset(item["signals"]) for item in items} == {frozenset(trending[0]["signals"])}
    alice.token = ""
    assert {item["reason"] for item in (await alice.get("/api/v1/feed"))["items"]} == {"trending"}


async def test_pages_neither_repeat_nor_skip_when_followed(alice, flower):
    """ "`limit` and `cursor` are query parameters"; "Lists answer `{items, next_cursor}`"."""
    whole = {item["id"] for item in (await alice.get("/api/v1/feed?limit=50"))["items"]}
    seen, cursor = [], ""
    while cursor is not None:
        page = await alice.get("/api/v1/feed", params={"limit": "1"} | ({"cursor": cursor} if cursor else {}))
        assert alice.status == 200, page
        assert len(page["items"]) <= 1
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert len(seen) == len(set(seen))
    assert set(seen) == whole


async def test_feedback_and_reset_answer_204_when_about_one_thing(alice, flower):
    """ "`POST /api/v1/feed/feedback` `{video_id | creator_id | tag, kind}` → 204; `POST /api/v1/feed/reset` →
    204."."""
    creator = flower.video["owner_id"]
    for about in ({"video_id": flower.id}, {"creator_id": creator}, {"tag": "spring"}):
        for kind in ("less", "more"):
            assert await alice.post("/api/v1/feed/feedback", {**about, "kind": kind}) == ""
            assert alice.status == 204, (about, kind)
    for body, status in (
        ({"kind": "less"}, 400),
        ({"video_id": flower.id, "tag": "spring", "kind": "less"}, 400),
        ({"video_id": flower.id, "kind": "hate"}, 400),
        ({"video_id": str(uuid4()), "kind": "less"}, 404),
    ):
        await alice.post("/api/v1/feed/feedback", body)
        assert alice.status == status, body
    await alice.post("/api/v1/feed/feedback", {"video_id": flower.id, "kind": "not_interested"})
    assert alice.status == 204
    path = "/api/v1/feed?profile=blend"
    await alice.eventually(path, lambda page: flower.id not in [item["id"] for item in page["items"]])
    await alice.post("/api/v1/feed/reset")
    assert alice.status == 204
    await alice.eventually(path, lambda page: flower.id in [item["id"] for item in page["items"]])
    alice.token = ""
    await alice.post("/api/v1/feed/reset")
    assert alice.status == 401


async def test_tables_answer_analysts_when_asked(alice, flower):
    """ "`GET /api/v1/tables` → catalogue; `GET /api/v1/tables/{name}`; ... `/rows?limit&cursor`; ...
    `/rows/{key}`"; "Table rows are `{key, value}`; `as_of`, applied offsets and lag stand on the envelope.
    Table names are those of DESIGN.md section 4."."""
    refused = await alice.get("/api/v1/tables")
    assert (alice.status, refused["error"]["code"]) == (403, "INSUFFICIENT_ROLE")
    await alice.become("analyst")
    listed = await alice.get("/api/v1/tables")
    assert set(listed) == {"items", "next_cursor"}
    assert {item["name"] for item in listed["items"]} >= set(TABLES)
    for name in TABLES:
        table = await alice.get(f"/api/v1/tables/{name}")
        assert (alice.status, table["name"]) == (200, name)
        assert_envelope(table)
        rows = await alice.get(f"/api/v1/tables/{name}/rows?limit=1")
        assert set(rows) >= {"items", "next_cursor"}
        assert_envelope(rows)
        assert all(set(row) == {"key", "value"} for row in rows["items"])
    row = await alice.get(f"/api/v1/tables/catalogue/rows/{flower.id}")
    assert (alice.status, row["key"]) == (200, flower.id)
    assert row["value"], row
    assert_envelope(row)
    keys = [item["key"] for item in await alice.pages("/api/v1/tables/catalogue/rows?limit=1")]
    assert len(keys) == len(set(keys))
    assert flower.id in keys
    for path in ("/api/v1/tables/nothing", "/api/v1/tables/nothing/rows", "/api/v1/tables/nothing/rows/a",
                 f"/api/v1/tables/catalogue/rows/{uuid4()}"):  # fmt: skip
        missing = await alice.get(path)
        assert (alice.status, missing["error"]["code"]) == (404, "NOT_FOUND"), path
    refused = await alice.get("/api/v1/tables/catalogue/rows?limit=0")
    assert (alice.status, refused["error"]["details"]["field"]) == (400, "limit")


def assert_envelope(body):
    assert body["as_of"].endswith("Z")
    assert isinstance(body["applied_offsets"], dict)
    assert body["lag"] >= 0


@pytest.mark.parametrize("path", ["/api/v1/feed", "/api/feed", "/api/v1/trending"])
async def test_ranked_page_is_cut_when_its_limit_is_above_the_maximum(alice, flower, path):
    """ "a `limit` above the maximum is cut to it"; 50 on ranked feeds (X28)."""
    body = await alice.get(f"{path}?limit=51")
    assert alice.status == 200
    assert len(body.get("items", body.get("videos"))) <= 50
