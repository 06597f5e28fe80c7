"""What an agent did with a slice, on Kafka: three acknowledged steps in the order of invariant 1."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from faust.types import TP

from streams.log.commit import Outgoing, TableWrite, apply_writes, changelog_batch, group_outputs
from streams.log.errors import LogError, LogWriteFailed, PartitionLost
from streams.log.kafka.log import KafkaLog
from streams.log.records import Batch

#: How long an edge waits for Kafka before it says that it could not publish. The record may still arrive:
#: whoever repeats the request repeats the event's id.
PUBLISH_SECONDS: Final = 10.0


class KafkaCommitter:
    """The ``LogWriter`` on Kafka.

    ``commit``: outputs acknowledged, then changelog acknowledged, then table stores changed. When a step
    fails nothing after it has happened and the slice can be handled again: outputs are the same and carry
    their origin, a changelog record is a whole row.
    """

    def __init__(self, app: Any, log: KafkaLog) -> None:
        self._app = app
        self._log = log
        self.turn = asyncio.Lock()
        self._running: set[asyncio.Future[None]] = set()

    async def publish(self, outputs: Sequence[Outgoing]) -> None:
        """Publish records, each partition's in order; acknowledged by all replicas when it returns.

        Raises:
            UnknownTopic: a topic was not declared; nothing was written.
            LogWriteFailed: Kafka did not take them in time; some may be there.
        """
        if not outputs:
            return
        sending = self._start(self._publish(outputs))
        done, _ = await asyncio.wait({sending}, timeout=PUBLISH_SECONDS)
        if not done:
            raise LogWriteFailed(f"Kafka did not acknowledge within {PUBLISH_SECONDS:.0f} s")
        sending.result()

    async def _publish(self, outputs: Sequence[Outgoing]) -> None:
        await self._log.append(await self._batches(outputs))

    async def commit(self, *, outputs: Sequence[Outgoing] = (), writes: Sequence[TableWrite] = ()) -> None:
        """Publish outputs, then the changelog, then change the stores; all done when it returns.

        Raises:
            UnknownTopic: a topic was not declared; nothing was written.
            LogWriteFailed: Kafka refused; no store has changed.
            PartitionLost: the table's partition belongs to another worker now; this one ends.
        """
        used = [write for write in writes if write[2]]
        changes = [changelog_batch(*write, self._log.clock()) for write in used]
        await self.start(outputs=outputs, writes=used, changes=changes)

    def start(
        self, *, outputs: Sequence[Outgoing], writes: Sequence[TableWrite], changes: Sequence[Batch]
    ) -> Awaitable[None]:
        """Begin with what ``commit`` does."""
        generation: int = self._app.consumer_generation_id
        # not cancelled with the caller: what is durable must become visible
        return asyncio.shield(self._start(self._commit(outputs, writes, changes, generation)))

    async def _commit(
        self,
        outputs: Sequence[Outgoing],
        writes: Sequence[TableWrite],
        changes: Sequence[Batch],
        generation: int,
    ) -> None:
        batches = await self._batches(outputs)
        await self._log.known({change.topic for change in changes})
        if batches:
            await self._log.append(batches)
        self._check_owned(changes, generation)
        ends = await self._log.append(changes)
        try:
            for (table, partition, values), change, end in zip(writes, changes, ends, strict=True):
                apply_writes(table, partition, values, change, end)
        except Exception as exc:
            # the changelog has it and the store has not: only a recovery brings them together
            self._crash(exc)
            raise

    async def settle(self) -> None:
        """Return when every append so far is visible in the tables."""
        if self._running:
            await asyncio.wait(set(self._running))

    def _check_owned(self, changes: Sequence[Batch], generation: int) -> None:
        """Refuse to write the changelog of a partition that went to another worker in the meantime.

        The slice is then handled there, from the state that this worker left behind. A partition that has
        come back since was another's in between, and what was folded before is old.
        """
        for change in changes:
            here = self._app.assignor.is_active(TP(change.topic, change.partition))
            if not here or generation != self._app.consumer_generation_id:
                lost = PartitionLost(f"{change.topic}[{change.partition}] is another worker's by now")
                self._crash(lost)
                raise lost

    async def _batches(self, outputs: Sequence[Outgoing]) -> list[Batch]:
        await self._log.known({item.topic for item in outputs})
        return list(group_outputs(outputs, self._log.partition_for, self._log.clock()).values())

    def _start(self, work: Any) -> "asyncio.Future[None]":
        task: asyncio.Future[None] = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Future[None]") -> None:
        self._running.discard(task)
        failure = None if task.cancelled() else task.exception()  # looked at: nobody may be waiting any more
        if isinstance(failure, LogError) and not getattr(failure.__cause__, "retriable", True):
            self._crash(failure)  # aiokafka's producer does not come back from these

    def _crash(self, failure: BaseException) -> None:
        crash = asyncio.ensure_future(self._app.crash(failure))
        self._running.add(crash)
        crash.add_done_callback(self._running.discard)
