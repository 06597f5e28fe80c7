"""Table snapshots: a saving that never changes what a table holds (DESIGN invariant 3), on any transport."""

import asyncio
import os
import random
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streams.log import (
    EmbeddedLog,
    Outgoing,
    RecoveryStalled,
    Snapshots,
    declare_table,
    sliced_topic,
)
from streams.log import changelog as changelog_module
from streams.log.snapshot_file import Footer, SnapshotWriter, found, read_header, read_rows, schema_of
from tables.definitions import TABLES


class Event(msgspec.Struct, frozen=True):
    who: str
    n: int


class Count(msgspec.Struct, frozen=True):
    n: int = 0
    offset: int = -1


class Wider(msgspec.Struct, frozen=True):
    """What ``Count`` may become."""

    n: int = 0
    offset: int = -1
    more: str = ""


def made(who: str, n: int) -> Outgoing:
    return Outgoing("events", who, msgspec.json.encode(Event(who, n)))


async def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class Counting:
    """Counts events per key, guarded by offset; n < 0 deletes the key."""

    def __init__(self, snapshots: Snapshots | None, row: type[Any] = Count) -> None:
        self.snapshots = snapshots
        self.row = row
        self.seen = 0
        self.table: Any = None

    def __call__(self, app: Any, writer: Any) -> None:
        if self.snapshots is not None:
            self.snapshots.attach(app)
        topic = sliced_topic(app, "events", Event, partitions=4)
        table = self.table = declare_table(app, "counts", self.row, partitions=4)

        @app.agent(topic, name="count")
        async def count(stream: Any) -> None:
            async for batch in stream:
                changed: dict[str, Any] = {}
                for record, offset in zip(batch.records, batch.offsets, strict=True):
                    known = changed[record.who] if record.who in changed else table.lookup(record.who)
                    state = known or self.row()
                    if record.n < 0:
                        changed[record.who] = None
                    elif offset > state.offset:
                        changed[record.who] = self.row(state.n + 1, offset)
                await writer.commit(writes=[(table, batch.partition, changed)])
                self.seen += len(batch)

    def rows(self) -> dict[str, Any]:
        return dict(self.table.scan())


def keeper(harness: Any, **options: Any) -> Snapshots:
    return Snapshots(harness.folder / "snapshots", min_records=1, **options)


async def filled(harness: Any, **options: Any) -> dict[str, Any]:
    """Run a worker that leaves a snapshot and a tail behind; return its rows."""
    first, snapshots = Counting(keeper(harness, **options)), None
    async with harness.node(first) as node:
        snapshots = first.snapshots
        assert snapshots is not None
        await node.writer.publish([made(f"u{n % 300}", n) for n in range(1200)])
        await until(lambda: first.seen == 1200)
        assert await snapshots.write(node.app) == 4
        await node.writer.publish([made(f"u{n}", -1) for n in range(20)])
        await until(lambda: first.seen == 1220)  # so that rows before the newest repeat keys
        await node.writer.publish([made(f"u{n}", n) for n in range(10, 40)])
        await until(lambda: first.seen == 1250)
        return first.rows()


def files(harness: Any) -> list[Path]:
    return sorted((harness.folder / "snapshots").glob("*/*/*"))


