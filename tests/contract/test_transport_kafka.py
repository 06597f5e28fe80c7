"""What only Kafka can do to a worker: refuse it, go away, and come back (research/faust.md 3, row 10)."""

import asyncio
import logging
import time
from typing import Any

import msgspec
import pytest

from streams.log import Batch, LogError, LogWriteFailed, Outgoing, declare_table, sliced_topic, wait_for_crash
from streams.log.errors import WorkerExpelled
from streams.log.kafka import log as kafka_log

pytestmark = [pytest.mark.parametrize("harness", ["kafka"], indirect=True), pytest.mark.services]


class Event(msgspec.Struct, frozen=True):
    who: str
    n: int


def made(n: int, partition: int = 0) -> Outgoing:
    return Outgoing("events", "u", msgspec.json.encode(Event("u", n)), partition)


class Worker:
    """Reads a topic; with a table it joins its group by another protocol than without."""

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self.got: list[int] = []
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    def __call__(self, app: Any, writer: Any) -> None:
        topic = sliced_topic(app, "events", Event, partitions=4)
        if self.keeps:
            declare_table(app, "counts", Event, partitions=4)

        @app.agent(topic, name="keep")
        async def keep(stream: Any) -> None:
            async for batch in stream:
                await self.may_go_on.wait()
                self.got += [record.n for record in batch.records]


