"""The real two-stage engagement path: events a second, CPU per event, memory per million (S, F3, F17).

    .venv/bin/python tests/bench/bench_engagement.py [EVENTS]

From the first append of `events.engagement` to the last counter of `video_engagement`, on the embedded log
with fsync in every commit: stage one by user, deltas, stage two by content, creators' and users' days; then
with the taste agent on the same topic, which also emits the pairs of what people liked together. Zipf 1.2
over 100,000 videos; a sitting is ten events of one user, sent one record each or as one envelope. The
counters are compared with a ledger. Target: 50,000 events/s.
"""

import asyncio
import os
import platform
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
import msgspec
import numpy as np
import psutil
import uvloop

from streams.agents import engagement
from streams.folding import Fold
from streams.intake import envelopes
from streams.log.lanes import in_lanes
from streams.log import (
    EmbeddedLog,
    Outgoing,
    SliceCommitter,
    declare_table,
    faust_settings,
    register,
    sliced_topic,
    start_app,
    stop_app,
    use_log,
)
from streams.topics import (
    CREATOR_DELTAS,
    ENGAGEMENT_DELTAS,
    ENGAGEMENT_EVENTS,
    PAIR_DELTAS,
    USER_DELTAS,
)
from tables.records import Action, EngagementEvent
from tables.reducers.engagement import VideoEngagement, WatchHistory
from tables.reducers.preferences import UserPreference
from tables.reducers.together import CoOccurrence
from tables.reducers.totals import Totals

EVENTS = 200_000
PARTITIONS = 8
VIDEOS = 100_000
USERS = 5_000
SITTING = 10
TARGET = 50_000
START = 1_800_000_000.0
STEPS = (
    Action.WATCH_START,
    Action.WATCH_25,
    Action.WATCH_50,
    Action.WATCH_75,
    Action.WATCH_COMPLETE,
)


@dataclass
class Figures:
    """One run: events a second, CPU microseconds an event, growth of resident memory in MB."""

    rate: float
    cpu: float
    grown: float


