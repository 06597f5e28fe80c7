"""INTERFACE.md, Engagement, and its settled readings; counters are read through the API, as a client does."""

import asyncio
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest

HOUR = 3600


def event(video_id, action, *, hours_ago=0.0, **more):
    made = {"event_id": str(uuid4()), "video_id": video_id, "action": action, **more}
    if hours_ago:
        at = datetime.fromtimestamp(time.time() - hours_ago * HOUR, UTC)
        made["occurred_at"] = at.isoformat().replace("+00:00", "Z")
    return made


async def send(client, *events):
    body = await client.post("/api/v1/events", {"events": list(events)})
    assert client.status == 202, body
    assert set(body) == {"accepted", "duplicates", "rejected"}
    return body


@pytest.fixture(scope="module")
def bear(module_server, shared_dir, upload_ready):
    """A READY video on a server of this module, whose counters nobody else moves."""
    asyncio.run(module_server.start())
    clip = shared_dir / "media/clips/bear-vp9-odd-dimensions.webm"
    return asyncio.run(upload_ready(module_server, clip, title="Bear"))


@pytest.fixture
async def viewer(bear, module_server, make_client):
    return await make_client(module_server).register()


@pytest.fixture
def counted(bear, module_server, make_client):
    """Return how to wait until the public counters have what was added to what they were."""

    class Counted:
        def __init__(self):
            self.reader = make_client(module_server)

        async def now(self):
            body = await self.reader.get(f"/api/v1/videos/{bear.id}/engagement")
            assert self.reader.status == 200
            return body

        async def after(self, before, **added):
            wanted = {name: before[name] + number for name, number in added.items()}
            return await self.reader.eventually(
                f"/api/v1/videos/{bear.id}/engagement",
                lambda body: all(body[name] == value for name, value in wanted.items()),
            )

        async def settled(self, sender):
            """Wait until all events of a sender have been applied: a share of theirs marks the end.

            Only events of one sender come in order, and only those that were sent as events.
            """
            before = await self.now()
            await send(sender, event(bear.id, "share"))
            body = await self.after(before, shares=1)
            return {**body, "shares": body["shares"] - 1}

    return Counted()


async def test_counters_have_their_names_when_asked(bear, counted):
    """ "`GET /api/v1/videos/{id}/engagement` ...: `views, likes, comments, shares, saves, completion_rate,
    as_of`"."""
    body = await counted.now()
    assert set(body) >= {"views", "likes", "comments", "shares", "saves", "completion_rate", "as_of"}
    assert body["as_of"].endswith("Z")
    await counted.reader.get(f"/api/v1/videos/{uuid4()}/engagement")
    assert counted.reader.status == 404


async def test_view_counts_once_in_24_hours_when_watched_again(bear, viewer, counted):
    """ "A view counts once per viewer and video in 24 hours of event time"."""
    before = await counted.now()
    await send(viewer, event(bear.id, "watch_start", hours_ago=60))
    await counted.after(before, views=1)
    await send(
        viewer,
        event(bear.id, "watch_start", hours_ago=59),
        event(bear.id, "watch_complete", hours_ago=58),
        event(bear.id, "watch_start", hours_ago=37),
    )
    assert (await counted.settled(viewer))["views"] == before["views"] + 1
    await send(viewer, event(bear.id, "watch_start", hours_ago=35), event(bear.id, "watch_start"))
    assert (await counted.settled(viewer))["views"] == before["views"] + 3


async def test_owner_counts_for_nobody_when_watching_their_own(bear, module_server, make_client, counted):
    """ "The owner's own watching counts for nobody." """
    owner = await make_client(module_server).login(bear.username)
    before = await counted.now()
    body = await send(owner, event(bear.id, "watch_start"), event(bear.id, "watch_complete", watch_seconds=1))
    assert body == {"accepted": 2, "duplicates": 0, "rejected": []}
    after = await counted.settled(owner)
    assert (after["views"], after["completion_rate"]) == (before["views"], before["completion_rate"])


async def test_shares_count_by_event_id_when_sent_twice(bear, viewer, counted):
    """ "Each `share` event id is a share"; "a known one is `duplicates`"."""
    before = await counted.now()
    first, second = event(bear.id, "share"), event(bear.id, "share")
    assert await send(viewer, first, second, first) == {"accepted": 2, "duplicates": 1, "rejected": []}
    assert await send(viewer, first) == {"accepted": 0, "duplicates": 1, "rejected": []}
    await counted.after(before, shares=2)
    shared = await viewer.post(f"/api/v1/posts/{bear.id}/share", {"event_id": first["event_id"]})
    assert viewer.status == 201, shared
    assert (await counted.settled(viewer))["shares"] == before["shares"] + 2
    await viewer.post(f"/api/v1/posts/{bear.id}/share")
    assert viewer.status == 201
    await counted.after(before, shares=4)  # with the marker of before


