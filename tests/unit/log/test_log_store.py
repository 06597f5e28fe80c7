"""The embedded log by itself: order, durability, checks at open (DESIGN section 6)."""

import asyncio
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from streams.log import (
    Batch,
    EmbeddedLog,
    LogClosed,
    LogCorrupt,
    LogError,
    LogLocked,
    LogWriteFailed,
    PartitionMismatch,
    TopicPolicy,
    UnknownTopic,
)
from streams.log.wal import commit_frames

CHILD = """
import asyncio, sys
from streams.log import EmbeddedLog
async def main():
    log = EmbeddedLog.open(sys.argv[1], fsync=sys.argv[2])
    await log.declare("t", 2)
    while True:
        offset = await log.append("t", 0, [b"a", b"b"])
        await log.append("t", 1, [b"c"])
        print(offset + 1, flush=True)
asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
async def log(path: Path) -> AsyncIterator[EmbeddedLog]:
    opened = EmbeddedLog.open(path, upkeep_seconds=None)
    yield opened
    await opened.close()


async def test_offsets_are_dense_when_batches_are_appended(log: EmbeddedLog) -> None:
    await log.declare("t", 2)
    assert await log.append("t", 0, [b"a", b"b"], keys=[b"k", None]) == 0
    assert await log.append("t", 0, [None], keys=[b"k"], headers=[(("h", b"1"),)]) == 2
    assert await log.append("t", 1, [b"x"]) == 0
    records = list(await log.read("t", 0, 0))
    assert [(r.offset, r.key, r.value, r.headers) for r in records] == [
        (0, b"k", b"a", ()),
        (1, None, b"b", ()),
        (2, b"k", None, (("h", b"1"),)),
    ]
    assert (log.earliest("t", 0), log.highwater("t", 0), log.highwater("t", 1)) == (0, 3, 1)
    assert len(await log.read("t", 0, 1, 1)) == 1
    assert len(await log.read("t", 0, 3)) == 0
    assert len(await log.read("t", 0, 99)) == 0


async def test_order_is_call_order_when_many_append_at_once(log: EmbeddedLog) -> None:
    await log.declare("t", 1)
    values = [b"%d" % n for n in range(3000)]
    offsets = await asyncio.gather(*(log.append("t", 0, [value]) for value in values))
    assert offsets == list(range(3000))
    assert (await log.read("t", 0, 0, 5000)).values == values
    # group commit: far fewer rows than appends
    rows = sqlite3.connect(log.path).execute("SELECT count(*) FROM batch").fetchone()[0]
    assert rows < 1000


async def test_large_batches_are_cut_into_rows_when_over_the_limits(log: EmbeddedLog) -> None:
    await log.declare("t", 1)
    await log.append("t", 0, [b"x" * 100_000] * 100)
    await log.append("t", 0, [b"y"] * 10_000)
    assert (await log.read("t", 0, 95, 10)).values == [b"x" * 100_000] * 5 + [b"y"] * 5
    biggest = (
        sqlite3.connect(log.path).execute("SELECT max(length(body)), max(records) FROM batch").fetchone()
    )
    assert biggest[0] < 2 << 20
    assert biggest[1] <= 4096
    await log.append("t", 0, [b"z" * (8 << 20)])  # one record may be larger than a row should be
    assert len((await log.read("t", 0, 10_100)).values[0] or b"") == 8 << 20


async def test_nothing_is_written_when_one_part_of_a_transaction_is_refused(log: EmbeddedLog) -> None:
    await log.declare("t", 1)
    good = Batch("t", 0, [None], [b"a"], 1.0)
    for bad, error in [
        (Batch("nowhere", 0, [None], [b"a"], 1.0), UnknownTopic),
        (Batch("t", 7, [None], [b"a"], 1.0), ValueError),
        (Batch("t", 0, [], [], 1.0), ValueError),
        (Batch("t", 0, [None], [b"a", b"b"], 1.0), ValueError),
        (Batch("t", 0, ["k"], [b"a"], 1.0), TypeError),  # type: ignore[list-item]
    ]:
        with pytest.raises(error):
            await log.transact([good, bad])
    assert log.highwater("t", 0) == 0


async def test_positions_move_with_the_records_when_given_in_one_transaction(log: EmbeddedLog) -> None:
    await log.declare("t", 2)
    await log.transact([Batch("t", 0, [None], [b"a"], 1.0)], {("t", 1): 5}, group="g")
    assert log.committed("g", "t", 1) == 5
    assert log.committed("g", "t", 0) is None
    assert log.committed("other", "t", 1) is None
    await log.close()
    again = EmbeddedLog.open(log.path, upkeep_seconds=None)
    assert again.committed("g", "t", 1) == 5
    assert (await again.read("t", 0, 0)).values == [b"a"]
    await again.close()


async def test_neighbours_are_written_when_the_disk_refuses_one_request(log: EmbeddedLog) -> None:
    await log.declare("t", 1)
    log._writing.execute(  # type: ignore[union-attr]
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.batch WHEN length(new.body) > 50000"
        " BEGIN SELECT raise(ABORT, 'disk full'); END"
    )
    results = await asyncio.gather(
        log.append("t", 0, [b"a"]),
        log.append("t", 0, [b"x" * 60_000]),
        log.append("t", 0, [b"b"]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, LogWriteFailed, int]
    assert (await log.read("t", 0, 0)).values == [b"a", b"b"]


async def test_partition_count_is_for_life_when_a_topic_exists(log: EmbeddedLog) -> None:
    await log.declare("t", 2, TopicPolicy(retention_seconds=5.0))
    await log.declare("t", 2)
    assert log.policy("t").retention_seconds == 5.0
    await log.declare("t", 2, TopicPolicy(compact=True))
    assert log.policy("t").compact
    with pytest.raises(PartitionMismatch, match="2 partitions, fixed when it was created, but 3"):
        await log.declare("t", 3)
    with pytest.raises(ValueError, match="at least one"):
        await log.declare("none", 0)
    with pytest.raises(UnknownTopic):
        await log.read("nowhere", 0, 0)
    assert log.topics() == ["t"]
    assert log.partitions("t") == 2
    assert log.partitions("nowhere") is None


async def test_description_has_sizes_and_groups_when_asked(log: EmbeddedLog) -> None:
    await log.declare("b", 1)
    await log.declare("a", 2)
    await log.append("a", 1, [b"x"] * 10)
    await log.commit_offsets("g", {("a", 1): 4})
    first, second = await log.describe()
    assert (first.name, second.name) == ("a", "b")
    part = first.partitions[1]
    assert (part.records, part.start, part.end, part.committed) == (10, 0, 10, {"g": 4})
    assert part.size_bytes > 10


async def test_listener_hears_of_appends_until_it_ends(log: EmbeddedLog) -> None:
    await log.declare("t", 2)
    heard: list[set[tuple[str, int]]] = []
    end = log.listen(heard.append)
    await log.append("t", 1, [b"a"])
    async with asyncio.timeout(120):
        while not heard:
            await asyncio.sleep(0.001)
    assert heard == [{("t", 1)}]
    end()
    await log.append("t", 1, [b"a"])
    await asyncio.sleep(0.02)
    assert len(heard) == 1


async def test_second_opening_is_refused_and_reading_is_not_when_a_log_is_open(log: EmbeddedLog) -> None:
    await log.declare("t", 1)
    await log.append("t", 0, [b"a"])
    with pytest.raises(LogLocked):
        EmbeddedLog.open(log.path)
    beside = EmbeddedLog.open(log.path, read_only=True)
    assert (await beside.read("t", 0, 0)).values == [b"a"]
    with pytest.raises(LogClosed):
        await beside.append("t", 0, [b"b"])
    await beside.close()


async def test_use_after_close_is_an_error_when_queued_work_was_written(path: Path) -> None:
    log = EmbeddedLog.open(path, upkeep_seconds=None)
    await log.declare("t", 1)
    pending = [log.submit([Batch("t", 0, [None], [b"a"], 1.0)]) for _ in range(50)]
    await log.close()
    await log.close()
    assert [await item for item in pending] == [[n] for n in range(50)]
    with pytest.raises(LogClosed):
        await log.append("t", 0, [b"b"])
    with pytest.raises(LogClosed):
        await log.read("t", 0, 0)
    assert not path.with_name("log.db-wal").exists()
    again = EmbeddedLog.open(path, upkeep_seconds=None)
    assert again.highwater("t", 0) == 50
    await again.close()


@pytest.mark.parametrize(("policy", "pragma"), [("commit", 2), ("os", 1)])
async def test_fsync_policy_is_what_is_stated_when_opened(path: Path, policy: str, pragma: int) -> None:
    """synchronous=FULL (2) fsyncs the WAL in every COMMIT; NORMAL (1) leaves it to the kernel."""
    log = EmbeddedLog.open(path, fsync=policy, upkeep_seconds=None)  # type: ignore[arg-type]
    assert log._writing is not None
    assert log._writing.execute("PRAGMA synchronous").fetchone()[0] == pragma
    assert log._writing.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    await log.close()


async def _killed(path: Path, policy: str, lines: int) -> int:
    """Run a child that appends, kill it -9, return the last offset that it was told."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(path), policy, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    last = -1
    for _ in range(lines):
        last = int(await child.stdout.readline())
    os.kill(child.pid, signal.SIGKILL)
    rest = (await child.communicate())[0].split()
    return int(rest[-1]) if rest else last


