"""The documented formulas and weights, to the letter (E11-E24, E47, X25, X26)."""

import numpy as np
import pytest

from ranking import profiles
from ranking.profiles import PROFILES, Facts, Profile, configured, score, signals

NOW = 1_000_000.0
HOUR = 3_600.0


def facts(**known: float) -> Facts:
    defaults = {
        "created_at": NOW,
        "decayed": 0.0,
        "decayed_at": NOW,
        "views": 0.0,
        "likes": 0.0,
        "comments": 0.0,
        "shares": 0.0,
        "completion": np.nan,
        "quality": 0.0,
        "cosine": np.nan,
        "affinity": 0.0,
        "follows": False,
        "tag_match": np.nan,
    }
    return Facts(now=NOW, **{name: np.array([value]) for name, value in (defaults | known).items()})  # type: ignore[arg-type]


def test_weights_are_the_documented_ones_when_nothing_is_configured() -> None:
    """E47: a test fails if a default drifts."""
    assert PROFILES["similarity"].weights == {"similarity": 0.6, "recency": 0.25, "engagement": 0.15}
    assert PROFILES["video"].weights == {
        "completion": 0.40,
        "engagement": 0.30,
        "creator_affinity": 0.20,
        "deep_model": 0.10,
    }
    assert PROFILES["social"].weights == {
        "freshness": 0.1,
        "relationship": 0.3,
        "engagement": 0.3,
        "quality": 0.1,
        "personalisation": 0.2,
    }
    assert PROFILES["hybrid"].weights == {
        "recency": 0.4,
        "engagement": 0.3,
        "author_affinity": 0.2,
        "ml_score": 0.1,
    }


def test_similarity_score_is_exact_when_signals_are_known() -> None:
    """E11, E16, E24: 0.6 * 0.5 + 0.25 * 0.5 + 0.15 * 4/5 (six hours old; 8 decayed once is 4)."""
    known = facts(cosine=0.5, created_at=NOW - 6 * HOUR, decayed=8.0, decayed_at=NOW - 6 * HOUR)
    profile = PROFILES["similarity"]
    assert score(profile, signals(profile, known))[0] == pytest.approx(0.3 + 0.125 + 0.12)


def test_video_score_is_exact_when_signals_are_known() -> None:
    """E12, E21, D22."""
    known = facts(completion=0.75, views=10, likes=2, shares=1, comments=1, affinity=1.0, cosine=0.6)
    profile = PROFILES["video"]
    assert score(profile, signals(profile, known))[0] == pytest.approx(
        0.3 + 0.3 * 0.4 + 0.2 * 0.5 + 0.1 * 0.8
    )


@pytest.mark.parametrize(("follows", "relationship"), [(True, 1.5), (False, 1.0)])
def test_social_score_is_exact_when_signals_are_known(follows: bool, relationship: float) -> None:
    """E13, E17, E18: engagement is (likes + 2 comments) / (hours + 1) and stays raw (X26)."""
    known = facts(created_at=NOW - HOUR, likes=10, comments=3, quality=0.7, tag_match=0.4, follows=follows)
    profile = PROFILES["social"]
    expected = 0.1 * 2 ** (-1 / 6) + 0.3 * relationship + 0.3 * 8.0 + 0.1 * 0.7 + 0.2 * 0.4
    assert score(profile, signals(profile, known))[0] == pytest.approx(expected)


def test_social_engagement_is_in_the_unit_interval_when_squashed() -> None:
    """X26: the setting squashes by x / (1 + x) and leaves the weights alone."""
    profile = Profile("social", PROFILES["social"].weights, squash_engagement=True)
    assert signals(profile, facts(likes=10, comments=3))["engagement"][0] == pytest.approx(16 / 17)


def test_hybrid_score_is_exact_when_signals_are_known() -> None:
    """E14, E22, E23."""
    known = facts(likes=1, comments=1, shares=1, affinity=3.0, cosine=1.0)
    profile = PROFILES["hybrid"]
    assert score(profile, signals(profile, known))[0] == pytest.approx(0.4 + 0.3 * 0.75 + 0.2 * 0.75 + 0.1)


def test_trending_is_zero_when_nothing_happened_for_a_day() -> None:
    """E3: the past 24 hours."""
    old = facts(decayed=1_000.0, decayed_at=NOW - 25 * HOUR)
    assert profiles.trending(old)[0] == 0.0
    assert 0.0 < profiles.trending(facts(decayed=1.0))[0] < 1.0


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_signals_are_finite_when_nothing_is_known(name: str) -> None:
    """E26: a video without vector, counters, tags or a future date breaks no formula."""
    values = signals(PROFILES[name], facts(created_at=NOW + 1e6))
    assert all(np.isfinite(value).all() for value in values.values())


@pytest.mark.parametrize(
    "weights",
    [{"similarity": 0.6}, {"similarity": 1.2, "recency": -0.2}, {"speed": 1.0}],
)
def test_configuration_is_refused_when_weights_are_wrong(weights: dict[str, float]) -> None:
    """E15: weights sum to 1, none is negative, none is unknown."""
    with pytest.raises(ValueError, match="similarity"):
        configured({"similarity": weights})


def test_configuration_changes_one_profile_when_given() -> None:
    """E15: editable without code change."""
    changed = configured({"hybrid": {"recency": 1.0}})
    assert changed["hybrid"].weights["recency"] == 1.0
    assert changed["similarity"] == PROFILES["similarity"]