def sittings(count: int) -> list[list[EngagementEvent]]:
    """Return sittings of ten events: a user watches two videos step by step."""
    rng = np.random.default_rng(7)
    ranks = np.arange(1, VIDEOS + 1, dtype=np.float64) ** -1.2
    videos = rng.choice(VIDEOS, size=count // len(STEPS) + 2, p=ranks / ranks.sum())
    users = rng.integers(0, USERS, count // SITTING + 1)
    made: list[list[EngagementEvent]] = []
    for number in range(0, count, SITTING):
        user = f"5b0c6a1e-0000-4000-8000-{users[number // SITTING]:012d}"
        made.append([_event(user, number + n, videos[(number + n) // len(STEPS)]) for n in range(SITTING)])
    return made


def _event(user: str, number: int, video: int) -> EngagementEvent:
    return EngagementEvent(
        event_id=f"0e0c6a1e-0000-4000-8000-{number:012d}",
        user_id=user,
        video_id=f"7c0c6a1e-0000-4000-8000-{video:012d}",
        action=STEPS[number % len(STEPS)],
        occurred_at=START + number * 1e-3,
        owner_id=f"c00c6a1e-0000-4000-8000-{video % 1000:012d}",
        duration_seconds=10.0,
        watch_seconds=2.5 * (number % len(STEPS)),
    )


def _register(app: Any, topic: Any, name: str, handle: Callable[[Any], Awaitable[None]]) -> None:
    async def run(stream: Any) -> None:
        await in_lanes(stream, handle)

    app.agent(topic, name=name)(run)


async def run(folder: Path, loads: list[list[Outgoing]], events: int, views: int, *, taste: bool) -> Figures:
    """Push everything through and wait until the last delta is counted."""
    log = EmbeddedLog.open(folder / "log.sqlite3")
    app = faust.App("bench", **faust_settings(data_dir=folder, partitions=PARTITIONS, store="memory://"))
    use_log(app, log)
    writer = SliceCommitter(app, log)
    topics = {
        spec.name: sliced_topic(app, spec.name, spec.record, partitions=PARTITIONS)
        for spec in (ENGAGEMENT_EVENTS, ENGAGEMENT_DELTAS, CREATOR_DELTAS, USER_DELTAS, PAIR_DELTAS)
    }
    tables = {
        name: declare_table(app, name, kind, partitions=PARTITIONS)
        for name, kind in (
            ("h", WatchHistory),
            ("v", VideoEngagement),
            ("p", UserPreference),
            ("c", Totals),
            ("u", Totals),
            ("n", CoOccurrence),
        )
    }
    histories: Fold[WatchHistory] = Fold(tables["h"], writer, WatchHistory.copy)
    counters: Fold[VideoEngagement] = Fold(tables["v"], writer, VideoEngagement.copy)
    preferences: Fold[UserPreference] = Fold(tables["p"], writer)
    creators: Fold[Totals] = Fold(tables["c"], writer, Totals.copy)
    users: Fold[Totals] = Fold(tables["u"], writer, Totals.copy)
    together: Fold[CoOccurrence] = Fold(tables["n"], writer, CoOccurrence.copy)
    seen = [0, 0]
    done = asyncio.Event()

    async def observe(batch: Any) -> None:
        await engagement.observe(batch, histories)

    async def count(batch: Any) -> None:
        await engagement.count(batch, counters, lambda content, state: None)
        seen[0] += sum(delta.views + sum(part.views for part in delta.more) for delta in batch.records)
        if seen[0] >= views and seen[1] >= (events if taste else 0):
            done.set()

    async def learn(batch: Any) -> None:
        await engagement.learn(batch, preferences, lambda video: None, START)
        seen[1] += sum(1 + len(record.more) for record in batch.records)
        if seen[0] >= views and seen[1] >= events:
            done.set()

    _register(app, topics[ENGAGEMENT_EVENTS.name], "observe", observe)
    _register(app, topics[ENGAGEMENT_DELTAS.name], "count", count)
    _register(app, topics[CREATOR_DELTAS.name], "creators", lambda batch: engagement.total(batch, creators))
    _register(app, topics[USER_DELTAS.name], "users", lambda batch: engagement.total(batch, users))
    _register(
        app,
        topics[PAIR_DELTAS.name],
        "pairs",
        lambda batch: engagement.pair(batch, together, lambda v, s: None),
    )
    if taste:
        _register(app, topics[ENGAGEMENT_EVENTS.name], "learn", learn)
    await start_app(app)
    process = psutil.Process()
    before = process.memory_info().rss
    wall, cpu = time.perf_counter(), time.process_time()
    for load in loads:
        await writer.publish(load)
    await done.wait()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    grown = (process.memory_info().rss - before) / 1e6
    counted = sum(state.views for _, state in tables["v"].scan())
    await stop_app(app)
    await log.close()
    assert counted == views, f"{counted} views counted, {views} made"
    return Figures(events / wall, cpu / events * 1e6, grown)


def main() -> int:
    """Run all variants; return 1 when the envelope's rate misses the target."""
    register()
    events = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    made = sittings(events)
    views = len({(event.user_id, event.video_id) for sitting in made for event in sitting})
    encode = msgspec.json.Encoder().encode
    shapes = {
        "one record an event": [[e] for sitting in made for e in sitting],
        "one envelope of ten": [list(envelopes(sitting)) for sitting in made],
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"embedded log, fsync in every commit, {machine}, {events:,} events")
    best = 0.0
    for name, groups in shapes.items():
        records = [Outgoing(ENGAGEMENT_EVENTS.name, e.user_id, encode(e)) for group in groups for e in group]
        loads = [records[at : at + 1000] for at in range(0, len(records), 1000)]
        for taste in (False, True):
            with tempfile.TemporaryDirectory(
                dir=os.environ.get("FREEWILL_BENCH_DIR", "."), prefix="be-"
            ) as f:
                found = uvloop.run(run(Path(f), loads, events, views, taste=taste))
            label = name + (" + taste" if taste else "")
            print(
                f"  {label:<32}{found.rate:>10,.0f} events/s {found.cpu:>7.1f} us CPU/event "
                f"{found.grown / events * 1e6:>8.0f} MB a million"
            )
            best = found.rate if not taste else best
    print(f"  two stages, envelopes: {best:,.0f} events/s, target {TARGET:,}")
    return 0 if best >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
