"""Delivery and positions, on any transport (DESIGN section 6)."""

import asyncio
import logging
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from streams.log import (
    Outgoing,
    PartitionMismatch,
    Poison,
    received,
    record_topic,
    sliced_topic,
    wait_for_crash,
    work_on,
)


class Event(msgspec.Struct, frozen=True):
    who: str
    n: int


def made(topic: str, who: str, n: int, **options: Any) -> Outgoing:
    return Outgoing(topic, who, msgspec.json.encode(Event(who, n)), **options)


async def until(condition: Any, seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


class Slices:
    """An agent on a sliced topic that keeps what it got."""

    def __init__(self, partitions: int = 4) -> None:
        self.batches: list[Any] = []
        self.partitions = partitions

    def __call__(self, app: Any, writer: Any) -> None:
        topic = sliced_topic(app, "events", Event, partitions=self.partitions)

        @app.agent(topic, name="keep")
        async def keep(stream: Any) -> None:
            async for batch in stream:
                self.batches.append(batch)

    def count(self) -> int:
        return sum(len(batch) + len(batch.poison) for batch in self.batches)


async def test_records_arrive_in_order_per_partition_when_many_are_published(harness: Any) -> None:
    keep = Slices()
    async with harness.node(keep) as node:
        for start in range(0, 2000, 100):
            await node.writer.publish(
                [
                    made("events", f"u{n % 37}", n, headers=(("h", b"%d" % n),))
                    for n in range(start, start + 100)
                ]
            )
        await until(lambda: keep.count() == 2000)
    order: dict[str, list[int]] = defaultdict(list)
    offsets: dict[int, list[int]] = defaultdict(list)
    for batch in keep.batches:
        assert len(batch.records) == len(batch.keys) == len(batch.offsets) == len(batch.timestamps)
        offsets[batch.partition] += batch.offsets
        for record, key, header in zip(batch.records, batch.keys, batch.headers, strict=True):
            assert record.who == key
            assert header == (("h", b"%d" % record.n),)
            order[key].append(record.n)
    assert all(numbers == sorted(numbers) for numbers in order.values())
    assert all(found == list(range(len(found))) for found in offsets.values())
    assert sum(map(len, order.values())) == 2000
    # slices: far fewer events than records
    assert len(keep.batches) < 200


async def test_offsets_survive_a_restart_when_slices_were_acknowledged(harness: Any) -> None:
    first, second = Slices(), Slices()
    async with harness.node(first) as node:
        await node.writer.publish([made("events", f"u{n}", n) for n in range(300)])
        await until(lambda: first.count() == 300)
    assert await harness.committed("events") == await harness.ends("events")
    async with harness.node(second) as node:
        await node.writer.publish([made("events", f"u{n}", n) for n in range(300, 310)])
        await until(lambda: second.count() == 10)
        await asyncio.sleep(0.1)
    assert sorted(r.n for b in second.batches for r in b.records) == list(range(300, 310))


async def test_poison_is_handed_over_when_a_record_cannot_be_decoded(harness: Any) -> None:
    """Invariant 5: bad input stops nobody."""
    keep = Slices()
    async with harness.node(keep) as node:
        good = made("events", "u", 1, partition=0)
        bad = [
            Outgoing("events", "k", b"{nope", 0),
            Outgoing("events", "k", b'{"who":"u","n":"1"}', 0),  # strict: a string is no number
            Outgoing("events", "k", b'{"who":"u"}', 0),
            Outgoing("events", b"\xff\xfe", good.value, 0),
            Outgoing("events", "k", b"", 0),
            Outgoing("events", "k", b"[" * 100_000, 0),
        ]
        await node.writer.publish([good, *bad, good])
        await until(lambda: keep.count() == 8)
    records = [r for b in keep.batches for r in b.records]
    poison = [p for b in keep.batches for p in b.poison]
    assert [r.n for r in records] == [1, 1]
    assert [p.offset for p in poison] == [1, 2, 3, 4, 5, 6]
    assert all(p.error for p in poison)
    assert poison[0].value == b"{nope"
    assert await harness.committed("events") == await harness.ends("events")


async def test_both_agents_get_everything_when_they_share_a_topic(harness: Any) -> None:
    got: dict[str, int] = defaultdict(int)

    def declare(app: Any, writer: Any) -> None:
        topic = sliced_topic(app, "events", Event, partitions=4)
        for name in ("one", "two"):

            async def agent(stream: Any, name: str = name) -> None:
                async for batch in stream:
                    got[name] += len(batch)

            app.agent(topic, name=name)(agent)

    async with harness.node(declare) as node:
        await node.writer.publish([made("events", f"u{n}", n) for n in range(500)])
        await until(lambda: got == {"one": 500, "two": 500})
    assert await harness.committed("events") == await harness.ends("events")


async def test_one_slow_agent_blocks_no_other_when_its_buffer_is_full(harness: Any) -> None:
    gate = asyncio.Event()
    quick: list[int] = []
    slowly: list[int] = []

    def declare(app: Any, writer: Any) -> None:
        slow_topic = sliced_topic(app, "slow", Event, partitions=1)
        quick_topic = sliced_topic(app, "quick", Event, partitions=1)

        @app.agent(slow_topic, name="slow")
        async def slow(stream: Any) -> None:
            async for batch in stream:
                await gate.wait()
                slowly.extend(record.n for record in batch.records)

        @app.agent(quick_topic, name="quick")
        async def fast(stream: Any) -> None:
            async for batch in stream:
                quick.extend(record.n for record in batch.records)

    async with harness.node(declare) as node:
        for n in range(40):  # many more slices than the buffer holds
            await node.writer.publish([made("slow", "u", n)])
            await asyncio.sleep(0.005)
        await node.writer.publish([made("quick", "u", 7)])
        await until(lambda: quick == [7])
        gate.set()
        await until(lambda: slowly == list(range(40)))
    assert await harness.committed("slow") == [40]


async def test_position_stays_before_unfinished_work_when_later_events_are_done(harness: Any) -> None:
    """research/faust.md section 3 row 2: Faust commits past it."""
    gate, done, seen = asyncio.Event(), [], []

    def declare(app: Any, writer: Any) -> None:
        topic = record_topic(app, "jobs", Event, partitions=1)

        @app.agent(topic, name="work")
        async def work(stream: Any) -> None:
            async def handle(item: Any) -> None:
                seen.append(item.value.n)
                if item.value.n == 3:
                    await gate.wait()
                done.append(item.value.n)

            await work_on(stream, handle, in_flight=3)

    async with harness.node(declare) as node:
        await node.writer.publish([made("jobs", "u", n) for n in range(10)])
        await until(lambda: len(done) == 9)
        await asyncio.sleep(0.3)
        assert await harness.committed("jobs") == [3]
        assert await node.stop(2.0)
    assert await harness.committed("jobs") == [3]
    # redelivered from the first unfinished one on, though later ones were done
    gate.set()
    done.clear()
    async with harness.node(declare):
        await until(lambda: len(done) == 7)
    assert sorted(done) == [3, 4, 5, 6, 7, 8, 9]
    assert await harness.committed("jobs") == [10]


async def test_event_comes_again_when_its_handler_raised(harness: Any) -> None:
    """Row 1: Faust acknowledges it."""
    fail = True
    done: list[int] = []

    def declare(app: Any, writer: Any) -> None:
        topic = record_topic(app, "jobs", Event, partitions=1)

        @app.agent(topic, name="work")
        async def work(stream: Any) -> None:
            async def handle(item: Any) -> None:
                if fail and item.value.n == 1:
                    raise RuntimeError("the disk is full")
                done.append(item.value.n)

            await work_on(stream, handle, in_flight=1)

    async with harness.node(declare) as node:
        await node.writer.publish([made("jobs", "u", n) for n in range(3)])
        await until(lambda: done == [0, 2])
    assert await harness.committed("jobs") == [1]
    fail = False
    async with harness.node(declare):
        await until(lambda: done == [0, 2, 1, 2])


async def test_worker_ends_and_the_slice_comes_again_when_its_agent_raised(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 1, and no later slice may be handled before it: applied offsets would skip it for ever."""
    caplog.set_level(logging.CRITICAL)
    fail = True
    got: list[int] = []

    def declare(app: Any, writer: Any) -> None:
        topic = sliced_topic(app, "events", Event, partitions=1)

        @app.agent(topic, name="keep")
        async def keep(stream: Any) -> None:
            async for batch in stream:
                if fail and batch.first_offset == 0:
                    await asyncio.sleep(0.2)
                    raise RuntimeError("a bug")
                got.extend(record.n for record in batch.records)

    async with harness.node(declare) as node:
        await node.writer.publish([made("events", "u", n) for n in range(5)])
        await asyncio.sleep(0.1)
        for n in range(5, 10):
            await node.writer.publish([made("events", "u", n)])
        async with asyncio.timeout(120):
            assert str(await wait_for_crash(node.app)) == "a bug"
        await asyncio.sleep(0.3)
    assert got == []
    assert await harness.committed("events") == [0]
    fail = False
    async with harness.node(declare):
        await until(lambda: got == list(range(10)))
    assert await harness.committed("events") == [10]


async def test_nothing_is_skipped_when_positions_move_during_a_fetch(harness: Any) -> None:
    """The seek goes to where the fetch began, so the position alone does not tell."""
    keep = Slices()
    async with harness.node(keep) as node:
        consumer, times = node.app.consumer, 0

        async def seek() -> None:
            nonlocal times
            if times < 6:
                times += 1
                await consumer.perform_seek()

        harness.disturb(consumer, seek)
        for start in range(0, 100, 20):
            await node.writer.publish([made("events", f"u{n}", n) for n in range(start, start + 20)])
            await asyncio.sleep(0.05)
        await until(
            lambda: {record.n for batch in keep.batches for record in batch.records} == set(range(100))
        )
        assert times
    assert await harness.committed("events") == await harness.ends("events")


async def test_record_topic_hands_over_poison_and_metadata_when_iterated(harness: Any) -> None:
    got: list[Any] = []

    def declare(app: Any, writer: Any) -> None:
        topic = record_topic(app, "jobs", Event, partitions=2)

        @app.agent(topic, name="work")
        async def work(stream: Any) -> None:
            async for item in received(stream):
                got.append(item)
                item.ack()

    async with harness.node(declare) as node:
        await node.writer.publish(
            [made("jobs", "u", 1, partition=1, headers=(("a", b"b"),)), Outgoing("jobs", "k", b"?", 1)]
        )
        await until(lambda: len(got) == 2)
    first, second = got
    assert (first.value, first.key, first.partition, first.offset) == (Event("u", 1), "u", 1, 0)
    assert first.headers == (("a", b"b"),)
    assert first.timestamp > 1_600_000_000
    assert isinstance(second.value, Poison)
    assert second.value.value == b"?"
    assert await harness.committed("jobs") == [0, 2]


async def test_start_fails_clearly_when_the_partition_count_changed(harness: Any) -> None:
    async with harness.node(Slices()):
        pass
    with pytest.raises(PartitionMismatch, match="'events' has 4 partitions"):
        async with harness.node(Slices(partitions=8)):
            pytest.fail("it started")
