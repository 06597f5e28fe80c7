"""Days of creators and users add up exactly, whatever comes again or late (F12, F13, invariant 1, F32)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from tables.records import Action, DayCounts, EngagementEvent, TotalsDelta
from tables.reducers.engagement import VideoEngagement, WatchHistory, fold_engagement, observe
from tables.reducers.totals import COUNTED, DAYS, Totals, fold_totals, of_creators, of_user, total

OWNERS = {"v1": "c1", "v2": "c1", "v3": "c2"}
events = st.builds(
    EngagementEvent,
    event_id=st.integers(0, 30).map(lambda n: f"e{n}"),
    user_id=st.just("u1"),
    video_id=st.sampled_from(sorted(OWNERS)),
    action=st.sampled_from(list(Action)),
    occurred_at=st.floats(0, 10 * 86400),
    duration_seconds=st.floats(0, 60),
    watch_seconds=st.floats(0, 120),
    relation_seq=st.none() | st.integers(0, 100),
).map(lambda event: structs.replace(event, owner_id=OWNERS[event.video_id]))
records = st.lists(events, min_size=1, max_size=6).map(
    lambda group: structs.replace(group[0], more=tuple(group[1:]))
)


def sums(rows):
    found = dict.fromkeys(COUNTED, 0)
    for row in rows:
        for counts in row.days.values():
            for name in COUNTED:
                found[name] += getattr(counts, name)
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(records, max_size=20))
def test_creators_and_users_sum_to_what_the_videos_count(log):
    """Every change is told to its video, its creator and its user; twice is once."""
    history = WatchHistory()
    videos: dict[str, VideoEngagement] = {}
    creators: dict[str, Totals] = {}
    users: dict[str, Totals] = {}
    for offset, record in enumerate(log):
        deltas = observe(history, record, 0, offset)
        fold_engagement(videos, deltas)
        for _ in range(2):
            fold_totals(creators, of_creators(record, deltas, 0, offset))
            fold_totals(users, [of_user(record, deltas, 0, offset)])
    counted = {name: sum(getattr(state.local, name) for state in videos.values()) for name in COUNTED}
    assert sums(creators.values()) == counted
    assert sums(users.values()) == counted
    told = sum(counts.events for row in users.values() for counts in row.days.values())
    assert told == sum(1 + len(record.more) for record in log)


deltas = st.builds(
    TotalsDelta,
    key=st.just("c"),
    origin_partition=st.integers(0, 2),
    origin_offset=st.integers(0, 30),
    days=st.dictionaries(
        st.integers(20_000, 20_200),
        st.builds(DayCounts, views=st.integers(0, 5), likes=st.integers(-1, 1)),
        max_size=3,
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(deltas, max_size=30), st.randoms(use_true_random=False))
def test_row_is_the_same_when_partitions_interleave_otherwise(found, dice):
    """Late days beyond the bound are dropped whenever they come; nothing shown is negative."""
    log = list({(d.origin_partition, d.origin_offset): d for d in found}.values())
    log.sort(key=lambda d: (d.origin_partition, d.origin_offset))
    queues = [[d for d in log if d.origin_partition == p] for p in range(3)]
    mixed = []
    while any(queues):
        mixed.append(dice.choice([q for q in queues if q]).pop(0))
    one: dict[str, Totals] = {}
    other: dict[str, Totals] = {}
    fold_totals(one, log)
    fold_totals(other, [*mixed, *mixed])
    assert one == other
    for row in one.values():
        assert len(row.days) <= DAYS
        assert min(structs.astuple(total(row, 0, 30_000))) >= 0
