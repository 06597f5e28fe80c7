"""What the Kafka fault tests are made of: brokers that may be killed, workers, a load with its ledger."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from streams.log import LogError, Outgoing
from streams.log.kafka import KafkaCommitter, KafkaLog
from streams.topics import ENGAGEMENT_DELTAS, ENGAGEMENT_EVENTS
from tables.records import Action, EngagementEvent
from tables.reducers.engagement import VideoEngagement

ROOT = Path(__file__).resolve().parents[2]
APP = "faults"
PARTITIONS = 4
USERS, VIDEOS = 40, 23
#: Events until the videos are others: what a worker wrongly wrote over a row of an old one stays to be seen.
BLOCK = 600
BATCH = 20
PAUSE_SECONDS = 0.03
SETTLE_SECONDS = 120.0


def need_brokers() -> None:
    """Skip without what starts brokers; in CI that is an error."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "freewill"
    if shutil.which("java") and (shutil.which("mvn") or any(cache.glob("kafka-*/complete"))):
        return
    if os.environ.get("CI"):
        pytest.fail("java or mvn is missing: CI runs the tests on brokers that fail")
    pytest.skip("no Kafka of its own without java and mvn")


async def until(holds: Callable[[], Any], seconds: float, what: str) -> None:
    """Wait until a condition holds; a coroutine's answer is awaited."""
    deadline = time.monotonic() + seconds
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        await asyncio.sleep(0.05)


