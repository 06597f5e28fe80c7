"""Agents that count: stage one by user, stage two by content, taste by user (F1-F9, D17)."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from streams.agents.trends import tell_tags
from streams.folding import Fold, Folded
from streams.log.commit import Outgoing
from streams.log.slices import Slice
from streams.topics import CREATOR_DELTAS, ENGAGEMENT_DELTAS, PAIR_DELTAS, USER_DELTAS
from tables.records import Card, EngagementDelta, EngagementEvent, PairDelta, TotalsDelta, UserFact, events_of
from tables.reducers.engagement import VideoEngagement, WatchHistory, fold_engagement, fold_history
from tables.reducers.history import runs
from tables.reducers.preferences import EMPTY, UserPreference, apply_fact
from tables.reducers.taste import Taste
from tables.reducers.together import CoOccurrence, Pairs, becomes_good, fold_pairs
from tables.reducers.totals import Totals, fold_totals, of_creators, of_user
from tables.reducers.trends import TagsOf

_encode = msgspec.json.Encoder().encode


async def observe(
    batch: Slice[EngagementEvent], histories: Fold[WatchHistory], tags_of: TagsOf = lambda video_id: ()
) -> None:
    """Stage one: fold a slice of events into their users' histories and emit what changed.

    It is told to the videos, to their creators, to their tags, and to the users' own days.
    """

    def fold(states: dict[str, WatchHistory]) -> Folded[WatchHistory]:
        before = {user: state.applied for user, state in states.items()}
        outputs: list[Outgoing] = []
        told: list[tuple[int, list[EngagementDelta]]] = []
        for record, offset in zip(batch.records, batch.offsets, strict=True):
            history = states.get(record.user_id)
            if history is None or offset > history.applied:
                deltas = fold_history(states, [(record, batch.partition, offset)])
                outputs += _told(record, deltas, (batch.partition, offset))
                told.append((offset, deltas))
        outputs += tell_tags(told, tags_of, batch.partition)
        changed = {user: state for user, state in states.items() if state.applied != before.get(user, -1)}
        return Folded(changed, outputs)

    await histories.apply(batch.partition, (event.user_id for event in batch.records), fold)


def _told(
    record: EngagementEvent, deltas: Sequence[EngagementDelta], origin: tuple[int, int]
) -> Iterator[Outgoing]:
    """Yield what one source record is to be told as: at most one output per key and topic."""
    for delta in deltas:
        yield Outgoing(ENGAGEMENT_DELTAS.name, delta.content_id, _encode(delta))
    for totals in of_creators(record, deltas, *origin):
        yield Outgoing(CREATOR_DELTAS.name, totals.key, _encode(totals))
    # A row's fact changes something unless the relay sent it again after a crash: then it is told already.
    if deltas or record.relation_seq is None:
        yield Outgoing(USER_DELTAS.name, record.user_id, _encode(of_user(record, deltas, *origin)))


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

    def fold(states: dict[str, UserPreference]) -> Folded[UserPreference]:
        opened: dict[str, tuple[Taste, int]] = {}
        outputs: list[Outgoing] = []
        for record, offset in zip(batch.records, batch.offsets, strict=True):
            user = record.user_id
            known = states.get(user, EMPTY)
            taste, applied = opened.get(user) or (Taste(known), known.applied)
            if offset <= applied:
                continue
            pairs = Pairs(now)
            _teach(taste, record, card_of, pairs)
            opened[user] = taste, offset
            outputs += [
                Outgoing(PAIR_DELTAS.name, delta.content_id, _encode(delta))
                for delta in pairs.deltas(batch.partition, offset)
            ]
        return Folded({user: taste.close(applied=at) for user, (taste, at) in opened.items()}, outputs)

    await preferences.apply(batch.partition, (event.user_id for event in batch.records), fold)


def _teach(
    taste: Taste, record: EngagementEvent, card_of: Callable[[str], Card | None], pairs: Pairs
) -> None:
    """Fold all events of a record into a taste; ``pairs`` collects what they pair."""
    for run in runs(event for event in events_of(record) if event.user_id != event.owner_id):
        video_id = run[0].video_id
        changed = taste.fold(run, card_of(video_id), pairs.now)
        if changed and becomes_good(*changed):
            pairs.add(video_id, run[-1].occurred_at, taste.positives)


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
