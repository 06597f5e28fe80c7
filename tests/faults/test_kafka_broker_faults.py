"""Brokers that die, stall, crawl and come back, under a load with a ledger (invariants 1 and 2, Z4, Z13)."""

import asyncio
import importlib.util
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streams.log import PartitionMismatch
from streams.log.kafka import KafkaLog

pytestmark = pytest.mark.services


def _load(name: str) -> Any:
    found = sys.modules.get(f"faults_{name}")
    if found is None:
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(f"faults_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        found = sys.modules[f"faults_{name}"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    return found


kafka = _load("kafka_cluster")
worker_module = _load("kafka_worker")


class Stage:
    """A cluster with its workers and one load."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.workers: list[Any] = []
        self.log = KafkaLog.open(cluster.url, group=kafka.APP)
        self.load = kafka.Load(self.log)

    async def open(self) -> None:
        """Connect and declare the topics."""
        await self.log.connect()
        await worker_module.declare_topics(self.log)

    async def worker(self, name: str) -> Any:
        """Start one more worker and wait until it is ready."""
        made = kafka.Worker(self.cluster.url, self.folder / name, name)
        self.workers.append(made)
        await made.start()
        await kafka.until(made.ready, 60, f"worker {name} ready:\n{made.tail()}")
        return made

    async def exact(self) -> None:
        """End the load; hold what was counted, on the log and in the workers, to the ledger."""
        await self.load.stop()
        try:
            await kafka.settled(self.log)
        except AssertionError as error:
            raise AssertionError(
                "\n".join([str(error), *(worker.tail() for worker in self.workers)])
            ) from error
        assert self.load.crash is None
        expected = self.load.expected()
        assert await kafka.counted(self.log) == expected
        held: dict[str, list[int]] = {}
        for worker in self.workers:
            held |= await worker.stop()
        assert len(self.workers) > 1 or held == expected  # what a worker took over at the end is its to show

    async def close(self) -> None:
        """End everything."""
        for worker in self.workers:
            await worker.close()
        await self.log.close()


Maker = Callable[..., Coroutine[Any, Any, Stage]]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Maker]:
    """Return the maker of a stage: ``await stage(brokers=1, proxy=None)``."""
    kafka.need_brokers()
    async with AsyncExitStack() as opened:

        async def make(brokers: int = 1, proxy: Any = None) -> Stage:
            if proxy is not None:
                await proxy.reserve()
            cluster = kafka.Cluster(tmp_path / "kafka", brokers, told=proxy.port if proxy else None)
            opened.push_async_callback(cluster.stop)
            await cluster.start()
            if proxy is not None:
                opened.push_async_callback(proxy.close)
                await proxy.listen(cluster.port(1))
            made = Stage(cluster, tmp_path)
            opened.push_async_callback(made.close)
            await made.open()
            return made

        yield make


async def test_counts_are_exact_when_the_broker_is_killed_and_partitions_move(stage: Maker) -> None:
    """kill -9 of the broker in the middle of the load, then a second worker that joins and leaves."""
    s = await stage()
    first = await s.worker("one")
    s.load.start()
    await s.load.more(400)
    s.cluster.signal(1, signal.SIGKILL)
    await asyncio.sleep(2)
    await s.cluster.revive(1)
    await s.load.more(400)
    second = await s.worker("two")
    await s.load.more(400)
    await second.stop()
    s.workers.remove(second)
    await s.load.more(200)
    await s.exact()
    assert first.crashes == 0


@pytest.mark.slow
async def test_counts_are_exact_when_the_broker_stalls_for_twenty_seconds(stage: Maker) -> None:
    s = await stage()
    await s.worker("one")
    s.load.start()
    await s.load.more(400)
    s.cluster.signal(1, signal.SIGSTOP)
    await asyncio.sleep(20)
    refused = len(s.load.refused)
    s.cluster.signal(1, signal.SIGCONT)
    await s.load.more(400, 120)
    await s.exact()
    assert refused  # clients were told within the stall, not after it


@pytest.mark.slow
async def test_counts_are_exact_when_the_broker_is_slow(stage: Maker) -> None:
    """Every answer takes 0.2 s, and then 100 kB/s is all there is."""
    proxy = kafka.Proxy()
    s = await stage(proxy=proxy)
    worker = await s.worker("one")
    s.load.start()
    await s.load.more(200)
    proxy.delay_seconds = 0.2
    await s.load.more(200, 120)
    proxy.delay_seconds, proxy.bytes_a_second = 0.05, 100_000.0
    await s.load.more(200, 120)
    proxy.delay_seconds = proxy.bytes_a_second = 0.0
    await s.load.more(200)
    await s.exact()
    assert worker.crashes == 0


async def _leaders(log: KafkaLog) -> set[int]:
    """Return the leaders of the topic's partitions; -1 for one that nobody knows just now."""
    try:
        found = await log.admin.describe_topics(["events.engagement"])
    except KafkaError:  # the broker that was asked is the one that is gone
        return {-1}
    return {part["leader"] for part in found[0]["partitions"]}


@pytest.mark.slow
async def test_counts_are_exact_when_one_of_three_brokers_is_killed(stage: Maker) -> None:
    """Three copies, two of them in sync suffice: leaders move and nobody is refused for long."""
    s = await stage(brokers=3)
    await s.worker("one")
    s.load.start()
    await s.load.more(400)
    leader = min(await _leaders(s.log))
    s.cluster.signal(leader, signal.SIGKILL)
    await s.load.more(800, 90)

    async def moved() -> bool:
        return not await _leaders(s.log) & {leader, -1}

    await kafka.until(moved, 60, "leaders moved")
    await s.cluster.revive(leader)
    await s.load.more(200)
    await s.exact()


@pytest.mark.slow
async def test_events_are_refused_and_none_is_lost_when_two_of_three_brokers_are_killed(stage: Maker) -> None:
    s = await stage(brokers=3)
    await s.worker("one")
    s.load.start()
    await s.load.more(400)
    for number in (1, 2):
        s.cluster.signal(number, signal.SIGKILL)
    taken = len(s.load.sent)
    await kafka.until(lambda: len(s.load.refused) >= 3, 90, "refusals")
    assert len(s.load.sent) <= taken + 2 * kafka.BATCH  # what was on its way when they died
    for number in (1, 2):
        await s.cluster.revive(number)
    await s.load.more(400, 120)
    await s.exact()


@pytest.mark.slow
async def test_counts_are_exact_when_a_worker_is_silent_past_its_session_and_wakes(stage: Maker) -> None:
    """SIGSTOP of a worker: the other takes its partitions; woken, it is fenced and doubles nothing."""
    s = await stage()
    first, second = await s.worker("one"), await s.worker("two")
    s.load.start()
    for sleeper in (first, second, first):
        await s.load.more(300)
        sleeper.signal(signal.SIGSTOP)
        await asyncio.sleep(8)
        await s.load.more(300, 90)
        sleeper.signal(signal.SIGCONT)
    await s.load.more(300, 90)
    await s.exact()


@pytest.mark.slow
async def test_counts_are_exact_when_a_lone_worker_sleeps_past_its_session(stage: Maker) -> None:
    s = await stage()
    worker = await s.worker("one")
    s.load.start()
    await s.load.more(300)
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(8)
    worker.signal(signal.SIGCONT)
    await s.load.more(300, 90)
    await s.exact()


@pytest.mark.slow
async def test_worker_ends_when_another_takes_its_name(stage: Maker) -> None:
    """Two processes under one name: the older is fenced and says so, instead of looking alive for ever."""
    s = await stage()
    first = await s.worker("one")
    s.load.start()
    await s.load.more(200)
    twin = kafka.Worker(s.cluster.url, s.folder / "twin", "one")
    s.workers.append(twin)
    await twin.start()
    await kafka.until(lambda: first.crashes or twin.crashes, 60, "one of them ended")
    await first.close()
    s.workers.remove(first)
    await s.load.more(200, 90)
    await kafka.until(twin.ready, 60, twin.tail())
    await s.exact()


@pytest.mark.slow
async def test_start_is_refused_when_a_topic_has_another_partition_count(stage: Maker) -> None:
    s = await stage()
    with pytest.raises(PartitionMismatch, match=r"'events.engagement' has 4 partitions.* but 8 are declared"):
        await s.log.declare("events.engagement", 8)