@pytest.mark.parametrize("policy", ["commit", "os"])
async def test_everything_acknowledged_is_there_when_the_process_was_killed(path: Path, policy: str) -> None:
    """Invariant 2."""
    for lines in (150, 40):
        told = await _killed(path, policy, lines)
        log = EmbeddedLog.open(path, upkeep_seconds=None)
        end = log.highwater("t", 0)
        assert told < end <= told + 5
        assert end % 2 == 0  # an append is all or nothing
        assert len(await log.read("t", 0, 0, 100_000)) == end
        await log.close()


async def test_torn_tail_is_cut_and_damage_before_it_is_refused_when_opened(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = await _killed(path, "commit", 60)
    wal = path.with_name("log.db-wal")
    whole = wal.read_bytes()
    assert len(commit_frames(path)) > 100
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    wal.write_bytes(damaged)
    for _ in range(2):  # refusing must not "repair" it
        with pytest.raises(LogCorrupt, match="acknowledged transactions are unreadable"):
            EmbeddedLog.open(path)
    assert wal.read_bytes() == bytes(damaged)
    copied = path.parent / "copy"
    copied.mkdir()
    for name in ("log.db", "log.db-wal", "log.db-shm"):
        shutil.copy(path.parent / name, copied / name)
    accepted = EmbeddedLog.open(copied / "log.db", fsync="os", upkeep_seconds=None)
    assert accepted.highwater("t", 0) < told
    assert "are not in the log" in caplog.text
    await accepted.close()
    wal.write_bytes(whole[:-100])
    log = EmbeddedLog.open(path, upkeep_seconds=None)
    assert told - 3 <= log.highwater("t", 0) <= told + 5
    await log.close()


async def _filled(path: Path) -> None:
    log = EmbeddedLog.open(path, upkeep_seconds=None)
    await log.declare("t", 1)
    for _ in range(20):
        await log.append("t", 0, [os.urandom(5000)])
    await log.close()


async def test_damaged_record_is_an_error_when_read(path: Path) -> None:
    await _filled(path)
    direct = sqlite3.connect(path)
    direct.execute("UPDATE batch SET body = zeroblob(length(body)) WHERE base = 7")
    direct.commit()
    direct.close()
    log = EmbeddedLog.open(path, upkeep_seconds=None)
    assert len(await log.read("t", 0, 0, 7)) == 7
    with pytest.raises(LogCorrupt, match="'t' partition 0 from offset 7"):
        await log.read("t", 0, 7)
    await log.close()


async def test_missing_records_are_refused_when_opened(path: Path) -> None:
    await _filled(path)
    direct = sqlite3.connect(path)
    direct.execute("DELETE FROM batch WHERE base >= 15")
    direct.commit()
    direct.close()
    with pytest.raises(LogCorrupt, match="ends at 15, but 20 was recorded"):
        EmbeddedLog.open(path)


@pytest.mark.parametrize("damage", ["cut", "junk", "zeros"])
async def test_damaged_file_is_refused_and_left_alone_when_opened(path: Path, damage: str) -> None:
    await _filled(path)
    data = path.read_bytes()
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "junk":
        data = b"this is no database" * 100
    else:
        data = data[:8192] + bytes(8192 * 2) + data[8192 * 3 :]
    path.write_bytes(data)
    with pytest.raises(LogCorrupt):
        EmbeddedLog.open(path)
    assert path.read_bytes() == data


async def test_other_databases_and_newer_formats_are_refused_when_opened(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    direct = sqlite3.connect(other)
    direct.execute("CREATE TABLE users (id INTEGER)")
    direct.commit()
    direct.close()
    with pytest.raises(LogCorrupt):
        EmbeddedLog.open(other)
    await _filled(path)
    shutil.copy(path, tmp_path / "newer.db")
    direct = sqlite3.connect(tmp_path / "newer.db")
    direct.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    direct.commit()
    direct.close()
    with pytest.raises(LogError, match="format 99"):
        EmbeddedLog.open(tmp_path / "newer.db")
    with pytest.raises(LogError, match="no such log"):
        EmbeddedLog.open(tmp_path / "absent.db", read_only=True)


def test_place_that_cannot_be_written_is_no_damage_when_opened(tmp_path: Path) -> None:
    (tmp_path / "log.db").mkdir()
    with pytest.raises(LogError) as caught:
        EmbeddedLog.open(tmp_path / "log.db")
    assert not isinstance(caught.value, LogCorrupt)


def test_log_serves_another_loop_when_the_first_is_closed(path: Path) -> None:
    log = EmbeddedLog.open(path, upkeep_seconds=None)

    async def first() -> Iterator[None]:
        await log.declare("t", 1)
        log.listen(lambda _: None)
        log.submit([Batch("t", 0, [None], [b"a"], 1.0)])  # nobody waits for it
        return iter(())

    asyncio.run(first())

    async def second() -> int:
        return await log.append("t", 0, [b"b"])

    assert asyncio.run(second()) == 1
    log.close_now()
