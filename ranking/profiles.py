"""Ranking profiles: which signals there are, their formulas, and how each profile weighs them.

Pure: arrays in, arrays out, time is an argument. The formulas and default weights of the four documented
profiles are to the letter (E11-E24, E47, X25, X26); ``blend`` follows what works on real short-video data
(research/ranking.md section 6). Weights are configuration and always sum to 1 (E15).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tables.reducers.engagement import HALF_LIFE_SECONDS

Array = NDArray[np.float64]
Watched = Literal["keep", "demote", "exclude"]

FOLLOWED: Final = 1.5  # E17
STRANGER: Final = 1.0
HOUR_SECONDS: Final = 3_600.0
_LOG_HALF: Final = 3.0  # log1p of about 19 weighted actions scores one half in `blend`
_TOGETHER_HALF: Final = 0.1  # sum of shrunk cosines of pairs that scores one half in `blend`
_SUM_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Profile:
    """A named weighing of signals, and its page rules.

    ``creator_share`` is the largest share of a page by one creator while others are left (E6);
    ``author_decay`` multiplies a creator's further items, down to ``author_floor``; ``watched`` says what
    becomes of watched videos (E45); ``exploration`` is the share of slots for videos few have seen.
    """

    name: str
    weights: Mapping[str, float]
    creator_share: float = 0.5
    author_decay: float = 1.0
    author_floor: float = 1.0
    watched: Watched = "keep"
    exclude_own: bool = False
    exploration: float = 0.0
    squash_engagement: bool = False
    cold_below: int = 5
    """Fewer interactions than this are answered with trending (E3)."""

    def __post_init__(self) -> None:
        """Refuse weights that are negative or do not sum to 1 (E15).

        Raises:
            ValueError: Naming the profile and what is wrong.
        """
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError(f"profile {self.name}: a weight is negative")
        if abs(sum(self.weights.values()) - 1.0) > _SUM_TOLERANCE:
            raise ValueError(f"profile {self.name}: weights sum to {sum(self.weights.values())}, not 1")
        if not 0.0 < self.creator_share <= 1.0:
            raise ValueError(f"profile {self.name}: creator_share is a share above 0, at most 1")


SIMILARITY: Final = Profile("similarity", {"similarity": 0.6, "recency": 0.25, "engagement": 0.15})
VIDEO: Final = Profile(
    "video",
    {"completion": 0.4, "engagement": 0.3, "creator_affinity": 0.2, "deep_model": 0.1},
    creator_share=0.3,
)
SOCIAL: Final = Profile(
    "social",
    {"freshness": 0.1, "relationship": 0.3, "engagement": 0.3, "quality": 0.1, "personalisation": 0.2},
)
HYBRID: Final = Profile(
    "hybrid", {"recency": 0.4, "engagement": 0.3, "author_affinity": 0.2, "ml_score": 0.1}
)
# Chosen by tests/bench/bench_recsys.py; freshness and affinity, which its data has not, by judgement.
BLEND: Final = Profile(
    "blend",
    {
        "similarity": 0.15,
        "engagement": 0.3,
        "freshness": 0.1,
        "affinity": 0.1,
        "following": 0.0,
        "together": 0.35,
    },
    creator_share=0.4,
    author_decay=0.5,
    author_floor=0.25,
    watched="demote",
    exploration=0.1,
    cold_below=1,  # a blend beats plain trending from the first interaction on
)
CHRONOLOGICAL: Final = Profile("chronological", {"recency": 1.0}, creator_share=1.0, cold_below=0)
TRENDING: Final = Profile("trending", {"trending": 1.0, "recency": 0.0}, creator_share=1.0, cold_below=0)

PROFILES: Final[Mapping[str, Profile]] = {
    profile.name: profile for profile in (SIMILARITY, VIDEO, SOCIAL, HYBRID, BLEND, CHRONOLOGICAL, TRENDING)
}


def configured(overrides: Mapping[str, Mapping[str, float]]) -> dict[str, Profile]:
    """Return all profiles, some with other weights; a signal left out of an override weighs 0 (E15).

    >>> configured({"similarity": {"similarity": 0.5, "recency": 0.5}})["similarity"].weights["engagement"]
    0.0

    Raises:
        ValueError: An unknown profile or signal, or weights that do not sum to 1.
    """
    profiles = dict(PROFILES)
    for name, weights in overrides.items():
        if name not in profiles:
            raise ValueError(f"there is no profile {name}")
        default = profiles[name]
        unknown = set(weights) - set(default.weights)
        if unknown:
            raise ValueError(f"profile {name} has no signal {', '.join(sorted(unknown))}")
        profiles[name] = replace(
            default, weights={signal: float(weights.get(signal, 0.0)) for signal in default.weights}
        )
    return profiles


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of n candidates for one viewer: arrays of length n, times in epoch seconds.

    ``cosine`` is the cosine to the viewer's preference, NaN where one of the two has no vector;
    ``affinity`` the viewer's decayed history with the creator, 0 or more; ``tag_match`` the TF-IDF cosine
    of the viewer's tags and the video's, NaN where one of the two has no tags.
    """

    now: float
    created_at: Array
    decayed: Array
    decayed_at: Array
    views: Array
    likes: Array
    comments: Array
    shares: Array
    completion: Array
    quality: Array
    cosine: Array
    affinity: Array
    follows: NDArray[np.bool_]
    tag_match: Array
    together: Array | None = None
    """How much each goes with what the viewer found good last, 0 or more; None where no profile asks."""


