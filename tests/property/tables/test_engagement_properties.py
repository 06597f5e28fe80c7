"""Replays, duplicates and re-emissions never change a count (invariant 1, F5, F6, F32)."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tables.records import Action, EngagementEvent
from tables.reducers.engagement import VideoEngagement, WatchHistory, fold_engagement, fold_history

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
