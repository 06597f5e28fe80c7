"""Properties of a walk through the feed while everything changes (E5, E10, E53, D14)."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ranking.catalogue import Catalogue
from ranking.feed import FeedEngine, FeedRequest
from ranking.profiles import PROFILES
from tables.records import Action, Card, EngagementEvent
from tables.reducers.engagement import VideoEngagement
from tables.reducers.preferences import UserPreference
from tables.reducers.taste import step

NOW = 1_800_000_000.0
CHANGES = ("nothing", "add", "remove", "hide", "heat", "watch", "restart", "wait")


def card(number: int) -> Card:
    vector = np.random.default_rng(number % 40).normal(size=512)
    vector /= np.linalg.norm(vector)
    return Card(
        video_id=f"v{number}",
        creator_id=f"c{number % 4}",
        creator_username="n",
        title="",
        created_at=NOW - 30.0 * number,
        duration_seconds=9.0,
        width=640,
        height=360,
        tags=(f"t{number % 3}",),
        embedding=b"" if number % 5 == 0 else vector.astype(np.float16).tobytes(),
        model_version="m",
    )


class Place:
    """A server's worth of state that a test may disturb."""

    def __init__(self, count: int, watched: int) -> None:
        self.catalogue = Catalogue()
        self.now = NOW
        self.next_number = count
        self.gone: set[str] = set()
        for number in range(count):
            self.catalogue.upsert(card(number))
        self.state = UserPreference()
        for number in range(min(watched, count)):
            self.watch(number)
        self.engine = FeedEngine(self.catalogue, lambda _: self.state)

    def watch(self, number: int) -> None:
        one = EngagementEvent(
            event_id="e", user_id="u", video_id=f"v{number}", action=Action.LIKE, occurred_at=self.now
        )
        self.state = step(self.state, one, card(number), self.now)

    def disturb(self, change: str, number: int) -> None:
        if change == "add":
            self.catalogue.upsert(card(self.next_number))
            self.next_number += 1
        elif change == "remove":
            self.catalogue.remove(f"v{number}")
            self.gone.add(f"v{number}")
        elif change == "hide":
            if f"v{number}" in self.catalogue:
                self.catalogue.upsert(msgspec.structs.replace(card(number), visibility="PRIVATE"))
                self.gone.add(f"v{number}")
        elif change == "heat":
            self.catalogue.set_engagement(f"v{number}", VideoEngagement(decayed=50.0, decayed_at=self.now))
        elif change == "watch":
            self.watch(number)
        elif change == "restart":
            self.engine = FeedEngine(self.catalogue, lambda _: self.state)
        elif change == "wait":
            self.now += 2_000.0


@settings(deadline=None, max_examples=80)
@given(
    count=st.integers(0, 70),
    watched=st.integers(0, 9),
    profile=st.sampled_from(sorted(PROFILES)),
    steps=st.lists(
        st.tuples(st.sampled_from(CHANGES), st.integers(0, 69), st.integers(1, 60)), min_size=1, max_size=12
    ),
)
def test_walk_never_repeats_nor_shows_what_is_gone(count, watched, profile, steps) -> None:
    """Whatever happens between two pages; and a page is short only at the end."""
    place = Place(count, watched)
    shown: list[str] = []
    cursor = None
    for change, number, limit in steps:
        page = place.engine.page(FeedRequest("u", place.now, profile, limit, cursor))
        ids = [item.video_id for item in page.items]
        assert not set(ids) & place.gone
        assert not set(ids) & set(shown)
        assert len(ids) == len(set(ids)) <= min(limit, 50)
        assert page.next_cursor is None or len(ids) == min(limit, 50)
        shown += ids
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
        place.disturb(change, number)


@settings(deadline=None, max_examples=60)
@given(count=st.integers(0, 60), watched=st.integers(0, 9), profile=st.sampled_from(sorted(PROFILES)))
def test_scores_are_finite_and_explained(count, watched, profile) -> None:
    """E9, E26: with missing vectors, counters and history too."""
    place = Place(count, watched)
    for item in place.engine.page(FeedRequest("u", place.now, profile, 50)).items:
        total = sum(signal["value"] * signal["weight"] for signal in item.signals.values())
        assert np.isfinite(item.score)
        assert abs(total - item.score) < 1e-4