def signals(profile: Profile, facts: Facts) -> dict[str, Array]:
    """Return the profile's signals by name, each float64[n], in the order of its weights."""
    formulas = _FORMULAS[profile.name]
    found = {name: formulas[name](facts) for name in profile.weights}
    if profile.squash_engagement and "engagement" in found:
        found["engagement"] = squash(found["engagement"])
    return found


def score(profile: Profile, values: Mapping[str, Array]) -> Array:
    """Return the weighted sum of the signals, float64[n] (E11-E14)."""
    total = np.zeros_like(next(iter(values.values())))
    for name, weight in profile.weights.items():
        total += weight * values[name]
    return total


def squash(x: Array) -> Array:
    """Map 0..infinity to 0..1 as x / (1 + x) (X26, F22)."""
    positive = np.maximum(x, 0.0)
    return positive / (1.0 + positive)


def recency(facts: Facts) -> Array:
    """Return 1 for new, halving every six hours; a future time counts as new (E16, E44)."""
    age = np.maximum(0.0, facts.now - facts.created_at)
    return np.exp2(-age / HALF_LIFE_SECONDS)


def decayed_engagement(facts: Facts) -> Array:
    """Return the decayed counter as of now, 0 or more (amendment to E)."""
    age = np.maximum(0.0, facts.now - facts.decayed_at)
    return facts.decayed * np.exp2(-age / HALF_LIFE_SECONDS)


def similarity(facts: Facts) -> Array:
    """Return the cosine, 0 where unknown or negative."""
    return np.clip(np.nan_to_num(facts.cosine, nan=0.0), 0.0, 1.0)


def liked_together(facts: Facts) -> Array:
    """Return how much each goes with the viewer's latest positives, squashed to 0..1; 0 where unknown."""
    if facts.together is None:
        return np.zeros_like(facts.created_at)
    return facts.together / (facts.together + _TOGETHER_HALF)


def deep_model(facts: Facts) -> Array:
    """Return the cosine mapped to 0..1, 0 where unknown (D22)."""
    return np.clip((1.0 + np.nan_to_num(facts.cosine, nan=-1.0)) / 2.0, 0.0, 1.0)


def interaction_rate(facts: Facts) -> Array:
    """Return likes, shares and comments per view, at most 1 (E21)."""
    actions = facts.likes + facts.shares + facts.comments
    return np.minimum(1.0, actions / np.maximum(facts.views, 1.0))


def social_engagement(facts: Facts) -> Array:
    """Return (likes + 2 comments) / (hours + 1), unbounded (E18, X26)."""
    hours = np.maximum(0.0, facts.now - facts.created_at) / HOUR_SECONDS
    return (facts.likes + 2.0 * facts.comments) / (hours + 1.0)


def personalisation(facts: Facts) -> Array:
    """Return the TF-IDF match of tags (E20); what has no tags is matched by its embedding."""
    return np.where(np.isnan(facts.tag_match), similarity(facts), facts.tag_match)


def trending(facts: Facts) -> Array:
    """Return the squashed decayed counter of what moved in the last 24 hours, else 0 (E3, F22)."""
    recent = facts.now - facts.decayed_at <= 24 * HOUR_SECONDS
    return np.where(recent, squash(decayed_engagement(facts)), 0.0)


def _relationship(facts: Facts) -> Array:
    return np.where(facts.follows, FOLLOWED, STRANGER)


def _log_engagement(facts: Facts) -> Array:
    level = np.log1p(decayed_engagement(facts))
    return level / (level + _LOG_HALF)


_FORMULAS: Final[Mapping[str, Mapping[str, Callable[[Facts], Array]]]] = {
    "similarity": {
        "similarity": similarity,
        "recency": recency,
        "engagement": lambda facts: squash(decayed_engagement(facts)),
    },
    "video": {
        "completion": lambda facts: np.nan_to_num(facts.completion, nan=0.0),
        "engagement": interaction_rate,
        "creator_affinity": lambda facts: squash(facts.affinity),
        "deep_model": deep_model,
    },
    "social": {
        "freshness": recency,
        "relationship": _relationship,
        "engagement": social_engagement,
        "quality": lambda facts: facts.quality,
        "personalisation": personalisation,
    },
    "hybrid": {
        "recency": recency,
        "engagement": lambda facts: squash(facts.likes + facts.comments + facts.shares),
        "author_affinity": lambda facts: squash(facts.affinity),
        "ml_score": deep_model,
    },
    "blend": {
        "similarity": similarity,
        "engagement": _log_engagement,
        "freshness": recency,
        "affinity": lambda facts: squash(facts.affinity),
        "following": lambda facts: facts.follows.astype(np.float64),
        "together": liked_together,
    },
    "chronological": {"recency": recency},
    "trending": {"trending": trending, "recency": recency},
}
