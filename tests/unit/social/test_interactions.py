"""Likes, saves, shares and comments (H2-H8, H13, F3, INTERFACE Engagement)."""

import asyncio
import json
import uuid

import pytest

from social.views import Principal
from tables.errors import (
    ContentNotFound,
    ContentTooLong,
    NotContentOwner,
    UserNotFound,
    ValidationFailed,
)
from tables.lifecycle import Visibility
from tables.records import Action, EngagementEvent
from tables.relational.models import CommentRow, LikeRow, RelationEventRow, SaveRow, ShareRow


async def facts(world):
    return [(row, json.loads(row.payload)) for row in await world.outbox("events.engagement")]


def event(user, video, action, event_id=None):
    return EngagementEvent(
        event_id=event_id or str(uuid.uuid4()),
        user_id=user.user_id,
        video_id=video.id,
        action=action,
        occurred_at=5.0,
        owner_id=video.owner_id,
        duration_seconds=10.5,
        device="web",
    )


@pytest.fixture
async def scene(world):
    """Return an owner, a viewer and a READY video, with an empty outbox."""
    owner, viewer = await world.user("owner"), await world.user("viewer")
    video = await world.ready(owner)
    await world.drain()
    return owner, viewer, video


async def test_like_counts_once_when_repeated(world, scene):
    """H3: twice is once, unlike restores; each real change is one fact with its own sequence."""
    _, viewer, video = scene
    first, again = (
        await world.interactions.like(viewer, video.id),
        await world.interactions.like(viewer, video.id),
    )
    assert (first.active, first.changed, first.count) == (True, True, 1)
    assert (again.active, again.changed, again.count) == (True, False, 1)
    gone = await world.interactions.unlike(viewer, video.id)
    assert (gone.active, gone.changed, gone.count) == (False, True, 0)
    assert not (await world.interactions.unlike(viewer, video.id)).changed
    rows = await facts(world)
    assert [fact["action"] for _, fact in rows] == ["like", "unlike"]
    assert [fact["relation_seq"] for _, fact in rows] == [row.id for row, _ in rows]
    assert rows[0][0].key == viewer.user_id
    assert (rows[0][1]["owner_id"], rows[0][1]["duration_seconds"]) == (video.owner_id, 10.5)


async def test_like_counts_once_when_many_come_at_once(world, scene):
    """H3, R19: same user and different users, at the same time."""
    _, viewer, video = scene
    others = [await world.user() for _ in range(4)]
    answers = await asyncio.gather(
        *(world.interactions.like(viewer, video.id) for _ in range(5)),
        *(world.interactions.like(other, video.id) for other in others),
    )
    assert sum(answer.changed for answer in answers) == 5
    assert len(await world.rows(LikeRow)) == 5
    assert (await world.videos.get(video.id, None)).like_count == 5
    assert len(await facts(world)) == 5


async def test_saves_list_newest_first_when_read(world, scene):
    """H13: own saves, paged, without what can no longer be seen."""
    owner, viewer, first = scene
    saved = [first]
    for _ in range(4):
        world.clock.now += 1
        saved.append(await world.ready(owner))
    for video in saved:
        world.clock.now += 1
        await world.interactions.save(viewer, video.id)
    page = await world.interactions.saves(viewer, None, 3)
    rest = await world.interactions.saves(viewer, page.next_cursor, 3)
    assert [video.id for video in [*page.items, *rest.items]] == [video.id for video in reversed(saved)]
    assert rest.next_cursor is None
    await world.interactions.unsave(viewer, saved[-1].id)
    assert (await world.interactions.saves(viewer)).items[0].id == saved[-2].id
    await world.interactions.like(viewer, first.id)
    mine = await world.interactions.relations(viewer.user_id, [first.id, saved[-1].id, "x"])
    assert (mine.liked, mine.saved) == ({first.id}, {first.id})
    assert len(await world.rows(SaveRow)) == 4


async def test_each_share_counts_when_its_event_id_is_new(world, scene):
    """INTERFACE: each share event id is a share."""
    _, viewer, video = scene
    name = str(uuid.uuid4())
    first = await world.interactions.share(viewer, video.id, name)
    again = await world.interactions.share(viewer, video.id, name)
    other = await world.interactions.share(viewer, video.id)
    assert (first.event_id, first.changed, first.count) == (name, True, 1)
    assert (again.changed, again.count) == (False, 1)
    assert (other.changed, other.count) == (True, 2)
    world.clock.now += 40 * 86_400
    assert await world.interactions.forget_old_events() == 2
    assert not (await world.interactions.share(viewer, video.id, name)).changed
    assert len(await facts(world)) == 2


async def test_client_events_apply_in_order_when_in_one_batch(world, scene):
    """F3, H8: a known id is a duplicate; a new one that changes nothing is not."""
    _, viewer, video = scene
    like, share = event(viewer, video, Action.LIKE), event(viewer, video, Action.SHARE)
    batch = [
        like,
        event(viewer, video, Action.LIKE),
        event(viewer, video, Action.UNLIKE),
        event(viewer, video, Action.LIKE),
        event(viewer, video, Action.SAVE),
        like,
        share,
        share,
    ]
    known = await world.interactions.apply_client_events(viewer.user_id, batch)
    assert known == [False, False, False, False, False, True, False, True]
    rows = await facts(world)
    assert [fact["action"] for _, fact in rows] == ["like", "unlike", "like", "save", "share"]
    assert [fact["relation_seq"] for _, fact in rows] == [row.id for row, _ in rows]
    assert rows[0][1]["event_id"] == like.event_id
    assert rows[0][1]["device"] == "web"
    shown = await world.videos.get(video.id, None)
    assert (shown.like_count, shown.save_count, shown.share_count) == (1, 1, 1)
    assert all(await world.interactions.apply_client_events(viewer.user_id, batch))
    assert len(await facts(world)) == 5


