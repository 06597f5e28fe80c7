"""The harness under the contract tests: one transport, started, stopped and looked into.

A second transport is put under the same tests by another ``Harness`` in ``HARNESSES``.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
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
    faust_settings,
    register,
    start_app,
    stop_app,
    use_log,
)

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

    async def stop(self, deadline_seconds: float = 15.0) -> bool:
        return await stop_app(self.app, deadline_seconds)


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


class EmbeddedHarness:
    """The embedded log. The file is closed between workers, as after a clean stop."""

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
            if not app._stopped.is_set():
                await node.stop()
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


HARNESSES = {"embedded": EmbeddedHarness}


@pytest.fixture(params=sorted(HARNESSES))
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    return HARNESSES[request.param](tmp_path)


def outgoing(topic: str, who: str, n: int, **options: Any) -> Outgoing:
    """Return one event keyed by ``who``."""
    return Outgoing(topic, who, msgspec.json.encode(Event(who, n)), **options)
