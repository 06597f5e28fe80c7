"""Interactions, events, counters, analytics, tables (INTERFACE Engagement and Analysts; F8, H3-H5, X33)."""

from uuid import uuid4

import pytest

from tables.records import DayCounts
from tables.reducers.engagement import Counters, VideoEngagement
from tables.reducers.totals import Totals
from tables.reducers.trends import ImpressionDays


@pytest.fixture
async def video(front, ada):
    """Return a READY video of ada's."""
    made = await front.upload(ada)
    await front.make_ready(made["id"])
    return made["id"]


@pytest.fixture
async def bob(front):
    return await front.person("bob")


def event(video, action="watch_start", **more):
    return {"event_id": str(uuid4()), "video_id": video, "action": action} | more


async def code_of(response):
    return response.status, (await response.json())["error"]["code"]


@pytest.mark.parametrize("kind", ["posts", "videos"])
async def test_relations_are_idempotent_when_repeated(front, video, bob, kind):
    """H3, X33, C49."""
    path = f"/api/v1/{kind}/{video}"
    for verb, name in (("like", "liked"), ("save", "saved")):
        for _ in range(2):
            answer = await (await front.client.post(f"{path}/{verb}", headers=bob.headers)).json()
            assert (answer[name], answer[f"{verb}_count"]) == (True, 1)
        seen = await (await front.client.get(f"/api/v1/videos/{video}", headers=bob.headers)).json()
        assert seen[name] is True
        for _ in range(2):
            answer = await (await front.client.delete(f"{path}/{verb}", headers=bob.headers)).json()
            assert (answer[name], answer[f"{verb}_count"]) == (False, 0)


async def test_saved_videos_are_listed_when_there_are_some(front, video, bob):
    """H13."""
    await front.client.post(f"/api/v1/posts/{video}/save", headers=bob.headers)
    page = await (await front.client.get("/api/v1/users/me/saves", headers=bob.headers)).json()
    assert [item["id"] for item in page["items"]] == [video]


async def test_share_counts_once_when_its_id_is_repeated(front, video, bob):
    """INTERFACE: each share event id is a share; a body is optional."""
    path, event_id = f"/api/v1/posts/{video}/share", str(uuid4())
    for _ in range(2):
        response = await front.client.post(path, json={"event_id": event_id}, headers=bob.headers)
        assert (response.status, (await response.json())["share_count"]) == (201, 1)
    bare = await front.client.post(path, headers=bob.headers)
    assert (await bare.json())["share_count"] == 2
    bad = await front.client.post(path, json={"event_id": "x"}, headers=bob.headers)
    assert await code_of(bad) == (400, "VALIDATION_ERROR")


async def test_comments_are_rows_when_written_and_deleted(front, video, bob, ada):
    """H4, H5, H7."""
    path = f"/api/v1/posts/{video}"
    written = await front.client.post(f"{path}/comment", json={"text": " Hello "}, headers=bob.headers)
    comment = await written.json()
    assert (written.status, comment["text"], comment["author"]["username"]) == (201, "Hello", "bob")
    listed = await (await front.client.get(f"{path}/comments")).json()
    assert [item["id"] for item in listed["items"]] == [comment["id"]]
    for text, code in (("a" * 2001, "CONTENT_TOO_LONG"), ("  ", "VALIDATION_ERROR"), (5, "VALIDATION_ERROR")):
        refused = await front.client.post(f"{path}/comment", json={"text": text}, headers=bob.headers)
        assert await code_of(refused) == (400, code)
    gone = f"/api/v1/comments/{comment['id']}"
    assert await code_of(await front.client.delete(gone, headers=ada.headers)) == (403, "NOT_CONTENT_OWNER")
    assert (await front.client.delete(gone, headers=bob.headers)).status == 204
    assert await code_of(await front.client.delete(gone, headers=bob.headers)) == (404, "CONTENT_NOT_FOUND")


async def test_interaction_is_refused_when_the_video_is_unknown_or_nobody_signed_in(front, video, bob):
    """O7, N3."""
    unknown = f"/api/v1/posts/{uuid4()}"
    for verb in ("like", "save", "share"):
        answer = await front.client.post(f"{unknown}/{verb}", headers=bob.headers)
        assert await code_of(answer) == (404, "CONTENT_NOT_FOUND")
        anonymous = await front.client.post(f"/api/v1/posts/{video}/{verb}")
        assert await code_of(anonymous) == (401, "MISSING_AUTH_HEADER")


