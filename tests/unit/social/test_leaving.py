"""Deleting a person (C24, C25): everything of theirs goes, counters follow, crashes only delay it."""

import json

import pytest

from media.scanner import NoScanner
from social.graph import Graph
from social.images import ImageService, ImageTools
from social.leaving import Leaving
from tables.errors import UserNotFound
from tables.relational.models import (
    CommentRow,
    EncodingJobRow,
    FollowRow,
    LikeRow,
    SaveRow,
    TombstoneRow,
    UploadSessionRow,
    UserRow,
    VideoAssetRow,
    VideoRow,
)


class Died(BaseException):
    """The end of the process."""


@pytest.fixture
def leaving(world):
    graph = Graph(world.database, world.clock)
    images = ImageService(ImageTools(world.database, world.store, NoScanner(), world.clock))
    return Leaving(world.database, world.videos, world.interactions, graph, images, world.clock)


async def full(world):
    """Return somebody who has done everything, somebody else, and their videos."""
    ada, bob = await world.user("ada"), await world.user("bob")
    mine, theirs = await world.ready(ada), await world.ready(bob)
    graph = Graph(world.database, world.clock)
    await graph.follow(ada, bob.user_id)
    await graph.follow(bob, ada.user_id)
    for person, video in ((ada, theirs), (bob, theirs), (bob, mine)):
        await world.interactions.like(person, video.id)
        await world.interactions.save(person, video.id)
    root = await world.interactions.comments.add(ada, theirs.id, "root")
    reply = await world.interactions.comments.add(bob, theirs.id, "reply", root.id)
    await world.interactions.comments.add(bob, theirs.id, "reply to the reply", reply.id)
    await world.interactions.comments.add(bob, theirs.id, "apart")
    return ada, bob, theirs


async def test_nothing_of_a_person_is_left_when_they_are_deleted(world, leaving):
    """C25: the counters of others are those of the rows, and each change is a fact."""
    ada, bob, theirs = await full(world)
    await leaving.delete(ada.user_id)
    assert [row.id for row in await world.rows(UserRow)] == [bob.user_id]
    assert [row.id for row in await world.rows(VideoRow)] == [theirs.id]
    for model, count in (
        (LikeRow, 1), (SaveRow, 1), (FollowRow, 0), (CommentRow, 1), (EncodingJobRow, 1),
        (UploadSessionRow, 1), (VideoAssetRow, 2),
    ):  # fmt: skip
        assert len(await world.rows(model)) == count, model
    video = await world.videos.get(theirs.id, bob)
    assert (video.like_count, video.save_count, video.comment_count) == (1, 1, 1)
    assert {key.split("/")[1] for key in world.store.objects} == {theirs.id}
    assert sorted(row.kind for row in await world.rows(TombstoneRow)) == ["user", "video"]
    facts = [json.loads(row.payload)["kind"] for row in await world.outbox("events.user")]
    assert facts[-2:] == ["feed.reset", "user.deleted"]
    assert facts.count("user.unfollowed") == 2
    with pytest.raises(UserNotFound):
        await leaving.delete(ada.user_id)


async def test_deletion_goes_on_when_the_process_died_at_any_step(world, leaving, monkeypatch):
    """C25: whatever step is the last one, asking again ends in the same place."""
    ada, bob, theirs = await full(world)
    run, steps, allowed = type(world.database).run, 0, 0

    async def dying(self, work):
        nonlocal steps
        steps += 1
        if steps == allowed + 1:
            raise Died
        return await run(self, work)

    monkeypatch.setattr(type(world.database), "run", dying)
    done = False
    while not done:
        steps, allowed = 0, allowed + 1
        try:
            await leaving.delete(ada.user_id)
            done = True
        except Died:
            done = False
        except UserNotFound:
            done = True
    assert allowed > 3
    assert [row.id for row in await world.rows(UserRow)] == [bob.user_id]
    video = await world.videos.get(theirs.id, bob)
    assert (video.like_count, video.save_count, video.comment_count) == (1, 1, 1)
    await world.videos.sweep_objects(everything=True)
    assert {key.split("/")[1] for key in world.store.objects} == {theirs.id}
