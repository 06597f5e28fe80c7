"""Pairs count once, stay bounded, and do not depend on when they come (invariant 1, F6, F32)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from tables.records import Action, EngagementEvent, PairDelta
from tables.reducers.preferences import EMPTY, LIKE, Positive
from tables.reducers.taste import step
from tables.reducers.together import (
    CHANGES,
    HALF_LIFE_SECONDS,
    NEIGHBOURS,
    PAIRED_WITH,
    CoOccurrence,
    Pairs,
    fold_pairs,
    latest_good,
    left,
)

NOW = 1_800_000_000.0
DAY = 86_400.0
GOOD_ENTRY = Positive(NOW, LIKE)

deltas = st.builds(
    PairDelta,
    content_id=st.sampled_from(["v1", "v2"]),
    origin_partition=st.integers(0, 1),
    origin_offset=st.integers(0, 40),
    at=st.floats(NOW - 30 * DAY, NOW),
    positives=st.sampled_from([0.0, 1.0]),
    partners=st.dictionaries(st.sampled_from([f"n{n}" for n in range(8)]), st.just(1.0), max_size=4),
)


def weights(states, now=NOW):
    """Everything in a row, as of one time."""
    return {
        video_id: (
            pytest.approx(row.positives * left(row, now), rel=1e-6, abs=1e-12),
            {n: pytest.approx(w * left(row, now), rel=1e-6, abs=1e-12) for n, w in row.neighbours.items()},
        )
        for video_id, row in states.items()
    }


def plain(states, now=NOW):
    return {
        video_id: (row.positives * left(row, now), {n: w * left(row, now) for n, w in row.neighbours.items()})
        for video_id, row in states.items()
    }


def in_log_order(found):
    """Sort by origin and keep one delta per video and origin, as the log has them."""
    known = {(d.origin_partition, d.origin_offset, d.content_id): d for d in found}
    return [known[key] for key in sorted(known)]


@settings(max_examples=200, deadline=None)
@given(st.lists(deltas, max_size=40), st.data())
def test_repetitions_add_nothing_when_slices_come_again(found, data):
    log = in_log_order(found)
    once: dict[str, CoOccurrence] = {}
    fold_pairs(once, log)
    again: dict[str, CoOccurrence] = {}
    position = 0
    while position < len(log):
        size = data.draw(st.integers(1, 10))
        fold_pairs(again, log[position : position + size])
        position += data.draw(st.integers(1, size))
    assert plain(again) == weights(once)


@settings(max_examples=200, deadline=None)
@given(st.lists(deltas, max_size=40), st.randoms(use_true_random=False))
def test_sums_are_the_same_when_partitions_interleave_otherwise(found, dice):
    """Partitions are read in any interleaving; late events add what is left of them."""
    log = in_log_order(found)
    queues = [[d for d in log if d.origin_partition == p] for p in (0, 1)]
    mixed = []
    while any(queues):
        mixed.append(dice.choice([q for q in queues if q]).pop(0))
    one: dict[str, CoOccurrence] = {}
    other: dict[str, CoOccurrence] = {}
    fold_pairs(one, log)
    fold_pairs(other, mixed)
    assert plain(other) == weights(one)
    for row in other.values():
        assert row.positives >= 0
        assert all(weight >= 0 for weight in row.neighbours.values())


def test_weight_halves_in_three_days_also_when_the_landmark_moved():
    """Years between two events overflow nothing and leave nothing of the older one."""
    rows: dict[str, CoOccurrence] = {}
    first = PairDelta(
        content_id="v", origin_partition=0, origin_offset=0, at=NOW, positives=1.0, partners={"n": 1.0}
    )
    fold_pairs(rows, [first])
    assert rows["v"].neighbours["n"] * left(rows["v"], NOW + HALF_LIFE_SECONDS) == pytest.approx(0.5)
    far = PairDelta(
        content_id="v", origin_partition=0, origin_offset=1, at=NOW + 1e9, positives=1.0, partners={"m": 1.0}
    )
    fold_pairs(rows, [far])
    assert plain(rows, NOW + 1e9)["v"] == (pytest.approx(1.0), {"m": pytest.approx(1.0)})


def test_row_keeps_the_strongest_when_neighbours_are_many():
    rows: dict[str, CoOccurrence] = {}
    for offset in range(500):
        partners = {f"n{offset:03d}": 1.0, "friend": 1.0}
        fold_pairs(
            rows,
            [PairDelta(content_id="v", origin_partition=0, origin_offset=offset, at=NOW, partners=partners)],
        )
    assert len(rows["v"].neighbours) <= NEIGHBOURS + 20
    assert rows["v"].neighbours["friend"] == 500


def watched(number, action=Action.WATCH_COMPLETE, at=0.0):
    return EngagementEvent(
        event_id=f"{number}-{action}", user_id="u", video_id=f"v{number:02d}", action=action,
        occurred_at=NOW + at, duration_seconds=10.0,
    )  # fmt: skip


def test_pairs_are_those_of_the_last_ten_found_good():
    """A start says nothing; a repetition pairs nothing again; both directions are told."""
    state = EMPTY
    for number in range(12):
        state = step(state, watched(number, at=number), None, NOW + 100)
    state = step(state, watched(90, Action.WATCH_START, at=20), None, NOW + 100)
    assert latest_good(state) == [f"v{n:02d}" for n in range(11, 1, -1)]
    pairs = Pairs(NOW + 100)
    after = step(state, watched(50, at=30), None, NOW + 100)
    pairs.note(state, after, watched(50, at=30), 7)
    made = {delta.content_id: delta for delta in pairs.deltas(3)}
    assert len(made) == 1 + PAIRED_WITH
    assert made["v50"].positives == 1.0
    assert set(made["v50"].partners) == {f"v{n:02d}" for n in range(2, 12)}
    assert made["v11"].partners == {"v50": 1.0}
    assert made["v11"].positives == 0.0
    assert {(delta.origin_partition, delta.origin_offset) for delta in made.values()} == {(3, 7)}
    again = Pairs(NOW + 100)
    again.note(after, step(after, watched(50, Action.LIKE, at=40), None, NOW + 100), watched(50, at=40), 8)
    assert not again.deltas(3)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([f"v{n}" for n in range(6)]), min_size=1, max_size=4), max_size=30),
    st.data(),
)
def test_pairs_count_once_when_slices_come_again_cut_otherwise(log, data):
    """Each record finds some videos good after those before; every cut of the log gives the same rows."""
    liked = [[video for before in log[:offset] for video in before] for offset in range(len(log))]

    def told(first, last):
        pairs = Pairs(NOW)
        for offset in range(first, last):
            for number, video in enumerate(log[offset]):
                before = [*liked[offset], *log[offset][:number]]
                pairs.add(video, NOW - DAY + offset, dict.fromkeys(before, GOOD_ENTRY), offset)
        return json.decode(json.encode(pairs.deltas(1)), type=list[PairDelta])

    once: dict[str, CoOccurrence] = {}
    for offset in range(len(log)):
        assert all(not delta.more for delta in told(offset, offset + 1)), "one change per video and record"
        fold_pairs(once, told(offset, offset + 1))
    again: dict[str, CoOccurrence] = {}
    position = 0
    while position < len(log):
        size = data.draw(st.integers(1, 10))
        fold_pairs(again, told(position, min(len(log), position + size)))
        position += data.draw(st.integers(1, size))
    assert plain(again) == weights(once)
    assert sum(row.positives * left(row, NOW) for row in again.values()) <= sum(map(len, log))


def test_deltas_are_cut_when_a_slice_says_much_of_a_video():
    """A record of the log stays within what Kafka takes; the parts of one video add up."""
    pairs = Pairs(NOW)
    for offset in range(2 * CHANGES + 1):
        pairs.add("v", NOW, {}, offset)
    made = pairs.deltas(0)
    assert [len(delta.more) + 1 for delta in made] == [CHANGES, CHANGES, 1]
    rows: dict[str, CoOccurrence] = {}
    assert fold_pairs(rows, [*made, *made]) == 3
    assert rows["v"].positives == 2 * CHANGES + 1


def test_a_delta_of_one_record_is_added_when_an_earlier_version_wrote_it():
    """Z3: deltas once were one per source record, without `more`; those on the log still count."""
    written = (
        b'{"content_id":"v","origin_partition":2,"origin_offset":7,"at":1800000000.0,"positives":1.0,'
        b'"partners":{"w":1.0}}'
    )
    rows: dict[str, CoOccurrence] = {}
    assert fold_pairs(rows, [json.decode(written, type=PairDelta)]) == 1
    assert rows["v"] == CoOccurrence(positives=1.0, neighbours={"w": 1.0}, since=NOW, applied={2: 7})