async def test_events_are_taken_when_single_or_in_a_batch(front, video, bob):
    """F3: accepted, duplicates, and the place of what is rejected."""
    one = event(video)
    single = await front.client.post("/api/v1/events", json=one, headers=bob.headers)
    assert (single.status, await single.json()) == (202, {"accepted": 1, "duplicates": 0, "rejected": []})
    batch = [
        one,
        event(video, "watch_25%"),
        event(str(uuid4())),
        event(video, "dance"),
        5,
        event(video, "like"),
    ]
    taken = await front.client.post("/api/v1/events", json={"events": batch}, headers=bob.headers)
    body = await taken.json()
    assert (taken.status, body["accepted"], body["duplicates"]) == (202, 2, 1)
    assert [(r["index"], r["code"]) for r in body["rejected"]] == [
        (2, "CONTENT_NOT_FOUND"),
        (3, "VALIDATION_ERROR"),
        (4, "VALIDATION_ERROR"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "event_id"),
        ({"events": {}}, "events"),
        ({"events": [{}] * 1001}, "events"),
        ({"event_id": "x", "video_id": "y", "action": "like"}, "event_id"),
    ],
)
async def test_event_is_refused_when_it_is_malformed(front, bob, body, field):
    """INTERFACE: a single bad event outside a batch answers 400."""
    response = await front.client.post("/api/v1/events", json=body, headers=bob.headers)
    answer = await response.json()
    assert (response.status, answer["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert answer["error"]["details"]["field"] == field


async def test_single_event_is_refused_when_its_video_is_unknown(front, bob):
    """INTERFACE: 400, with the code that a batch would show."""
    response = await front.client.post("/api/v1/events", json=event(str(uuid4())), headers=bob.headers)
    assert await code_of(response) == (400, "CONTENT_NOT_FOUND")


async def test_counters_come_from_the_table_when_it_has_them(front, video):
    """INTERFACE: views, likes, comments, shares, saves, completion_rate, as_of."""
    path = f"/api/v1/videos/{video}/engagement"
    empty = await (await front.client.get(path)).json()
    assert (empty["views"], empty["completion_rate"]) == (0, None)
    front.deps.engagement.values[video] = VideoEngagement(
        local=Counters(views=4, viewers=2, likes=3, saves=1, completion=1.5, watch_ms=6000)
    )
    full = await (await front.client.get(path)).json()
    assert (full["views"], full["likes"], full["saves"], full["completion_rate"]) == (4, 3, 1, 0.75)
    assert full["as_of"] == "2023-11-14T22:13:20Z"
    seen = await (await front.client.get(f"/api/v1/videos/{video}")).json()
    assert seen["view_count"] == 4


async def test_analytics_are_shown_when_the_caller_may_know(front, ada, bob, video):
    """F8, F29: owner, operator, analyst; nobody else."""
    front.deps.engagement.values[video] = VideoEngagement(
        local=Counters(views=2, watch_ms=3000, switches=3),
        decayed=1.0,
        decayed_at=front.clock(),
        bins={9: 1, 2: 1},
        hourly={int(front.clock() // 3600): 2, 5: 7},
    )
    path = f"/api/v1/reels/{video}/analytics"
    assert await code_of(await front.client.get(path, headers=bob.headers)) == (403, "NOT_CONTENT_OWNER")
    assert await code_of(await front.client.get(path)) == (401, "MISSING_AUTH_HEADER")
    analyst, operator = await front.person("eve", "analyst"), await front.person("root", "operator")
    for person in (ada, analyst, operator):
        body = await (await front.client.get(path, headers=person.headers)).json()
        assert (body["view_count"], body["avg_watch_seconds"]) == (2, 1.5)
        assert 0 < body["trending_score"] < 1
        assert body["completion_distribution"] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 1]
        assert [hour["count"] for hour in body["trajectory"]] == [2]
        assert body["audience"] == {"top_countries": [], "top_interests": [], "age_distribution": {}}
        assert (body["impression_count"], body["bitrate_switches_per_1000_views"]) == (0, 1500.0)
    front.deps.tables.shown[video] = ImpressionDays(total=7, daily={1: 3})
    body = await (await front.client.get(path, headers=ada.headers)).json()
    assert body["impression_count"] == 7


async def test_own_analytics_are_summed_by_day(front, ada, bob):
    """F13, F14: the caller's own, newest days, zeros without a row."""
    path = "/api/v1/me/analytics"
    assert await code_of(await front.client.get(path)) == (401, "MISSING_AUTH_HEADER")
    today = int(front.clock() // 86400)
    front.deps.tables.creators[ada.id] = Totals(
        days={
            today: DayCounts(views=3, likes=-1, watch_ms=1500),
            today - 6: DayCounts(views=2),
            today - 7: DayCounts(views=9),
        }
    )
    body = await (await front.client.get(f"{path}?days=7", headers=ada.headers)).json()
    assert (body["total_views"], body["total_likes"], body["watch_seconds"]) == (5, 0, 1.5)
    assert [day["views"] for day in body["by_day"]] == [2, 3]
    assert body["by_day"][0]["date"] < body["by_day"][1]["date"]
    front.deps.tables.shown[ada.id] = ImpressionDays(total=90, daily={today: 5, today - 1: 2, today - 9: 80})
    body = await (await front.client.get(f"{path}?days=7", headers=ada.headers)).json()
    assert [(day["views"], day["impressions"]) for day in body["by_day"]] == [(2, 0), (0, 2), (3, 5)]
    assert body["total_impressions"] == 7
    nothing = await (await front.client.get(path, headers=bob.headers)).json()
    assert (nothing["days"], nothing["total_views"], nothing["by_day"]) == (30, 0, [])
    assert (nothing["total_impressions"], nothing["top_content"]) == (0, [])
    refused = await front.client.get(f"{path}?days=91", headers=ada.headers)
    assert await code_of(refused) == (400, "VALIDATION_ERROR")


async def test_top_content_is_what_was_viewed_most_in_the_days_asked_for(front, ada, bob):
    """F13: older views and other people's videos do not count; what nobody viewed is not named."""
    today = int(front.clock() // 86400)
    views = {"a": {today: 1, today - 20: 50}, "b": {today - 2: 4}, "c": {today - 20: 9}, "d": {today: 99}}
    ids = {}
    for name, daily in views.items():
        video = await front.upload(bob if name == "d" else ada, title=name)
        await front.make_ready(video["id"])
        ids[name] = video["id"]
        front.deps.engagement.values[video["id"]] = VideoEngagement(daily=daily)
    for days, names in ((7, "ba"), (30, "acb")):
        response = await front.client.get(f"/api/v1/me/analytics?days={days}", headers=ada.headers)
        top = (await response.json())["top_content"]
        assert [(video["title"], video["video_id"]) for video in top] == [(name, ids[name]) for name in names]
    assert [video["views"] for video in top] == [51, 9, 4]


async def test_tables_are_read_when_the_role_allows(front, bob):
    """N11, Y10: catalogue, rows by key order, one row, each with its freshness."""
    assert await code_of(await front.client.get("/api/v1/tables", headers=bob.headers)) == (
        403,
        "INSUFFICIENT_ROLE",
    )
    eve = await front.person("eve", "analyst")
    front.deps.engagement.values.update({k: VideoEngagement(local=Counters(views=1)) for k in "abc"})

    async def get(path):
        response = await front.client.get(f"/api/v1/tables{path}", headers=eve.headers)
        return response.status, await response.json()

    assert (await get(""))[1]["items"][0]["name"] == "video_engagement"
    status, page = await get("/video_engagement/rows?limit=2")
    assert (status, [row["key"] for row in page["items"]], page["next_cursor"]) == (200, ["a", "b"], "b")
    assert page["applied_offsets"] == {"engagement.deltas-0": 7}
    assert (page["lag"], page["as_of"]) == (0, "2023-11-14T22:13:20Z")
    assert (await get("/video_engagement/rows/c"))[1]["value"] == {"views": 1}
    for path in ("/nothing", "/nothing/rows", "/video_engagement/rows/zz"):
        status, body = await get(path)
        assert (status, body["error"]["code"]) == (404, "NOT_FOUND")
