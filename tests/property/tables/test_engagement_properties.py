"""Replays, duplicates and re-emissions never change a count (invariant 1, F5, F6, F32)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import ValidationError, json, structs

from tables.records import Action, EngagementEvent
from tables.reducers.engagement import (
    BINS,
    VideoEngagement,
    WatchHistory,
    distribution,
    fold_engagement,
    fold_history,
)

USERS = ["u1", "u2", "u3"]
VIDEOS = ["v1", "v2"]

events = st.builds(
    EngagementEvent,
    event_id=st.integers(0, 30).map(lambda n: f"e{n}"),
    user_id=st.sampled_from(USERS),
    video_id=st.sampled_from(VIDEOS),
    action=st.sampled_from(list(Action)),
    occurred_at=st.floats(0, 10 * 86400),
    owner_id=st.sampled_from(USERS),
    duration_seconds=st.floats(0, 60),
    watch_seconds=st.floats(0, 120),
    relation_seq=st.none() | st.integers(0, 100),
)
PARTITIONS = {user: number for number, user in enumerate(USERS)}


def numbered(log):
    """Give every event its partition (by user) and its offset in it."""
    counts = dict.fromkeys(PARTITIONS.values(), 0)
    result = []
    for event in log:
        partition = PARTITIONS[event.user_id]
        result.append((event, partition, counts[partition]))
        counts[partition] += 1
    return result


def totals(videos):
    return {key: (state.local, state.federated, state.applied) for key, state in videos.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=60), st.data())
def test_crashes_change_no_count_when_slices_are_cut_differently(log, data):
    log = numbered(log)
    histories: dict[str, WatchHistory] = {}
    videos: dict[str, VideoEngagement] = {}
    fold_engagement(videos, fold_history(histories, log))

    # The same log with crashes: outputs were sent, state was lost, and the slice comes again.
    crashed_histories: dict[str, WatchHistory] = {}
    crashed_videos: dict[str, VideoEngagement] = {}
    position = 0
    while position < len(log):
        size = data.draw(st.integers(1, 20))
        piece = log[position : position + size]
        working = {user: state.copy() for user, state in crashed_histories.items()}
        deltas = fold_history(working, piece)
        fold_engagement(crashed_videos, deltas)
        if data.draw(st.booleans()):  # the changelog was written too
            crashed_histories = working
            if data.draw(st.booleans()):  # and the offset committed
                position += size
    assert totals(crashed_videos) == totals(videos)
    assert crashed_histories == histories


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=60))
def test_client_retries_change_no_count_when_watch_events_repeat(log):
    watching = [event for event in log if event.action.startswith("watch")]
    once: dict[str, VideoEngagement] = {}
    fold_engagement(once, fold_history({}, numbered(watching)))
    histories: dict[str, WatchHistory] = {}
    twice: dict[str, VideoEngagement] = {}
    doubled = [event for event in watching for _ in range(2)]
    fold_engagement(twice, fold_history(histories, numbered(doubled)))
    assert {k: v.local for k, v in twice.items()} == {k: v.local for k, v in once.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=60))
def test_displayed_counts_are_never_negative(log):
    videos: dict[str, VideoEngagement] = {}
    fold_engagement(videos, fold_history({}, numbered(log)))
    for state in videos.values():
        assert min(state.views, state.likes, state.comments, state.shares, state.saves, state.completes) >= 0
        assert state.decayed >= 0


def enveloped(log, data):
    """Cut each user's events into envelopes of arbitrary size: one record, one offset each."""
    records = []
    for user in USERS:
        own = [event for event in log if event.user_id == user]
        offset = 0
        while own:
            size = data.draw(st.integers(1, 8))
            first, *rest = own[:size]
            own = own[size:]
            records.append((structs.replace(first, more=tuple(rest)), PARTITIONS[user], offset))
            offset += 1
    return records


def counted(videos):
    """What envelopes must not change; sums of fractions may differ in their last bit."""
    return {
        key: (
            structs.replace(state.local, completion=round(state.local.completion, 9)),
            {bin_: viewers for bin_, viewers in state.bins.items() if viewers},
            state.updated_at,
        )
        for key, state in videos.items()
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=60), st.data())
def test_counts_are_the_same_when_events_come_in_envelopes(log, data):
    """One record of many events counts like as many records (F3, F6); each envelope twice is once."""
    plain: dict[str, VideoEngagement] = {}
    fold_engagement(plain, fold_history({}, numbered(log)))
    records = enveloped(log, data)
    histories: dict[str, WatchHistory] = {}
    videos: dict[str, VideoEngagement] = {}
    for record in records:
        again = {user: state.copy() for user, state in histories.items()}
        deltas = fold_history(histories, [record])
        assert len({delta.content_id for delta in deltas}) == len(deltas), "one delta per video and origin"
        fold_engagement(videos, deltas)
        fold_engagement(videos, fold_history(again, [record]))  # emitted again after a crash
    assert counted(videos) == counted(plain)


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=60), st.data())
def test_hours_are_the_same_when_watching_comes_in_envelopes(log, data):
    """An envelope that was kept offline for a day counts in the hours it tells of (F9, F31)."""
    log = [event for event in log if event.action.startswith("watch")]
    plain: dict[str, VideoEngagement] = {}
    fold_engagement(plain, fold_history({}, numbered(log)))
    videos: dict[str, VideoEngagement] = {}
    fold_engagement(videos, fold_history({}, enveloped(log, data)))
    hours = {key: state.hourly for key, state in videos.items()}
    assert hours == {key: state.hourly for key, state in plain.items()}


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=60))
def test_distribution_sums_to_the_viewers(log):
    """Viewers move between bins as they progress and are in one bin each (F9)."""
    histories: dict[str, WatchHistory] = {}
    videos: dict[str, VideoEngagement] = {}
    fold_engagement(videos, fold_history(histories, numbered(log)))
    for video_id, state in videos.items():
        assert sum(distribution(state)) == state.local.viewers
        best = [h.videos[video_id].fraction for h in histories.values() if video_id in h.videos]
        assert sum(fraction >= 0.9 for fraction in best) == distribution(state)[BINS - 1]


def test_envelope_is_refused_when_its_events_are_not_of_one_user():
    """It could not be counted under one key; the decoder makes poison of it."""
    one = EngagementEvent(event_id="1", user_id="u1", video_id="v1", action=Action.LIKE, occurred_at=0.0)
    other = structs.replace(one, user_id="u2")
    with pytest.raises(ValueError, match="one user"):
        structs.replace(one, more=(other,))
    raw = json.encode(structs.replace(one, more=(one,))).replace(b'"u1"', b'"u2"', 1)
    with pytest.raises(ValidationError):
        json.decode(raw, type=EngagementEvent)
