"""Tables, changelogs, crashes and stops, on any transport (DESIGN section 5 and 6)."""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest
from faust.types import TP

from streams.log import (
    EmbeddedLog,
    LogError,
    Outgoing,
    RecoveryStalled,
    declare_table,
    sliced_topic,
    wait_for_crash,
)
from streams.log import recovery as recovery_module

STORES = ["memory://", "rocksdb://"]


class Event(msgspec.Struct, frozen=True):
    who: str
    n: int


class Count(msgspec.Struct, frozen=True):
    n: int = 0
    offset: int = -1


def made(topic: str, who: str, n: int) -> Outgoing:
    return Outgoing(topic, who, msgspec.json.encode(Event(who, n)))


async def until(condition: Any, seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class Counting:
    """Counts events per key, guarded by offset; n < 0 deletes the key. Emits one output per change."""

    def __init__(self, *, everywhere: bool = False, recovered: list[str] | None = None) -> None:
        self.seen = 0
        self.everywhere = everywhere
        self.recovered = recovered if recovered is not None else []
        self.table: Any = None

    def __call__(self, app: Any, writer: Any) -> None:
        topic = sliced_topic(app, "events", Event, partitions=4)
        out = app.topic("changes", partitions=4)

        async def on_recover() -> None:
            self.recovered.append("counts")

        table = declare_table(app, "counts", Count, partitions=4, global_=self.everywhere)
        table.on_recover(on_recover)
        self.table = table

        @app.agent(topic, name="count")
        async def count(stream: Any) -> None:
            await out.declare()
            async for batch in stream:
                changed: dict[str, Count | None] = {}
                for record, offset in zip(batch.records, batch.offsets, strict=True):
                    state = changed.get(record.who) or table.lookup(record.who) or Count()
                    if record.n < 0:
                        changed[record.who] = None
                    elif offset > state.offset:
                        changed[record.who] = Count(state.n + 1, offset)
                outputs = [Outgoing("changes", key, b"{}") for key in changed]
                await writer.commit(outputs=outputs, writes=[(table, batch.partition, changed)])
                self.seen += len(batch)

    def rows(self) -> dict[str, Count]:
        return dict(self.table.scan())


@pytest.mark.parametrize("store", STORES)
async def test_table_is_equal_when_restarted_and_when_its_store_is_dropped(harness: Any, store: str) -> None:
    """Invariant 3."""
    first, second, third = Counting(), Counting(), Counting()
    async with harness.node(first, store) as node:
        await node.writer.publish([made("events", f"u{n % 40}", n) for n in range(400)])
        await until(lambda: first.seen == 400)
        await node.writer.publish([made("events", f"u{n}", -1) for n in range(10)])
        await until(lambda: first.seen == 410)
        rows = first.rows()
        assert first.table.lookup("u20").n == 10
        assert first.table.lookup("u3") is None
        assert first.table.count() == 30
    assert len(rows) == 30
    async with harness.node(second, store):
        assert second.rows() == rows
        assert second.recovered == ["counts"]
    shutil.rmtree(harness.stores(), ignore_errors=True)
    async with harness.node(third, store) as node:
        assert third.rows() == rows
        await node.writer.publish([made("events", "u3", 1)])
        await until(lambda: third.seen == 1)
        assert third.table.lookup("u3").n == 1


async def test_every_key_is_there_when_a_table_is_global(harness: Any) -> None:
    first, second = Counting(everywhere=True), Counting(everywhere=True)
    async with harness.node(first, "rocksdb://") as node:
        await node.writer.publish([made("events", f"u{n}", n) for n in range(100)])
        await until(lambda: first.seen == 100)
        assert first.table.count() == 100
    async with harness.node(second, "rocksdb://"):
        assert second.table.count() == 100
        assert second.table.lookup("u7") is not None


async def test_plain_faust_tables_recover_when_written_event_by_event(harness: Any) -> None:
    """Faust's own Table, GlobalTable and JSON stay usable."""
    tables: list[Any] = []

    def declare(app: Any, writer: Any) -> None:
        topic = app.topic("plain", partitions=4, value_serializer="json")
        table = app.Table("plain", default=int, partitions=4, key_type=str, value_type=int)
        tables.append(table)

        @app.agent(topic, name="plain")
        async def count(stream: Any) -> None:
            async for event in stream:
                table[event["who"]] += 1

    async with harness.node(declare) as node:
        await node.writer.publish([made("plain", f"u{n % 5}", n) for n in range(100)])
        await until(lambda: sum(tables[0].values()) == 100)
    assert await harness.committed("plain") == await harness.ends("plain")
    async with harness.node(declare):
        assert dict(tables[1].items()) == {f"u{n}": 20 for n in range(5)}


async def test_nothing_changes_when_one_part_of_a_commit_is_refused(harness: Any) -> None:
    """Outputs and changelog are all or nothing."""
    counting = Counting()
    async with harness.node(counting) as node:
        await node.writer.publish([made("events", "u", 1)])
        await until(lambda: counting.seen == 1)
        rows, before = counting.rows(), await harness.ends("changes")
        with pytest.raises(LogError):
            await node.writer.commit(
                outputs=[Outgoing("changes", "k", b"x"), Outgoing("nowhere", "k", b"x")],
                writes=[(counting.table, 0, {"u": None})],
            )
        assert counting.rows() == rows
    assert await harness.ends("changes") == before


async def test_position_waits_for_the_changelog_when_the_log_is_slow(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 3: Faust commits the source while changelog records are still buffered."""
    gate = asyncio.Event()
    tables: list[Any] = []

    def declare(app: Any, writer: Any) -> None:
        topic = app.topic("plain", partitions=1, value_serializer="json")
        table = app.Table("plain", default=int, partitions=1, key_type=str, value_type=int)
        tables.append(table)

        @app.agent(topic, name="plain")
        async def count(stream: Any) -> None:
            async for event in stream:
                table[event["who"]] += 1

    async with harness.node(declare) as node:
        send = node.app.producer.send

        async def slow(*args: Any, **kwargs: Any) -> Any:
            await gate.wait()
            return await send(*args, **kwargs)

        monkeypatch.setattr(node.app.producer, "send", slow)
        await node.writer.publish([made("plain", "u", n) for n in range(20)])
        await until(lambda: tables[0].get("u") == 20)
        await asyncio.sleep(0.4)
        assert await harness.committed("plain") == [0]
        gate.set()
        await until(lambda: node.app.producer.buffer.undelivered == 0)
    assert await harness.committed("plain") == [20]
    assert len(await harness.records("contract-plain-changelog", 0)) == 20


async def test_worker_crashes_and_commits_nothing_when_a_changelog_record_is_lost(
    harness: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 4: Faust logs a warning and goes on."""
    caplog.set_level(logging.CRITICAL)

    def declare(app: Any, writer: Any) -> None:
        topic = app.topic("plain", partitions=1, value_serializer="json")
        table = app.Table("plain", default=int, partitions=1, key_type=str, value_type=int)

        @app.agent(topic, name="plain")
        async def count(stream: Any) -> None:
            async for event in stream:
                table[event["who"]] += 1

    async with harness.node(declare) as node:

        async def broken(*args: Any, **kwargs: Any) -> Any:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(OSError("no space left"))
            return future

        monkeypatch.setattr(node.app.producer, "send", broken)
        await node.writer.publish([made("plain", "u", n) for n in range(3)])
        async with asyncio.timeout(120):
            failure = await wait_for_crash(node.app)
        assert "no space left" in str(failure)
        assert node.app.crashed
        await asyncio.sleep(0.2)
    assert await harness.committed("plain") == [0]


async def test_stop_ends_at_its_deadline_when_an_agent_is_stuck(harness: Any) -> None:
    """Row 11: Faust waits for ever. What was stuck comes again."""
    stuck = asyncio.Event()
    got: list[int] = []
    hang = True

    def declare(app: Any, writer: Any) -> None:
        topic = sliced_topic(app, "events", Event, partitions=1)

        @app.agent(topic, name="keep")
        async def keep(stream: Any) -> None:
            async for batch in stream:
                while hang:
                    stuck.set()
                    try:
                        await asyncio.sleep(3600)
                    except asyncio.CancelledError:
                        await asyncio.sleep(0.01)
                        raise
                got.extend(record.n for record in batch.records)

    async with harness.node(declare) as node:
        await node.writer.publish([made("events", "u", n) for n in range(3)])
        await stuck.wait()
        async with asyncio.timeout(120):
            await node.stop(1.0)
    assert await harness.committed("events") == [0]
    hang = False
    async with harness.node(declare):
        await until(lambda: got == [0, 1, 2])


async def test_stop_gives_up_at_its_deadline_when_an_agent_ignores_cancellation(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    started, release = asyncio.Event(), asyncio.Event()

    def declare(app: Any, writer: Any) -> None:
        topic = sliced_topic(app, "events", Event, partitions=1)

        @app.agent(topic, name="keep")
        async def keep(stream: Any) -> None:
            async for _ in stream:
                while not release.is_set():
                    started.set()
                    with contextlib.suppress(asyncio.CancelledError):
                        await release.wait()

    async with harness.node(declare) as node:
        await node.writer.publish([made("events", "u", n) for n in range(3)])
        await started.wait()
        async with asyncio.timeout(120):
            assert await node.stop(1.0) is False
        release.set()
        await asyncio.sleep(0.2)  # it finishes now, too late to count
    assert await harness.committed("events") == [0]


async def test_recovery_ends_in_a_clear_error_when_its_last_record_is_unreadable(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 7: Faust's start never returns."""
    caplog.set_level(logging.CRITICAL)
    first = Counting()
    async with harness.node(first) as node:
        await node.writer.publish([made("events", f"u{n}", n) for n in range(20)])
        await until(lambda: first.seen == 20)
        await node.writer.publish([Outgoing("contract-counts-changelog", "u", b"{not json", 1)])

    class Impatient(Counting):
        def __call__(self, app: Any, writer: Any) -> None:
            app.recovery_stall_seconds = 0.3
            super().__call__(app, writer)

    with pytest.raises(RecoveryStalled, match="counts"):
        async with asyncio.timeout(120), harness.node(Impatient()):
            pytest.fail("it started")


async def test_store_is_rebuilt_when_it_is_ahead_of_the_log_or_of_another_log(harness: Any) -> None:
    """Row 8: Faust refuses to boot."""
    first, second = Counting(), Counting()
    async with harness.node(first, "rocksdb://") as node:
        await node.writer.publish([made("events", f"u{n}", n) for n in range(50)])
        await until(lambda: first.seen == 50)
    await harness.lose()
    async with harness.node(second, "rocksdb://") as node:
        assert second.rows() == {}
        await node.writer.publish([made("events", "u1", 1)])
        await until(lambda: second.seen == 1)
        assert {key: row.n for key, row in second.rows().items()} == {"u1": 1}


async def test_store_is_rebuilt_when_its_offset_is_beyond_the_changelog(harness: Any) -> None:
    """Row 8: a store that kept more than the log did after a power cut."""
    first, second = Counting(), Counting()
    async with harness.node(first, "rocksdb://") as node:
        await node.writer.publish([made("events", f"u{n}", n) for n in range(50)])
        await until(lambda: first.seen == 50)
        rows = first.rows()
        first.table.data.set_persisted_offset(TP("contract-counts-changelog", 1), 10_000)
    async with harness.node(second, "rocksdb://"):
        assert second.rows() == rows


async def test_tables_show_what_is_durable_when_the_caller_was_cancelled(harness: Any) -> None:
    counting = Counting()
    async with harness.node(counting) as node:
        writing = asyncio.create_task(node.writer.commit(writes=[(counting.table, 0, {"k": Count(5, 5)})]))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await until(lambda: counting.table.lookup("k") == Count(5, 5))
    assert len(await harness.records("contract-counts-changelog", 0)) == 1


WORKER = """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    sys.path.insert(0, {root!r})
    import importlib.util
    def load(name):
        spec = importlib.util.spec_from_file_location(name, Path({here!r}) / (name + ".py"))
        module = importlib.util.module_from_spec(spec); sys.modules[name] = module
        spec.loader.exec_module(module); return module
    conftest, tables = load("conftest"), load("test_transport_tables")
    async def main():
        counting = tables.Counting()
        async with conftest.{harness}(Path({folder!r})).node(counting, {store!r}) as node:
            start = int({start!r})
            for n in range(start, start + 100_000, 50):
                events = [tables.made("events", f"u{{m % 97}}", m) for m in range(n, n + 50)]
                await node.writer.publish(events)
                print(n + 50, flush=True)
    asyncio.run(main())
"""


async def worker(harness: Any, folder: Path, store: str, start: int) -> asyncio.subprocess.Process:
    """Start a process that publishes numbers from ``start`` on, and counts what its partitions hold."""
    here = Path(__file__).parent
    folder.mkdir(exist_ok=True)
    code = textwrap.dedent(WORKER).format(
        here=str(here),
        harness=type(harness).__name__,
        root=str(here.parent.parent),
        folder=str(folder),
        store=store,
        start=str(start),
    )
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def published(child: asyncio.subprocess.Process, number: int) -> None:
    """Wait until a worker has published up to ``number``."""
    assert child.stdout is not None
    async with asyncio.timeout(120):
        while True:
            line = await child.stdout.readline()
            assert line, (await child.communicate())[1].decode()[-2000:]
            if line.strip().isdigit() and int(line) >= number:  # what is logged goes there, too
                return


async def truth_of(harness: Any) -> dict[str, int]:
    """Count every key as the log has it."""
    truth: dict[str, int] = {}
    for partition in range(4):
        for record in await harness.records("events", partition):
            truth[record.key.decode()] = truth.get(record.key.decode(), 0) + 1
    return truth


@pytest.mark.slow
async def test_counts_are_exact_when_one_of_two_workers_is_killed(harness: Any, tmp_path: Path) -> None:
    """Two workers share the partitions; the one that is left takes over the other's, with their counts."""
    if harness.embedded:
        pytest.skip("the embedded log is one process's")
    first = await worker(harness, tmp_path / "a", "memory://", 0)
    await published(first, 500)
    second = await worker(harness, tmp_path / "b", "memory://", 1_000_000)
    await published(second, 1_000_500)
    first.kill()
    await first.communicate()
    await published(second, 1_002_500)
    second.kill()
    await second.communicate()
    last, total = Counting(), sum(await harness.ends("events"))
    async with harness.node(last):
        await until(lambda: sum(row.n for row in last.rows().values()) >= total)
        await asyncio.sleep(0.2)  # an event counted twice would show up now
        rows = {key: row.n for key, row in last.rows().items()}
    assert rows == await truth_of(harness)


@pytest.mark.parametrize("store", ["rocksdb://", pytest.param("memory://", marks=pytest.mark.slow)])
async def test_counts_are_exact_when_the_worker_is_killed_again_and_again(
    harness: Any, store: str, tmp_path: Path
) -> None:
    """Invariants 1 and 2: kill -9 under load; nothing acknowledged is lost, nothing counted twice."""
    here = Path(__file__).parent
    acknowledged = 0
    for round_ in range(3):
        code = textwrap.dedent(WORKER).format(
            here=str(here),
            harness=type(harness).__name__,
            root=str(here.parent.parent),
            folder=str(tmp_path),
            store=store,
            start=str(round_ * 1_000_000),
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        mine = 0
        async with asyncio.timeout(120):
            while mine < 2000 + 700 * round_:
                line = await child.stdout.readline()
                assert line, (await child.communicate())[1].decode()[-2000:]
                if line.strip().isdigit():  # what is logged goes there, too
                    mine = int(line) - round_ * 1_000_000
        os.kill(child.pid, signal.SIGKILL)
        rest = [line for line in (await child.communicate())[0].split(b"\n") if line.strip().isdigit()]
        acknowledged += (int(rest[-1]) - round_ * 1_000_000) if rest else mine
    last = Counting()
    total = sum(await harness.ends("events"))
    async with harness.node(last, store):
        await until(lambda: sum(row.n for row in last.rows().values()) >= total)
        await asyncio.sleep(0.2)  # an event counted twice would show up now
        rows = {key: row.n for key, row in last.rows().items()}
    truth: dict[str, int] = {}
    for partition in range(4):
        for record in await harness.records("events", partition):
            truth[record.key.decode()] = truth.get(record.key.decode(), 0) + 1
    assert total >= acknowledged
    assert rows == truth


async def test_changelog_shrinks_and_the_table_stays_equal_when_compacted(harness: Any) -> None:
    if not harness.embedded:
        pytest.skip("a broker compacts in its own time")
    first, second = Counting(), Counting()
    async with harness.node(first) as node:
        for n in range(300):
            await node.writer.publish([made("events", f"u{n % 10}", n)])
            if n % 30 == 29:  # what waits goes together into a row, so see to more than one of each key
                await until(lambda n=n: first.seen == n + 1)
        rows = first.rows()
    log = EmbeddedLog.open(Path(harness.folder) / "log.db", upkeep_seconds=None)
    assert await log.upkeep.run_once(force=True) >= 80
    await log.close()
    async with harness.node(second):
        assert second.rows() == rows


def test_default_patience_is_a_minute() -> None:
    assert recovery_module.STALL_SECONDS == 60.0
