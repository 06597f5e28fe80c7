"""Pairs count once, stay bounded, and do not depend on when they come (invariant 1, F6, F32)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.records import Action, EngagementEvent, PairDelta
from tables.reducers.preferences import EMPTY
from tables.reducers.taste import step
from tables.reducers.together import (
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
    pairs.note(state, after, watched(50, at=30))
    made = {delta.content_id: delta for delta in pairs.deltas(3, 7)}
    assert len(made) == 1 + PAIRED_WITH
    assert made["v50"].positives == 1.0
    assert set(made["v50"].partners) == {f"v{n:02d}" for n in range(2, 12)}
    assert made["v11"].partners == {"v50": 1.0}
    assert made["v11"].positives == 0.0
    assert {(delta.origin_partition, delta.origin_offset) for delta in made.values()} == {(3, 7)}
    again = Pairs(NOW + 100)
    again.note(after, step(after, watched(50, Action.LIKE, at=40), None, NOW + 100), watched(50, at=40))
    assert not again.deltas(3, 8)
