"""Agents that count: stage one by user, stage two by content, taste by user (F1-F9, D17)."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from streams.agents.trends import tell_tags
from streams.folding import Fold, Folded, Steps
from streams.log.commit import Outgoing
from streams.log.slices import Slice
from streams.topics import CREATOR_DELTAS, ENGAGEMENT_DELTAS, PAIR_DELTAS, USER_DELTAS
from tables.records import Card, EngagementDelta, EngagementEvent, PairDelta, TotalsDelta, UserFact, events_of
from tables.reducers.engagement import VideoEngagement, WatchHistory, fold_engagement
from tables.reducers.history import observe as observe_record
from tables.reducers.history import runs
from tables.reducers.preferences import EMPTY, UserPreference, apply_fact
from tables.reducers.taste import Taste, close_all
from tables.reducers.together import CoOccurrence, Pairs, becomes_good, fold_pairs
from tables.reducers.totals import Totals, fold_totals, of_creators, of_users
from tables.reducers.trends import TagsOf

_encode = msgspec.json.Encoder().encode


Told = Sequence[tuple[int, EngagementEvent, list[EngagementDelta]]]
"""What a slice changed, by source record in order: its offset, the record, its changes by video."""
Teller = Callable[[Told, int], list[Outgoing]]
"""Makes of that, and the source partition, the records for one of those who add it up."""


def tell_videos(told: Told, partition: int) -> list[Outgoing]:
    """Tell stage two: a record per source record and video."""
    topic = ENGAGEMENT_DELTAS.name
    return [Outgoing(topic, delta.content_id, _encode(delta)) for _, _, deltas in told for delta in deltas]


def tell_creators(told: Told, partition: int) -> list[Outgoing]:
    """Tell the creators of the videos: a record per creator and slice."""
    topic = CREATOR_DELTAS.name
    return [Outgoing(topic, delta.key, _encode(delta)) for delta in of_creators(told, partition)]


def tell_users(told: Told, partition: int) -> list[Outgoing]:
    """Tell the users' own days: a record per user and slice."""
    topic = USER_DELTAS.name
    return [Outgoing(topic, delta.key, _encode(delta)) for delta in of_users(told, partition)]


def tell_tags_by(tags_of: TagsOf) -> Teller:
    """Return what tells the tags of the videos: a record per tag and slice."""
    return lambda told, partition: tell_tags([(at, deltas) for at, _, deltas in told], tags_of, partition)


COUNTING: Final[Sequence[Teller]] = (tell_videos, tell_creators, tell_users)


async def observe(
    batch: Slice[EngagementEvent], histories: Fold[WatchHistory], tellers: Sequence[Teller] = COUNTING
) -> None:
    """Stage one: fold a slice of events into their users' histories and tell what that changed."""

    def fold(states: dict[str, WatchHistory]) -> Folded[WatchHistory]:
        changed: dict[str, WatchHistory] = {}
        told: list[tuple[int, EngagementEvent, list[EngagementDelta]]] = []
        for record, offset in zip(batch.records, batch.offsets, strict=True):
            user = record.user_id
            history = states.get(user) or WatchHistory()
            if offset > history.applied:
                told.append((offset, record, observe_record(history, record, batch.partition, offset)))
                states[user] = changed[user] = history
        return Folded(changed, [made for tell in tellers for made in tell(told, batch.partition)])

    await histories.apply(batch.partition, (event.user_id for event in batch.records), fold)


async def total(batch: Slice[TotalsDelta], totals: Fold[Totals]) -> None:
    """Add a slice of changes to the days of creators or of users."""

    def fold(states: dict[str, Totals]) -> Folded[Totals]:
        return Folded(states) if fold_totals(states, batch.records) else Folded({})

    await totals.apply(batch.partition, (delta.key for delta in batch.records), fold)


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
    """Fold a slice of events into their users' taste, and emit which videos go together.

    An owner learns nothing from the own video.
    """

    def fold(states: dict[str, UserPreference]) -> Steps[UserPreference]:
        opened: dict[str, tuple[Taste, int]] = {}
        pairs = Pairs(now)
        for record, offset in zip(batch.records, batch.offsets, strict=True):
            user = record.user_id
            known = states.get(user, EMPTY)
            taste, applied = opened.get(user) or (Taste(known), known.applied)
            if offset <= applied:
                continue
            _teach(taste, record, offset, card_of, pairs)
            opened[user] = taste, offset
            yield
        deltas = pairs.deltas(batch.partition)
        return Folded(
            close_all(opened),
            [Outgoing(PAIR_DELTAS.name, delta.content_id, _encode(delta)) for delta in deltas],
        )

    await preferences.apply(batch.partition, (event.user_id for event in batch.records), fold)


def _teach(
    taste: Taste, record: EngagementEvent, offset: int, card_of: Callable[[str], Card | None], pairs: Pairs
) -> None:
    """Fold all events of the record at an offset into a taste; ``pairs`` collects what they pair."""
    for run in runs(event for event in events_of(record) if event.user_id != event.owner_id):
        video_id = run[0].video_id
        changed = taste.fold(run, card_of(video_id), pairs.now)
        if changed and becomes_good(*changed):
            pairs.add(video_id, run[-1].occurred_at, taste.positives, offset)


async def pair(
    batch: Slice[PairDelta],
    together: Fold[CoOccurrence],
    show: Callable[[str, CoOccurrence], None],
) -> None:
    """Add a slice of pairs to their videos' neighbours and show them to ranking."""

    def fold(states: dict[str, CoOccurrence]) -> Folded[CoOccurrence]:
        return Folded(states) if fold_pairs(states, batch.records) else Folded({})

    folded = await together.apply(batch.partition, (delta.content_id for delta in batch.records), fold)
    for content_id, state in folded.rows.items():
        if state is not None:
            show(content_id, state)


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
