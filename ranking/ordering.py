"""From scores to an order: ties, a creator's share of a page, author decay, exploration (E6, E26, Y4)."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ranking.profiles import Array

Order = NDArray[np.int64]


def by_score(scores: Array, created_at: Array, ids: Callable[[], Sequence[str]]) -> Order:
    """Return positions best first; ties go to the newer, then to the smaller id (E26).

    ``ids`` is called only when score and time both tie: looking up hundreds of ids costs more than sorting.
    """
    order = np.lexsort((-created_at, -scores))
    same = (np.diff(scores[order]) == 0) & (np.diff(created_at[order]) == 0)
    if not same.any():
        return order
    names = ids()
    return np.array(sorted(range(len(names)), key=lambda i: (-scores[i], -created_at[i], names[i])), np.int64)


def author_decay(
    order: Order, scores: Array, creators: NDArray[np.int32], decay: float, floor: float
) -> Array:
    """Return what each score loses because its creator has better items: 0 or less, by position."""
    ranked = creators[order]
    by_creator = np.argsort(ranked, kind="stable")
    grouped = ranked[by_creator]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(grouped) else np.empty(0, int)
    sizes = np.diff(np.r_[starts, len(grouped)])
    repeats = np.empty(len(order), np.int64)
    repeats[order[by_creator]] = np.arange(len(grouped)) - np.repeat(starts, sizes)
    factors = np.maximum(floor, decay**repeats)
    lost: Array = (factors - 1.0) * np.abs(scores)
    return lost


def share_pages(order: Order, creators: NDArray[np.int32], page: int, share: float) -> Order:
    """Put off items of a creator that holds more than its share of a page, while others are left (E6)."""
    cap = max(1, math.ceil(share * page))
    if share >= 1.0 or np.bincount(creators, minlength=1).max(initial=0) <= cap:
        return order
    names = creators.tolist()
    left, result = order.tolist(), []
    while left:
        held: Counter[int] = Counter()
        taken: list[int] = []
        later: list[int] = []
        for position, item in enumerate(left):
            if len(taken) == page:
                later.extend(left[position:])
                break
            fits = held[names[item]] < cap
            held[names[item]] += fits
            (taken if fits else later).append(item)
        missing = page - len(taken)
        result += taken + later[:missing]
        left = later[missing:]
    return np.array(result, np.int64)


def explore(
    order: Order, eligible: NDArray[np.bool_], page: int, share: float, seed: int
) -> tuple[Order, Order]:
    """Give a share of the first page's slots to items that few have seen; return the order and those.

    The choice follows the seed alone, so it is stable inside a session. Items that are on the page anyway
    are not explored.
    """
    every = round(1 / share) if share > 0 else 0
    pool = order[page:][eligible[order[page:]]]
    slots = list(range(every - 1, min(page, len(order)), every)) if every else []
    count = min(len(slots), len(pool))
    if not count:
        return order, np.empty(0, np.int64)
    chosen = np.random.default_rng(seed).choice(pool, count, replace=False)
    result = order[~np.isin(order, chosen)].tolist()
    for slot, item in zip(slots, chosen.tolist(), strict=False):
        result.insert(slot, item)
    return np.array(result, np.int64), chosen