async def test_thousand_events_apply_when_in_one_batch(world, scene):
    """INTERFACE: a batch has up to 1,000 events."""
    owner, viewer, video = scene
    second = await world.ready(owner)
    await world.drain()
    batch = [
        event(viewer, (video, second)[number % 2], Action.LIKE if number % 4 < 2 else Action.UNLIKE)
        for number in range(1000)
    ]
    assert not any(await world.interactions.apply_client_events(viewer.user_id, batch))
    rows = await facts(world)
    assert [fact["event_id"] for _, fact in rows] == [one.event_id for one in batch]
    assert [fact["relation_seq"] for _, fact in rows] == sorted(row.id for row, _ in rows)
    assert await world.rows(LikeRow) == []
    assert len(await world.rows(RelationEventRow)) == 1000


async def test_same_batch_counts_once_when_sent_twice_at_once(world, scene):
    """H8: two copies of a request race."""
    _, viewer, video = scene
    batch = [event(viewer, video, Action.LIKE), event(viewer, video, Action.SHARE)]
    answers = await asyncio.gather(
        *(world.interactions.apply_client_events(viewer.user_id, batch) for _ in range(3))
    )
    assert sorted(answers) == [[False, False], [True, True], [True, True]]
    assert len(await world.rows(ShareRow)) == 1
    assert len(await facts(world)) == 2


async def test_event_is_passed_over_when_its_video_is_gone(world, scene):
    owner, viewer, video = scene
    await world.videos.delete(video.id, owner)
    await world.drain()
    assert await world.interactions.apply_client_events(
        viewer.user_id, [event(viewer, video, Action.LIKE)]
    ) == [False]
    assert await world.outbox() == []


async def test_interaction_is_refused_when_the_video_cannot_be_seen(world, scene):
    """C44: what one cannot see one cannot like, and does not exist."""
    owner, viewer, _ = scene
    private = await world.ready(owner, visibility=Visibility.PRIVATE)
    for action in ("like", "unlike", "save", "unsave", "share"):
        for video_id in (private.id, "x", str(uuid.uuid4())):
            with pytest.raises(ContentNotFound):
                await getattr(world.interactions, action)(viewer, video_id)
    assert (await world.interactions.like(owner, private.id)).changed
    gone = Principal(str(uuid.uuid4()), "gone", "user", "s")
    with pytest.raises(UserNotFound):
        await world.interactions.apply_client_events(gone.user_id, [])


# Comments


async def test_comment_counts_and_tells_when_added(world, scene):
    """H4, H13: row, counter and event; replies carry their parent."""
    _, viewer, video = scene
    comments = world.interactions.comments
    first = await comments.add(viewer, video.id, " hello ")
    world.clock.now += 1
    reply = await comments.add(viewer, video.id, "x" * 2000, first.id.upper())
    assert (first.text, first.username, reply.parent_id) == ("hello", "viewer", first.id)
    assert (await world.videos.get(video.id, None)).comment_count == 2
    rows = await facts(world)
    assert [(fact["action"], fact["event_id"]) for _, fact in rows] == [
        ("comment", first.id),
        ("comment", reply.id),
    ]
    page = await comments.listing(None, video.id, None, 1)
    rest = await comments.listing(None, video.id, page.next_cursor, 1)
    assert [one.id for one in (*page.items, *rest.items)] == [reply.id, first.id]
    assert rest.next_cursor is None
    assert [one.id for one in (await comments.listing(None, video.id, parent_id=first.id)).items] == [
        reply.id
    ]


async def test_comment_is_refused_when_it_breaks_a_rule(world, scene):
    """H5, H4."""
    owner, viewer, video = scene
    comments = world.interactions.comments
    other = await comments.add(viewer, (await world.ready(owner)).id, "elsewhere")
    for text, parent, error in (
        ("x" * 2001, None, ContentTooLong),
        (" \n", None, ValidationFailed),
        ("a\0b", None, ValidationFailed),
        ("reply", "x", ValidationFailed),
        ("reply", other.id, ValidationFailed),
        ("reply", str(uuid.uuid4()), ValidationFailed),
    ):
        with pytest.raises(error):
            await comments.add(viewer, video.id, text, parent)
    with pytest.raises(ContentNotFound):
        await comments.add(viewer, str(uuid.uuid4()), "hello")
    assert (await world.videos.get(video.id, None)).comment_count == 0


async def test_comment_goes_when_its_author_deletes_it(world, scene):
    """H7: only the author or an operator; the thread under it stands until the last reply goes."""
    owner, viewer, video = scene
    operator = await world.user(role="operator")
    comments = world.interactions.comments
    parent = await comments.add(viewer, video.id, "parent")
    reply = await comments.add(owner, video.id, "reply", parent.id)
    with pytest.raises(NotContentOwner):
        await comments.remove(owner, parent.id)
    await comments.remove(viewer, parent.id)
    shown = {one.id: one for one in (await comments.listing(None, video.id)).items}
    assert (shown[parent.id].deleted, shown[parent.id].text) == (True, "")
    for unknown in (parent.id, "x", str(uuid.uuid4())):
        with pytest.raises(ContentNotFound):
            await comments.remove(viewer, unknown)
    with pytest.raises(ValidationFailed):
        await comments.add(viewer, video.id, "too late", parent.id)
    await comments.remove(operator, reply.id)
    assert await world.rows(CommentRow) == []
    assert (await world.videos.get(video.id, None)).comment_count == 0
    assert [fact["action"] for _, fact in await facts(world)] == [
        "comment",
        "comment",
        "uncomment",
        "uncomment",
    ]
