"""What a viewer likes is remembered for a moment, and their own change counts at once (S19, H3)."""

from social import remembered
from social.interactions import Interactions


async def test_own_like_shows_at_once_when_relations_are_remembered(world, database, clock):
    interactions = Interactions(database, clock)
    ada, bob = await world.user(), await world.user()
    video = (await world.ready(ada)).id
    assert not (await interactions.relations(bob.user_id, [video])).liked
    await interactions.like(bob, video)
    await interactions.save(bob, video)
    mine = await interactions.relations(bob.user_id, [video, "c42e388f-5a59-4ef0-b7e9-8b6d240f9b54"])
    assert (mine.liked, mine.saved) == ({video}, {video})
    await interactions.unlike(bob, video)
    assert not (await interactions.relations(bob.user_id, [video])).liked


async def test_like_of_another_process_shows_when_the_moment_is_over(world, database, clock):
    here, elsewhere = Interactions(database, clock), Interactions(database, clock)
    ada, bob = await world.user(), await world.user()
    video = (await world.ready(ada)).id
    assert not (await here.relations(bob.user_id, [video])).liked
    await elsewhere.like(bob, video)
    clock.now += remembered.SECONDS
    assert (await here.relations(bob.user_id, [video])).liked == {video}


async def test_page_is_asked_for_when_a_viewer_likes_too_much(world, database, clock, monkeypatch):
    monkeypatch.setattr(remembered, "MAX_RELATIONS", 1)
    interactions = Interactions(database, clock)
    ada, bob = await world.user(), await world.user()
    videos = [(await world.ready(ada)).id for _ in range(3)]
    for video in videos:
        await interactions.like(bob, video)
    assert (await interactions.relations(bob.user_id, videos[:2])).liked == set(videos[:2])
