"""Order and lateness change no count: partitions interleave, steps arrive late (F5, F6, F31, F32)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.records import Action, EngagementEvent, ImpressionDelta, Impressions
from tables.reducers.engagement import (
    STEP_FRACTION,
    VIEW_WINDOW_SECONDS,
    VideoEngagement,
    WatchHistory,
    decayed,
    fold_engagement,
    fold_history,
)
from tables.reducers.trends import ImpressionDays, fold_shown, of_pages

DAY = 86_400.0
NOW = 60 * DAY
USERS = ("u0", "u1", "u2")  # the number is the partition
STEPS = sorted(STEP_FRACTION)


def events(actions):
    return st.builds(
        EngagementEvent,
        event_id=st.integers(0, 40).map(lambda number: f"e{number}"),
        user_id=st.sampled_from(USERS),
        video_id=st.sampled_from(["v1", "v2"]),
        action=st.sampled_from(actions),
        occurred_at=st.floats(NOW - 10 * DAY, NOW),
        duration_seconds=st.floats(0, 60),
        watch_seconds=st.floats(0, 120),
        relation_seq=st.integers(0, 100),
    )


def told(log):
    """Return what stage one tells of each partition, in its order."""
    histories: dict[str, WatchHistory] = {}
    by_user = [[event for event in log if event.user_id == user] for user in USERS]
    return [
        fold_history(histories, [(event, partition, offset) for offset, event in enumerate(own)])
        for partition, own in enumerate(by_user)
    ]


def interleaved(queues, dice):
    """Take from the queues in turns that a dice decides; each keeps its order."""
    queues = [list(queue) for queue in queues]
    mixed = []
    while any(queues):
        mixed.append(dice.choice([queue for queue in queues if queue]).pop(0))
    return mixed


def exact(videos):
    """Everything of the rows that is a count or a time."""
    return {
        key: (
            [
                getattr(row.local, name)
                for name in ("views", "viewers", "likes", "comments", "shares", "saves")
            ],
            (row.local.completes, row.local.watch_ms, pytest.approx(row.local.completion, abs=1e-9)),
            {bin_: viewers for bin_, viewers in row.bins.items() if viewers},
            {hour: amount for hour, amount in row.hourly.items() if amount},
            (row.updated_at, row.applied),
        )
        for key, row in videos.items()
    }


@settings(max_examples=100, deadline=None)
@given(st.lists(events(sorted(Action)), max_size=40), st.randoms(use_true_random=False))
def test_video_counts_are_the_same_when_partitions_interleave_otherwise(log, dice):
    """Stage two hears of users in any interleaving; what is late counts in its own hour."""
    queues = told(log)
    one: dict[str, VideoEngagement] = {}
    other: dict[str, VideoEngagement] = {}
    fold_engagement(one, [delta for queue in queues for delta in queue])
    fold_engagement(other, interleaved(queues, dice))
    assert exact(other) == exact(one)


@settings(max_examples=100, deadline=None)
@given(st.lists(events(STEPS), max_size=40), st.randoms(use_true_random=False))
def test_decayed_engagement_is_the_same_when_views_come_late(log, dice):
    """A late view weighs what is left of it; nothing decays below zero or grows with time."""
    queues = told(log)
    one: dict[str, VideoEngagement] = {}
    other: dict[str, VideoEngagement] = {}
    fold_engagement(one, [delta for queue in queues for delta in queue])
    fold_engagement(other, interleaved(queues, dice))
    for key, row in one.items():
        assert decayed(other[key], NOW) == pytest.approx(decayed(row, NOW), rel=1e-9, abs=1e-12)
        assert 0 <= decayed(row, NOW + DAY) <= decayed(row, NOW)
        # a clock that is behind sees no more than there was
        assert decayed(row, NOW - 30 * DAY) <= row.decayed


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.floats(0, VIEW_WINDOW_SECONDS / 2), st.floats(0, 120)),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_view_counts_the_same_when_its_steps_arrive_in_another_order(steps, dice):
    """One sitting: whatever overtakes what, it is one view, its best step, its longest watch."""
    sitting = [
        EngagementEvent(
            event_id=f"e{number}", user_id="u0", video_id="v1", action=action,
            occurred_at=NOW + after, duration_seconds=30.0, watch_seconds=seconds,
        )
        for number, (action, after, seconds) in enumerate(steps)
    ]  # fmt: skip
    mixed = dice.sample(sitting, len(sitting))
    rows = []
    for log in (sitting, mixed):
        videos: dict[str, VideoEngagement] = {}
        fold_engagement(videos, told(log)[0])
        row = videos["v1"]
        rows.append((row.local, {bin_: viewers for bin_, viewers in row.bins.items() if viewers}))
    (one, bins), (other, others) = rows
    assert (other.views, other.viewers, other.completes) == (one.views, one.viewers, one.completes)
    assert (other.watch_ms, others) == (one.watch_ms, bins)
    assert other.completion == pytest.approx(one.completion, abs=1e-9)


pages = st.builds(
    Impressions,
    viewer_id=st.just("u"),
    at=st.floats(0, 200 * DAY),
    algorithm=st.just("blend"),
    videos=st.lists(st.sampled_from(["v1", "v2"]), max_size=3).map(tuple),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(pages, max_size=8), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_impressions_are_the_same_when_partitions_interleave_otherwise(found, dice):
    """Late pages count in their own day, or in none beyond ninety."""
    queues: list[list[ImpressionDelta]] = [
        [delta for offset, page in enumerate(log) for delta in of_pages([(offset, page)], partition)]
        for partition, log in enumerate(found)
    ]
    one: dict[str, ImpressionDays] = {}
    other: dict[str, ImpressionDays] = {}
    fold_shown(one, [delta for queue in queues for delta in queue])
    fold_shown(other, interleaved(queues, dice))
    assert other == one
