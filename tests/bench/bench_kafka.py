"""Kafka: events a second of our agent, a stock Faust agent and Quix Streams, on one broker in one run.

The job: Zipf 1.2 over 100,000 keys, JSON events of about 60 bytes in 8 partitions, counted per key in a table
whose changelog is on the broker. Measured from the first event that the agent gets to the last committed
offset, all changelog records acknowledged. One process each, one after the other.

Beside it the real path: every agent of engagement over client events in envelopes (`engagement_world`), in
one worker process, then in two on the same broker; from the first append, after all have their partitions, to
the last committed position.

Targets: at least 15 times stock, at least 2 times Quix Streams, two workers at least 1.6 times one. Workers
and broker share this machine's cores, and with two of them one worker and the broker fill it: so the ratio is
also measured with every worker held to a part of a core (stopped and continued by turns), as if each had a
machine of its own. Needs ``make kafka``.

Quix Streams pins an older pydantic than ours, so it runs in an environment of its own: FREEWILL_BENCH_QUIX
names its Python (``python -m venv DIR && DIR/bin/pip install 'quixstreams>=3.28,<4'``); without it that line
is left out.
"""

import asyncio
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust
import msgspec
import numpy as np
import uvloop
from engagement_world import outgoing, sittings, world

from streams.app import declare_topics
from streams.log import (
    Batch,
    committer_for,
    declare_table,
    faust_settings,
    register_transports,
    sliced_topic,
    start_app,
    stop_app,
    use_log,
)
from streams.log.commit import group_outputs
from streams.log.kafka import KafkaLog
from streams.log.partitioner import partition_for
from streams.topics import (
    CREATOR_DELTAS,
    ENGAGEMENT_DELTAS,
    ENGAGEMENT_EVENTS,
    PAIR_DELTAS,
    TAG_DELTAS,
    TOPICS,
    USER_DELTAS,
)

PARTITIONS = 8
KEYS = 100_000
EVENTS = {"ours": 400_000, "quix": 200_000, "stock": 12_000, "real": 200_000}
TARGETS = {"stock": 15.0, "quix": 2.0}
TWO_WORKERS = 1.6
SHARE = 0.35
"""Of a core, for each worker of the second pair of measurements; the broker has the rest of the machine."""
TURN_SECONDS = 0.05
REAL = "bench-real"
SETTLE_SECONDS = 15.0
COUNTED = (ENGAGEMENT_EVENTS, ENGAGEMENT_DELTAS, CREATOR_DELTAS, USER_DELTAS, PAIR_DELTAS, TAG_DELTAS)
LIMIT_SECONDS = 180.0
STOCK_URL = "aiokafka://"
RUN = uuid.uuid4().hex[:6]

QUIX = """
import json, sys, time
from quixstreams import Application
broker, topic, events, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
app = Application(broker_address=broker, consumer_group="bench-" + topic, auto_offset_reset="earliest",
                  state_dir=folder, commit_interval=0.5, loglevel="ERROR")
source = app.topic(topic, value_deserializer="json", key_deserializer="str")
first, seen = [0.0], [0]
def count(value, state):
    if not seen[0]:
        first[0] = time.perf_counter()
    seen[0] += 1
    state.set("n", state.get("n", 0) + 1)
    return value
frame = app.dataframe(source)
frame = frame.update(count, stateful=True)
app.run(count=events)
print(json.dumps({"seconds": time.perf_counter() - first[0], "events": seen[0], "cpu": time.process_time()}))
"""


class Event(msgspec.Struct):
    """One counted event."""

    user: str
    video: str
    at: float


class Count(msgspec.Struct, frozen=True):
    """The state of one key: how often, and the last source offset applied."""

    n: int = 0
    offset: int = -1


async def load(log: KafkaLog, topic: str, events: int) -> None:
    """Declare a topic and fill it."""
    await log.declare(topic, PARTITIONS)
    ranks = np.arange(1, KEYS + 1, dtype=np.float64) ** -1.2
    drawn = np.random.default_rng(7).choice(KEYS, size=events, p=ranks / ranks.sum())
    batches = [Batch(topic, number, [], [], 1.7e9) for number in range(PARTITIONS)]
    encode = msgspec.json.encode
    for at, number in enumerate(drawn):
        key = f"v{number:06d}"
        batch = batches[partition_for(key.encode(), PARTITIONS)]
        batch.keys.append(key.encode())
        batch.values.append(encode(Event("user-0123456789", key, 1.0 + at)))
    await log.append([batch for batch in batches if len(batch)])


def fold(states: Any, keys: list[str], offsets: list[int]) -> Mapping[str, Count]:
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


