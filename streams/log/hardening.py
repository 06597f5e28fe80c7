"""What Faust needs to be at-least-once safe, as mixins for any transport's consumer and producer.

Each override answers a fault that was reproduced (research/faust.md section 3):

- delivery: one slice, or one event without Faust's four tasks each, and never a blocked loop or a hard
  1 s sleep when one agent's buffer is full (section 2);
- acknowledgement: the position of a partition is the first record not yet done (row 2), and a cancelled or
  crashed event is not done (row 1);
- commit: only after every buffered changelog record was delivered (row 3), never after one was lost (row 4);
- stop: waits for work only until a deadline, then nothing is committed any more (row 11);
- boot: a recovery that makes no progress is reported, repaired once, and then ends the worker (rows 7, 8).
"""

import asyncio
import sys
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final

from faust.types import TP, ConsumerMessage
from mode import Service

from streams.log.buffer import DurableBuffer
from streams.log.records import Chunk
from streams.log.recovery import watch_recovery
from streams.log.slices import RecordSchema, SliceSchema

#: How long an idle fetch waits for new records.
IDLE_SECONDS: Final = 1.0
#: How soon a full agent buffer is looked at again; a drop of its pressure wakes the fetcher earlier.
FULL_SECONDS: Final = 0.02
#: Most records and bytes of one slice: about a ms of decoding and a few of folding.
SLICE_RECORDS: Final = 4096
SLICE_BYTES: Final = 128 << 10
#: Pause between two fetches, so that a busy partition gives slices and not single records.
LINGER_SECONDS: Final = 0.02
#: Events handed out before other coroutines get the loop: about 1 ms.
QUANTUM: Final = 50
#: How long a stop waits for events of record topics: they are redelivered, so there is no need to.
MANUAL_GRACE_SECONDS: Final = 1.0
#: How long a stop waits for slices when no deadline was set.
WAIT_EMPTY_SECONDS: Final = 30.0


class AckSet(set[int]):
    """Offsets that are done. An event that ends in cancellation or a crash is not done.

    Faust acknowledges in a generator's ``finally``, whatever ended it; seen from here a crashed, cancelled
    or abandoned body is an exception being handled.
    """

    def add(self, offset: int) -> None:
        """Mark an offset as done, unless its agent is being torn down."""
        if not isinstance(sys.exc_info()[1], (GeneratorExit, asyncio.CancelledError)):
            super().add(offset)