async def test_like_is_a_relation_when_sent_by_either_way(bear, viewer, counted):
    """ "A like is a relation: twice is once"; "A new `event_id` that changes nothing is `accepted`"; H12."""
    before = await counted.now()
    assert (await send(viewer, event(bear.id, "like"), event(bear.id, "like")))["accepted"] == 2
    liked = await viewer.post(f"/api/v1/posts/{bear.id}/like")
    assert (viewer.status, liked["liked"]) == (200, True)
    await counted.after(before, likes=1)
    video = await viewer.get(f"/api/v1/videos/{bear.id}")
    assert (video["like_count"], video["liked"]) == (before["likes"] + 1, True)
    assert (await send(viewer, event(bear.id, "unlike"), event(bear.id, "unlike")))["accepted"] == 2
    await counted.after(before, likes=0)
    unliked = await viewer.call("DELETE", f"/api/v1/posts/{bear.id}/like")
    assert (viewer.status, unliked["liked"]) == (200, False)
    assert (await counted.settled(viewer))["likes"] == before["likes"]


async def test_save_is_a_relation_when_sent_by_either_way(bear, viewer, counted):
    """H13: save with a DELETE and a list of own saves; events `save` and `unsave` are the same relation."""
    before = await counted.now()
    await viewer.post(f"/api/v1/posts/{bear.id}/save")
    assert (await send(viewer, event(bear.id, "save")))["accepted"] == 1
    await counted.after(before, saves=1)
    assert [item["id"] for item in await viewer.pages("/api/v1/users/me/saves")] == [bear.id]
    await send(viewer, event(bear.id, "unsave"))
    await counted.after(before, saves=0)
    assert await viewer.pages("/api/v1/users/me/saves") == []


async def test_comment_counts_when_it_is_a_row_and_not_when_an_event(bear, viewer, counted):
    """ "A `comment` event is recorded but counts nothing: comments are rows"; "CONTENT_TOO_LONG 400 for
    lengths of ... text"."""
    before = await counted.now()
    assert (await send(viewer, event(bear.id, "comment")))["accepted"] == 1
    written = await viewer.post(f"/api/v1/posts/{bear.id}/comment", {"text": "A bear!"})
    assert viewer.status == 201, written
    await counted.after(before, comments=1)
    listed = await viewer.get(f"/api/v1/posts/{bear.id}/comments")
    assert set(listed) == {"items", "next_cursor"}
    assert [item["text"] for item in listed["items"]] == ["A bear!"]
    refused = await viewer.post(f"/api/v1/posts/{bear.id}/comment", {"text": "x" * 5001})
    assert (viewer.status, refused["error"]["code"]) == (400, "CONTENT_TOO_LONG")
    assert refused["error"]["details"]["field"] == "text"
    assert (await counted.settled(viewer))["comments"] == before["comments"] + 1


async def test_completion_is_the_mean_of_highest_steps_when_viewers_differ(
    bear, module_server, make_client, shared_dir
):
    """ "Completion of a viewer is the highest step reached, or `watch_seconds / duration` when no step says
    more, at most 1; `completion_rate` is the mean over viewers with a view, two decimals." """
    owner = await make_client(module_server).register()
    clip = await owner.upload(shared_dir / "media/clips/bear-vp9-odd-dimensions.webm", title="Own counters")
    clip = await owner.wait_status(clip["id"], "READY")
    path = f"/api/v1/videos/{clip['id']}/engagement"
    assert (await owner.get(path))["completion_rate"] is None
    quarter = clip["duration_seconds"] / 4
    viewers = [await make_client(module_server).register() for _ in range(3)]
    await send(viewers[0], event(clip["id"], "watch_75"), event(clip["id"], "watch_25%"))
    await send(viewers[1], event(clip["id"], "watch_start", watch_seconds=quarter))
    await owner.eventually(path, lambda body: (body["views"], body["completion_rate"]) == (2, 0.5))
    await send(viewers[2], event(clip["id"], "watch_start", watch_seconds=5000.0))
    await owner.eventually(path, lambda body: (body["views"], body["completion_rate"]) == (3, 0.67))

    analytics = await owner.get(f"/api/v1/reels/{clip['id']}/analytics")
    assert owner.status == 200
    assert set(analytics) >= {
        "view_count", "like_count", "share_count", "comment_count", "completion_rate", "avg_watch_seconds",
        "trending_score", "audience", "as_of",
    }  # fmt: skip
    assert set(analytics["audience"]) == {"top_countries", "top_interests", "age_distribution"}
    assert (analytics["view_count"], analytics["completion_rate"]) == (3, 0.67)
    # "(owner, operator, analyst)"
    refused = await viewers[0].get(f"/api/v1/reels/{clip['id']}/analytics")
    assert (viewers[0].status, refused["error"]["code"]) == (403, "NOT_CONTENT_OWNER")
    for role in ("analyst", "operator"):
        await (await viewers[0].become(role)).get(f"/api/v1/reels/{clip['id']}/analytics")
        assert viewers[0].status == 200


