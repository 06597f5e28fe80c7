"""``kill -9`` at random moments of uploads by every way in (DESIGN invariant 2; A15, A19, A36, A54)."""

import os
import random

from forked import ForkingParent
from kill_uploads import run
from kills import CLIP, ENVIRONMENT

KILLS = 5


async def test_uploads_are_whole_or_go_on_when_the_server_is_killed_at_random_moments(
    make_server, make_client, shared_dir
):
    """Every answered video has its bytes; what was cut is finished; nothing is left over."""
    seed = int(os.environ.get("FREEWILL_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"FREEWILL_TEST_SEED={seed} repeats the moments")
    server = make_server(**ENVIRONMENT)
    with ForkingParent(server):
        outcome = await run(server, make_client, (shared_dir / CLIP).read_bytes(), KILLS, seed)
    assert outcome.cut > 0, "no kill met an upload"
    assert outcome.videos >= 3