async def test_start_fails_clearly_when_the_group_refuses_the_worker(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """aiokafka tells whoever fetches, and at a start nobody does: the worker waited for ever."""
    caplog.set_level(logging.CRITICAL)
    member = Worker(keeps=True)
    async with harness.node(member) as node:
        with pytest.raises(WorkerExpelled, match="InconsistentGroupProtocol"):
            async with asyncio.timeout(120), harness.node(Worker(keeps=False)):
                pytest.fail("it started")
        await node.writer.publish([made(7)])
        async with asyncio.timeout(120):
            while member.got != [7]:
                await asyncio.sleep(0.01)


async def test_worker_ends_when_its_consumer_leaves_the_group_for_good(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with harness.node(Worker(keeps=True)) as node:
        coordinator = node.app.consumer._thread._consumer._coordinator

        async def broken(*_: Any) -> bool:
            raise RuntimeError("a bug in the assignor")

        coordinator._do_rejoin_group = broken
        node.app.consumer._thread.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)
        async with asyncio.timeout(120):
            assert "a bug in the assignor" in str(await wait_for_crash(node.app))


async def test_close_ends_soon_when_records_wait_for_what_is_not_there(
    harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """aiokafka sends a batch of an idempotent producer again for ever, and closing waits for it."""
    caplog.set_level(logging.CRITICAL)
    async with harness._log() as log:
        await log.declare("events", 4)
        await log.admin.delete_topics(["events"])
        sending = asyncio.ensure_future(log.append([_batch(b"x")]))
        await asyncio.sleep(0.5)
        assert not sending.done()
        began = time.monotonic()
        async with asyncio.timeout(120):
            await log.close()
        assert time.monotonic() - began < 20  # it has two deadlines of 3 s
        with pytest.raises(LogError):
            async with asyncio.timeout(120):
                await sending


async def test_records_are_refused_at_once_when_too_many_wait(
    harness: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded however long Kafka is away; what was refused is taken later."""
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(kafka_log, "PENDING_BYTES", 100_000)
    async with harness._log() as log:
        await log.declare("events", 4)
        send = log.producer._sender._send_produce_req
        gate = asyncio.Event()

        async def held(*args: Any) -> None:
            await gate.wait()
            await send(*args)

        log.producer._sender._send_produce_req = held
        sending = [asyncio.ensure_future(log.append([_batch(b"x" * 30_000)])) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(LogWriteFailed, match="behind"):
            await log.append([_batch(b"x" * 30_000)])
        gate.set()
        async with asyncio.timeout(120):
            assert [ends[0] for ends in await asyncio.gather(*sending)] == [0, 1, 2]
            assert await log.append([_batch(b"y")]) == [3]


async def test_lag_is_known_when_a_worker_has_not_done_everything(harness: Any) -> None:
    """What liveness goes by: the end of each partition against what the group committed (P38)."""
    async with harness.node(Worker(keeps=True)) as node:
        await node.writer.publish([made(n, n % 4) for n in range(8)])
        log = node.app.message_log
        async with asyncio.timeout(120):
            while [log.committed("contract", "events", n) for n in range(4)] != [2, 2, 2, 2]:
                await asyncio.sleep(0.01)
        assert [log.highwater("events", n) for n in range(4)] == [2, 2, 2, 2]
    async with harness._log() as log:
        await log.append([_batch(b"{}")])
        await log.refresh(["events"])
        behind = [
            log.highwater("events", n) - (log.committed("contract", "events", n) or 0) for n in range(4)
        ]
        assert behind == [1, 0, 0, 0]


def _batch(value: bytes) -> Any:
    return Batch("events", 0, [b"u"], [value], 1.7e9)


async def _rebalanced(node: Any) -> None:
    """Have the group balanced anew; returns when this worker is ready again."""
    thread, before = node.app.consumer._thread, node.app.consumer_generation_id
    thread.thread_loop.call_soon_threadsafe(thread._consumer._coordinator.request_rejoin)
    async with asyncio.timeout(120):
        while node.app.consumer_generation_id == before or node.app.rebalancing:
            await asyncio.sleep(0.01)


async def test_every_record_arrives_when_a_fetch_ends_while_a_recovery_does(harness: Any) -> None:
    """A fetch that waited for the new assignment brought slices, and the end of the recovery threw them away.

    Those behind them were handled, and moved the offsets in the rows past what was lost (invariants 1 and 2).
    """
    worker = Worker(keeps=True)
    async with harness.node(worker) as node:
        consumer = node.app.consumer
        await node.writer.publish([made(n, n % 4) for n in range(4)])
        async with asyncio.timeout(120):
            while len(worker.got) < 4:
                await asyncio.sleep(0.01)
        seek, fetchable = consumer.perform_seek, consumer._fetchable
        sought = asyncio.Event()

        async def seeking() -> None:
            await node.writer.publish([made(n, n % 4) for n in range(4, 12)])
            await seek()
            worker.may_go_on.clear()  # so that slices wait in front of it
            consumer._fetchable = consumer._get_active_partitions  # asked before the rebalance began
            brought = {tp for tp in consumer._get_active_partitions() if tp.topic == "events"}
            async with asyncio.timeout(120):
                while not brought <= {*consumer._backlog, *consumer._flight}:
                    await consumer._fetch()
            consumer._fetchable = fetchable
            sought.set()

        consumer.perform_seek = seeking
        await _rebalanced(node)
        async with asyncio.timeout(120):
            await sought.wait()  # the recovery may begin after the rebalance has ended
        consumer.perform_seek = seek
        worker.may_go_on.set()
        await node.writer.publish([made(n, n % 4) for n in range(12, 16)])
        async with asyncio.timeout(120):
            while not set(range(12, 16)) <= set(worker.got):
                await asyncio.sleep(0.01)
        assert set(worker.got) == set(range(16))  # some may have come twice


async def test_records_go_on_when_a_rebalance_cancels_a_move_that_was_not_begun(harness: Any) -> None:
    """The thread never makes such a move: who counts moves waits for it for ever, and drops every fetch."""
    worker = Worker(keeps=True)
    async with harness.node(worker) as node:
        consumer = node.app.consumer
        consumer._thread.thread_loop.call_soon_threadsafe(time.sleep, 0.3)
        moving = asyncio.ensure_future(consumer.perform_seek())
        await asyncio.sleep(0.05)
        moving.cancel()
        await asyncio.wait({moving})
        await consumer.perform_seek()
        await node.writer.publish([made(n, n % 4) for n in range(8)])
        async with asyncio.timeout(120):
            while set(worker.got) != set(range(8)):
                await asyncio.sleep(0.01)


async def test_positions_are_known_when_somebody_else_deletes_a_topic(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka asks about a deleted topic for ever: workers did not start, and positions stood still."""
    monkeypatch.setattr(kafka_log, "DELETED_SECONDS", 1.0)
    async with harness._log() as log:
        await log.declare("changes", 4)
        await log.declare("jobs", 4)
        await log.append([Batch("jobs", 0, [b"u"], [b"{}"], 1.7e9)])
        async with harness._log() as other:
            await other.append([Batch("jobs", 0, [b"u"], [b"{}"], 1.7e9)])
            await other.admin.delete_topics(["changes"])
            async with asyncio.timeout(120):
                while "changes" in await other.admin.list_topics():
                    await asyncio.sleep(0.05)
        async with asyncio.timeout(120):
            await log.refresh(["changes", "jobs"])
        assert log.highwater("jobs", 0) == 2