class Clock:
    """When the first event came."""

    def __init__(self) -> None:
        self.first = 0.0
        self.cpu = 0.0

    def tick(self) -> None:
        """Remember the first call."""
        if not self.first:
            self.first, self.cpu = time.perf_counter(), time.process_time()


def declare_ours(app: Any, log: KafkaLog, topic: str, clock: Clock) -> Any:
    """Register our agent: slices in, one changelog batch per slice."""
    use_log(app, log)
    writer = committer_for(app, log)
    table = declare_table(app, "counts", Count, partitions=PARTITIONS)

    @app.agent(sliced_topic(app, topic, Event, partitions=PARTITIONS), name="count", isolated_partitions=True)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        async for batch in stream:
            clock.tick()
            rows = fold(table.lookup, [event.video for event in batch.records], batch.offsets)
            await writer.commit(writes=[(table, batch.partition, rows)])

    return lambda: sum(row.n for _, row in table.scan())


def declare_stock(app: Any, log: KafkaLog, topic: str, clock: Clock) -> Any:
    """Register the agent of Faust's own documentation."""
    source = app.topic(topic, partitions=PARTITIONS, value_serializer="json")
    table = app.Table("counts", default=int, partitions=PARTITIONS, key_type=str, value_type=int)

    @app.agent(source, name="count")  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        async for event in stream:
            clock.tick()
            table[event["video"]] += 1

    return lambda: sum(table.values())


async def measure(kind: str, url: str) -> dict[str, float]:
    """Run one agent over its topic; returns seconds, events and CPU seconds."""
    events, topic = EVENTS[kind], f"bench-{RUN}-{kind}"
    log = KafkaLog.open(url, group=topic)
    await log.connect()
    await load(log, topic, events)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        if kind == "ours":
            register_transports()
            app = faust.App(topic, **faust_settings(data_dir=folder, partitions=PARTITIONS, broker=log.url))
            counted = declare_ours(app, log, topic, clock)
        else:
            app = faust.App(
                topic,
                broker=STOCK_URL + log.servers[0],
                datadir=folder,
                topic_partitions=PARTITIONS,
                topic_disable_leader=True,
                web_enabled=False,
                value_serializer="raw",
                stream_buffer_maxsize=16_384,
                broker_commit_interval=0.5,
            )
            counted = declare_stock(app, log, topic, clock)
        await start_app(app)
        deadline = time.perf_counter() + LIMIT_SECONDS
        while sum(log._committed.get((topic, number), 0) for number in range(PARTITIONS)) < events:
            await asyncio.sleep(0.02)
            if kind != "ours":  # ours hears of its own commits
                await log.refresh([])
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{kind}: {counted()} of {events} events counted")
        took = {"seconds": time.perf_counter() - clock.first, "cpu": time.process_time() - clock.cpu}
        assert counted() == events, f"{kind} counted {counted()} of {events}"
        await stop_app(app, 10.0)
    await log.close()
    return {**took, "events": events}


async def measure_quix(python: str, url: str) -> dict[str, float]:
    """Run Quix Streams in its own environment over the same events."""
    topic = f"bench-{RUN}-quix"
    log = KafkaLog.open(url, group=topic)
    await log.connect()
    await load(log, topic, EVENTS["quix"])
    await log.close()
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-c", QUIX, log.servers[0], topic, str(EVENTS["quix"]), folder]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


async def empty(log: KafkaLog) -> None:
    """Declare the platform's topics anew."""
    names = {name for topic in TOPICS for name in (topic.name, topic.dead)}
    old = [name for name in log.topics() if name in names or name.startswith(REAL)]
    if old:
        await log.admin.delete_topics(old)
        await asyncio.sleep(2.0)
    await log.learn_topics()
    await declare_topics(log, PARTITIONS)


async def work(url: str, group: str, name: str) -> None:
    """Be one worker of the real path: say when it starts, count until told to stop, say what was counted."""
    register_transports()
    log = KafkaLog.open(url, group=group)
    await log.connect()
    with tempfile.TemporaryDirectory() as folder:
        async with world(log, Path(folder), group, worker=name) as found:
            print("ready", flush=True)
            cpu = time.process_time()
            await asyncio.to_thread(sys.stdin.readline)
            print(json.dumps({"views": found.views(), "cpu": time.process_time() - cpu}), flush=True)
    await log.close()


async def hold(children: list[asyncio.subprocess.Process], share: float) -> None:
    """Let each process run for a share of every turn, one after the other, until cancelled."""
    pause = TURN_SECONDS * (1 / len(children) - share)
    assert pause > 0, "the shares overlap"
    try:
        for one in children:
            one.send_signal(signal.SIGSTOP)
        for one in itertools.cycle(children):
            one.send_signal(signal.SIGCONT)
            await asyncio.sleep(TURN_SECONDS * share)
            one.send_signal(signal.SIGSTOP)
            await asyncio.sleep(pause)
    finally:
        for one in children:
            one.send_signal(signal.SIGCONT)


