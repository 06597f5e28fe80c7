"""Faust's consumer on the embedded log.

The contract of a consumer, and the traps in it, are in research/faust.md section 1.9; numbers in comments
refer to its list.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from faust.transport.consumer import Consumer as BaseConsumer
from faust.types import TP, ConsumerMessage

from streams.log.errors import LogWriteFailed
from streams.log.hardening import HardenedConsumer
from streams.log.records import Chunk, TopicPartition
from streams.log.recovery import check_stores
from streams.log.store import EmbeddedLog
from streams.log.topics import policy_of

#: Records of one partition in one fetch, so also the most that a slice holds: a few ms of decoding.
FETCH_RECORDS: Final = 4096
#: Pause before positions that the disk refused are committed again.
COMMIT_RETRY_SECONDS: Final = 1.0


class _Cluster:
    """The one thing that Faust's assignor asks of a cluster."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(self._log.partitions(topic) or 0))


class LogConsumer(BaseConsumer):  # type: ignore[misc]
    """Reads the embedded log as the single member of its group; Faust's own loop, acks and commits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.embedded: EmbeddedLog = self.transport.log
        self._assigned: set[TP] = set()
        self._positions: dict[TP, int] = {}
        self._moves: Counter[TP] = Counter()
        self._generation = 0
        self._turn = 0
        self._new_records = asyncio.Event()
        self._unlisten: Callable[[], None] | None = None

    async def on_start(self) -> None:
        """Hear of appends."""
        self._unlisten = self.embedded.listen(self._on_appended)

    async def on_stop(self) -> None:
        """Finish as Faust does, then hear no more of the log."""
        await super().on_stop()
        if self._unlisten is not None:
            self._unlisten()

    def _on_appended(self, touched: set[TopicPartition]) -> None:
        if not self._assigned.isdisjoint(touched):
            self._new_records.set()

    # -- topics and assignment

    async def create_topic(
        self,
        topic: str,
        partitions: int,
        replication: int,
        *,
        config: Mapping[str, Any] | None = None,
        retention: float | None = None,
        compacting: bool | None = None,
        **_: Any,
    ) -> None:
        """Declare a topic in the log."""
        await self.embedded.declare(topic, partitions, policy_of(config, retention, compacting))

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take all partitions of these topics."""
        # 1: never inline, the conductor that calls this is what the rebalance waits for
        self.add_future(self._rebalance(frozenset(topics)))

    async def _rebalance(self, topics: frozenset[str]) -> None:
        app = self.app
        for topic in list(app.topics):
            await topic.maybe_declare()
        consumed = [topic for topic in topics if app.topics.acks_enabled_for(topic)]
        await self.embedded.join(app.conf.id, consumed)
        app.on_rebalance_start()  # 2: first
        await self.on_partitions_revoked(set(self._assigned))
        assigned = self._assign(topics)
        self._generation += 1
        app.consumer_generation_id = self._generation
        check_stores(app, assigned, self.highwater, self.embedded.identity)
        self._assigned = assigned
        for tp in assigned:
            self._positions.setdefault(tp, self._committed_position(tp))
        await self.on_partitions_assigned(set(assigned), self._generation)

    def _assign(self, topics: frozenset[str]) -> set[TP]:
        """Run Faust's own assignor for the one member: recovery, stores and router read its result."""
        assignor, member = self.app.assignor, self.app.conf.id
        metadata = assignor.metadata(set(topics))
        result = assignor.assign(_Cluster(self.embedded), {member: metadata})[member]
        assignor.on_assignment(result)
        return {TP(topic, number) for topic, numbers in result.assignment for number in numbers}

    def assignment(self) -> set[TP]:
        """Return the partitions of this worker."""
        return set(self._assigned)

    # -- fetching

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust's signature
    ) -> dict[TP, Chunk]:
        if not self.flow_active:  # 4
            return {}
        behind = self._behind(active_partitions or ())
        if not behind:
            self._new_records.clear()
            if not self._behind(active_partitions or ()):  # appended just before the clear
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout):
                        await self._new_records.wait()
            behind = self._behind(active_partitions or ())
        if not behind:
            return {}
        ends = {tp: self.highwater(tp) for tp in behind}
        moves = {tp: self._moves[tp] for tp in behind}
        chunks = await self.embedded.read_many(behind, FETCH_RECORDS)
        fetched = {}
        for tp in behind:
            if self._moves[tp] != moves[tp]:  # sought while reading, maybe to where it was
                continue
            chunk = chunks.get(tp)
            if chunk is None:  # the fetch was full: its turn comes
                continue
            # nothing before the end: retention took it while this was on its way
            self._positions[tp] = chunk.offsets[-1] + 1 if len(chunk) else ends[tp]
            if len(chunk):
                fetched[tp] = chunk
        return fetched

    def _behind(self, partitions: Iterable[TP]) -> dict[TP, int]:
        positions = self._positions
        behind = {tp: at for tp in partitions if (at := positions.get(tp, 0)) < self.highwater(tp)}
        if len(behind) > 1:  # a fetch may not reach all: begin elsewhere each time
            self._turn += 1
            order = list(behind.items())
            at = self._turn % len(order)
            return dict(order[at:] + order[:at])
        return behind

    def _to_message(self, tp: TP, record: Any) -> Any:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            record.timestamp,
            0,
            list(record.headers),
            record.key,
            record.value,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,  # 3
        )

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    # -- positions

    def _committed_position(self, tp: TP) -> int:
        committed = self.embedded.committed(self.app.conf.id, tp.topic, tp.partition)
        return self._clamp(tp, committed or 0)

    def _clamp(self, tp: TP, offset: int) -> int:
        return max(offset, self.embedded.earliest(tp.topic, tp.partition))  # 5

    async def _seek(self, partition: TP, offset: int) -> None:
        self._moves[TP(*partition)] += 1
        self._positions[TP(*partition)] = self._clamp(partition, offset)
        self._new_records.set()

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Move positions."""
        for tp, offset in partitions.items():
            await self._seek(tp, offset)
            if offset > 0:
                self._read_offset[tp] = offset  # 6
            else:
                self._read_offset.pop(tp, None)

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Go to the committed positions of everything that is not paused."""
        found: dict[TP, int | None] = {}
        for tp in self._assigned - self._paused_partitions:  # 7
            found[tp] = self.embedded.committed(self.app.conf.id, tp.topic, tp.partition)
            self._moves[tp] += 1
            self._positions[tp] = self._committed_position(tp)
        self._new_records.set()
        return found

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Go to the first records."""
        await self.seek_wait(dict.fromkeys(partitions, 0))

    async def position(self, tp: TP) -> int:
        """Return the next offset to fetch; never None (8)."""
        return self._positions.get(tp, 0)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit positions; while the disk is full, try again until there is space or the worker stops."""
        while True:
            try:
                await self.embedded.commit_offsets(self.app.conf.id, offsets)
            except LogWriteFailed as failure:
                if self.app.should_stop:
                    return False  # what they stand for is delivered again, and skipped
                self.log.warning("positions wait for the disk: %s", failure)
                await asyncio.sleep(COMMIT_RETRY_SECONDS)
            else:
                return True

    def highwater(self, tp: TP) -> int:
        """Return the offset that the next record will get."""
        return self.embedded.highwater(tp.topic, tp.partition)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the ends of partitions; recovery subtracts one."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the starts of partitions."""
        return {tp: self.embedded.earliest(tp.topic, tp.partition) for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        """Return the number of partitions of a topic."""
        return self.embedded.partitions(topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return the partition of a key (9: as the producer does)."""
        return partition if partition is not None else self.embedded.partition_for(topic, key)


class Consumer(HardenedConsumer, LogConsumer):
    """Reads the embedded log, hardened."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Wake the fetcher, whichever event it waits on."""
        super().on_buffer_drop(tp)
        self._new_records.set()
