"""Counting rules of engagement (F1-F9, F21, F26, F27; INTERFACE, settled readings)."""

import itertools

import pytest

from tables.records import Action, EngagementEvent
from tables.reducers.engagement import (
    HISTORY_VIDEOS,
    VIEW_WINDOW_SECONDS,
    VideoEngagement,
    WatchHistory,
    average_watch_seconds,
    completion_rate,
    decayed,
    engagement_score,
    fold_engagement,
    fold_history,
    trending_score,
)

T0 = 1_800_000_000.0


class Story:
    """Feeds one user's or several users' events through both stages, as the agents do."""

    def __init__(self) -> None:
        self.histories: dict[str, WatchHistory] = {}
        self.videos: dict[str, VideoEngagement] = {}
        self._offsets = itertools.count()
        self._ids = itertools.count()

    def __call__(self, action: Action, *, user: str = "u1", video: str = "v1", at: float = T0, **more):
        event = EngagementEvent(
            event_id=more.pop("event_id", f"e{next(self._ids)}"),
            user_id=user,
            video_id=video,
            action=action,
            occurred_at=at,
            owner_id="owner",
            duration_seconds=10.0,
            **more,
        )
        deltas = fold_history(self.histories, [(event, 0, next(self._offsets))])
        fold_engagement(self.videos, deltas)
        return self.videos.get(video, VideoEngagement())


def test_view_counts_once_when_repeated_within_a_day():
    story = Story()
    story(Action.WATCH_START)
    story(Action.WATCH_START, at=T0 + VIEW_WINDOW_SECONDS - 1)
    assert story(Action.WATCH_START, user="u2").views == 2
    assert story(Action.WATCH_START, at=T0 + VIEW_WINDOW_SECONDS).views == 3


def test_view_counts_when_the_start_was_lost():
    assert Story()(Action.WATCH_25).views == 1


def test_owner_counts_for_nobody_when_watching():
    story = Story()
    assert story(Action.WATCH_COMPLETE, user="owner").views == 0


def test_completion_is_the_highest_step_when_steps_repeat():
    story = Story()
    for action in (Action.WATCH_START, Action.WATCH_75, Action.WATCH_25):
        state = story(action)
    assert completion_rate(state) == 0.75


def test_completion_follows_seconds_when_no_step_says_more():
    story = Story()
    assert completion_rate(story(Action.WATCH_START, watch_seconds=4.2)) == 0.42
    assert completion_rate(story(Action.WATCH_START, watch_seconds=40.0)) == 1.0


def test_completion_rate_is_the_mean_over_viewers():
    story = Story()
    story(Action.WATCH_COMPLETE)
    story(Action.WATCH_25, user="u2")
    state = story(Action.WATCH_START, user="u3")
    assert completion_rate(state) == 0.42
    assert state.completes == 1


def test_watch_time_counts_the_longest_report_of_a_view():
    story = Story()
    story(Action.WATCH_25, watch_seconds=2.5)
    story(Action.WATCH_50, watch_seconds=5.0)
    state = story(Action.WATCH_25, watch_seconds=2.5)
    assert average_watch_seconds(state) == 5.0


def test_like_and_share_count_once_per_event_id():
    story = Story()
    story(Action.LIKE, event_id="a", relation_seq=1)
    story(Action.LIKE, event_id="a", relation_seq=1)
    story(Action.SHARE, event_id="s1")
    story(Action.SHARE, event_id="s1")
    state = story(Action.SHARE, event_id="s2")
    assert (state.likes, state.shares) == (1, 2)
    assert story(Action.UNLIKE, event_id="b", relation_seq=2).likes == 0


def test_likes_are_never_negative_when_unlike_comes_first():
    assert Story()(Action.UNLIKE).likes == 0


def test_comment_event_of_a_client_counts_nothing():
    story = Story()
    assert story(Action.COMMENT).comments == 0
    assert story(Action.COMMENT, relation_seq=9).comments == 1


def test_federated_counts_are_kept_apart():
    state = Story()(Action.LIKE, federated=True, relation_seq=1)
    assert (state.local.likes, state.federated.likes, state.likes) == (0, 1, 1)


def test_replayed_delta_adds_nothing_when_its_origin_was_applied():
    histories: dict[str, WatchHistory] = {}
    event = EngagementEvent(
        event_id="e", user_id="u", video_id="v", action=Action.WATCH_START, occurred_at=T0
    )
    deltas = fold_history(histories, [(event, 3, 7)])
    videos: dict[str, VideoEngagement] = {}
    assert fold_engagement(videos, deltas) == 1
    assert fold_engagement(videos, deltas) == 0
    assert videos["v"].views == 1


def test_history_is_bounded_by_the_least_recently_watched():
    story = Story()
    for number in range(HISTORY_VIDEOS + 5):
        story(Action.WATCH_START, video=f"v{number}")
    videos = story.histories["u1"].videos
    assert len(videos) == HISTORY_VIDEOS
    assert "v0" not in videos


def test_decayed_counter_halves_every_six_hours_and_takes_late_events():
    story = Story()
    state = story(Action.WATCH_START)
    assert decayed(state, T0 + 6 * 3600) == pytest.approx(0.5)
    late = story(Action.WATCH_START, user="u2", at=T0 - 6 * 3600)
    assert decayed(late, T0) == pytest.approx(1.5)
    assert 0 < trending_score(late, T0) < 1


def test_scores_of_an_untouched_video_are_zero_or_unknown():
    """C22: a number for all zeros, too."""
    state = VideoEngagement()
    assert engagement_score(state) == 0.0
    assert completion_rate(state) is None
    assert average_watch_seconds(state) is None
    assert trending_score(state, T0) == 0.0


def test_hourly_buckets_hold_a_week():
    story = Story()
    for hour in range(24 * 8):
        state = story(Action.WATCH_START, user=f"u{hour}", at=T0 + hour * 3600)
    assert len(state.hourly) == 24 * 7
