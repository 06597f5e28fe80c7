"""Recovery: changelog records a second, and how soon a table of a million keys is ready.

A table of counters (8 partitions, about 100 B a record) is filled through its changelog, then a worker is
started over it: without a snapshot, every record is read; with one, only what came after it. Loop lag is
measured while a snapshot of the whole table is written.

Targets: at least 50,000 records/s; 1,000,000 keys ready in under 10 s from a snapshot, with the loop never
held for more than 10 ms (99th percentile) while it is written. Run with ``make bench``, or alone.
"""

import asyncio
import contextlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import faust
import msgspec
import uvloop

from streams.log import (
    Batch,
    EmbeddedLog,
    TopicPolicy,
    declare_table,
    faust_settings,
    register,
    start_app,
    stop_app,
    use_log,
)
from streams.log.partitioner import partition_for
from streams.log.snapshots import Snapshots

KEYS = int(os.environ.get("FREEWILL_BENCH_KEYS", "1000000"))
PARTITIONS = 8
TARGET_RATE = 50_000
TARGET_SECONDS = 10.0
TARGET_LAG_MS = 10.0
CHANGELOG = "bench-counts-changelog"


class Count(msgspec.Struct, frozen=True):
    """The state of one key, as large as a video's counters."""

    views: int = 0
    likes: int = 0
    decayed: float = 0.0
    updated_at: float = 0.0
    applied: int = -1


async def _fill(folder: Path) -> None:
    log = EmbeddedLog.open(folder / "log.sqlite3", fsync="os", upkeep_seconds=None)
    await log.declare(CHANGELOG, PARTITIONS, TopicPolicy(compact=True))
    encode = msgspec.json.encode
    waiting: list[tuple[list[bytes | None], list[bytes | None]]] = [([], []) for _ in range(PARTITIONS)]
    for number in range(KEYS):
        key = f"video-{number:08d}".encode()
        keys, values = waiting[partition_for(key, PARTITIONS)]
        keys.append(key)
        values.append(encode(Count(number, number // 7, number / 3, 1.7e9 + number, number)))
        if len(keys) == 1000 or number == KEYS - 1:
            parts = [(at, part) for at, part in enumerate(waiting) if part[0]]
            await log.transact([Batch(CHANGELOG, at, list(k), list(v), 1.7e9) for at, (k, v) in parts])
            for _, (k, v) in parts:
                k.clear()
                v.clear()
    await log.close()


@contextlib.asynccontextmanager
async def _worker(folder: Path, store: str, snapshots: Snapshots) -> AsyncIterator[tuple[Any, Any, float]]:
    log = EmbeddedLog.open(folder / "log.sqlite3", fsync="os", upkeep_seconds=None)
    app = faust.App("bench", **faust_settings(data_dir=folder / "faust", partitions=PARTITIONS, store=store))
    use_log(app, log)
    snapshots.attach(app)
    table = declare_table(app, "counts", Count, partitions=PARTITIONS)
    began = time.perf_counter()
    await start_app(app)
    yield app, table, time.perf_counter() - began
    await stop_app(app)
    await log.close()


async def _recover(folder: Path, store: str) -> float:
    async with _worker(folder, store, Snapshots(folder / "none")) as (_, table, seconds):
        assert table.count() == KEYS
        assert table.lookup("video-00000042").views == 42
        return seconds


async def _lags(lags: list[float]) -> None:
    while True:
        at = time.perf_counter()
        await asyncio.sleep(0.002)
        lags.append((time.perf_counter() - at - 0.002) * 1000)


async def _snapshot(folder: Path) -> tuple[float, float, float]:
    """Write a snapshot of all beside a working loop; return seconds, and the loop's lag p99 and most, ms."""
    snapshots = Snapshots(folder / "snapshots")
    async with _worker(folder, "memory://", snapshots) as (app, _, _):
        lags: list[float] = []
        watch = asyncio.create_task(_lags(lags))
        began = time.perf_counter()
        assert await snapshots.write(app) == PARTITIONS
        seconds = time.perf_counter() - began
        watch.cancel()
    lags.sort()
    return seconds, lags[int(len(lags) * 0.99)], lags[-1]


async def _restart(folder: Path) -> float:
    async with _worker(folder, "memory://", Snapshots(folder / "snapshots")) as (_, table, seconds):
        assert table.count() == KEYS
        assert table.lookup("video-00000042").views == 42
        return seconds


def _line(name: str, figure: str, target: str) -> None:
    print(f"  {name:<34}{figure:>22}  {target}")


def main() -> int:
    """Run, print target beside figure; return 1 when a target is missed."""
    register()
    root = os.environ.get("FREEWILL_BENCH_DIR", str(Path.cwd()))
    with tempfile.TemporaryDirectory(dir=root, prefix="bench-recovery-") as name:
        folder = Path(name)
        uvloop.run(_fill(folder))
        memory = uvloop.run(_recover(folder, "memory://"))
        rocks = uvloop.run(_recover(folder, "rocksdb://"))
        written, lag, most = uvloop.run(_snapshot(folder))
        size = sum(path.stat().st_size for path in folder.glob("snapshots/*/*/*")) / 1e6
        restart = uvloop.run(_restart(folder))
    print(f"recovery of {KEYS:,} keys, {PARTITIONS} partitions, {platform.machine()}, {os.cpu_count()} cores")
    _line("changelog, memory://", f"{KEYS / memory:,.0f} records/s", f"target >= {TARGET_RATE:,}")
    _line("changelog, rocksdb://", f"{KEYS / rocks:,.0f} records/s", "")
    _line("ready from the changelog", f"{memory:.2f} s", "")
    _line("ready from a snapshot", f"{restart:.2f} s", f"target < {TARGET_SECONDS:.0f} s for 1,000,000 keys")
    _line("writing the snapshot", f"{written:.1f} s, {size:.0f} MB", "")
    _line("loop lag meanwhile, p99 (most)", f"{lag:.1f} ms ({most:.1f})", f"target <= {TARGET_LAG_MS:.0f} ms")
    met = KEYS / memory >= TARGET_RATE and restart < TARGET_SECONDS and lag <= TARGET_LAG_MS
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
