"""The harness under the contract tests: one transport, started, stopped and looked into.

Every test runs on each transport in ``HARNESSES``; those on Kafka need a broker (``make kafka``).
"""

import asyncio
import contextlib
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import faust
import msgspec
import pytest

from streams.log import (
    EmbeddedLog,
    LogWriter,
    Outgoing,
    Record,
    SliceCommitter,
    committer_for,
    faust_settings,
    register,
    register_transports,
    start_app,
    stop_app,
    use_log,
)
from streams.log.kafka import KafkaLog

PARTITIONS = 4
GROUP = "contract"


class Event(msgspec.Struct, frozen=True):
    """What flows in these tests."""

    who: str
    n: int


class Count(msgspec.Struct, frozen=True):
    """A guarded state: how many events, and the last source offset applied."""

    n: int = 0
    offset: int = -1


class Node:
    """One started worker."""

    def __init__(self, app: Any, writer: LogWriter) -> None:
        self.app = app
        self.writer = writer
        self.gave_up = False

    async def stop(self, deadline_seconds: float = 15.0) -> bool:
        self.gave_up = not await stop_app(self.app, deadline_seconds)
        return not self.gave_up

    async def end(self) -> None:
        """Stop at the end of a test; what is left of a worker that would not, a process would take along."""
        if not self.app._stopped.is_set():
            await self.stop()
        # Once is not enough: in Python 3.11 a wait_for that is woken meanwhile forgets that it was cancelled.
        while self.gave_up and (left := asyncio.all_tasks() - {asyncio.current_task()}):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.5)


class Harness(Protocol):
    """What a transport has to offer to be tested."""

    def node(self, declare: Callable[[Any, LogWriter], None], store: str = "memory://") -> Any:
        """Return an async context: a worker whose agents and tables ``declare`` registers."""

    async def records(self, topic: str, partition: int) -> Sequence[Record]:
        """Return everything in a partition."""

    async def committed(self, topic: str) -> list[int]:
        """Return the committed position of each partition, 0 when there is none."""

    async def ends(self, topic: str) -> list[int]:
        """Return the end offset of each partition."""

    def stores(self) -> Path:
        """Return the folder of local table stores."""

    async def lose(self) -> None:
        """Lose every topic, as when a log is replaced by an empty one."""

    def disturb(self, consumer: Any, seek: Callable[[], Awaitable[None]]) -> None:
        """Have ``seek`` called while each of the next fetches is on its way."""

    embedded: bool
    """Whether this is the log of one process, which compacts when it is asked to."""


class EmbeddedHarness:
    """The embedded log. The file is closed between workers, as after a clean stop."""

    embedded = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        register()

    def open(self) -> EmbeddedLog:
        return EmbeddedLog.open(self.folder / "log.db", upkeep_seconds=None)

    @contextlib.asynccontextmanager
    async def node(
        self, declare: Callable[[Any, LogWriter], None], store: str = "memory://"
    ) -> AsyncIterator[Node]:
        log = self.open()
        settings = faust_settings(
            data_dir=self.stores(), partitions=PARTITIONS, store=store, commit_seconds=0.05
        )
        app = faust.App(GROUP, **settings)
        use_log(app, log)
        writer = SliceCommitter(app, log)
        declare(app, writer)
        node = Node(app, writer)
        try:
            await start_app(app)
            yield node
        finally:
            await node.end()
            await log.close()

    @contextlib.asynccontextmanager
    async def _log(self) -> AsyncIterator[EmbeddedLog]:
        log = EmbeddedLog.open(self.folder / "log.db", read_only=True)
        yield log
        await log.close()

    async def records(self, topic: str, partition: int) -> Sequence[Record]:
        async with self._log() as log:
            return list(await log.read(topic, partition, 0, 1_000_000))

    async def committed(self, topic: str) -> list[int]:
        async with self._log() as log:
            return [log.committed(GROUP, topic, n) or 0 for n in range(log.partitions(topic) or 0)]

    async def ends(self, topic: str) -> list[int]:
        async with self._log() as log:
            return [log.highwater(topic, n) for n in range(log.partitions(topic) or 0)]

    def stores(self) -> Path:
        return self.folder / "faust"

    async def lose(self) -> None:
        for path in self.folder.glob("log.db*"):
            path.unlink()

    def disturb(self, consumer: Any, seek: Callable[[], Awaitable[None]]) -> None:
        read = consumer.embedded.read_many

        async def disturbed(offsets: Any, limit: int) -> Any:
            found = await read(offsets, limit)
            await seek()
            return found

        consumer.embedded.read_many = disturbed