async def measure_workers(url: str, workers: int, share: float = 1.0) -> dict[str, float]:
    """Run the real path in so many processes; returns events a second and CPU microseconds an event.

    Below 1, ``share`` is the part of a core that each of them gets.
    """
    group = f"{REAL}-{RUN}-{workers}-{share}"
    old = KafkaLog.open(url, group=group)
    await old.connect()
    await empty(old)
    await old.close()
    log = KafkaLog.open(url, group=group)  # the old one knows ends, and believes in no smaller ones
    await log.connect()
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, __file__, "work", url, group, f"w{number}",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20,
        )
        for number in range(workers)
    ]  # fmt: skip
    try:
        await asyncio.sleep(SETTLE_SECONDS)  # the last one's joining moves partitions
        made = list(sittings(EVENTS["real"]))
        loads = [group_outputs(one, log.partition_for, time.time()) for one in outgoing(iter(made))]
        held = asyncio.create_task(hold(children, share) if share < 1 else asyncio.sleep(0))
        started = time.perf_counter()
        for batches in loads:
            await log.append(list(batches.values()))
        await _counted(log, group, len(made))
        seconds = time.perf_counter() - started
        held.cancel()
        await asyncio.wait([held])
        found = []
        for one in children:
            answer = (await one.communicate(b"\n"))[0].decode().splitlines()
            found.append(json.loads(answer[-1]))
    finally:
        for one in children:
            if one.returncode is None:
                one.kill()
        await log.close()
    views = len({(event.user_id, event.video_id) for sitting in made for event in sitting})
    counted = sum(one["views"] for one in found)
    assert counted == views, f"{counted} views counted, {views} made"
    cpu = sum(one["cpu"] for one in found) / EVENTS["real"] * 1e6
    return {"rate": EVENTS["real"] / seconds, "cpu": cpu}


async def _counted(log: KafkaLog, group: str, records: int) -> None:
    """Wait until every topic of the real path is committed at its end."""
    names = [topic.name for topic in COUNTED]
    deadline = time.perf_counter() + LIMIT_SECONDS
    behind = 1
    while behind:
        await asyncio.sleep(0.05)
        await log.refresh(names)
        done = {(name, n): log.committed(group, name, n) or 0 for name in names for n in range(PARTITIONS)}
        behind = sum(max(0, log.highwater(*place) - at) for place, at in done.items())
        behind += records > sum(log.highwater(ENGAGEMENT_EVENTS.name, n) for n in range(PARTITIONS))
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{behind} records are not counted")


def child(kind: str, url: str) -> dict[str, float]:
    """Measure in a process of its own, so that neither warms the other's caches."""
    done = subprocess.run(
        [sys.executable, __file__, kind, url], capture_output=True, text=True, timeout=2 * LIMIT_SECONDS
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print each rate beside its target."""
    url = os.environ.get("FREEWILL_TEST_KAFKA", "")
    if sys.argv[1:2] == ["work"]:
        uvloop.run(work(*sys.argv[2:5]))
        return
    if len(sys.argv) > 2:
        print(json.dumps(uvloop.run(measure(sys.argv[1], sys.argv[2]))))
        return
    if not url:
        print("Kafka: no broker (FREEWILL_TEST_KAFKA is not set; `make kafka` starts one)")
        return
    quix = os.environ.get("FREEWILL_BENCH_QUIX", "")
    print(
        f"Kafka transport, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    found = {"ours": child("ours", url), "stock": child("stock", url)}
    if quix and Path(quix).exists():
        found["quix"] = uvloop.run(measure_quix(quix, url))
    rates = {kind: one["events"] / one["seconds"] for kind, one in found.items()}
    for kind, one in found.items():
        micros = one["cpu"] / one["events"] * 1e6
        print(f"  {kind:6} {rates[kind]:>10,.0f} events/s  {micros:>6.1f} us CPU an event")
    for peer, target in TARGETS.items():
        if peer in rates:
            print(f"  ours / {peer:6} {rates['ours'] / rates[peer]:>6.1f}x   target >= {target:.0f}x")
    for share in (1.0, SHARE):
        real = [uvloop.run(measure_workers(url, workers, share)) for workers in (1, 2)]
        print(f"  all agents, each worker with {share:.0%} of a core at most")
        for workers, one in enumerate(real, 1):
            print(
                f"    {workers} worker(s) {one['rate']:>10,.0f} events/s  {one['cpu']:>6.1f} us CPU an event"
            )
        ratio = real[1]["rate"] / real[0]["rate"]
        print(f"    two workers / one {ratio:>6.2f}x   target >= {TWO_WORKERS}x")


if __name__ == "__main__":
    main()
