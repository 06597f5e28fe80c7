"""The one decision who sees a video (C44, H6, X8, X63, DESIGN invariant 8)."""

from dataclasses import dataclass
from itertools import product

import pytest
from sqlalchemy import select, update

from social.graph import Graph
from social.views import Principal
from social.visibility import can_view, publicly_visible
from tables.errors import ContentNotFound
from tables.lifecycle import ModerationStatus, VideoStatus, Visibility
from tables.relational.models import VideoRow


@dataclass(frozen=True)
class Facts:
    owner_id: str
    status: str
    visibility: str
    moderation_status: str


EVERY = [Facts("owner", *facts) for facts in product(VideoStatus, Visibility, ModerationStatus)]
STRANGER = Principal("x", "x", "user", "s")


def test_owner_and_operator_see_everything_when_asked():
    for facts in EVERY:
        assert can_view(Principal("owner", "o", "user", "s"), facts)
        assert can_view(Principal("x", "x", "operator", "s"), facts)


def test_others_see_only_what_is_ready_public_and_not_hidden():
    """X63: pending shows; X8: flagged and rejected do not, whatever the state."""
    for facts in EVERY:
        shown = facts.status == "READY" and facts.moderation_status in ("pending", "approved")
        assert can_view(None, facts) == (shown and facts.visibility == "PUBLIC")
        assert can_view(STRANGER, facts) == can_view(None, facts)
        assert can_view(Principal("x", "x", "analyst", "s"), facts) == can_view(None, facts)
        assert can_view(STRANGER, facts, follows=True) == (shown and facts.visibility != "PRIVATE")


async def test_query_agrees_with_the_decision_when_run(world):
    """Every combination, in the database and in the function."""
    await world.video(await world.user())
    for facts in EVERY:
        async with world.database.transaction() as session:
            await session.execute(
                update(VideoRow).values(
                    status=facts.status,
                    visibility=facts.visibility,
                    moderation_status=facts.moderation_status,
                )
            )
            found = await session.scalar(select(VideoRow.id).where(publicly_visible()))
        assert (found is not None) == can_view(None, facts)


async def test_follower_sees_what_is_for_followers_when_following(world):
    """H6: reading, liking and the list of saves ask the graph; others get nothing."""
    owner, fan, stranger = await world.user(), await world.user(), await world.user()
    video = await world.ready(owner, visibility=Visibility.FOLLOWERS_ONLY)
    for viewer in (None, fan, stranger):
        assert await world.videos.get_many([video.id], viewer) == {}
    graph = Graph(world.database, world.clock)
    await graph.follow(fan, owner.user_id)
    assert (await world.videos.get(video.id, fan)).id == video.id
    await world.interactions.save(fan, video.id)
    assert len((await world.interactions.saves(fan)).items) == 1
    with pytest.raises(ContentNotFound):
        await world.interactions.save(stranger, video.id)
    await graph.unfollow(fan, owner.user_id)
    assert (await world.interactions.saves(fan)).items == []
    assert await world.videos.get_many([video.id], fan) == {}