class KafkaHarness:
    """A real broker."""

    embedded = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        register_transports()

    @contextlib.asynccontextmanager
    async def _log(self) -> AsyncIterator[KafkaLog]:
        log = KafkaLog.open(os.environ["FREEWILL_TEST_KAFKA"], group=GROUP)
        await log.connect()
        try:
            yield log
        finally:
            await log.close()

    @contextlib.asynccontextmanager
    async def node(
        self, declare: Callable[[Any, LogWriter], None], store: str = "memory://", name: str | None = None
    ) -> AsyncIterator[Node]:
        async with self._log() as log:
            settings = faust_settings(
                data_dir=self.stores(),
                partitions=PARTITIONS,
                broker=log.url,
                store=store,
                commit_seconds=0.05,
                instance_id=name,
            )
            settings |= {"broker_session_timeout": 6.0, "broker_heartbeat_interval": 0.5}
            app = faust.App(GROUP, **settings)
            use_log(app, log)
            writer = committer_for(app, log)
            declare(app, writer)
            node = Node(app, writer)
            try:
                await start_app(app)
                yield node
            finally:
                await node.end()

    async def records(self, topic: str, partition: int) -> Sequence[Record]:
        found: list[Record] = []
        async with self._log() as log:
            while chunk := await log.read(topic, partition, found[-1].offset + 1 if found else 0, 1_000_000):
                found += list(chunk)
        return found

    async def committed(self, topic: str) -> list[int]:
        async with self._log() as log:
            return [log.committed(GROUP, topic, n) or 0 for n in range(log.partitions(topic) or 0)]

    async def ends(self, topic: str) -> list[int]:
        async with self._log() as log:
            return [log.highwater(topic, n) for n in range(log.partitions(topic) or 0)]

    def stores(self) -> Path:
        return self.folder / "faust"

    async def lose(self) -> None:
        async with self._log() as log:
            ours = [name for name in log.topics() if name in TOPICS or name.startswith(f"{GROUP}-")]
            if ours:
                await log.admin.delete_topics(ours)

    def disturb(self, consumer: Any, seek: Callable[[], Awaitable[None]]) -> None:
        fetch = consumer._thread.getmany
        turns = 0

        async def disturbed(active: Any, timeout: float) -> Any:
            nonlocal turns
            turns += 1
            if turns % 2:  # before the answer is there, and after it
                seeking = asyncio.ensure_future(seek())
                found = await fetch(active, timeout)
                await seeking
                return found
            found = await fetch(active, timeout)
            await seek()
            return found

        consumer._thread.getmany = disturbed


#: The topics that these tests declare, besides the changelogs of their group.
TOPICS = {"events", "changes", "slow", "quick", "jobs", "plain"}
HARNESSES = {"embedded": EmbeddedHarness, "kafka": KafkaHarness}


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.services)])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    if request.param == "kafka" and not os.environ.get("FREEWILL_TEST_KAFKA"):
        if os.environ.get("CI"):
            pytest.fail("FREEWILL_TEST_KAFKA is missing: CI runs the tests on Kafka too")
        pytest.skip("no Kafka (set FREEWILL_TEST_KAFKA; `make services` or `make kafka` starts one)")
    made = HARNESSES[request.param](tmp_path)
    if request.param == "embedded":
        yield made
        return
    # two runs on one broker would be members of one group, with each other's topics
    with (Path(tempfile.gettempdir()) / "freewill-kafka-contract.lock").open("a") as turn:
        await asyncio.to_thread(fcntl.flock, turn, fcntl.LOCK_EX)
        await made.lose()
        yield made


def outgoing(topic: str, who: str, n: int, **options: Any) -> Outgoing:
    """Return one event keyed by ``who``."""
    return Outgoing(topic, who, msgspec.json.encode(Event(who, n)), **options)
