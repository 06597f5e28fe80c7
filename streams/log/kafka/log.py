"""One Kafka cluster as a message log: topics, positions, reads and acknowledged writes."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from aiokafka import TopicPartition as KafkaPartition  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError, KafkaTimeoutError  # type: ignore[import-untyped]

from streams.log.errors import LogClosed, LogUnreachable, LogWriteFailed, UnknownTopic
from streams.log.kafka import topics as declared
from streams.log.kafka.clients import close_producer, make_admin, make_producer, make_reader
from streams.log.kafka.fencing import Fence
from streams.log.kafka.sending import send_batches
from streams.log.partitioner import partition_for
from streams.log.records import Batch, Chunk, TopicPartition
from streams.log.topics import PartitionInfo, TopicInfo, TopicPolicy

logger = logging.getLogger(__name__)
T = TypeVar("T")

SCHEME: Final = "kafka://"
#: Pause between looks at where partitions and groups stand: the age of a freshness at most.
REFRESH_SECONDS: Final = 1.0
CONNECT_SECONDS: Final = 20.0
READ_SECONDS: Final = 10.0
#: Without an answer for so long it is looked whether topics are gone.
DELETED_SECONDS: Final = 5.0
#: Most bytes that wait for Kafka's word; what comes beyond them is refused at once. About ten seconds of
#: the largest load, so memory stays bounded however long Kafka is away.
PENDING_BYTES: Final = 64 << 20
#: What a batch costs besides its records while it waits.
BATCH_OVERHEAD: Final = 2048


class KafkaLog:
    """A ``MessageLog`` on Kafka, for one event loop; clients of its own, apart from Faust's."""

    def __init__(self, servers: list[str], group: str, clock: Callable[[], float]) -> None:
        self.servers = servers
        self.group = group
        self.clock = clock
        self.identity = ""
        self._counts: dict[str, int] = {}
        self._starts: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._watched: set[str] = set()
        self._listeners: list[Callable[[set[TopicPartition]], None]] = []
        self._known_at = 0.0
        self._pending_bytes = 0
        self._fence: Fence | None = None
        self._sending: set[asyncio.Future[list[int]]] = set()
        self._brokers = 1
        self._reading = asyncio.Lock()
        self._clients: list[Any] = []
        self._refreshing: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, url: str, *, group: str, clock: Callable[[], float] = time.time) -> "KafkaLog":
        """Return the log of ``kafka://host:port[,host:port]``; ``connect`` connects.

        ``group`` is the consumer group whose positions ``committed`` knows.
        """
        names = url.removeprefix(SCHEME).strip("/").replace(";", ",").split(",")
        return cls([name if ":" in name else f"{name}:9092" for name in names if name], group, clock)

    @property
    def url(self) -> str:
        """The brokers as Faust's setting."""
        return SCHEME + ";".join(self.servers)

    async def connect(self) -> None:
        """Connect, and learn topics and positions.

        Raises:
            LogUnreachable: no broker answers.
        """
        self.admin = make_admin(self.servers)
        self.producer = make_producer(self.servers)
        self._reader = make_reader(self.servers)
        self._clients = [self.admin, self.producer, self._reader]
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                for client in self._clients:
                    await client.start()
                cluster = await self.admin.describe_cluster()
                self.identity, self._brokers = cluster["cluster_id"], len(cluster["brokers"])
                await self.learn_topics()
                await self.refresh(self._counts)
        except (KafkaError, TimeoutError, OSError) as exc:
            await self.close()
            raise LogUnreachable(f"no Kafka at {', '.join(self.servers)}: {exc}") from exc
        self._refreshing = asyncio.create_task(self._keep_fresh(), name="kafka positions")

    async def close(self) -> None:
        """Close every client; what was acknowledged stays."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
            self._refreshing = None
        clients, self._clients = self._clients, []
        if not clients:
            return
        await close_producer(self.producer)
        for sending in self._sending:
            sending.cancel()  # a producer that is closed leaves some waiting for ever
        for closing in (self._reader.stop(), self.admin.close()):
            with contextlib.suppress(KafkaError, OSError):
                await closing

    async def _asked(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except (KafkaError, OSError) as exc:
            raise LogUnreachable(f"Kafka at {', '.join(self.servers)}: {exc!r}") from exc

    # -- topics

    async def learn_topics(self, names: Iterable[str] | None = None) -> None:
        """Ask which topics there are."""
        counts = await self._asked(declared.partition_counts(self.admin, names))
        self._counts.update({name: count for name, count in counts.items() if count})

    async def declare(self, topic: str, partitions: int, policy: TopicPolicy | None = None) -> None:
        """Create a topic, or check that it has this many partitions.

        Raises:
            PartitionMismatch: it exists with another partition count, which is fixed for life.
            LogUnreachable: Kafka does not answer.
        """
        made = declared.declare(self.admin, topic, partitions, policy, self._brokers)
        self._counts[topic] = await self._asked(made)
        if (topic, 0) not in self._ends:
            await self.refresh([topic])

    def topics(self) -> list[str]:
        """Return the names of all topics, sorted."""
        return sorted(self._counts)

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None when it is unknown."""
        return self._counts.get(topic)

    def partition_for(self, topic: str, key: bytes | None) -> int:
        """Return the partition of a key. Raises UnknownTopic."""
        if topic not in self._counts:
            raise UnknownTopic(topic)
        return partition_for(key, self._counts[topic])

    # -- positions

    async def refresh(self, topics: Iterable[str]) -> None:
        """Ask where these topics and the group stand."""
        asked_at = self.clock()
        names = [name for name in topics if name in self._counts]
        seconds = DELETED_SECONDS
        while True:
            try:
                async with asyncio.timeout(seconds):
                    await self._ask_ends(names)
                break
            except TimeoutError:
                # aiokafka asks for ever about a topic that somebody has deleted; or Kafka is slow
                there = await self._asked(declared.partition_counts(self.admin, None))
                names, seconds = [name for name in names if there.get(name)], 2 * seconds
        # a group that never committed has no coordinator yet
        with contextlib.suppress(KafkaError):
            offsets = await self.admin.list_consumer_group_offsets(self.group)
            self.note_committed({place: found.offset for place, found in offsets.items()})
        self._known_at = asked_at

    async def _ask_ends(self, topics: Iterable[str]) -> None:
        places = [KafkaPartition(name, n) for name in topics for n in range(self._counts[name])]
        if places:
            self._starts.update(await self._asked(self._reader.beginning_offsets(places)))
            self._reached(await self._asked(self._reader.end_offsets(places)))

    def note_committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Learn positions of the group, such as those that this process just committed."""
        for (topic, partition), offset in offsets.items():
            self._committed[topic, partition] = offset

    def _reached(self, ends: Mapping[TopicPartition, int]) -> None:
        moved = {place for place, end in ends.items() if end > self._ends.get(place, -1)}
        self._ends.update({place: ends[place] for place in moved})
        if moved:
            for listener in list(self._listeners):
                listener(moved)

    def listen(self, listener: Callable[[set[TopicPartition]], None]) -> Callable[[], None]:
        """Call ``listener`` after appends, at once to those of this process; returns the way to end it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh(list(self._watched))
            except Exception as exc:
                logger.warning("positions stay as of %.0f: %s", self._known_at, exc)

    def positions_at(self) -> float:
        """Return the time up to which positions are known."""
        return self._known_at

    def earliest(self, topic: str, partition: int) -> int:
        """Return the first offset that may still be there."""
        return self._position(self._starts, topic, partition)

    def highwater(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get, as last asked."""
        return self._position(self._ends, topic, partition)

    def _position(self, known: dict[TopicPartition, int], topic: str, partition: int) -> int:
        if topic not in self._counts:
            raise UnknownTopic(topic)
        self._watched.add(topic)
        return known.get((topic, partition), 0)

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the next offset that the group will read, None when it never committed."""
        return self._committed.get((topic, partition)) if group == self.group else None

    # -- reading

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Chunk:
        """Return records at or after ``offset``: none when the end is reached.

        Raises:
            UnknownTopic: no such topic.
            LogUnreachable: Kafka does not answer.
        """
        if topic not in self._counts:
            raise UnknownTopic(topic)
        rows = await self._asked(self._rows(KafkaPartition(topic, partition), offset, max_records))
        headers = [tuple(row.headers) for row in rows]
        return Chunk(
            topic,
            partition,
            [row.offset for row in rows],
            [row.key for row in rows],
            [row.value for row in rows],
            [row.timestamp / 1000.0 for row in rows],
            headers if any(headers) else None,
        )

    async def _rows(self, place: KafkaPartition, offset: int, limit: int) -> list[Any]:
        # one deadline for all of it: aiokafka asks a partition without a leader for ever
        async with self._reading, asyncio.timeout(READ_SECONDS):
            offset = max(offset, (await self._reader.beginning_offsets([place]))[place])
            end = (await self._reader.end_offsets([place]))[place]
            return await self._fetch(place, offset, end, limit) if offset < end else []

    async def _fetch(self, place: KafkaPartition, offset: int, end: int, limit: int) -> list[Any]:
        rows: list[Any] = []
        self._reader.assign([place])
        self._reader.seek(place, offset)
        try:
            while not rows and await self._reader.position(place) < end:
                found = await self._reader.getmany(place, timeout_ms=200, max_records=limit)
                rows = found.get(place, rows)
        finally:
            self._reader.unsubscribe()  # else it goes on fetching ahead
        return rows

    async def describe(self) -> list[TopicInfo]:
        """Return every topic; records are counted by offsets, sizes are not known."""
        await self.learn_topics()
        await self.refresh(self._counts)
        names = self.topics()
        config = await self._asked(declared.configuration(self.admin, names))
        return [
            TopicInfo(
                name=name,
                policy=declared.policy_from(config.get(name, {})),
                partitions=[self._partition(name, number) for number in range(self._counts[name])],
            )
            for name in names
        ]

    def _partition(self, topic: str, number: int) -> PartitionInfo:
        place = (topic, number)
        start, end = self._starts.get(place, 0), self._ends.get(place, 0)
        committed = self._committed.get(place)
        return PartitionInfo(
            number=number,
            start=start,
            end=end,
            records=end - start,
            size_bytes=0,
            committed={} if committed is None else {self.group: committed},
        )

    # -- writing

    async def known(self, topics: Iterable[str]) -> None:
        """Make sure that topics exist.

        Raises:
            UnknownTopic: one was never declared.
        """
        unknown = {topic for topic in topics if topic not in self._counts}
        if unknown:
            await self.learn_topics(unknown)
        for topic in unknown:
            if topic not in self._counts:
                raise UnknownTopic(topic)

    def guard(self, fence: Fence) -> None:
        """Have changelogs written only while the worker is a member of its group."""
        self._fence = fence
        fence.guard(self.producer)

    async def append(self, batches: Iterable[Batch]) -> list[int]:
        """Append batches of known topics; returns the offset of each one's last record, acknowledged by all.

        Raises:
            LogWriteFailed: Kafka refused, or took too long; some records may be there. Or more than
                ``PENDING_BYTES`` wait already; then nothing was sent.
            LogClosed: after ``close``.
        """
        if not self._clients:
            raise LogClosed("the connection to Kafka is closed")
        sent = list(batches)
        size = sum(map(_size, sent))
        if self._pending_bytes and self._pending_bytes + size > PENDING_BYTES:
            raise LogWriteFailed("Kafka is behind: too much waits for it already")
        if self._fence is not None:
            self._fence.begin((batch.topic, batch.partition) for batch in sent)
        self._pending_bytes += size
        sending = asyncio.ensure_future(send_batches(self.producer, sent))
        self._sending.add(sending)
        try:
            last = await sending
        except asyncio.CancelledError:
            if self._clients:
                raise
            raise LogClosed("the connection to Kafka was closed meanwhile") from None
        except LogWriteFailed as failure:
            if isinstance(failure.__cause__, KafkaTimeoutError):
                # never sent: it waited behind others for a broker, so the producer may go on
                raise LogWriteFailed("no broker took what waits before it") from None
            raise
        finally:
            self._sending.discard(sending)
            self._pending_bytes -= size
        self._reached({(batch.topic, batch.partition): at + 1 for batch, at in zip(sent, last, strict=True)})
        return last


def _size(batch: Batch) -> int:
    return BATCH_OVERHEAD + sum(
        len(key or b"") + len(value or b"") for key, value in zip(batch.keys, batch.values, strict=True)
    )
