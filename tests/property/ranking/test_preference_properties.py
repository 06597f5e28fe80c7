"""Properties of the preference reducer: replay, order, take-back, bounds (D15-D17, X24, property 19)."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tables.records import Action, Card, EngagementEvent, UserFact
from tables.reducers import preferences
from tables.reducers.history import runs
from tables.reducers.preferences import (
    EMPTY,
    UserPreference,
    apply_fact,
    interactions,
    preference_vector,
    seen_hashes,
    video_hash,
)
from tables.reducers.taste import Taste, close_all, step

NOW = 1_800_000_000.0
DAY = 86_400.0
VIDEOS = 8


def _card(number: int) -> Card:
    vector = np.random.default_rng(number).normal(size=512)
    vector /= np.linalg.norm(vector)
    return Card(
        video_id=f"v{number}",
        creator_id=f"c{number % 3}",
        creator_username="n",
        title="",
        created_at=NOW - DAY,
        duration_seconds=10.0,
        width=1,
        height=1,
        tags=(f"t{number % 2}", "all"),
        embedding=vector.astype(np.float16).tobytes(),
        model_version="m1",
    )


CARDS = {f"v{number}": _card(number) for number in range(VIDEOS)}
VECTORS = {name: np.frombuffer(card.embedding, np.float16).astype(np.float32) for name, card in CARDS.items()}
POSITIVE = [
    Action.WATCH_START,
    Action.WATCH_50,
    Action.WATCH_COMPLETE,
    Action.LIKE,
    Action.SHARE,
    Action.COMMENT,
    Action.SAVE,
]


def lookup(ids):
    found = [place for place, name in enumerate(ids) if name in VECTORS]
    rows = [VECTORS[ids[place]] for place in found]
    return np.array(found, np.int64), np.array(rows, np.float32).reshape(-1, 512)


def event(video: int, action: Action, age: float = 0.0, **more: object) -> EngagementEvent:
    return EngagementEvent(
        event_id=f"{video}{action}{age}",
        user_id="u",
        video_id=f"v{video}",
        action=action,
        occurred_at=NOW - age,
        **more,  # type: ignore[arg-type]
    )


def fold(events, state: UserPreference | None = None) -> UserPreference:
    result = state or EMPTY
    for one in events:
        result = step(result, one, CARDS.get(one.video_id), NOW)
    return result


def positives(actions=POSITIVE):
    return st.builds(
        event, st.integers(0, VIDEOS - 1), st.sampled_from(actions), st.floats(0, 20 * DAY, allow_nan=False)
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(positives(), max_size=30))
def test_state_is_equal_when_all_events_come_again(events) -> None:
    """Monotone: a replay of any length changes nothing, not even a time."""
    once = fold(events)
    assert fold(events, once) == once
    assert fold([*events, *events[::-1]], once) == once


@settings(deadline=None, max_examples=60)
@given(st.lists(positives(), max_size=20), st.randoms(use_true_random=False))
def test_taste_is_the_same_when_events_come_in_another_order(events, random) -> None:
    """What stands between viewer and video does not depend on arrival; sums agree to rounding."""
    shuffled = events.copy()
    random.shuffle(shuffled)
    one, other = fold(events), fold(shuffled)
    assert {k: (e.actions, e.completion) for k, e in one.positives.items()} == {
        k: (e.actions, e.completion) for k, e in other.positives.items()
    }
    assert interactions(one, NOW) == interactions(other, NOW)
    mean, other_mean = (preference_vector(state, NOW, lookup) for state in (one, other))
    assert (mean is None) == (other_mean is None)
    if mean is not None and other_mean is not None:
        assert np.allclose(mean, other_mean, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(st.lists(positives(), min_size=1, max_size=30))
def test_mean_is_the_normalised_average_when_there_are_positives(events) -> None:
    """Property 19, D15: each positive video of the last 30 days once."""
    expected = np.mean([VECTORS[name] for name in {one.video_id for one in events}], axis=0)
    expected /= np.linalg.norm(expected)
    vector = preference_vector(fold(events), NOW, lookup)
    assert vector is not None
    assert np.allclose(vector, expected, atol=1e-5)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    assert vector.dtype == np.float32
    assert vector.shape == (512,)


@settings(deadline=None, max_examples=60)
@given(st.lists(positives(), max_size=20), st.sampled_from([Action.LIKE, Action.SAVE]))
def test_nothing_is_left_when_an_action_is_taken_back(events, action) -> None:
    """Unlike and unsave undo what like and save added, to vector, tags and creators."""
    events = [one for one in events if one.video_id != "v0"]
    before = fold(events)
    undo = {Action.LIKE: Action.UNLIKE, Action.SAVE: Action.UNSAVE}[action]
    after = fold([event(0, action), event(0, undo)], before)
    assert interactions(after, NOW) == interactions(before, NOW)
    assert after.tags.keys() == before.tags.keys()
    assert after.creators.keys() == before.creators.keys()
    mine, theirs = (preference_vector(state, NOW, mode="decayed") for state in (after, before))
    if theirs is not None and mine is not None and before.weight > 1e-3:
        assert np.allclose(mine, theirs, atol=1e-2)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(positives([*Action]), max_size=40),
    st.lists(st.tuples(st.text(max_size=12), st.text(max_size=8))),
)
def test_state_encodes_and_stays_small_when_anything_happens(events, facts) -> None:
    """Z4: equal after a round trip; no input raises."""
    state = fold(events)
    for target, detail in facts:
        state = apply_fact(
            state, UserFact(kind="feed.feedback", user_id="u", at=NOW, target=target, detail=detail)
        )
    assert msgspec.json.decode(msgspec.json.encode(state), type=UserPreference) == state
    assert all(value > 0 for value, _ in state.tags.values())
    assert state.weight >= 0


@settings(deadline=None, max_examples=100)
@given(st.lists(positives([*Action]), max_size=30))
def test_taste_is_the_same_when_steps_of_a_video_are_folded_together(events) -> None:
    """A run of steps leaves what one step after the other does (X24)."""
    one_by_one = fold(events)
    taste = Taste(EMPTY)
    for run in runs(events):
        taste.fold(run, CARDS[run[0].video_id], NOW)
    together = taste.close()
    assert together.positives == one_by_one.positives
    assert list(together.positives) == list(one_by_one.positives)
    assert together.seen == one_by_one.seen
    assert together.weight == pytest.approx(one_by_one.weight, abs=1e-4)


def test_every_part_is_bounded_when_a_viewer_never_stops() -> None:
    """The state is a changelog record: it must not grow with use."""
    state = EMPTY
    for number in range(1_500):
        card = msgspec.structs.replace(
            CARDS["v0"], video_id=f"w{number}", creator_id=f"c{number}", tags=(f"t{number}",)
        )
        one = msgspec.structs.replace(
            event(0, Action.WATCH_COMPLETE, 3_000.0 - number), video_id=f"w{number}"
        )
        state = step(state, one, card, NOW)
    for number in range(700):
        target = f"video:w{number}"
        state = apply_fact(
            state, UserFact(kind="feed.feedback", user_id="u", at=NOW + number, target=target, detail="less")
        )
    assert len(state.positives) == preferences.MAX_POSITIVES
    assert len(seen_hashes(state)) == preferences.MAX_SEEN
    assert video_hash("w1499") in seen_hashes(state)
    assert preferences.MAX_CREATORS - 40 <= len(state.creators) <= preferences.MAX_CREATORS
    assert preferences.MAX_TAGS - 40 <= len(state.tags) <= preferences.MAX_TAGS
    assert len(state.less) == preferences.MAX_WISHES
    assert "video:w699" in state.less
    assert len(msgspec.json.encode(state)) < 80_000


def test_view_says_nothing_when_it_is_below_the_threshold() -> None:
    """X24: the default of 0 lets every view count."""
    short = event(0, Action.WATCH_START, watch_seconds=1.0, duration_seconds=10.0)
    rules = preferences.Rules(view_threshold=0.5)
    state = step(None, short, CARDS["v0"], NOW, rules)
    assert not preferences.positives_within(state, NOW, rules)
    assert preferences.positives_within(step(None, short, CARDS["v0"], NOW), NOW)


def test_positive_leaves_the_mean_when_it_is_older_than_30_days() -> None:
    """E2, P18: and with nothing left there is no vector."""
    state = fold([event(0, Action.LIKE), event(1, Action.LIKE, 20 * DAY)])
    later = preference_vector(state, NOW + 15 * DAY, lookup)
    assert later is not None
    assert np.allclose(later, VECTORS["v0"], atol=1e-3)
    assert preference_vector(state, NOW + 31 * DAY, lookup) is None
    assert preference_vector(state, NOW + 31 * DAY, mode="decayed") is None
    assert interactions(state, NOW + 31 * DAY) == 0


def test_completion_weighs_when_that_mode_is_asked() -> None:
    """D16, X23."""
    state = fold([event(0, Action.WATCH_COMPLETE), event(1, Action.WATCH_25)])
    expected = VECTORS["v0"] + 0.25 * VECTORS["v1"]
    weighted = preference_vector(state, NOW, lookup, "completion_weighted")
    assert weighted is not None
    assert np.allclose(weighted, expected / np.linalg.norm(expected), atol=1e-5)


def test_stronger_action_upgrades_and_counts_once_when_rewatched() -> None:
    """One positive per video: watching again must not double the weight."""
    once = fold([event(0, Action.WATCH_COMPLETE)])
    again = fold([event(0, Action.WATCH_START), event(0, Action.WATCH_COMPLETE, -5.0)], once)
    assert again.weight == once.weight
    liked = fold([event(0, Action.LIKE)], once)
    assert liked.weight == pytest.approx(1.0, abs=1e-6)
    assert len(preferences.positives_within(liked, NOW)) == 1


def test_stale_relation_changes_nothing_when_a_newer_one_was_applied() -> None:
    """A like that is replayed after its unlike stays taken back."""
    like, unlike = event(0, Action.LIKE, relation_seq=7), event(0, Action.UNLIKE, relation_seq=9)
    state = fold([like, unlike])
    assert interactions(state, NOW) == 0
    assert fold([like], state) == state
    assert interactions(fold([event(0, Action.LIKE, relation_seq=12)], state), NOW) == 1


def test_video_stops_being_positive_when_it_is_not_wanted() -> None:
    """Y4: and watching it on does not bring it back, a like does."""
    state = fold([event(0, Action.WATCH_50, 50.0), event(0, Action.NOT_INTERESTED)])
    assert "video:v0" in state.hidden
    assert interactions(state, NOW) == 0
    assert state.weight == pytest.approx(0.0, abs=1e-6)
    assert fold([event(0, Action.WATCH_75)], state) == state


def test_taste_starts_anew_when_the_model_changes() -> None:
    """D8: vectors of two models are never added up."""
    state = fold([event(0, Action.LIKE), event(1, Action.LIKE)])
    other = msgspec.structs.replace(CARDS["v2"], model_version="m2")
    state = step(state, event(2, Action.LIKE), other, NOW)
    vector = preference_vector(state, NOW, mode="decayed")
    assert vector is not None
    assert np.allclose(vector, VECTORS["v2"], atol=1e-3)
    assert state.model_version == "m2"


def test_taste_of_a_new_model_has_nothing_to_take_back_when_a_like_is_undone() -> None:
    """D8: what was learned as a vector of the old model is not taken from those of the new one."""
    state = fold([event(0, Action.LIKE)])
    other = msgspec.structs.replace(CARDS["v0"], model_version="m2")
    state = step(state, event(0, Action.UNLIKE), other, NOW)
    assert state.weight == 0.0
    assert not np.frombuffer(state.vector, np.float32).any()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), positives([*Action])), max_size=30), st.booleans())
def test_tastes_are_those_of_each_alone_when_many_viewers_are_closed_at_once(told, known) -> None:
    """X24: the vectors of a slice are summed in one array; nobody gets anything of another's."""
    starts = {user: fold([event(user, Action.LIKE, DAY)]) if known else EMPTY for user in range(4)}
    opened = {str(user): (Taste(state), user) for user, state in starts.items()}
    for user, one in told:
        opened[str(user)][0].fold([one], CARDS[one.video_id], NOW)
    for user, state in close_all(opened).items():
        alone = fold([one for viewer, one in told if str(viewer) == user], starts[int(user)])
        assert state.applied == int(user)
        assert state.positives == alone.positives
        assert state.weight == pytest.approx(alone.weight, abs=1e-4)
        assert bool(state.vector) == bool(alone.vector)
        vectors = (np.frombuffer(one.vector, np.float32) for one in (state, alone))
        assert np.allclose(*vectors, atol=1e-3)


def test_everything_is_forgotten_when_the_feed_is_reset() -> None:
    """Y4: but not which events were applied."""
    state = msgspec.structs.replace(fold([event(0, Action.LIKE)]), applied=41, applied_facts=3)
    fresh = apply_fact(state, UserFact(kind="feed.reset", user_id="u", at=NOW))
    assert (fresh.applied, fresh.applied_facts) == (41, 3)
    assert not fresh.positives
    assert not fresh.vector
    assert fresh.version > state.version