class HardenedConsumer:
    """Mixin in front of a Faust ``Consumer``; ``_getmany`` yields a ``Chunk`` or a list of records."""

    app: Any
    _acked: Any
    _acked_index: Any
    _unacked_messages: Any
    _read_offset: Any
    _waiting_for_ack: Any
    flow_active: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._acked_index = defaultdict(AckSet)
        #: Delivered and not yet below the position, in order: first and last offset of each event.
        self._flight: defaultdict[TP, deque[tuple[int, int]]] = defaultdict(deque)
        #: Fetched and not yet delivered, because the agent's buffer was full.
        self._backlog: dict[TP, deque[tuple[int, Any]]] = {}
        self._epoch: defaultdict[TP, int] = defaultdict(int)
        self._sliced: dict[str, bool] = {}
        self._room = asyncio.Event()
        self._fetched_at = 0.0
        self.stop_deadline: float | None = None
        self.frozen = False

    # -- delivery

    async def _drain_messages(self, fetcher: Any) -> None:
        stopped, fetcher_stopped = self._stopped, fetcher._stopped  # type: ignore[attr-defined]
        while not (stopped.is_set() or fetcher_stopped.is_set()):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)  # type: ignore[attr-defined]
                continue
            await self._deliver_backlog()
            await self._fetch()
            await asyncio.sleep(0)

    async def _fetch(self) -> None:
        active = {tp for tp in self._fetchable() if tp not in self._backlog}
        timeout = FULL_SECONDS if self._backlog else IDLE_SECONDS
        if not active:
            self._room.clear()
            await _wait_at_most(self._room, FULL_SECONDS)
            return
        await asyncio.sleep(self._fetched_at + LINGER_SECONDS - monotonic())  # at once when that is over
        self._fetched_at = monotonic()
        epochs = {tp: self._epoch[tp] for tp in active}
        fetched = await self._getmany(active, timeout)  # type: ignore[attr-defined]
        generation = self.app.consumer_generation_id
        for tp, records in fetched.items():
            if len(records) and not self._is_stale(tp, epochs.get(tp, 0)):
                # behind what another fetch brought meanwhile, not in its place
                self._backlog.setdefault(tp, deque()).extend(self._unpack(tp, records, generation))
        if fetched:
            await self._deliver_backlog()

    def _is_stale(self, tp: TP, epoch: int) -> bool:
        """Tell whether a position was moved since its fetch began."""
        return self._epoch[tp] != epoch

    def _fetchable(self) -> set[TP]:
        active: set[TP] = self._get_active_partitions()  # type: ignore[attr-defined]
        if not self.app.rebalancing:
            return active
        # Faust resumes source partitions just before it seeks them: what was fetched in between would
        # be delivered twice
        changelogs = self.app.tables.changelog_topics
        return {tp for tp in active if tp.topic in changelogs}

    def _unpack(self, tp: TP, records: Any, generation: int) -> deque[tuple[int, Any]]:
        if self._is_sliced(tp.topic):
            parts = _as_chunk(tp, records).pieces(SLICE_RECORDS, SLICE_BYTES)
            return deque(_slice_message(tp, part, generation) for part in parts)
        if isinstance(records, Chunk):
            return deque(_record_messages(tp, records, generation))
        return deque((record.offset, self._to_message(tp, record)) for record in records)  # type: ignore[attr-defined]

    def _is_sliced(self, topic: str) -> bool:
        known = self._sliced.get(topic)
        if known is None:
            schemas = [channel.schema for channel in self.app.topics._topic_name_index[topic]]
            kinds = {isinstance(schema, SliceSchema) for schema in schemas}
            if len(kinds) > 1:
                raise TypeError(f"topic {topic!r} is declared both sliced and event by event")
            known = self._sliced[topic] = kinds == {True}
        return known

    async def _deliver_backlog(self) -> None:
        moved = True
        while moved and self._backlog and self.flow_active:
            moved = False
            for tp in list(self._backlog):
                moved = await self._deliver(tp) or moved

    async def _deliver(self, tp: TP) -> bool:
        """Hand out a slice, or up to QUANTUM events, of a partition; False when its agents have no room."""
        delivered = 0
        quantum = 1 if self._is_sliced(tp.topic) else QUANTUM
        channels = self.app.topics._tp_index.get(tp, ())
        tracked = self.app.topics.acks_enabled_for(tp.topic)
        epoch = self._epoch[tp]
        waiting = self._backlog.get(tp, deque())
        while waiting and delivered < quantum and self.flow_active and tp in self._active_partitions:  # type: ignore[attr-defined]
            if any(channel.queue.full() for channel in channels):
                break
            first, message = waiting.popleft()
            if tracked:
                self._flight[tp].append((first, message.offset))
            await self.callback(message)  # type: ignore[attr-defined]
            if self._epoch[tp] != epoch:
                return True
            self._read_offset[tp] = message.offset
            delivered += 1
        if delivered:
            await asyncio.sleep(0)
        if not waiting:
            self._backlog.pop(tp, None)
        return delivered > 0

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: a full buffer is seen in ``_deliver``, and the partition stays active."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Wake the fetcher: there is room again."""
        self._room.set()

    def forget(self, tp: TP) -> None:
        """Drop what was fetched or delivered of a partition: its position was moved."""
        self._epoch[tp] += 1
        self._backlog.pop(tp, None)
        self._flight.pop(tp, None)
        self._acked.pop(tp, None)
        self._acked_index.pop(tp, None)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Move positions, forgetting what was fetched before."""
        for tp in partitions:
            self.forget(tp)
        await super().seek_wait(partitions)  # type: ignore[misc]

    async def seek(self, partition: TP, offset: int) -> None:
        """Move one position, forgetting what was fetched before."""
        self.forget(partition)
        await super().seek(partition, offset)  # type: ignore[misc]

    async def perform_seek(self) -> None:
        """Go back to the committed positions, forgetting what was fetched before."""
        for tp in self._to_seek():
            self.forget(tp)
        await super().perform_seek()  # type: ignore[misc]

    def _to_seek(self) -> set[TP]:
        """Return the partitions that go back to their committed positions."""
        return set(self.assignment() - self._paused_partitions)  # type: ignore[attr-defined]

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was revoked."""
        await super().on_partitions_revoked(revoked)  # type: ignore[misc]
        self._sliced.clear()
        for tp in revoked:
            self.forget(tp)

    # -- failure

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Watch the agents of sliced topics before they get events."""
        for agent in self.app.agents.values():
            if isinstance(agent.channel.schema, SliceSchema) and agent._on_error != self._agent_failed:
                agent._on_error = self._agent_failed
        await super().on_partitions_assigned(assigned, generation_id)  # type: ignore[misc]

    async def _agent_failed(self, agent: Any, failure: BaseException) -> None:
        """End the worker when an exception leaves a slice's agent.

        Going on with the next slice would move the offsets that table values carry past this one, so it
        would be skipped when it is delivered again. Nothing more is handed out or committed.
        """
        self.log.error("agent %s failed: %r", agent.name, failure)  # type: ignore[attr-defined]
        self.frozen = True
        self.stop_flow()  # type: ignore[attr-defined]
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        await self.app.crash(failure)

    # -- position and commit

    def _new_offset(self, tp: TP) -> int | None:
        """Return the low-water mark when it has moved: everything before it is done."""
        done, flight = self._acked_index[tp], self._flight[tp]
        self._acked[tp] = []  # Faust's own list: the set above is the truth
        position = None
        while flight and flight[0][1] in done:
            position = flight.popleft()[1]
            done.discard(position)
        return None if position is None else position + 1

    def ack(self, message: Any) -> bool:
        """Mark a message as done, unless its stream skipped it because flow was suspended."""
        return bool(message.tracked and super().ack(message))  # type: ignore[misc]

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit, unless the consumer was frozen by a stop or a lost changelog record."""
        if not self._may_commit():
            return False
        return bool(await super().force_commit(topics, start_new_transaction))  # type: ignore[misc]

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # asked again: a record may have been lost while the flush before this waited
        return self._may_commit() and bool(await super()._commit(offsets))  # type: ignore[misc]

    def _may_commit(self) -> bool:
        return not self.frozen and self.app.producer.buffer.failure is None

    # -- stop

    async def wait_empty(self) -> None:
        """Wait for slices until the deadline and for single events for a moment, commit, then freeze."""
        if self.frozen:
            return
        now = monotonic()
        deadline = self.stop_deadline if self.stop_deadline is not None else now + WAIT_EMPTY_SECONDS
        manual = min(deadline, now + MANUAL_GRACE_SECONDS)
        await self.commit()  # type: ignore[attr-defined]
        while (busy := self._busy()) and monotonic() < (deadline if busy == "slices" else manual):
            await self._wait_for_ack(timeout=0.1)
        if busy:
            stuck = sorted({message.tp for message in self._unacked_messages if not message.acked})
            self.log.error("stopping with unfinished work, it will be redelivered: %s", stuck)  # type: ignore[attr-defined]
        await self.commit()  # type: ignore[attr-defined]
        if self.app.should_stop:
            # agents are cancelled after this: what they acknowledge from here on must not count
            self.frozen = True

    async def _wait_for_ack(self, timeout: float) -> None:  # noqa: ASYNC109 - Faust's signature
        acked = self._waiting_for_ack = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait([acked], timeout=timeout)
        finally:
            self._waiting_for_ack = None

    def _busy(self) -> str:
        waiting = [message for message in self._unacked_messages if not message.acked]
        if any(self._is_sliced(message.topic) or not self._is_manual(message.topic) for message in waiting):
            return "slices"
        return "manual" if waiting else ""

    def _is_manual(self, topic: str) -> bool:
        return any(
            isinstance(channel.schema, RecordSchema) for channel in self.app.topics._topic_name_index[topic]
        )

    # -- boot

    @Service.task  # type: ignore[untyped-decorator]
    async def _watch_recovery(self) -> None:
        await watch_recovery(self.app)


