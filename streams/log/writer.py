"""Group commit: one thread takes everything that is queued and makes it one SQLite transaction.

Futures resolve after COMMIT, so an answer means durable under the log's fsync policy. While one COMMIT
waits for the disk the next group gathers by itself: no timer, no tuning, and a single writer never waits
for others.
"""

import asyncio
import concurrent.futures
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from streams.log.errors import LogClosed, LogError, LogWriteFailed
from streams.log.positions import Positions
from streams.log.records import Batch, Body, TopicPartition, encode_body
from streams.log.schema import row_id

logger = logging.getLogger(__name__)

#: A row stays well under SQLite's cheap blob sizes, and a reader never decodes much more than it asked for.
ROW_RECORDS: Final = 4096
ROW_BYTES: Final = 1 << 20
#: A group never holds the disk for long: later requests wait for the next one.
GROUP_REQUESTS: Final = 4096

Job = Callable[[sqlite3.Connection], Any]


class Request:
    """Something to do in the next transaction, and the future of whoever waits for it."""

    __slots__ = ("batches", "future", "group", "job", "loop", "offsets", "result")

    def __init__(
        self,
        future: "asyncio.Future[Any] | concurrent.futures.Future[Any]",
        batches: Sequence[Batch] = (),
        group: str = "",
        offsets: Mapping[TopicPartition, int] | None = None,
        job: Job | None = None,
    ) -> None:
        self.future = future
        self.loop = future.get_loop() if isinstance(future, asyncio.Future) else None
        self.batches = batches
        self.group = group
        self.offsets = offsets or {}
        self.job = job
        self.result: Any = None


class Writer:
    """The thread that owns the writing connection."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        positions: Positions,
        on_appended: Callable[[set[TopicPartition]], None],
    ) -> None:
        self._connection = connection
        self._positions = positions
        self._on_appended = on_appended
        self._queue: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._closed = False
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> None:
        """Queue a request from any thread.

        Raises:
            LogClosed: the log is closed.
        """
        with self._gate:  # nothing may slip in behind the end mark
            if self._closed:
                raise LogClosed("the log is closed")
            self._queue.put(request)

    def close(self) -> None:
        """Finish what is queued and end the thread (blocking)."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        stop = False
        while not stop:
            group: list[Request] = []
            item = self._queue.get()
            while item is not None:
                group.append(item)
                if len(group) >= GROUP_REQUESTS:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            stop = item is None
            if group:
                self._perform(group)

    def _perform(self, group: list[Request]) -> None:
        try:
            touched = self._transaction(group)
        except Exception as exc:
            self._roll_back()
            if len(group) > 1:  # one bad request must not fail its neighbours
                for request in group:
                    self._perform([request])
                return
            if not isinstance(exc, LogError):
                logger.error("log write failed: %s", exc)
                failure: Exception = LogWriteFailed(str(exc))
                failure.__cause__ = exc
            else:
                failure = exc
            _answer([(group[0], failure)])
            return
        _answer([(request, None) for request in group])
        if touched:
            self._on_appended(touched)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                logger.exception("log rollback failed")

    def _transaction(self, group: list[Request]) -> set[TopicPartition]:
        ends: dict[TopicPartition, int] = {}
        pending: dict[TopicPartition, tuple[int, list[Batch]]] = {}
        committed: dict[tuple[str, TopicPartition], int] = {}
        self._connection.execute("BEGIN IMMEDIATE")
        for request in group:
            if request.job is not None:
                self._insert(pending)
                request.result = request.job(self._connection)
                continue
            bases = []
            for batch in request.batches:
                place = (batch.topic, batch.partition)
                base = ends.get(place)
                if base is None:
                    base = self._positions.ends[place]
                bases.append(base)
                ends[place] = base + len(batch)
                pending.setdefault(place, (base, []))[1].append(batch)
            request.result = bases
            for place, position in request.offsets.items():
                committed[request.group, place] = position
        self._insert(pending)
        self._advance(ends, committed)
        self._connection.execute("COMMIT")
        self._positions.ends.update(ends)
        self._positions.committed.update(committed)
        return set(ends)

    def _advance(
        self, ends: Mapping[TopicPartition, int], committed: Mapping[tuple[str, TopicPartition], int]
    ) -> None:
        ids = self._positions.ids
        if ends:
            self._connection.executemany(
                "UPDATE partition SET next = ? WHERE id = ?",
                [(end, ids[place]) for place, end in ends.items()],
            )
        if committed:
            now = time.time()
            self._connection.executemany(
                "INSERT OR REPLACE INTO committed (groop, partition_id, position, at) VALUES (?, ?, ?, ?)",
                [(name, ids[place], position, now) for (name, place), position in committed.items()],
            )

    def _insert(self, pending: dict[TopicPartition, tuple[int, list[Batch]]]) -> None:
        rows: list[tuple[int, int, int, float, int, bytes]] = []
        for place, (base, batches) in pending.items():
            for body in _rows(batches):
                count = len(body.values)
                blob, crc = encode_body(body)
                newest = max(body.timestamps) if isinstance(body.timestamps, list) else body.timestamps
                rows.append(
                    (row_id(self._positions.ids[place], base + count - 1), base, count, newest, crc, blob)
                )
                base += count
        if rows:
            self._connection.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?)", rows)
        pending.clear()


def _rows(batches: list[Batch]) -> list[Body]:
    """Merge neighbours into rows of at most ROW_RECORDS records and about ROW_BYTES."""
    rows: list[Body] = []
    current = Body([], [], [])
    size = 0
    for batch in batches:
        times = batch.timestamps if isinstance(batch.timestamps, list) else [batch.timestamps] * len(batch)
        weight = sum(map(len, filter(None, batch.values))) + sum(map(len, filter(None, batch.keys)))
        step = max(1, min(ROW_RECORDS, len(batch) * ROW_BYTES // max(weight, 1)))
        for at in range(0, len(batch), step):
            count = min(step, len(batch) - at)
            share = weight * count // len(batch)
            if current.values and (len(current.values) + count > ROW_RECORDS or size + share > ROW_BYTES):
                rows.append(current)
                current, size = Body([], [], []), 0
            _extend(current, batch, times, at, count)
            size += share
    if current.values:
        rows.append(current)
    for row in rows:  # mostly one append, so one time: store it once
        if isinstance(row.timestamps, list) and len(set(row.timestamps)) == 1:
            row.timestamps = row.timestamps[0]
    return rows


def _extend(row: Body, batch: Batch, times: list[float], at: int, count: int) -> None:
    if batch.headers is not None or row.headers is not None:
        row.headers = row.headers or [()] * len(row.values)
        row.headers += batch.headers[at : at + count] if batch.headers is not None else [()] * count
    row.keys += batch.keys[at : at + count]
    row.values += batch.values[at : at + count]
    row.timestamps += times[at : at + count]  # type: ignore[operator]  # always a list here


def _answer(outcomes: Sequence[tuple[Request, Exception | None]]) -> None:
    """Resolve futures in the loops that wait for them."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Request, Exception | None]]] = {}
    for outcome in outcomes:
        if outcome[0].loop is None:  # a thread waits
            _resolve([outcome])
        else:
            by_loop.setdefault(outcome[0].loop, []).append(outcome)
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:  # the loop is closed: nobody waits any more
            logger.debug("an answer came after its event loop closed")


def _resolve(outcomes: Sequence[tuple[Request, Exception | None]]) -> None:
    for request, failure in outcomes:
        if request.future.done():
            continue
        if failure is None:
            request.future.set_result(request.result)
        else:
            request.future.set_exception(failure)
