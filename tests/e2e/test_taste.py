"""Watching one kind of clip moves that kind up for who watched it, and for nobody else (E1-E3, X24, Y4)."""

import asyncio
from itertools import chain
from uuid import uuid4

import pytest

from media.generate import generate_clip

KINDS = ("bars", "cellular")
CLIPS_EACH = 4
WATCHED = 3
SECONDS = 2.0
SIZE = (320, 180)


@pytest.fixture(scope="module")
def tasting_server(module_server):
    """One server with its own catalogue, so that nothing but these clips is in the feed."""
    module_server.configure(FREEWILL_MEDIA_WORKERS="2")
    asyncio.run(module_server.start())
    return module_server


@pytest.fixture
async def clips(tasting_server, make_client, tmp_path_factory):
    """Return the ids of embedded clips by kind; titles say nothing, so that pictures and sound decide."""
    known = getattr(tasting_server, "clips", None)
    if known:
        return known
    creator = await make_client(tasting_server).register()
    folder = tmp_path_factory.mktemp("clips")
    made = {kind: [] for kind in KINDS}
    for number in range(CLIPS_EACH):
        for kind in KINDS:
            path = folder / f"{number}-{kind}.mp4"
            await generate_clip(path, kind, SECONDS, SIZE, seed=number)
            video = await creator.upload(path, title="Clip")
            assert creator.status == 201, video
            made[kind].append(video["id"])
    analyst = await (await make_client(tasting_server).register()).become("analyst")
    for video_id in chain(*made.values()):
        await creator.wait_status(video_id, "READY")
        await analyst.eventually(
            f"/api/v1/tables/catalogue/rows/{video_id}", lambda body: body["value"]["card"]["embedding"]
        )
    tasting_server.clips = made
    return made


async def watch_to_the_end(viewer, videos):
    """Watch, like and save: three positive interactions with each."""
    steps = ("watch_start", "watch_25", "watch_50", "watch_75", "watch_complete")
    for video_id in videos:
        events = [
            {"event_id": str(uuid4()), "video_id": video_id, "action": step, "watch_seconds": SECONDS}
            for step in steps
        ]
        answer = await viewer.post("/api/v1/events", {"events": events})
        assert (viewer.status, answer["accepted"]) == (202, len(steps))
        for deed in ("like", "save"):
            await viewer.post(f"/api/v1/posts/{video_id}/{deed}")
            assert viewer.status == 200


async def ranked(viewer, profile):
    """Return the ids of a whole feed in order, and its first page."""
    first = await viewer.get(f"/api/v1/feed?profile={profile}&limit=50")
    assert viewer.status == 200, first
    return [item["id"] for item in first["items"]], first


async def taste_counts(viewer, profile):
    """Wait until the profile ranks by taste and not as for a newcomer."""
    return await viewer.eventually(
        f"/api/v1/feed?profile={profile}&limit=50",
        lambda page: page["items"] and page["ranked_by"] == profile,
    )


@pytest.fixture
async def two_viewers(tasting_server, make_client, clips):
    """A watched clips of the first kind, B of the second; the last clips of both kinds are new to both."""
    viewers = [await make_client(tasting_server).register() for _ in KINDS]
    for viewer, kind in zip(viewers, KINDS, strict=True):
        newcomer = (await ranked(viewer, "similarity"))[1]
        assert newcomer["ranked_by"] == "trending"
        assert {item["reason"] for item in newcomer["items"]} == {"trending"}
        await watch_to_the_end(viewer, clips[kind][:WATCHED])
    for viewer in viewers:
        await taste_counts(viewer, "similarity")
    return viewers


async def test_kind_moves_up_for_its_watcher_only_when_clips_of_it_are_watched(clips, two_viewers):
    """Through the HTTP API with real embeddings, in ``similarity`` and ``blend`` (E1-E3)."""
    new = {kind: clips[kind][WATCHED] for kind in KINDS}
    for profile in ("similarity", "blend"):
        for viewer, liked, other in zip(two_viewers, KINDS, reversed(KINDS), strict=True):
            page = await viewer.eventually(
                f"/api/v1/feed?profile={profile}&limit=50",
                lambda page, profile=profile: (
                    page["ranked_by"] == profile
                    and {item["id"] for item in page["items"]} >= set(new.values())
                ),
            )
            order = [item["id"] for item in page["items"]]
            assert order.index(new[liked]) < order.index(new[other]), (profile, liked)
    for viewer, liked, other in zip(two_viewers, KINDS, reversed(KINDS), strict=True):
        items = {item["id"]: item for item in (await ranked(viewer, "similarity"))[1]["items"]}
        close, far = items[new[liked]]["signals"], items[new[other]]["signals"]
        assert close["similarity"]["value"] > far["similarity"]["value"]
        assert items[new[liked]]["reason"]


async def test_video_leaves_the_feed_of_who_is_not_interested(clips, two_viewers):
    """By feedback and by event, for this viewer alone; a reset forgets it all (Y4, INTERFACE Feeds)."""
    viewer, other = two_viewers
    by_feedback, by_event = clips[KINDS[0]][WATCHED], clips[KINDS[1]][WATCHED]
    hidden = {by_feedback, by_event}
    await viewer.post("/api/v1/feed/feedback", {"video_id": by_feedback, "kind": "not_interested"})
    assert viewer.status == 204
    event = {"event_id": str(uuid4()), "video_id": by_event, "action": "not_interested"}
    await viewer.post("/api/v1/events", event)
    assert viewer.status == 202
    for profile in ("similarity", "blend", "social", "chronological"):
        await viewer.eventually(
            f"/api/v1/feed?profile={profile}&limit=50",
            lambda page: not hidden & {item["id"] for item in page["items"]},
        )
    assert hidden <= set((await ranked(other, "similarity"))[0])

    await viewer.post("/api/v1/feed/reset")
    assert viewer.status == 204
    page = await viewer.eventually(
        "/api/v1/feed?profile=similarity&limit=50", lambda page: page["ranked_by"] == "trending"
    )
    assert {item["id"] for item in page["items"]} == set(chain(*clips.values()))
    assert {item["reason"] for item in page["items"]} == {"trending"}
    assert (await ranked(other, "similarity"))[1]["ranked_by"] == "similarity", "another's taste is untouched"
