"""Feeds over HTTP (INTERFACE Feeds; E10, E25, E27, E29, Y4)."""

import pytest

from tables.reducers.trends import TagTrend


@pytest.fixture
async def videos(front, ada):
    """Return the ids of three READY videos."""
    made = []
    for n in range(3):
        video = await front.upload(ada, title=f"clip {n}", tags="cats,dogs")
        await front.make_ready(video["id"])
        made.append(video["id"])
    return made


async def get(front, path, **headers):
    response = await front.client.get(path, headers=headers)
    return response.status, await response.json()


async def test_feed_explains_each_item_when_asked(front, videos):
    """INTERFACE: the card, score, reason and signals; works without a token."""
    status, page = await get(front, "/api/v1/feed")
    assert status == 200
    assert (page["profile"], page["degraded"], page["next_cursor"]) == ("social", False, None)
    assert {item["id"] for item in page["items"]} == set(videos)
    item = page["items"][0]
    assert item["creator"]["username"] == "ada"
    assert item["reason"] == "trending"
    assert item["playback"]["hls_url"].endswith("master.m3u8")
    assert (item["liked"], item["like_count"], item["tags"]) == (False, 0, ["cats", "dogs"])
    assert item["created_at"].endswith("Z")
    for signal in item["signals"].values():
        assert set(signal) == {"value", "weight"}
    total = sum(signal["value"] * signal["weight"] for signal in item["signals"].values())
    assert total == pytest.approx(item["score"], abs=1e-4)


async def test_each_video_comes_once_when_cursors_are_followed(front, videos):
    """E10, E27: pages of exactly the size but the last, on both shapes."""
    for path, items, following in (
        ("/api/v1/feed?limit=2&profile=blend", "items", "next_cursor"),
        ("/api/feed?limit=2", "videos", "cursor"),
        ("/api/v1/trending?limit=2", "items", "next_cursor"),
    ):
        _, first = await get(front, path)
        _, second = await get(front, f"{path}&cursor={first[following]}")
        assert (len(first[items]), len(second[items]), second[following]) == (2, 1, None)
        assert {item["id"] for item in first[items] + second[items]} == set(videos)


