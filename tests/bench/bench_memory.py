"""Resident memory after each million client events through every agent (S, F17).

    .venv/bin/python tests/bench/bench_memory.py [MILLIONS]

A fixed population of users, videos and creators watches on and on, sent as envelopes. Rows are bounded, so
memory rises until they are full and is flat from then on: 300 users and 3,000 videos, full after the first
million or two. Target: no million after the second adds more than 5 %.
"""

import asyncio
import os
import platform
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil
import uvloop
from engagement_world import PARTITIONS, World, cards, outgoing, sittings, world

from freewill.tuning import tune_process
from streams.log import EmbeddedLog, register
from streams.topics import ENGAGEMENT_EVENTS

MILLIONS = 3
EVENTS = 1_000_000
USERS = 300
VIDEOS = 3_000
SITTING_VIDEOS = 20  # an envelope of a hundred events: large rows are written once for them
ALLOWED = 1.05


async def play(found: World, seed: int) -> None:
    """Publish a million events and wait until they are counted."""
    for records in outgoing(
        sittings(EVENTS, users=USERS, seed=seed, videos=SITTING_VIDEOS, catalogue=VIDEOS)
    ):
        await found.publish(records)
        while found.behind() > 200:
            await asyncio.sleep(0.005)
    await found.settled()


async def run(folder: Path, millions: int) -> list[float]:
    """Return resident MB after each million."""
    log = EmbeddedLog.open(folder / "log.sqlite3")
    found: list[float] = []
    process = psutil.Process()
    async with world(log, folder) as made:
        await made.publish(cards())
        await made.settled()
        tune_process()
        for number in range(millions):
            wall, cpu = time.perf_counter(), time.process_time()
            await play(made, number + 1)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            found.append(process.memory_info().rss / 1e6)
            rows = {name: table.count() for name, table in made.streams.tables.items() if table.count()}
            records = sum(log.highwater(ENGAGEMENT_EVENTS.name, n) for n in range(PARTITIONS))
            print(
                f"  {number + 1} million ({records:,} records): {found[-1]:,.0f} MB resident,"
                f" {EVENTS / wall:,.0f} events/s, {cpu / EVENTS * 1e6:.1f} us CPU/event; rows {rows}",
                flush=True,
            )
    await log.close()
    return found


def main() -> int:
    """Print memory after each million; return 1 when it goes on growing."""
    register()
    millions = int(sys.argv[1]) if len(sys.argv) > 1 else MILLIONS
    print(f"embedded log, {platform.machine()}, {os.cpu_count()} cores, {USERS} users with full rows")
    with tempfile.TemporaryDirectory(dir=os.environ.get("FREEWILL_BENCH_DIR", "."), prefix="be-") as place:
        found = uvloop.run(run(Path(place), millions))
    growth = max((b / a for a, b in pairwise(found[1:])), default=1.0)
    print(f"  largest growth by a million after the second: {growth:.3f}x (target <= {ALLOWED}x)")
    return 0 if growth <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
