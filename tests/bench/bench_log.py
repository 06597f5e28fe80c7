"""Embedded log: events a second and CPU per event, beside a stock Faust agent on the same transport.

The job: Zipf 1.2 over 100,000 keys, a JSON event of about 60 bytes, counted per key in a table whose
changelog is committed. End to end: produce, agent, table, changelog. The stock agent is Faust's own event
loop, table and changelog (`table[key] += 1`) on the same log file format, without our overrides of
delivery, acknowledgement and flush.

Targets: at least 5 times stock, and at least 30,000 events a second. Run with ``make bench``, or alone.
"""

import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust
import msgspec
import numpy as np
import uvloop

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
from streams.log.consumer import LogConsumer
from streams.log.producer import LogProducer
from streams.log.transport import Transport

RUNS = 3
PARTITIONS = 8
KEYS = 100_000
OURS_EVENTS = 200_000
STOCK_EVENTS = 20_000
TARGET_RATE = 30_000
TARGET_RATIO = 5.0


class Event(msgspec.Struct):
    """One counted event."""

    user: str
    video: str
    at: float


class Count(msgspec.Struct, frozen=True):
    """The state of one key: how often, and the last source offset applied."""

    n: int = 0
    offset: int = -1


class StockTransport(Transport):
    """The same log under Faust's own delivery, acknowledgement, commit, buffer and flush."""

    Consumer = LogConsumer
    Producer = LogProducer


def _keys() -> list[str]:
    rng = np.random.default_rng(7)
    ranks = np.arange(1, KEYS + 1, dtype=np.float64) ** -1.2
    drawn = rng.choice(KEYS, size=OURS_EVENTS, p=ranks / ranks.sum())
    return [f"v{number:06d}" for number in drawn]


def _events(keys: list[str]) -> list[Outgoing]:
    encode = msgspec.json.encode
    return [
        Outgoing("events", key, encode(Event("user-0123456789", key, 1.0 + at)))
        for at, key in enumerate(keys)
    ]


def _count(states: Any, keys: list[str], offsets: list[int]) -> Mapping[str, Count]:
    """Fold a slice: guarded event by event, each touched key once."""
    folded: dict[str, list[int]] = {}
    for key, offset in zip(keys, offsets, strict=True):
        state = folded.get(key)
        if state is None:
            found = states(key) or Count()
            state = folded[key] = [found.n, found.offset]
        if offset > state[1]:
            state[0] += 1
            state[1] = offset
    return {key: Count(*state) for key, state in folded.items()}


async def _ours(folder: Path, keys: list[str], store: str) -> tuple[float, float]:
    log = EmbeddedLog.open(folder / "log.sqlite3")
    app = faust.App("bench", **faust_settings(data_dir=folder / "faust", partitions=PARTITIONS, store=store))
    use_log(app, log)
    topic = sliced_topic(app, "events", Event, partitions=PARTITIONS)
    table = declare_table(app, "counts", Count, partitions=PARTITIONS)
    committer = SliceCommitter(app, log)
    seen, done = 0, asyncio.Event()

    @app.agent(topic, name="count")
    async def count(slices: Any) -> None:
        nonlocal seen
        async for batch in slices:
            changed = _count(table.lookup, batch.keys, batch.offsets)
            await committer.commit(writes=[(table, batch.partition, changed)])
            seen += len(batch)
            if seen >= len(keys):
                done.set()

    await start_app(app)
    wall, cpu = time.perf_counter(), time.process_time()
    for at in range(0, len(keys), 1000):
        await committer.publish(_events(keys[at : at + 1000]))
    await done.wait()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert sum(value.n for _, value in table.scan()) == len(keys)
    await stop_app(app)
    await log.close()
    return len(keys) / wall, cpu / len(keys) * 1e6


async def _faust(folder: Path, keys: list[str]) -> tuple[float, float]:
    log = EmbeddedLog.open(folder / "log.sqlite3")
    settings = {
        **faust_settings(data_dir=folder / "faust", partitions=PARTITIONS),
        "value_serializer": "json",
    }
    app = faust.App("bench", **settings)
    use_log(app, log)
    app.transport = StockTransport(app.conf.broker_consumer, app)
    app._producer_transport = app.transport
    topic = app.topic("events", partitions=PARTITIONS)
    table = app.Table("counts", default=int, partitions=PARTITIONS, key_type=str, value_type=int)
    seen, done = 0, asyncio.Event()

    @app.agent(topic, name="count")
    async def count(stream: Any) -> None:
        nonlocal seen
        async for event in stream:
            table[event["video"]] += 1
            seen += 1
            if seen >= len(keys):
                done.set()

    await start_app(app)
    committer = SliceCommitter(app, log)
    wall, cpu = time.perf_counter(), time.process_time()
    for at in range(0, len(keys), 1000):
        await committer.publish(_events(keys[at : at + 1000]))
    await done.wait()
    await app.producer.buffer.flush()
    while sum(log.highwater("bench-counts-changelog", n) for n in range(PARTITIONS)) < len(keys):
        await asyncio.sleep(0.002)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await stop_app(app)
    await log.close()
    return len(keys) / wall, cpu / len(keys) * 1e6


def counting(root: str) -> tuple[float, float]:
    """Return events a second and CPU microseconds an event of ours, tables in memory."""
    with tempfile.TemporaryDirectory(dir=root, prefix="bench-log-") as folder:
        return uvloop.run(_ours(Path(folder), _keys(), "memory://"))


def stock(events: int, root: str) -> tuple[float, float]:
    """Return events a second and CPU microseconds an event of the stock agent."""
    with tempfile.TemporaryDirectory(dir=root, prefix="bench-log-") as folder:
        return uvloop.run(_faust(Path(folder), _keys()[:events]))


def _median(runs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


def _line(name: str, figures: tuple[float, float], target: str) -> None:
    print(f"  {name:<20}{figures[0]:>9,.0f} events/s {figures[1]:>8.1f} us CPU/event  {target}")


def main() -> int:
    """Run all three, print target beside figure; return 1 when a target is missed."""
    register()
    keys = _keys()
    root = os.environ.get("FREEWILL_BENCH_DIR", str(Path.cwd()))
    figures: dict[str, list[tuple[float, float]]] = {"memory": [], "rocksdb": [], "stock": []}
    for _ in range(RUNS):
        for name, runs in figures.items():
            with tempfile.TemporaryDirectory(dir=root, prefix="bench-log-") as folder:
                if name == "stock":
                    runs.append(uvloop.run(_faust(Path(folder), keys[:STOCK_EVENTS])))
                else:
                    runs.append(uvloop.run(_ours(Path(folder), keys, f"{name}://")))
    memory, rocks, stock = (_median(figures[name]) for name in ("memory", "rocksdb", "stock"))
    ratio = memory[0] / stock[0]
    print(
        f"embedded log, fsync in every commit, {platform.machine()}, {os.cpu_count()} cores, median of {RUNS}"
    )
    print(f"  Zipf 1.2 over {KEYS:,} keys, {PARTITIONS} partitions, produce > agent > table > changelog")
    _line("slices, memory://", memory, f"target >= {TARGET_RATE:,} events/s")
    _line("slices, rocksdb://", rocks, "")
    _line("stock Faust agent", stock, "")
    cpu = stock[1] / memory[1]
    print(f"  {'times stock':<20}{ratio:>9.1f} {cpu:>17.1f} in CPU  target >= {TARGET_RATIO:.0f}")
    return 0 if memory[0] >= TARGET_RATE and ratio >= TARGET_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