@pytest.mark.parametrize(
    ("query", "profile"),
    [("algo=ch", "social"), ("algo=time", "chronological"), ("profile=video", "video"), ("", "social")],
)
async def test_profile_is_chosen_when_asked_in_either_way(front, videos, query, profile):
    """E25, E29."""
    assert (await get(front, f"/api/v1/feed?{query}"))[1]["profile"] == profile


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "cursor=%21", "profile=best", "algo=z"])
async def test_feed_is_refused_when_a_parameter_is_wrong(front, query):
    """INTERFACE Errors: details.field names it; a limit above the maximum is cut."""
    status, body = await get(front, f"/api/v1/feed?{query}")
    assert (status, body["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert body["error"]["details"]["field"] == query.partition("=")[0]
    assert (await get(front, "/api/v1/feed?limit=100000"))[0] == 200


async def test_likes_are_the_viewers_when_they_ask(front, videos):
    """H3: liked and saved are the caller's own."""
    bob = await front.person("bob")
    await front.client.post(f"/api/v1/posts/{videos[0]}/like", headers=bob.headers)
    _, page = await get(front, "/api/v1/feed", **bob.headers)
    assert {item["id"]: item["liked"] for item in page["items"]} == {v: v == videos[0] for v in videos}


async def test_no_query_is_made_when_cards_are_kept(front, videos, monkeypatch):
    """DESIGN section 8: an anonymous page is copied from what is encoded already."""
    await get(front, "/api/v1/feed")

    async def never(*_args):
        raise AssertionError("asked the database")

    monkeypatch.setattr(front.deps.videos, "get_many", never)
    status, page = await get(front, "/api/v1/feed")
    assert (status, len(page["items"])) == (200, 3)


async def test_links_are_signed_anew_when_their_window_ends(front, videos):
    """C31: a kept card never hands out an old link."""
    _, before = await get(front, "/api/v1/feed")
    front.clock.ahead = 7 * 3600
    _, after = await get(front, "/api/v1/feed")
    urls = [{item["playback"]["hls_url"] for item in page["items"]} for page in (before, after)]
    assert urls[0].isdisjoint(urls[1])


async def test_deleted_video_is_gone_when_its_card_is_still_ranked(front, ada, videos):
    """C24: a ranked video that is no more is left out."""
    await front.client.delete(f"/api/v1/videos/{videos[0]}", headers=ada.headers)
    _, page = await get(front, "/api/v1/feed")
    assert videos[0] not in {item["id"] for item in page["items"]}


async def test_wishes_are_recorded_when_they_name_one_thing(front, videos, ada):
    """Y4, E43."""
    bob = await front.person("bob")

    async def post(path, body=None):
        response = await front.client.post(f"/api/v1/feed/{path}", json=body, headers=bob.headers)
        return response.status, (await response.json() if response.status != 204 else None)

    for body in (
        {"video_id": videos[0], "kind": "not_interested"},
        {"creator_id": ada.id, "kind": "less"},
        {"tag": "Cats", "kind": "more"},
    ):
        assert await post("feedback", body) == (204, None)
    assert await post("reset") == (204, None)
    assert await post("invalidate") == (204, None)
    assert front.deps.feedback.said == [
        (bob.id, f"video:{videos[0]}", "not_interested"),
        (bob.id, f"creator:{ada.id}", "less"),
        (bob.id, "tag:cats", "more"),
        (bob.id, "reset"),
    ]
    for body, code in (
        ({"kind": "less"}, "VALIDATION_ERROR"),
        ({"tag": "a", "video_id": videos[0], "kind": "less"}, "VALIDATION_ERROR"),
        ({"tag": "a", "kind": "hate"}, "VALIDATION_ERROR"),
        ({"video_id": "00000000-0000-4000-8000-000000000000", "kind": "less"}, "CONTENT_NOT_FOUND"),
        ({"creator_id": "x", "kind": "less"}, "USER_NOT_FOUND"),
    ):
        assert (await post("feedback", body))[1]["error"]["code"] == code


async def test_trending_keeps_a_category_when_asked(front, videos, ada):
    """E32, E49: a category is a tag."""
    other = await front.upload(ada, title="other", tags="birds")
    await front.make_ready(other["id"])
    for name in ("category", "tag"):
        _, page = await get(front, f"/api/v1/trending?{name}=Birds")
        assert [item["id"] for item in page["items"]] == [other["id"]]


async def test_trending_tags_are_those_of_public_videos_when_asked(front, videos, ada):
    """E37, E38, E52: hottest first, for everybody, only what someone may see; hours of one day."""
    hidden = await front.upload(ada, title="secret", tags="plans", visibility="PRIVATE")
    await front.make_ready(hidden["id"])
    now = front.clock()
    hour = int(now // 3600)
    rows = {
        "dogs": TagTrend(1.0, now, {hour: 2, hour - 23: 1, hour - 24: 7}),
        "cats": TagTrend(3.0, now, {hour: 4}),
        "plans": TagTrend(9.0, now, {hour: 9}),
        "gone": TagTrend(9.0, now, {hour: 9}),
    }
    front.deps.trending.fill(rows.items())
    status, page = await get(front, "/api/v1/trending/tags")
    assert status == 200
    assert [(item["tag"], item["events_24h"], item["videos"]) for item in page["items"]] == [
        ("cats", 4, 3), ("dogs", 3, 3),
    ]  # fmt: skip
    assert [item["score"] for item in page["items"]] == pytest.approx([0.75, 0.5], abs=0.01)
    assert [hour["count"] for hour in page["items"][1]["hours"]] == [1, 2]
    assert len((await get(front, "/api/v1/trending/tags?limit=1"))[1]["items"]) == 1
    assert (await get(front, "/api/v1/trending/tags?limit=0"))[0] == 400
