"""``kill -9`` at random moments of a mixed load (DESIGN invariants 1-3; F5-F7, F12, F13).

The run itself is ``tests/soak/kills.py``; `make soak` does hundreds.
"""

import os
import random

import pytest
from forked import ForkingParent
from kills import CLIP, ENVIRONMENT, Plan, Run


@pytest.mark.parametrize(("store", "kills"), [("memory://", 10), ("rocksdb://", 10)])
async def test_counts_equal_the_ledger_when_the_server_is_killed_at_random_moments(
    make_server, make_client, shared_dir, store, kills
):
    """Views, likes, saves, shares, sums, histories and totals, from answered requests only."""
    seed = int(os.environ.get("FREEWILL_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"FREEWILL_TEST_SEED={seed} repeats the load and the moments")
    server = make_server(FREEWILL_TABLES_STORE=store, **ENVIRONMENT)
    with ForkingParent(server):
        plan = Plan(kills=kills, seed=seed, people=6, videos=1, longest_seconds=0.6)
        outcome = await Run(server, make_client, plan, shared_dir / CLIP).go()
    assert outcome.answered > kills
    assert outcome.repeated > 0, "no kill met a request"
