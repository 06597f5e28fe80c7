"""Routes of documents 001 and 002 (X5-X7, Appendix 1; A21, A23, C17, C18, C20, E28)."""

from aiohttp import FormData


async def get(front, path, person=None):
    response = await front.client.get(path, headers=person.headers if person else {})
    return response.status, await response.json()


async def test_shapes_are_camel_case_when_001_is_spoken(front, ada):
    """X6, C17, C18, C20: streamUrl only when READY."""
    video = await front.upload(ada)
    path = f"/api/videos/{video['id']}"
    status, before = await get(front, path, ada)
    assert (status, before["playback"]) == (200, {"ready": False, "streamUrl": None})
    assert {"ownerId", "failReason", "createdAt", "updatedAt"} <= set(before)
    await front.make_ready(video["id"])
    _, after = await get(front, path)
    assert after["playback"]["streamUrl"].endswith("master.m3u8")
    _, page = await get(front, "/api/videos?status=READY", ada)
    assert set(page) == {"items", "nextCursor"}
    assert set(page["items"][0]) == {"id", "title", "description", "status", "createdAt", "updatedAt"}
    assert (await front.client.delete(path, headers=ada.headers)).status == 204
    assert (await get(front, path, ada))[1]["error"]["code"] == "CONTENT_NOT_FOUND"


async def test_words_are_002s_when_a_reel_is_uploaded(front, ada):
    """A21, A23, C2, X52."""
    form = FormData()
    form.add_field("video", b"video bytes", filename="a.mp4")
    form.add_field("title", "A reel")
    form.add_field("hashtags", "#cats")
    response = await front.client.post("/api/v1/reels/upload", data=form, headers=ada.headers)
    body = await response.json()
    assert (response.status, body["status"], body["upload_progress"]) == (202, "uploading", 100)
    path = f"/api/v1/reels/{body['video_id']}/status"
    _, state = await get(front, path, ada)
    assert (state["status"], state["processing_progress"]) == ("processing", 0)
    await front.make_ready(body["video_id"])
    _, state = await get(front, path)
    assert (state["status"], state["processing_progress"]) == ("published", 100)
    _, video = await get(front, f"/api/v1/videos/{body['video_id']}")
    assert video["tags"] == ["cats"]


async def test_page_has_002s_fields_when_reels_are_listed(front, ada):
    """E28: 30 by default, 50 at most."""
    for _ in range(2):
        video = await front.upload(ada)
        await front.make_ready(video["id"])
    _, page = await get(front, "/api/v1/reels?limit=1")
    assert (len(page["videos"]), page["has_more"]) == (1, True)
    assert set(page) == {"videos", "cursor", "has_more", "cache_hit", "response_time_ms"}
    assert page["videos"][0]["streaming_url"].endswith("master.m3u8")
    _, rest = await get(front, f"/api/v1/reels?limit=500&cursor={page['cursor']}")
    assert (len(rest["videos"]), rest["has_more"]) == (1, False)
    status, body = await get(front, "/api/v1/reels?limit=0")
    assert (status, body["error"]["details"]["field"]) == (400, "limit")


async def test_only_followed_people_are_shown_when_that_feed_is_asked(front, ada):
    """Appendix 1: `/feed/following`."""
    video = await front.upload(ada)
    await front.make_ready(video["id"])
    bob = await front.person("bob")
    _, none = await get(front, "/api/v1/feed/following", bob)
    assert none["items"] == []
    assert (await front.client.post(f"/api/v1/users/{ada.id}/follow", headers=bob.headers)).status == 200
    _, page = await get(front, "/api/v1/feed/following", bob)
    assert [item["id"] for item in page["items"]] == [video["id"]]
    assert (await get(front, "/api/v1/feed/following"))[0] == 401
