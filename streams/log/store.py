"""The embedded log: durable topics for one process, in one SQLite file (DESIGN section 6)."""

import asyncio
import contextlib
import fcntl
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import msgspec

from streams.log.describe import describe
from streams.log.errors import LogClosed, LogError, LogLocked, PartitionMismatch, UnknownTopic
from streams.log.partitioner import partition_for
from streams.log.positions import Positions
from streams.log.reader import TOTAL_BYTES, read_chunk
from streams.log.records import Batch, Chunk, Headers, TopicPartition
from streams.log.schema import Fsync, connect, declare_topic, fault, prepare
from streams.log.topics import TopicInfo, TopicPolicy
from streams.log.upkeep import Upkeep
from streams.log.writer import Job, Request, Writer

Listener = Callable[[set[TopicPartition]], None]


class EmbeddedLog:
    """Topics with partitions, dense offsets, groups and their positions.

    Everything asynchronous is off the loop: one writer thread, one reader thread. Safe to use from several
    loops. ``open`` blocks for some milliseconds and belongs in start-up code.
    """

    def __init__(self, path: Path, fsync: Fsync, clock: Callable[[], float], *, read_only: bool) -> None:
        self.path = path
        self.fsync = fsync
        self.read_only = read_only
        self.clock = clock
        self.identity = ""
        self._topics: dict[str, tuple[int, int, TopicPolicy]] = {}  # name -> id, partitions, policy
        self._positions = Positions()
        self._listeners: list[tuple[asyncio.AbstractEventLoop, Listener]] = []
        self._lock: IO[bytes] | None = None
        self._writer: Writer | None = None
        self._upkeep: Upkeep | None = None
        self._closed = False
        self._writing: sqlite3.Connection | None = None
        self._reading: sqlite3.Connection | None = None
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="log-reader")

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        fsync: Fsync = "commit",
        read_only: bool = False,
        upkeep_seconds: float | None = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> "EmbeddedLog":
        """Open the log at ``path``, creating it when absent.

        ``fsync="commit"``: every acknowledged append was fsynced. ``"os"``: it survives ``kill -9``, not a
        power cut. ``read_only`` works beside a running server. ``upkeep_seconds`` is the pause between
        rounds of compaction and retention, None for none.

        Raises:
            LogLocked: another process writes it.
            LogCorrupt: it is damaged; it is left as found.
        """
        log = cls(Path(path), fsync, clock, read_only=read_only)
        try:
            log._open()
        except BaseException:
            log.close_now()
            raise
        if not read_only and upkeep_seconds is not None:
            log.upkeep.start(upkeep_seconds)
        return log

    def _open(self) -> None:
        if self.read_only:
            if not self.path.is_file():
                raise LogError(f"{self.path}: no such log")
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            self._writing = prepare(self.path, self.fsync)
            self._writer = Writer(self._writing, self._positions, self._appended)
        try:
            self._reading = connect(self.path, read_only=True)
            self._load(self._reading)
        except sqlite3.DatabaseError as exc:
            raise fault(self.path, exc) from exc

    def _take_lock(self) -> None:
        # kept open as long as the log: the kernel releases the lock when the process dies
        self._lock = self.path.with_name(self.path.name + ".lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self._lock.close()
            self._lock = None
            raise LogLocked(f"{self.path}: another process has this log open") from exc

    def _load(self, connection: sqlite3.Connection) -> None:
        positions = self._positions
        names: dict[int, TopicPartition] = {}
        self.identity = connection.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()[0]
        for key, name, count, policy in connection.execute("SELECT id, name, partitions, policy FROM topic"):
            self._topics[name] = (key, count, msgspec.json.decode(policy, type=TopicPolicy))
        topics = {key: name for name, (key, _, _) in self._topics.items()}
        for key, topic, number, start, end in connection.execute(
            "SELECT id, topic_id, number, start, next FROM partition"
        ):
            place = names[key] = (topics[topic], number)
            positions.ids[place], positions.starts[place], positions.ends[place] = key, start, end
        for group, key, position in connection.execute("SELECT groop, partition_id, position FROM committed"):
            positions.committed[group, names[key]] = position

    # -- topics

    async def connect(self) -> None:
        """Do nothing: ``open`` did it all."""

    async def declare(self, topic: str, partitions: int, policy: TopicPolicy | None = None) -> None:
        """Create a topic, or check that it is the one that exists.

        A changed policy takes effect; None leaves it, or gives a new topic the default.

        Raises:
            PartitionMismatch: it exists with another number of partitions.
        """
        if partitions < 1:
            raise ValueError(f"topic {topic!r} needs at least one partition")
        known = self._topics.get(topic)
        if known is not None and known[1] != partitions:
            raise PartitionMismatch(topic, known[1], partitions)
        if known is None or (policy is not None and known[2] != policy):
            wanted = policy or TopicPolicy()
            # what the job finds is remembered only now that it is committed
            key, numbers = await self._run(lambda writing: declare_topic(writing, topic, partitions, wanted))
            for number, identity in numbers.items():
                self._positions.ids[topic, number] = identity
                self._positions.starts.setdefault((topic, number), 0)
                self._positions.ends.setdefault((topic, number), 0)
            self._topics[topic] = (key, partitions, wanted)

    def topics(self) -> list[str]:
        """Return the names of all topics, sorted."""
        return sorted(self._topics)

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None when it is unknown."""
        known = self._topics.get(topic)
        return None if known is None else known[1]

    def policy(self, topic: str) -> TopicPolicy:
        """Return a topic's policy. Raises UnknownTopic."""
        return self._known(topic)[2]

    def _known(self, topic: str) -> tuple[int, int, TopicPolicy]:
        try:
            return self._topics[topic]
        except KeyError:
            raise UnknownTopic(topic) from None

    def partition_for(self, topic: str, key: bytes | None) -> int:
        """Return the partition that a key of this topic belongs to. Raises UnknownTopic."""
        return partition_for(key, self._known(topic)[1])

    # -- writing

    async def append(
        self,
        topic: str,
        partition: int,
        values: Sequence[bytes | None],
        *,
        keys: Sequence[bytes | None] | None = None,
        headers: list[Headers] | None = None,
    ) -> int:
        """Append records to one partition; return the offset of the first. Durable when it returns."""
        names: list[bytes | None] = list(keys) if keys is not None else [None] * len(values)
        bases = await self.transact([Batch(topic, partition, names, list(values), self.clock(), headers)])
        return bases[0]

    async def transact(
        self,
        batches: Sequence[Batch],
        offsets: Mapping[TopicPartition, int] | None = None,
        *,
        group: str = "",
    ) -> list[int]:
        """Append to any number of partitions and move a group's positions, all or nothing.

        Returns the first offset of each batch, once durable.

        Raises:
            UnknownTopic, ValueError: nothing was written.
            LogWriteFailed: the disk refused; nothing was written.
        """
        return await self.submit(batches, offsets, group=group)

    def submit(
        self,
        batches: Sequence[Batch],
        offsets: Mapping[TopicPartition, int] | None = None,
        *,
        group: str = "",
    ) -> "asyncio.Future[list[int]]":
        """Queue what ``transact`` does and return its future; order of calls is order in the log."""
        for batch in batches:
            self._validate(batch)
        for place in offsets or ():
            self._place(*place)
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.writer.submit(Request(future, batches, group, offsets))
        return future

    def _validate(self, batch: Batch) -> None:
        self._place(batch.topic, batch.partition)
        count = len(batch.values)
        if not count:
            raise ValueError("an empty batch cannot be appended")
        if len(batch.keys) != count or (batch.headers is not None and len(batch.headers) != count):
            raise ValueError("keys, values and headers of a batch differ in number")
        for column in (batch.keys, batch.values):
            if not all(item is None or type(item) is bytes for item in column):
                raise TypeError("keys and values of the log are bytes or None")

    def _place(self, topic: str, partition: int) -> TopicPartition:
        if not 0 <= partition < self._known(topic)[1]:
            raise ValueError(f"topic {topic!r} has no partition {partition}")
        return (topic, partition)

    @property
    def writer(self) -> Writer:
        """The writer. Raises LogClosed."""
        if self._writer is None or self._closed:
            raise LogClosed("the log is closed" if self._closed else "the log is open for reading only")
        return self._writer

    async def _run(self, job: Job) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.writer.submit(Request(future, job=job))
        return await future

    # -- groups

    async def commit_offsets(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Remember the next offset that a group will read in each partition; durable when it returns."""
        await self.submit([], offsets, group=group)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the next offset that a group will read, None when it never committed."""
        return self._positions.committed.get((group, (topic, partition)))

    async def join(self, group: str, topics: Iterable[str]) -> None:
        """Register a group on topics, so that retention waits for it from the first record on."""
        missing = {
            place: self._positions.starts[place]
            for topic in topics
            for place in ((topic, number) for number in range(self._known(topic)[1]))
            if (group, place) not in self._positions.committed
        }
        if missing:
            await self.commit_offsets(group, missing)

    # -- reading

    def positions_at(self) -> float:
        """Return the time up to which positions are known: now."""
        return self.clock()

    def earliest(self, topic: str, partition: int) -> int:
        """Return the first offset that may still be there."""
        return self._positions.starts[self._place(topic, partition)]

    def highwater(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""
        return self._positions.ends[self._place(topic, partition)]

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Chunk:
        """Return records at or after ``offset`` (clamped to the start): none when the end is reached.

        Raises:
            UnknownTopic: no such topic.
            LogCorrupt: stored records do not match their checksum.
        """
        chunks = await self.read_many({(topic, partition): offset}, max_records)
        return chunks[topic, partition]

    async def read_many(
        self, offsets: Mapping[TopicPartition, int], max_records: int
    ) -> dict[TopicPartition, Chunk]:
        """Read up to ``max_records`` of each partition, in this order, until the fetch is full.

        A partition with nothing new has an empty chunk; one that the fetch did not reach has none.
        """
        places = {self._place(*place): offset for place, offset in offsets.items()}
        if self._closed:
            raise LogClosed("the log is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self.read_now, places, max_records)

    def read_now(
        self, offsets: Mapping[TopicPartition, int], max_records: int
    ) -> dict[TopicPartition, Chunk]:
        """Do the blocking part of ``read_many`` (reader thread only)."""
        found: dict[TopicPartition, Chunk] = {}
        reading, total = self._reader(), 0
        for place, offset in offsets.items():
            key = self._positions.ids[place]
            found[place], size = read_chunk(reading, place, key, max(0, offset), max_records)
            total += size
            if total >= TOTAL_BYTES:
                break
        return found

    def _reader(self) -> sqlite3.Connection:
        if self._reading is None or self._closed:
            raise LogClosed("the log is closed")
        return self._reading

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(partitions)`` in this loop after each append; returns the way to end it."""
        entry = (asyncio.get_running_loop(), listener)
        self._listeners.append(entry)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(entry)

        return end

    def _appended(self, touched: set[TopicPartition]) -> None:
        for loop, listener in list(self._listeners):
            with contextlib.suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(listener, touched)

    # -- operators

    async def describe(self) -> list[TopicInfo]:
        """Return every topic with sizes, offsets and the position of every group."""
        if self._closed:
            raise LogClosed("the log is closed")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._describe_now)

    def _describe_now(self) -> list[TopicInfo]:
        return describe(self._reader(), {n: (c, p) for n, (_, c, p) in self._topics.items()}, self._positions)

    def partition_key(self, place: TopicPartition) -> int:
        """Return what a partition is called inside the file."""
        return self._positions.ids[place]

    def group_positions(self, place: TopicPartition) -> list[int]:
        """Return the next offset of every group on a partition."""
        return list(self._positions.groups(place).values())

    def moved_start(self, place: TopicPartition, start: int) -> None:
        """Learn that records before ``start`` were removed."""
        self._positions.starts[place] = start

    @property
    def upkeep(self) -> Upkeep:
        """Compaction and retention of this log."""
        if self._upkeep is None:
            self._upkeep = Upkeep(self)
        return self._upkeep

    async def close(self) -> None:
        """Write what is queued and close. Idempotent."""
        await asyncio.get_running_loop().run_in_executor(None, self.close_now)

    def close_now(self) -> None:
        """Do what ``close`` does, blocking."""
        if self._closed:
            return
        self._closed = True
        if self._upkeep is not None:
            self._upkeep.stop()
        if self._writer is not None:
            self._writer.close()
        self._readers.shutdown(wait=True)
        if self._reading is not None:
            self._reading.close()
        if self._writing is not None:
            self._writing.close()  # the last to close: it empties the WAL into the file
        if self._lock is not None:
            self._lock.close()