class HardenedProducer:
    """Mixin in front of a Faust ``Producer``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        buffer = DurableBuffer(loop=self.loop, beacon=self.beacon)  # type: ignore[attr-defined]
        buffer.app = self.app  # type: ignore[attr-defined]
        self.buffer = buffer


async def _wait_at_most(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _as_chunk(tp: TP, records: Any) -> Chunk:
    if isinstance(records, Chunk):
        return records
    rows: Sequence[Any] = records
    headers = [tuple(row.headers or ()) for row in rows]
    return Chunk(
        tp.topic,
        tp.partition,
        [row.offset for row in rows],
        [row.key for row in rows],
        [row.value for row in rows],
        [row.timestamp / 1000.0 for row in rows],
        headers if any(headers) else None,
    )


def _slice_message(tp: TP, chunk: Chunk, generation: int) -> tuple[int, Any]:
    message = ConsumerMessage(
        tp.topic,
        tp.partition,
        chunk.offsets[-1],
        chunk.timestamps[-1],
        0,
        [],
        None,
        chunk,
        None,
        tp=tp,
        generation_id=generation,
    )
    return chunk.offsets[0], message


def _record_messages(tp: TP, chunk: Chunk, generation: int) -> Sequence[tuple[int, Any]]:
    return [
        (
            record.offset,
            ConsumerMessage(
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
                generation_id=generation,
            ),
        )
        for record in chunk
    ]