class Cluster:
    """Brokers of this test alone, by ``.ci/kafka``; they are numbered from 1."""

    def __init__(self, folder: Path, brokers: int = 1, *, told: int | None = None) -> None:
        self.folder = folder
        self.brokers = brokers
        self._environment = {**os.environ, "KAFKA_DIR": str(folder)}
        if told is not None:
            self._environment["KAFKA_ADVERTISED_PORT"] = str(told)
        self.url = ""

    async def _run(self, *arguments: str) -> None:
        done = await asyncio.to_thread(
            subprocess.run,
            [str(ROOT / ".ci" / "kafka"), *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    async def start(self) -> None:
        await self._run("start", str(self.brokers))
        self.url = "kafka://" + (self.folder / "servers").read_text().strip()

    async def stop(self) -> None:
        await self._run("stop")

    def port(self, number: int) -> int:
        """Return where a broker really listens."""
        lines = (self.folder / str(number) / "server.properties").read_text().splitlines()
        listeners = next(line for line in lines if line.startswith("listeners="))
        return int(listeners.split(",")[0].rsplit(":", 1)[1])

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a broker a signal."""
        os.kill(int((self.folder / str(number) / "pid").read_text()), what)

    async def revive(self, number: int) -> None:
        """Start a broker again that was killed."""
        await self._run("revive", str(number))


class Proxy:
    """A TCP proxy in front of a broker that may be late, slow, or not there."""

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self.delay_seconds = 0.0
        self.bytes_a_second = 0.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def reserve(self) -> None:
        """Choose the port and listen on nothing yet."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()

    async def listen(self, target: int) -> None:
        self.target = target
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        both = [self._pump(reader, far_writer), self._pump(far_reader, writer)]
        for task in map(asyncio.ensure_future, both):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while data := await source.read(16_384):
                wait = self.delay_seconds
                if self.bytes_a_second:
                    wait += len(data) / self.bytes_a_second
                if wait:
                    await asyncio.sleep(wait)
                sink.write(data)
                await sink.drain()
        sink.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Worker:
    """A process of ``kafka_worker.py``, started again when its streams ended, as a supervisor does."""

    def __init__(self, url: str, folder: Path, name: str = "") -> None:
        self.url, self.folder, self.name = url, folder, name
        self.crashes = 0
        self.process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self.log = folder.parent / f"{folder.name}.log"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(__file__).with_name("kafka_worker.py")),
                *(self.url, str(self.folder), self.name),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        self._watching = asyncio.create_task(self._supervise(self.process))

    async def _supervise(self, process: asyncio.subprocess.Process) -> None:
        if await process.wait() == 1:
            self.crashes += 1
            assert self.crashes < 20, self.tail()
            await asyncio.sleep(0.5)
            await self.start()

    def ready(self) -> int:
        """Return how often it became ready."""
        return self.log.read_text(errors="replace").count("ready\n") if self.log.exists() else 0

    def signal(self, what: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(what)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self._gone()

    async def stop(self) -> dict[str, list[int]]:
        """SIGTERM; returns its rows."""
        self.signal(signal.SIGTERM)
        await self._gone()
        assert self.process is not None
        assert self.process.returncode == 0, self.tail()
        found: dict[str, list[int]] = json.loads((self.folder / "rows.json").read_text())
        return found

    async def _gone(self) -> None:
        assert self.process is not None
        assert self._watching is not None
        self._watching.cancel()
        async with asyncio.timeout(120):
            await self.process.wait()

    async def close(self) -> None:
        """End it, whatever state it is in."""
        if self._watching is not None:
            self._watching.cancel()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


class Load:
    """Clients: every event is sent again under its id until it was taken. What was taken is the ledger."""

    def __init__(self, log: KafkaLog) -> None:
        self.log = log
        self.sent: list[EngagementEvent] = []
        self.refused: list[float] = []
        self.crash: BaseException | None = None
        self._writer = KafkaCommitter(SimpleNamespace(crash=self._crashed), log)
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def _crashed(self, failure: BaseException) -> None:
        self.crash = failure

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop making events; returns when all were taken."""
        self._stopped.set()
        assert self._task is not None
        async with asyncio.timeout(SETTLE_SECONDS):
            await self._task

    async def more(self, events: int, seconds: float = 120.0) -> None:
        """Wait until that many more were taken."""
        wanted = len(self.sent) + events
        await until(lambda: len(self.sent) >= wanted, seconds, f"{wanted} events taken")

    async def _run(self) -> None:
        made = 0
        while not self._stopped.is_set():
            events = [_event(number) for number in range(made, made + BATCH)]
            made += BATCH
            await self._send(events)
            self.sent += events
            await asyncio.sleep(PAUSE_SECONDS)

    async def _send(self, events: list[EngagementEvent]) -> None:
        records = [
            Outgoing(ENGAGEMENT_EVENTS.name, event.user_id, msgspec.json.encode(event)) for event in events
        ]
        while True:
            try:
                await self._writer.publish(records)
            except LogError:
                self.refused.append(time.monotonic())
                await asyncio.sleep(0.5)
            else:
                return

    def expected(self) -> dict[str, list[int]]:
        """Return views, shares and completions of each video by the ledger."""
        counted: dict[str, tuple[set[str], set[str]]] = {}
        for event in self.sent:
            watched, shared = counted.setdefault(event.video_id, (set(), set()))
            if event.action is Action.SHARE:
                shared.add(event.event_id)
            else:
                watched.add(event.user_id)
        return {video: [len(w), len(s), len(w)] for video, (w, s) in counted.items()}


def _event(number: int) -> EngagementEvent:
    return EngagementEvent(
        event_id=str(uuid4()),
        user_id=f"u{number % USERS}",
        video_id=f"v{number // BLOCK}-{number // 7 % VIDEOS}",
        action=Action.SHARE if number % 3 == 0 else Action.WATCH_COMPLETE,
        occurred_at=time.time(),
        owner_id="owner",
        duration_seconds=30.0,
    )


async def lag_of(log: KafkaLog, topic: str) -> int:
    """Return how many records the workers have still to do."""
    await log.refresh([topic])
    places = [(log.highwater(topic, n), log.committed(APP, topic, n) or 0) for n in range(PARTITIONS)]
    return sum(end - done for end, done in places)


async def settled(log: KafkaLog, seconds: float = SETTLE_SECONDS) -> None:
    """Wait until everything was counted and committed."""
    for topic in (ENGAGEMENT_EVENTS.name, ENGAGEMENT_DELTAS.name):

        async def done(name: str = topic) -> bool:
            try:
                return await lag_of(log, name) == 0
            except LogError:
                return False

        await until(done, seconds, f"{topic} done")


async def counted(log: KafkaLog) -> dict[str, list[int]]:
    """Return the counters as the changelog has them: what any worker would recover."""
    topic = f"{APP}-video_engagement-changelog"
    rows: dict[str, list[int]] = {}
    await log.learn_topics([topic])
    for partition in range(PARTITIONS):
        offset = 0
        while chunk := await log.read(topic, partition, offset, 10_000):
            for key, value in zip(chunk.keys, chunk.values, strict=True):
                row = msgspec.json.decode(value, type=VideoEngagement)
                rows[key.decode()] = [row.views, row.shares, row.completes]
            offset = chunk.offsets[-1] + 1
    return rows
