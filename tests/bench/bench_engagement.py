"""The engagement path, in three cuts: events a second and CPU per event (S, F3, F17).

    .venv/bin/python tests/bench/bench_engagement.py [EVENTS]

On the embedded log with fsync in every commit, from the first append to the last committed position:

- counting alone: produce, one agent, one table, its changelog (`bench_log`);
- two stages: `events.engagement` observed by user, `engagement.deltas` counted by video, nothing else;
- everything: taste, pairs, creators' and users' days, trends of tags too.

The load of the last two is that of `engagement_world`; views are compared with a ledger. Beside them a stock
Faust agent (`table[key] += 1`) on the same log.

Targets: 50,000 events/s in one process, which is 20 us CPU an event where the machine is busy.
"""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import uvloop
from bench_log import STOCK_EVENTS, counting, stock
from engagement_world import World, cards, outgoing, sittings, two_stages, world

from streams.log import EmbeddedLog, register

EVENTS = 300_000
TARGET_RATE = 50_000
TARGET_MICROS = 20.0

Start = Callable[[EmbeddedLog, Path], AbstractAsyncContextManager[World]]


@dataclass
class Figures:
    """One run: events a second, CPU microseconds an event."""

    rate: float
    cpu: float

    def line(self, name: str) -> str:
        """Return a line of the table, target beside figure."""
        figures = f"{self.rate:>9,.0f} events/s {self.cpu:>7.1f} us CPU/event"
        return f"  {name:<40}{figures}  target {TARGET_RATE:,} or {TARGET_MICROS:.0f} us"

    @property
    def met(self) -> bool:
        """Whether rate or CPU is as good as its target."""
        return self.rate >= TARGET_RATE or self.cpu <= TARGET_MICROS


async def run(folder: Path, events: int, *, one_each: bool, start: Start = world) -> Figures:
    """Push everything through and wait until the last position is committed."""
    made = list(sittings(events))
    views = len({(event.user_id, event.video_id) for sitting in made for event in sitting})
    loads = list(outgoing(iter(made), one_each=one_each))
    log = EmbeddedLog.open(folder / "log.sqlite3")
    async with start(log, folder) as found:
        if start is world:
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
    """Run all cuts and the stock agent; return 1 when one of envelopes meets neither target."""
    register()
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    root = os.environ.get("FREEWILL_BENCH_DIR", ".")
    print(f"embedded log, fsync in every commit, {platform.machine()}, {os.cpu_count()} cores,", end=" ")
    print(f"load {os.getloadavg()[0]:.1f}, {events:,} events")
    print(Figures(*counting(root)).line("counting alone, one record an event"))
    cuts: list[tuple[str, Start]] = [("two stages", two_stages), ("everything", world)]
    met = True
    for name, start in cuts:
        for shape, one_each in (("one record an event", True), ("envelopes of ten", False)):
            with tempfile.TemporaryDirectory(dir=root, prefix="be-") as folder:
                number = events // 5 if one_each else events
                found = uvloop.run(run(Path(folder), number, one_each=one_each, start=start))
            print(found.line(f"{name}, {shape}"))
            met = met and (one_each or found.met)
    rate, cpu = stock(STOCK_EVENTS, root)
    print(f"  {'stock Faust agent, one table':<40}{rate:>9,.0f} events/s {cpu:>7.1f} us CPU/event")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
