"""Compaction and retention (DESIGN section 6)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.log import EmbeddedLog, TopicPolicy
from streams.log import upkeep as upkeep_module


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def log(tmp_path: Path, clock: Clock) -> AsyncIterator[EmbeddedLog]:
    opened = EmbeddedLog.open(tmp_path / "log.db", upkeep_seconds=None, clock=clock)
    yield opened
    await opened.close()


async def test_newest_of_each_key_stays_with_its_offset_when_compacted(log: EmbeddedLog) -> None:
    await log.declare("c", 1, TopicPolicy(compact=True))
    for n in range(100):
        await log.append("c", 0, [b"%d" % n], keys=[b"k%d" % (n % 7)])
    await log.append("c", 0, [b"unkeyed", b"last"])
    removed = await log.upkeep.run_once(force=True)
    records = list(await log.read("c", 0, 0))
    kept = {r.key: (r.offset, r.value) for r in records if r.key}
    assert kept == {b"k%d" % (n % 7): (n, b"%d" % n) for n in range(93, 100)}
    assert removed == 93
    assert log.highwater("c", 0) == 102
    assert [r.offset for r in await log.read("c", 0, 50)] == [r.offset for r in records]
    assert [r.offset for r in await log.read("c", 0, 97, 2)] == [97, 98]
    assert await log.upkeep.run_once(force=True) == 0


async def test_newest_record_stays_when_it_is_a_tombstone_or_superseded(
    log: EmbeddedLog, clock: Clock
) -> None:
    """Recovery ends when it has seen the record before the highwater."""
    await log.declare("c", 1, TopicPolicy(compact=True, tombstone_grace_seconds=10.0))
    await log.append("c", 0, [b"1"], keys=[b"k"])
    await log.append("c", 0, [None], keys=[b"k"])
    clock.now += 100
    await log.upkeep.run_once(force=True)
    assert [r.offset for r in await log.read("c", 0, 0)][-1] == 1


async def test_tombstone_leaves_when_its_grace_is_over(log: EmbeddedLog, clock: Clock) -> None:
    await log.declare("c", 1, TopicPolicy(compact=True, tombstone_grace_seconds=10.0))
    await log.append("c", 0, [b"1"], keys=[b"gone"])
    await log.append("c", 0, [None], keys=[b"gone"])
    await log.append("c", 0, [b"2"], keys=[b"here"])
    await log.append("c", 0, [b"3"], keys=[b"last"])
    await log.upkeep.run_once(force=True)
    assert [r.offset for r in await log.read("c", 0, 0)] == [1, 2, 3]
    clock.now += 11
    await log.append("c", 0, [b"4"], keys=[b"last"])
    await log.append("c", 0, [b"5"], keys=[b"last"])
    await log.upkeep.run_once(force=True)
    assert [r.offset for r in await log.read("c", 0, 0)] == [2, 4, 5]


async def test_compaction_waits_when_little_is_new(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep_module, "MIN_DIRTY", 50)
    await log.declare("c", 1, TopicPolicy(compact=True))
    for n in range(40):
        await log.append("c", 0, [b"%d" % n], keys=[b"k"])
    assert await log.upkeep.run_once() == 0
    for n in range(40):
        await log.append("c", 0, [b"%d" % n], keys=[b"k"])
    assert await log.upkeep.run_once() > 70


async def test_several_passes_agree_when_keys_do_not_fit_one(
    log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module, "PASS_KEYS", 10)
    monkeypatch.setattr(upkeep_module, "STEP_RECORDS", 16)
    await log.declare("c", 1, TopicPolicy(compact=True))
    for n in range(500):
        await log.append("c", 0, [b"%d" % n], keys=[b"k%d" % (n * 31 % 80)])
    await log.append("c", 0, [b"end"])
    await log.upkeep.run_once(force=True)
    newest = {b"k%d" % (n * 31 % 80): b"%d" % n for n in range(500)}
    assert {r.key: r.value for r in await log.read("c", 0, 0) if r.key} == newest
    assert len(await log.read("c", 0, 0)) == 81


async def test_old_records_leave_by_age_when_every_group_has_read_them(
    log: EmbeddedLog, clock: Clock
) -> None:
    await log.declare("t", 1, TopicPolicy(retention_seconds=60.0))
    await log.join("g", ["t"])
    await log.append("t", 0, [b"old"] * 10)
    clock.now += 61
    await log.append("t", 0, [b"new"])
    assert await log.upkeep.run_once() == 0  # joined, and nothing read yet
    await log.commit_offsets("g", {("t", 0): 5})
    assert await log.upkeep.run_once() == 0  # the row holds unread records
    await log.commit_offsets("g", {("t", 0): 10})
    assert await log.upkeep.run_once() == 10
    assert (log.earliest("t", 0), log.highwater("t", 0)) == (10, 11)
    assert (await log.read("t", 0, 0)).values == [b"new"]


async def test_unread_records_leave_by_age_when_the_policy_says_so(log: EmbeddedLog, clock: Clock) -> None:
    await log.declare("t", 1, TopicPolicy(retention_seconds=60.0, drop_unread=True))
    await log.join("g", ["t"])
    await log.append("t", 0, [b"old"])
    clock.now += 61
    await log.append("t", 0, [b"new"])
    assert await log.upkeep.run_once() == 1


async def test_oldest_records_leave_by_size_when_a_partition_is_too_large(log: EmbeddedLog) -> None:
    await log.declare("t", 2, TopicPolicy(retention_bytes=50_000))
    for n in range(20):
        await log.append("t", 0, [b"%d" % n + b"x" * 10_000])
    removed = await log.upkeep.run_once()
    info = (await log.describe())[0].partitions[0]
    assert 40_000 < info.size_bytes <= 50_000
    assert info.start == removed == 20 - info.records


async def test_start_survives_a_restart_when_records_were_removed(log: EmbeddedLog, clock: Clock) -> None:
    await log.declare("t", 1, TopicPolicy(retention_seconds=1.0))
    await log.append("t", 0, [b"a"])
    clock.now += 5
    await log.append("t", 0, [b"b"])
    await log.upkeep.run_once()
    await log.close()
    again = EmbeddedLog.open(log.path, upkeep_seconds=None)
    assert (again.earliest("t", 0), again.highwater("t", 0)) == (1, 2)
    await again.close()


async def test_space_is_reused_when_records_left(log: EmbeddedLog) -> None:
    await log.declare("t", 1, TopicPolicy(retention_bytes=200_000))
    for _ in range(3):
        for _ in range(20):
            await log.append("t", 0, [b"x" * 100_000])
        await log.upkeep.run_once()
    await log.close()
    assert log.path.stat().st_size < 4_000_000


async def test_background_thread_trims_and_ends_when_the_log_closes(tmp_path: Path, clock: Clock) -> None:
    log = EmbeddedLog.open(tmp_path / "bg.db", upkeep_seconds=0.02, clock=clock)
    await log.declare("t", 1, TopicPolicy(retention_seconds=1.0))
    await log.append("t", 0, [b"a"])
    clock.now += 5
    await log.append("t", 0, [b"b"])
    async with asyncio.timeout(120):
        while log.earliest("t", 0) == 0:
            await asyncio.sleep(0.01)
    await log.close()
