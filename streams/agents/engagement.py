"""Agents that count: stage one by user, stage two by content, taste by user (F1-F9, D17)."""

from collections.abc import Callable

import msgspec

from streams.folding import Fold, Folded
from streams.log.commit import Outgoing
from streams.log.slices import Slice
from streams.topics import ENGAGEMENT_DELTAS
from tables.records import Card, EngagementDelta, EngagementEvent, UserFact, events_of
from tables.reducers.engagement import VideoEngagement, WatchHistory, fold_engagement, fold_history
from tables.reducers.preferences import EMPTY, UserPreference, apply_fact, step

_encode = msgspec.json.Encoder().encode


async def observe(batch: Slice[EngagementEvent], histories: Fold[WatchHistory]) -> None:
    """Stage one: fold a slice of events into their users' histories and emit what changed."""

    def fold(states: dict[str, WatchHistory]) -> Folded[WatchHistory]:
        before = {user: state.applied for user, state in states.items()}
        numbered = zip(batch.records, batch.offsets, strict=True)
        deltas = fold_history(states, ((event, batch.partition, offset) for event, offset in numbered))
        changed = {user: state for user, state in states.items() if state.applied != before.get(user, -1)}
        outputs = [Outgoing(ENGAGEMENT_DELTAS.name, delta.content_id, _encode(delta)) for delta in deltas]
        return Folded(changed, outputs)

    await histories.apply(batch.partition, (event.user_id for event in batch.records), fold)


async def count(
    batch: Slice[EngagementDelta],
    engagement: Fold[VideoEngagement],
    show: Callable[[str, VideoEngagement], None],
) -> None:
    """Stage two: add a slice of deltas to their videos and show the new counters to ranking."""

    def fold(states: dict[str, VideoEngagement]) -> Folded[VideoEngagement]:
        return Folded(states) if fold_engagement(states, batch.records) else Folded({})

    folded = await engagement.apply(batch.partition, (delta.content_id for delta in batch.records), fold)
    for content_id, state in folded.rows.items():
        if state is not None:
            show(content_id, state)


async def learn(
    batch: Slice[EngagementEvent],
    preferences: Fold[UserPreference],
    card_of: Callable[[str], Card | None],
    now: float,
) -> None:
    """Fold a slice of events into their users' taste; an owner learns nothing from the own video."""

    def fold(states: dict[str, UserPreference]) -> Folded[UserPreference]:
        changed: dict[str, UserPreference | None] = {}
        for record, offset in zip(batch.records, batch.offsets, strict=True):
            state = states.get(record.user_id, EMPTY)
            if offset <= state.applied:
                continue
            for event in events_of(record):
                if event.user_id != event.owner_id:
                    state = step(state, event, card_of(event.video_id), now)
            state = msgspec.structs.replace(state, applied=offset)
            states[record.user_id] = changed[record.user_id] = state
        return Folded(changed)

    await preferences.apply(batch.partition, (event.user_id for event in batch.records), fold)


async def steer(batch: Slice[UserFact], preferences: Fold[UserPreference]) -> None:
    """Fold a slice of wishes (not interested, less, more, reset) into their users' taste (Y4)."""

    def fold(states: dict[str, UserPreference]) -> Folded[UserPreference]:
        changed: dict[str, UserPreference | None] = {}
        for fact, offset in zip(batch.records, batch.offsets, strict=True):
            state = states.get(fact.user_id, EMPTY)
            if offset <= state.applied_facts:
                continue
            state = msgspec.structs.replace(apply_fact(state, fact), applied_facts=offset)
            states[fact.user_id] = changed[fact.user_id] = state
        return Folded(changed)

    await preferences.apply(batch.partition, (fact.user_id for fact in batch.records), fold)
