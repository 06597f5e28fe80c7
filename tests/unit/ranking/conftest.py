"""Builders shared by the ranking tests: cards with vectors of a kind, events, engagement."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from ranking.catalogue import Catalogue
from tables.records import Action, Card, EngagementEvent
from tables.reducers.engagement import Counters, VideoEngagement
from tables.reducers.preferences import UserPreference
from tables.reducers.taste import step

NOW = 1_800_000_000.0


@dataclass
class World:
    """Cards of several kinds: vectors of one kind have a cosine of about 0.8 to each other."""

    catalogue: Catalogue = field(default_factory=Catalogue)
    cards: list[Card] = field(default_factory=list)
    now: float = NOW

    def card(self, number: int, *, kind: int = 0, creator: str = "", **changes: object) -> Card:
        """Return a card that is ``number`` minutes old."""
        centre = np.random.default_rng(10_000 + kind).normal(size=512)
        vector = centre + 0.5 * np.random.default_rng(number).normal(size=512)
        vector /= np.linalg.norm(vector)
        known: dict[str, object] = {
            "video_id": f"video-{number:05d}",
            "creator_id": creator or f"creator-{number % 7}",
            "creator_username": "someone",
            "title": f"Clip {number}",
            "created_at": self.now - 60.0 * (number + 1),
            "duration_seconds": 12.0,
            "width": 1280,
            "height": 720,
            "tags": (f"kind{kind}",),
            "embedding": vector.astype(np.float16).tobytes(),
            "model_version": "test-1",
        }
        return Card(**(known | changes))  # type: ignore[arg-type]

    def fill(self, count: int, kinds: int = 3) -> "World":
        """Add videos, kinds in turn."""
        for number in range(len(self.cards), len(self.cards) + count):
            card = self.card(number, kind=number % kinds)
            self.cards.append(card)
            self.catalogue.upsert(card)
        return self

    def heat(self, video_id: str, amount: float, *, age_seconds: float = 0.0, **counts: int) -> None:
        """Give a video engagement."""
        state = VideoEngagement(
            local=Counters(**{"views": int(amount), **counts}),
            decayed=amount,
            decayed_at=self.now - age_seconds,
        )
        self.catalogue.set_engagement(video_id, state)

    def watch(
        self, state: UserPreference | None, cards: list[Card], action: Action = Action.WATCH_COMPLETE
    ) -> UserPreference:
        """Fold one action on each card."""
        result = state or UserPreference()
        for number, card in enumerate(cards):
            result = step(result, event(card.video_id, action, self.now - 100 + number), card, self.now)
        return result


def event(video_id: str, action: Action, at: float, **more: object) -> EngagementEvent:
    """Return an event of the user ``u``."""
    return EngagementEvent(
        event_id=f"{video_id}-{action}-{at}",
        user_id="u",
        video_id=video_id,
        action=action,
        occurred_at=at,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def world() -> World:
    """Return an empty world."""
    return World()


@pytest.fixture
def make_event() -> Callable[..., EngagementEvent]:
    """Return the builder of events."""
    return event
