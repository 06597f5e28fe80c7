"""Partitions go side by side, each in its order; what waits goes together (invariant 1, F17)."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest

from streams.log.lanes import in_lanes, joined
from streams.log.slices import Slice


def a_slice(partition, first, count=1):
    offsets = list(range(first, first + count))
    return Slice(
        "t", partition, [f"r{n}" for n in offsets], [""] * count, offsets, [0.0] * count, [], [()] * count,
        offsets[0], offsets[-1], 10,
    )  # fmt: skip


class Stream:
    """A stream as Faust's, acknowledged by hand."""

    def __init__(self, *slices):
        self.app = SimpleNamespace(consumer_generation_id=1)
        self.acked = []
        self._slices = slices

    def noack(self):
        return self

    async def events(self):
        for one in self._slices:
            event = SimpleNamespace(value=one, app=self.app, message=SimpleNamespace(generation_id=1))
            event.ack = partial(self.acked.append, one.last_offset)
            yield event
            for _ in range(3):  # the lanes take what they can before the next comes
                await asyncio.sleep(0)


async def test_partition_goes_on_when_another_waits():
    """The slow partition's slices keep their order, and those that came meanwhile are one call."""
    release, calls, finished = asyncio.Event(), [], []

    async def handle(batch):
        calls.append((batch.partition, batch.offsets))
        if batch.partition == 0 and batch.offsets[0] == 0:
            await release.wait()
        finished.append(batch.partition)
        if batch.partition == 1:
            release.set()

    stream = Stream(a_slice(0, 0), a_slice(0, 1), a_slice(0, 2, 2), a_slice(1, 7))
    async with asyncio.timeout(120):
        await in_lanes(stream, handle)
    assert finished[0] == 1
    assert [offsets for partition, offsets in calls if partition == 0] == [[0], [1, 2, 3]]
    assert sorted(stream.acked) == [0, 1, 3, 7]


async def test_nothing_is_acknowledged_when_a_rebalance_made_it_void():
    """The records come again, to whoever has the partition."""

    async def handle(batch):
        stream.app.consumer_generation_id = 2

    stream = Stream(a_slice(0, 0), a_slice(0, 1))
    await in_lanes(stream, handle)
    assert stream.acked == []


async def test_all_lanes_end_when_one_fails():
    """What follows must not overtake what failed: the worker ends with the failure."""

    async def handle(batch):
        if batch.partition == 1:
            raise LookupError("gone")
        await asyncio.Event().wait()

    stream = Stream(a_slice(0, 0), a_slice(1, 0))
    with pytest.raises(LookupError, match="gone"):
        await in_lanes(stream, handle)
    assert stream.acked == []


def test_joined_slices_are_one_slice_of_all_records():
    made = joined([a_slice(3, 5, 2), a_slice(3, 9, 1)])
    assert (made.partition, made.records, made.offsets) == (3, ["r5", "r6", "r9"], [5, 6, 9])
    assert (made.first_offset, made.last_offset, made.size_bytes, len(made.headers)) == (5, 9, 20, 3)
