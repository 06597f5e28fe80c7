"""Tables are what their changelogs say, whatever becomes of the table store (DESIGN invariant 3, Z4, Y10)."""

import shutil
from uuid import uuid4

TINY = "media/clips/bear-vp9-odd-dimensions.webm"
OTHER = "media/clips/dolbyVision-hdr.MOV"
TABLES = ("catalogue", "user_preference", "video_engagement", "watch_history")
SHOWN = "impression_days"
"""Grows when a snapshot looks at the feeds: told apart from the rest."""


async def rows_of(analyst, name):
    """Return a table's rows by key when its agents have done all that there is."""
    state = await analyst.eventually(f"/api/v1/tables/{name}", lambda body: body["lag"] == 0)
    found = await analyst.pages(f"/api/v1/tables/{name}/rows?limit=2")
    rows = {row["key"]: row["value"] for row in found}
    assert (name, len(rows), len(found)) == (name, state["rows"], state["rows"])
    return rows


async def snapshot(analyst, viewer):
    """Return all rows of all tables as the analyst API gives them, and what is made of them."""
    catalogue = await analyst.get("/api/v1/tables")
    assert analyst.status == 200, catalogue
    names = {table["name"] for table in catalogue["items"]}
    assert names >= {*TABLES, SHOWN}
    rows = {name: await rows_of(analyst, name) for name in sorted(names - {SHOWN})}
    feeds = {}
    for profile in ("similarity", "video", "social", "chronological", "blend"):
        items = (await viewer.get(f"/api/v1/feed?profile={profile}"))["items"]
        feeds[profile] = [item["id"] for item in items]
    counters = {
        key: {**(await viewer.get(f"/api/v1/videos/{key}/engagement")), "as_of": None}
        for key in rows["catalogue"]
    }
    return rows, feeds, counters


async def impressions(analyst, owner, number):
    """Return how often each video was shown, once so many showings of an owner's videos are counted."""
    key = owner.user["id"]
    await analyst.eventually(
        f"/api/v1/tables/{SHOWN}/rows/{key}", lambda body: body["value"]["total"] >= number
    )
    rows = await rows_of(analyst, SHOWN)
    assert rows[key]["total"] == number
    return rows


async def some_life(owner, viewers, videos):
    """Watch, like, comment and steer, so that every table has rows."""
    for number, viewer in enumerate(viewers):
        for video in videos[: number + 1]:
            steps = ("watch_start", "watch_50", "watch_complete", "share")
            events = [
                {"event_id": str(uuid4()), "video_id": video, "action": step, "watch_seconds": 1}
                for step in steps
            ]
            await viewer.post("/api/v1/events", {"events": events})
            assert viewer.status == 202
        await viewer.post(f"/api/v1/posts/{videos[0]}/like")
        assert viewer.status == 200
        await viewer.post(f"/api/v1/posts/{videos[0]}/comment", {"text": "Well seen."})
        assert viewer.status == 201
    await viewers[0].post("/api/v1/feed/feedback", {"tag": "bears", "kind": "less"})
    assert viewers[0].status == 204
    await owner.eventually(
        f"/api/v1/videos/{videos[0]}/engagement", lambda body: body["comments"] == len(viewers)
    )


async def test_tables_and_feeds_are_equal_when_the_store_is_dropped_or_changed(
    make_server, make_client, shared_dir
):
    """Restart, RocksDB, its folder gone, stale, memory again: the same rows each time (Z4, F18)."""
    server = make_server(FREEWILL_FEED_CACHE_SECONDS="0")
    await server.start()
    owner = await make_client(server).register()
    videos = [(await owner.upload(shared_dir / clip, tags="bears"))["id"] for clip in (TINY, TINY, OTHER)]
    for video in videos:
        await owner.wait_status(video, "READY")
    viewers = [await make_client(server).register() for _ in range(3)]
    analyst = await (await make_client(server).register()).become("analyst")
    for video in videos:
        await analyst.eventually(
            f"/api/v1/tables/catalogue/rows/{video}", lambda body: body["value"]["card"]["embedding"]
        )
    await some_life(owner, viewers, videos)
    looked, shown = 0, {}

    async def seen():
        nonlocal looked, shown
        found = await snapshot(analyst, viewers[1])
        looked += sum(map(len, found[1].values()))
        shown = await impressions(analyst, owner, looked)
        return found

    before = await seen()
    assert all(before[0][name] for name in TABLES), "a table without rows shows nothing"
    assert len(before[1]["chronological"]) == 3

    async def restarted(store, *, clean=False):
        if clean:
            assert server.stop() == 0
        else:
            server.kill()
        server.configure(FREEWILL_TABLES_STORE=store)
        await server.start()
        assert await rows_of(analyst, SHOWN) == shown
        return await seen()

    assert await restarted("memory://") == before
    assert await restarted("memory://", clean=True) == before
    assert await restarted("rocksdb://") == before
    assert await restarted("rocksdb://", clean=True) == before

    server.kill()
    assert server.files("tables"), "RocksDB lies elsewhere"
    shutil.rmtree(server.data / "tables")
    shutil.rmtree(server.data / "index", ignore_errors=True)
    assert await restarted("rocksdb://") == before

    # The store falls behind while another is used, and has to catch up from the changelog.
    assert await restarted("memory://") == before
    await some_life(owner, [await make_client(server).register() for _ in range(3)][:1], videos[1:])
    after = await seen()
    assert after[0] != before[0]
    assert await restarted("rocksdb://") == after
