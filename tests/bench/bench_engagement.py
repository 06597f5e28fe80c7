"""The real engagement path, all agents: events a second and CPU per event (S, F3, F17).

    .venv/bin/python tests/bench/bench_engagement.py [EVENTS]

From the first append of `events.engagement` to the last committed position of every topic, on the embedded
log with fsync in every commit: stage one by user, taste, deltas, stage two by content, pairs, creators' and
users' days, trends of tags. The load is that of `engagement_world`; views are compared with a ledger. Beside
it a stock Faust agent (`table[key] += 1`) on the same log, from `bench_log`.

Targets: 50,000 events/s in one process, which is 20 us CPU an event where the machine is busy.
"""

import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop
from bench_log import STOCK_EVENTS, stock
from engagement_world import cards, outgoing, sittings, world

from streams.log import EmbeddedLog, register

EVENTS = 300_000
TARGET_RATE = 50_000
TARGET_MICROS = 20.0


@dataclass
class Figures:
    """One run: events a second, CPU microseconds an event."""

    rate: float
    cpu: float


async def run(folder: Path, events: int, *, one_each: bool) -> Figures:
    """Push everything through and wait until the last position is committed."""
    made = list(sittings(events))
    views = len({(event.user_id, event.video_id) for sitting in made for event in sitting})
    loads = list(outgoing(iter(made), one_each=one_each))
    log = EmbeddedLog.open(folder / "log.sqlite3")
    async with world(log, folder) as found:
        await found.publish(cards())
        await found.settled()
        wall, cpu = time.perf_counter(), time.process_time()
        for load in loads:
            await found.publish(load)
        await found.settled()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert found.views() == views, f"{found.views()} views counted, {views} made"
    await log.close()
    return Figures(events / wall, cpu / events * 1e6)


def main() -> int:
    """Run both shapes and the stock agent; return 1 when neither rate nor CPU meets its target."""
    register()
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    folder = os.environ.get("FREEWILL_BENCH_DIR", ".")
    print(f"embedded log, fsync in every commit, {platform.machine()}, {os.cpu_count()} cores,", end=" ")
    print(f"load {os.getloadavg()[0]:.1f}, {events:,} events")
    found = Figures(0.0, 0.0)
    for name, one_each in (("one record an event", True), ("one envelope of ten", False)):
        with tempfile.TemporaryDirectory(dir=folder, prefix="be-") as place:
            found = uvloop.run(run(Path(place), events // 5 if one_each else events, one_each=one_each))
        print(f"  all agents, {name:<22}{found.rate:>10,.0f} events/s {found.cpu:>7.1f} us CPU/event")
    rate, cpu = stock(STOCK_EVENTS, folder)
    print(f"  stock Faust agent, one table      {rate:>10,.0f} events/s {cpu:>7.1f} us CPU/event")
    print(f"  envelopes: {found.rate:,.0f} events/s (target {TARGET_RATE:,}),", end=" ")
    print(f"{found.cpu:.1f} us CPU/event (target {TARGET_MICROS:.0f})")
    return 0 if found.rate >= TARGET_RATE or found.cpu <= TARGET_MICROS else 1


if __name__ == "__main__":
    sys.exit(main())