async def test_only_the_tail_is_read_when_there_is_a_snapshot(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys deleted, changed and made after the snapshot are as the changelog says."""
    rows = await filled(harness)
    assert len(rows) == 290
    assert len(files(harness)) == 4
    read: list[int] = []
    apply = changelog_module._decode

    def noted(table: Any, chunk: Any) -> Any:
        read.append(len(chunk))
        return apply(table, chunk)

    monkeypatch.setattr(changelog_module, "_decode", noted)
    second = Counting(keeper(harness))
    async with harness.node(second) as node:
        assert second.rows() == rows
        assert 0 < sum(read) <= 60
        await node.writer.publish([made("u0", 1)])
        await until(lambda: second.seen == 1)
        assert second.table.lookup("u0").n == 1
    shutil.rmtree(harness.folder / "snapshots")
    third = Counting(keeper(harness))
    async with harness.node(third):
        assert {**third.rows(), "u0": None} == {**rows, "u0": None}


async def test_nothing_is_written_when_little_has_changed_and_again_when_it_is_old(harness: Any) -> None:
    now = [time.time()]
    snapshots = keeper(harness, clock=lambda: now[0])
    counting = Counting(snapshots)
    async with harness.node(counting) as node:
        await node.writer.publish([made(f"u{n}", n) for n in range(200)])
        await until(lambda: counting.seen == 200)
        assert await snapshots.write(node.app) == 4
        assert await snapshots.write(node.app) == 0
        now[0] += 4 * 3600
        assert await snapshots.write(node.app) == 4
        assert await snapshots.write(node.app, deadline_seconds=0) == 0


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 30)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _rewritten(**changes: Any) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        header = msgspec.structs.replace(read_header(path), **changes)
        rows = read_rows(path, Count, 1 << 60)
        path.unlink()
        writer = SnapshotWriter(path.parent, header)
        writer.add(list(rows), [Count(10_000)] * len(rows))
        writer.finish(header.offset)

    return rewrite


DAMAGE = {
    "flipped": _flip,
    "cut off": _cut,
    "empty": _empty,
    "too new": _rewritten(format=2),
    "foreign": _rewritten(log="another"),
    "older schema": _rewritten(schema="0" * 16),
    "of other partitions": _rewritten(partitions=5),
    "ahead of the log": _rewritten(offset=1 << 40),
    "old": _rewritten(taken_at=time.time() - 13 * 3600),
}

HANGS_ON_THE_LOG = {"foreign", "ahead of the log"}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_snapshot_is_ignored_with_a_log_line_when_it_is(
    harness: Any, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    if damage not in HANGS_ON_THE_LOG and not harness.embedded:
        pytest.skip("a file is damaged alike on every log")
    rows = await filled(harness)
    for path in files(harness):
        DAMAGE[damage](path)
    second = Counting(keeper(harness))
    async with harness.node(second):
        assert second.rows() == rows
    assert caplog.text.count(" ignored: ") == 4
    assert not files(harness), "it could be believed later, when the log has grown"


async def test_older_snapshot_is_loaded_when_the_newest_is_damaged(harness: Any) -> None:
    snapshots = keeper(harness)
    first, second = Counting(snapshots), Counting(keeper(harness))
    async with harness.node(first) as node:
        for turn in range(3):
            await node.writer.publish([made(f"u{n}", n) for n in range(200)])
            await until(lambda turn=turn: first.seen == 200 * (turn + 1))  # type: ignore[misc]
            assert await snapshots.write(node.app) == 4
        rows = first.rows()
    assert len(files(harness)) == 8, "the newest two of each partition"
    for number in range(4):
        _flip(found(harness.folder / "snapshots" / "contract-counts-changelog" / str(number))[0])
    async with harness.node(second):
        assert second.rows() == rows
    assert len(files(harness)) == 4


async def test_table_is_read_whole_when_its_row_type_has_changed(harness: Any) -> None:
    rows = await filled(harness)
    wider = Counting(keeper(harness), Wider)
    async with harness.node(wider):
        assert wider.rows() == {key: Wider(row.n, row.offset) for key, row in rows.items()}


async def test_rows_are_exact_when_they_change_while_they_are_copied(harness: Any) -> None:
    """A snapshot is fuzzy: newer rows and deleted ones settle when the tail is read."""
    snapshots = keeper(harness)
    first, second = Counting(snapshots), Counting(keeper(harness))
    async with harness.node(first) as node:
        sent = 0
        for turn in range(12):
            dice = random.Random(turn)
            events = [made(f"u{dice.randrange(900)}", dice.choice([1, 1, 1, -1])) for _ in range(500)]
            sent += len(events)
            writing = asyncio.create_task(snapshots.write(node.app))
            await node.writer.publish(events)
            await writing
        await until(lambda: first.seen == sent)
        rows = first.rows()
    async with harness.node(second):
        assert second.rows() == rows


async def test_rows_are_equal_when_the_changelog_was_compacted_after_the_snapshot(harness: Any) -> None:
    if not harness.embedded:
        pytest.skip("a broker compacts in its own time")
    rows = await filled(harness)
    log = EmbeddedLog.open(harness.folder / "log.db", upkeep_seconds=None)
    assert await log.upkeep.run_once(force=True) > 0
    await log.close()
    second = Counting(keeper(harness))
    async with harness.node(second):
        assert second.rows() == rows


@pytest.mark.parametrize("later", [False, True])
async def test_unreadable_changelog_record_ends_the_start_unless_a_newer_one_replaces_it(
    harness: Any, later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 7: Faust leaves it out without a word, and the key starts from nothing."""
    first, second = Counting(None), Counting(None)
    async with harness.node(first) as node:
        await node.writer.publish([made(f"u{n}", n) for n in range(50)])
        await until(lambda: first.seen == 50)
        place = first.table.data._key_partition["u7"]
        changelog = "contract-counts-changelog"
        await node.writer.publish([Outgoing(changelog, "u7", b"{not json", place)])
        if later:
            await node.writer.publish([Outgoing(changelog, "u7", b'{"n":9}', place)])
        await node.writer.publish([Outgoing(changelog, "other", b'{"n":1}', place)])
    if later:
        async with harness.node(second):
            assert second.table.lookup("u7").n == 9
    else:
        with pytest.raises(RecoveryStalled, match=r"counts\[\d\]: key 'u7'"):
            async with asyncio.timeout(120), harness.node(second):
                pytest.fail("it started")
    assert "cannot be read" in caplog.text


KILLED = """
    import asyncio, sys
    sys.path[:0] = [{here!r}, {root!r}]
    import test_transport_snapshots as tests
    from conftest import EmbeddedHarness
    from pathlib import Path

    async def main():
        harness = EmbeddedHarness(Path({folder!r}))
        counting = tests.Counting(tests.keeper(harness))
        async with harness.node(counting) as node:
            async def write():
                while True:
                    await counting.snapshots.write(node.app)
                    await asyncio.sleep(0)
            writing = asyncio.create_task(write())
            for n in range({start}, {start} + 10_000_000, 50):
                await node.writer.publish([tests.made(f"u{{m % 977}}", m) for m in range(n, n + 50)])
                print(n, flush=True)
    asyncio.run(main())
"""


async def test_tables_are_exact_when_the_worker_is_killed_while_it_writes_snapshots(tmp_path: Path) -> None:
    """kill -9: what it leaves is whole or is not read, and leftovers go."""
    from tests.contract.conftest import EmbeddedHarness

    here = Path(__file__).parent
    dice = random.Random(5)
    for round_ in range(3):
        code = textwrap.dedent(KILLED).format(
            here=str(here), root=str(here.parent.parent), folder=str(tmp_path), start=round_ * 10_000_000
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        async with asyncio.timeout(120):
            for _ in range(60):
                assert await child.stdout.readline(), (await child.communicate())[1].decode()[-2000:]
        await asyncio.sleep(dice.random() / 5)
        os.kill(child.pid, signal.SIGKILL)
        await child.communicate()
    harness = EmbeddedHarness(tmp_path)
    assert files(harness)
    last = Counting(keeper(harness))
    total = sum(await harness.ends("events"))
    async with harness.node(last):
        await until(lambda: sum(row.n for row in last.rows().values()) >= total)
    truth: dict[str, int] = {}
    for number in range(4):
        for record in await harness.records("events", number):
            assert record.key is not None
            truth[record.key.decode()] = truth.get(record.key.decode(), 0) + 1
    assert {key: row.n for key, row in last.rows().items()} == truth
    assert not [path for path in files(harness) if path.suffix != ".snapshot"]


def test_every_table_can_be_kept_in_a_snapshot(tmp_path: Path) -> None:
    """Row types have a digest and come back equal."""
    types = {table.value for table in TABLES}
    assert len({schema_of(kind) for kind in types}) == len(types)
    assert schema_of(Count) != schema_of(Wider)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(Footer(1, 2)), type=Footer) == Footer(1, 2)