async def test_batch_is_answered_item_by_item_when_some_are_bad(bear, viewer):
    """ "→ 202 `{accepted, duplicates, rejected: [{index, code, message}]}`"; "An unknown video is `rejected`
    with CONTENT_NOT_FOUND"."""
    body = await send(
        viewer,
        event(bear.id, "watch_start", bitrate="720p", device="web", watch_seconds=0.5),
        event(str(uuid4()), "watch_start"),
        event(bear.id, "dance"),
        "nonsense",
        event(bear.id, "not_interested"),
        *(event(bear.id, f"watch_{step}%") for step in (25, 50, 75)),
    )
    assert (body["accepted"], body["duplicates"]) == (5, 0)
    assert [(item["index"], item["code"]) for item in body["rejected"]] == [
        (1, "CONTENT_NOT_FOUND"),
        (2, "VALIDATION_ERROR"),
        (3, "VALIDATION_ERROR"),
    ]
    assert all(set(item) == {"index", "code", "message"} for item in body["rejected"])
    assert await send(viewer) == {"accepted": 0, "duplicates": 0, "rejected": []}


async def test_single_event_is_answered_like_a_batch_or_with_400_when_bad(bear, viewer):
    """ "one event or `{"events": [...]}`"; "A single bad event outside a batch answers 400." """
    good = event(bear.id, "watch_start")
    assert await viewer.post("/api/v1/events", good) == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert viewer.status == 202
    assert await viewer.post("/api/v1/events", good) == {"accepted": 0, "duplicates": 1, "rejected": []}
    for bad, code, field in (
        (event(str(uuid4()), "like"), "CONTENT_NOT_FOUND", "video_id"),
        (event(bear.id, "dance"), "VALIDATION_ERROR", "action"),
        ({**event(bear.id, "like"), "event_id": "7"}, "VALIDATION_ERROR", "event_id"),
        ({**event(bear.id, "like"), "occurred_at": "yesterday"}, "VALIDATION_ERROR", "occurred_at"),
        ({**event(bear.id, "like"), "watch_seconds": "2"}, "VALIDATION_ERROR", "watch_seconds"),
    ):
        body = await viewer.post("/api/v1/events", bad)
        assert (viewer.status, body["error"]["code"]) == (400, code), body
        assert body["error"]["details"]["field"] == field


async def test_batch_is_refused_when_it_is_too_long_or_nobodys(bear, viewer):
    """ "(up to 1,000)"; "The user is the bearer's." """
    many = [event(bear.id, "watch_start") for _ in range(1001)]
    body = await viewer.post("/api/v1/events", {"events": many})
    assert (viewer.status, body["error"]["details"]["field"]) == (400, "events")
    assert (await send(viewer, *many[:1000]))["accepted"] == 1000
    viewer.token = ""
    body = await viewer.post("/api/v1/events", many[0])
    assert (viewer.status, body["error"]["code"]) == (401, "MISSING_AUTH_HEADER")


async def test_same_event_id_is_not_a_duplicate_when_another_user_sends_it(
    bear, viewer, counted, make_client
):
    """An idempotency key is its sender's: nobody can take another's event away."""
    other = await make_client(viewer.server).register()
    shared = event(bear.id, "share")
    before = await counted.now()
    assert (await send(viewer, shared))["accepted"] == 1
    assert (await send(other, shared))["accepted"] == 1
    await counted.after(before, shares=2)


async def test_last_event_wins_when_one_batch_changes_its_mind(bear, viewer, counted):
    """ "Events of one user apply in order of arrival." """
    before = await counted.now()
    await send(viewer, *(event(bear.id, action) for action in ("like", "unlike", "like", "save", "unsave")))
    await counted.after(before, likes=1, saves=0)
    await send(viewer, event(bear.id, "unlike"))
    await counted.after(before, likes=0)
    assert (await viewer.get(f"/api/v1/videos/{bear.id}"))["liked"] is False


async def test_video_leaves_the_feed_when_its_viewer_is_not_interested(bear, viewer):
    """The event `not_interested` is heard by the feed of its sender."""
    path = "/api/v1/feed?profile=blend"
    await viewer.eventually(path, lambda page: bear.id in [item["id"] for item in page["items"]])
    await send(viewer, event(bear.id, "not_interested"))
    await viewer.eventually(path, lambda page: bear.id not in [item["id"] for item in page["items"]])
