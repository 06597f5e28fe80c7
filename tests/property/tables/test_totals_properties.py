"""Days of creators and users add up exactly, whatever comes again or late (F12, F13, invariant 1, F32)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json, structs

from tables.records import Action, DayCounts, EngagementEvent, TotalsDelta
from tables.reducers.engagement import VideoEngagement, WatchHistory, fold_engagement, observe
from tables.reducers.totals import COUNTED, DAYS, Totals, fold_totals, of_creators, of_users, total

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
    changed = []
    for offset, record in enumerate(log):
        deltas = observe(history, record, 0, offset)
        changed.append(deltas)
        fold_engagement(videos, deltas)
        told = [(offset, record, deltas)]
        for _ in range(2):
            fold_totals(creators, of_creators(told, 0))
            fold_totals(users, of_users(told, 0))
    counted = {name: sum(getattr(state.local, name) for state in videos.values()) for name in COUNTED}
    assert sums(creators.values()) == counted
    assert sums(users.values()) == counted
    counted_events = sum(counts.events for row in users.values() for counts in row.days.values())
    expected = zip(log, changed, strict=True)
    assert counted_events == sum(
        1 + len(r.more) for r, deltas in expected if deltas or r.relation_seq is None
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(records, max_size=20), st.data())
def test_days_count_once_when_slices_come_again_cut_otherwise(log, data):
    """However the log is cut, and whatever of it comes again: each record is added once."""
    history = WatchHistory()
    told = [(offset, record, observe(history, record, 0, offset)) for offset, record in enumerate(log)]
    for of_slice in (of_creators, of_users):
        once: dict[str, Totals] = {}
        for one in told:
            assert all(not delta.more for delta in of_slice([one], 3)), "one change per key and record"
            fold_totals(once, of_slice([one], 3))
        again: dict[str, Totals] = {}
        position = 0
        while position < len(told):
            size = data.draw(st.integers(1, 10))
            made = json.encode(of_slice(told[position : position + size], 3))
            fold_totals(again, json.decode(made, type=list[TotalsDelta]))
            position += data.draw(st.integers(1, size))
        assert again == once


def test_a_delta_of_one_record_is_added_when_an_earlier_version_wrote_it():
    """Z3: deltas once were one per source record, without `more`; those on the log still count."""
    written = b'{"key":"c","origin_partition":2,"origin_offset":7,"days":{"20833":[1,1,0,0,0,0,0,2500,0,0]}}'
    rows: dict[str, Totals] = {}
    assert fold_totals(rows, [json.decode(written, type=TotalsDelta)]) == 1
    assert rows["c"] == Totals({20_833: DayCounts(events=1, views=1, watch_ms=2500)}, {2: 7})


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
