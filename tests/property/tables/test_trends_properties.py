"""Trends of tags and impressions add up exactly, whatever comes again or late (F6, F22, F31, F32, E37)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json, structs

from tables.records import Action, EngagementDelta, EngagementEvent, ImpressionDelta, Impressions, UserFact
from tables.reducers.engagement import (
    HALF_LIFE_SECONDS,
    HOURLY_BUCKETS,
    VideoEngagement,
    WatchHistory,
    decayed,
    fold_engagement,
    fold_history,
    switches_per_thousand_views,
    trajectory,
    views_between,
)
from tables.reducers.totals import Totals, fold_journeys
from tables.reducers.trends import (
    IDLE_SECONDS,
    ImpressionDays,
    TagTrend,
    fold_shown,
    fold_tags,
    is_idle,
    of_pages,
    of_tags,
    shown_between,
    tag_hours,
    tag_score,
    tag_weight,
)

NOW = 60 * 86_400.0
TAGS = {"v1": ("cats", "fun"), "v2": ("fun",), "v3": ()}
deltas = st.builds(
    EngagementDelta,
    content_id=st.sampled_from(sorted(TAGS)),
    origin_partition=st.just(0),
    origin_offset=st.just(0),
    at=st.floats(NOW - 10 * 86_400, NOW),
    views=st.integers(0, 2),
    likes=st.integers(-2, 2),
    comments=st.integers(-1, 1),
)
records = st.lists(deltas, max_size=3)
logs = st.lists(st.lists(records, max_size=8), min_size=1, max_size=3)  # by source partition
# (partition, records of a slice, how far the position is committed before a crash)
cuts = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6), st.integers(0, 6)), max_size=12)


def told(partition: int, found: list, start: int = 0) -> list:
    return of_tags(list(enumerate(found, start)), lambda video: TAGS[video], partition)


def close(one: dict[str, TagTrend], other: dict[str, TagTrend]) -> None:
    assert {tag: (row.hourly, row.applied) for tag, row in one.items()} == {
        tag: (row.hourly, row.applied) for tag, row in other.items()
    }
    for tag, row in one.items():
        assert row.decayed == pytest.approx(other[tag].decayed, abs=1e-9)
        assert row.decayed_at == other[tag].decayed_at


@settings(max_examples=60, deadline=None)
@given(logs, cuts)
def test_tags_are_the_same_when_slices_are_cut_differently_and_come_again(found, cut_at):
    """Replays after a crash, and partitions that overtake each other, change no tag."""
    whole: dict[str, TagTrend] = {}
    for partition, log in enumerate(found):
        fold_tags(whole, told(partition, log))
    cut: dict[str, TagTrend] = {}
    at = [0] * len(found)
    for chosen, size, kept in cut_at:
        partition = chosen % len(found)
        start = at[partition]
        fold_tags(cut, told(partition, found[partition][start : start + size], start))
        at[partition] = min(start + min(size, kept), len(found[partition]))  # less: some of it comes again
    for partition, log in enumerate(found):
        fold_tags(cut, told(partition, log[at[partition] :], at[partition]))
    close(cut, whole)


@settings(max_examples=40, deadline=None)
@given(logs)
def test_tag_sums_what_its_videos_count_and_is_never_negative(found):
    rows: dict[str, TagTrend] = {}
    sums: dict[str, float] = {}
    for partition, log in enumerate(found):
        fold_tags(rows, told(partition, log))
        for delta in [delta for record in log for delta in record]:
            video: dict[str, VideoEngagement] = {}
            weight = 2.0 * delta.likes + 3.0 * delta.comments + delta.views
            fold_engagement(video, [structs.replace(delta, likes=0, comments=0, views=1)])
            left = decayed(video[delta.content_id], NOW)
            for tag in TAGS[delta.content_id]:
                sums[tag] = sums.get(tag, 0.0) + weight * left
    for tag, row in rows.items():
        assert tag_weight(row, NOW) == pytest.approx(max(0.0, sums[tag]), abs=1e-9)
        assert 0 <= tag_score(row, NOW) <= 1
        assert all(amount > 0 for _, amount in tag_hours(row, NOW))
        assert max(row.hourly, default=0) - min(row.hourly, default=0) < HOURLY_BUCKETS
        again = json.decode(json.encode(row), type=TagTrend)
        assert again == row


def test_tag_halves_in_six_hours_and_goes_when_it_is_idle():
    """F22, E16; rows of tags that nothing happens to do not stay for ever."""
    delta = EngagementDelta(content_id="v2", origin_partition=0, origin_offset=0, at=NOW, views=8)
    rows: dict[str, TagTrend] = {}
    fold_tags(rows, told(0, [[delta]]))
    (row,) = rows.values()
    assert tag_weight(row, NOW + HALF_LIFE_SECONDS) == 4.0
    assert tag_score(row, NOW + 3 * HALF_LIFE_SECONDS) == 0.5
    assert not is_idle(row, NOW + IDLE_SECONDS)
    assert is_idle(row, NOW + IDLE_SECONDS + 1)
    assert tag_hours(row, NOW + 86_400) == ()


pages = st.builds(
    Impressions,
    viewer_id=st.sampled_from(["", "u"]),
    at=st.floats(NOW - 200 * 86_400, NOW),
    algorithm=st.just("blend"),
    videos=st.lists(st.sampled_from("abc"), max_size=4).map(tuple),
).map(lambda page: structs.replace(page, creators=tuple(f"c-{video}" for video in page.videos)))


@settings(max_examples=40, deadline=None)
@given(st.lists(pages, max_size=20), cuts)
def test_impressions_are_counted_once_when_pages_come_again(log, cut_at):
    whole: dict[str, ImpressionDays] = {}
    fold_shown(whole, of_pages(enumerate(log), 0))
    cut: dict[str, ImpressionDays] = {}
    at = 0
    for _, size, kept in [*cut_at, (0, len(log), 0)]:
        found = of_pages(enumerate(log[at : at + size], at), 0)
        found = json.decode(json.encode(found), type=list[ImpressionDelta])
        fold_shown(cut, found)
        at = min(at + min(size, kept), len(log))
    assert cut == whole
    shown = [video for page in log for video in page.videos]
    assert {key: row.total for key, row in whole.items() if len(key) == 1} == {
        video: shown.count(video) for video in set(shown)
    }
    for key, row in whole.items():
        assert len(row.daily) <= 90
        assert shown_between(row, 0, 10_000) <= row.total == whole[key[-1]].total


facts = st.builds(
    UserFact,
    kind=st.sampled_from(["user.logged_in", "user.registered", "user.created", "feed.feedback"]),
    user_id=st.sampled_from("ab"),
    at=st.floats(0, 86_400 * 3),
    detail=st.integers(0, 50).map(str),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(facts, max_size=20, unique_by=lambda fact: (fact.at, fact.detail)), st.integers(0, 10))
def test_journeys_count_once_when_the_relay_sends_its_rows_again(log, again):
    """F12: a batch of rows that comes again has other offsets."""
    once: dict[str, Totals] = {}
    fold_journeys(once, [(fact, offset) for offset, fact in enumerate(log)])
    twice: dict[str, Totals] = {}
    sent = [*log, *log[-again:]] if again else log
    for _ in range(2):  # and the slice itself does
        fold_journeys(twice, [(fact, offset) for offset, fact in enumerate(sent)])
    assert {user: row.days for user, row in twice.items()} == {user: row.days for user, row in once.items()}
    for user in "ab":
        days = once.get(user, Totals()).days.values()
        kinds = [fact.kind for fact in log if fact.user_id == user]
        assert sum(day.created for day in days) == kinds.count("user.created")
        signed_in = kinds.count("user.logged_in") + kinds.count("user.registered")
        assert sum(day.logins for day in days) == signed_in


def watching(*steps: tuple[float, str, Action]) -> dict[str, VideoEngagement]:
    histories: dict[str, WatchHistory] = {}
    videos: dict[str, VideoEngagement] = {}
    log = [
        (
            EngagementEvent(
                event_id=str(offset), user_id="u", video_id="v", action=action, occurred_at=at, bitrate=rung,
                owner_id="o", duration_seconds=10.0,
            ),
            0,
            offset,
        )
        for offset, (at, rung, action) in enumerate(steps)
    ]  # fmt: skip
    fold_engagement(videos, fold_history(histories, log))
    fold_engagement(videos, fold_history(histories, log))
    return videos


def test_rung_switches_are_counted_within_a_view_and_in_order_of_time():
    """F23: a late event, an unnamed rung and another view are no switches."""
    state = watching(
        (NOW, "360p", Action.WATCH_START), (NOW + 1, "360p", Action.WATCH_25),
        (NOW + 2, "720p", Action.WATCH_50), (NOW + 1.5, "360p", Action.WATCH_25),
        (NOW + 3, "", Action.WATCH_75), (NOW + 4, "480p", Action.WATCH_75),
        (NOW + 90_000, "720p", Action.WATCH_START),
    )["v"]  # fmt: skip
    assert (state.views, state.local.switches) == (2, 2)
    assert switches_per_thousand_views(state) == 1000.0
    assert switches_per_thousand_views(VideoEngagement()) is None


def test_views_are_kept_by_day_for_ninety_days():
    """F13: what a creator's top content of a period is made from."""
    log = [
        EngagementDelta(content_id="v", origin_partition=0, origin_offset=n, at=day * 86_400.0, views=2)
        for n, day in enumerate([100, 130, 189, 190, 100, 190])
    ]
    states: dict[str, VideoEngagement] = {}
    fold_engagement(states, log)
    state = states["v"]
    assert state.daily == {130: 2, 189: 2, 190: 4}
    assert (views_between(state, 131, 190), views_between(state, 0, 130)) == (6, 2)
    assert trajectory(state, 190 * 86_400.0)[-1] == (190 * 24, 4)
