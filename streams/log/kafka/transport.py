"""The ``kafka://`` transport: Faust's aiokafka driver, hardened.

The driver keeps aiokafka's consumer in a thread with a loop of its own, so that a busy main loop cannot
miss a heartbeat. What was fetched and where the consumer was sent can therefore cross on their way: moves
are numbered, every fetch carries the newest that its thread had made of each partition, and counts only
when that is the newest asked for.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.log.errors import WorkerExpelled
from streams.log.hardening import HardenedConsumer, HardenedProducer
from streams.log.kafka.clients import pace_metadata
from streams.log.kafka.fencing import Fence
from streams.log.kafka.log import KafkaLog
from streams.log.recovery import check_stores
from streams.log.topics import policy_of

SCHEME: Final = "kafka"
#: Pause after a fetch that its thread's end cut off, so that nothing spins until the stop gets here.
THREAD_ENDED_SECONDS: Final = 0.05
#: A fetch that is stale by one of these is dropped: the worker's generation, newest move of the partition.
Stamp = tuple[int, int]


def register() -> None:
    """Put this transport in the place of Faust's for ``kafka://``. Idempotent."""
    TRANSPORTS.aliases[SCHEME] = "streams.log.kafka.transport:Transport"


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """aiokafka's consumer in its thread, which knows the newest move that it made of each partition."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.moved: dict[TP, int] = {}

    async def on_start(self) -> None:
        """Start the consumer, and hear of it when it leaves its group for good."""
        await super().on_start()
        pace_metadata(self._consumer._client)
        self.consumer.fence.watch(self._consumer._coordinator)
        watch_coordination(self._consumer._coordinator, self._consumer_died)
        watch_name(self._consumer._coordinator, self.consumer.fence, self._consumer_died)

    def _consumer_died(self, failure: BaseException) -> None:
        """End the worker: called in the thread, by a consumer that gets nothing any more."""
        main: asyncio.AbstractEventLoop = self.parent_loop

        def crash() -> None:
            self._dying = asyncio.ensure_future(self.app.crash(failure))

        main.call_soon_threadsafe(crash)

    def _create_worker_consumer(self, transport: Any) -> Any:
        conf = self.app.conf
        if conf.consumer_group_instance_id:
            conf.consumer_group_instance_id = f"{conf.consumer_group_instance_id}-{_shape(self.app)}"
        return super()._create_worker_consumer(transport)

    async def move(self, partitions: Mapping[TP, int], number: int) -> None:
        """Go to offsets."""
        await self.call_thread(self._move, partitions, number)

    async def _move(self, partitions: Mapping[TP, int], number: int) -> None:
        due = self._due(partitions, number)
        await self._seek_wait(self._ensure_consumer(), {tp: partitions[tp] for tp in due})

    async def seek_sources(self, partitions: list[TP], number: int) -> dict[TP, int | None]:
        """Go to the committed positions of partitions, to the start where there is none."""
        return cast(dict[TP, int | None], await self.call_thread(self._seek_sources, partitions, number))

    async def _seek_sources(self, partitions: list[TP], number: int) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        places = [driver.ensure_aiokafka_TP(tp) for tp in partitions]
        found = await asyncio.gather(*(consumer.committed(place) for place in places))
        starts = await consumer.beginning_offsets(places) if places else {}
        committed = dict(zip(partitions, found, strict=True))
        for tp in self._due(partitions, number):
            place, offset = driver.ensure_aiokafka_TP(tp), committed[tp]
            consumer.seek(place, offset if offset is not None else starts[place])
        return committed

    def _due(self, partitions: Iterable[TP], number: int) -> list[TP]:
        """Note a move; returns the partitions for which no newer one has overtaken it.

        In one loop step with the seeks that follow.
        """
        due = [tp for tp in partitions if self.moved.get(tp, 0) < number]
        self.moved.update(dict.fromkeys(due, number))
        return due

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> dict[TP, tuple[Stamp, Any]]:
        fetched = await super()._fetch_records(*args, **kwargs)
        generation = self.app.consumer_generation_id
        return {
            TP(*place): ((generation, self.moved.get(TP(*place), 0)), records)
            for place, records in fetched.items()
        }


def watch_coordination(coordinator: Any, died: Callable[[BaseException], None]) -> None:
    """Call ``died`` when a consumer stops taking part in its group.

    aiokafka tells an error of the group, such as another worker under this one's name, to whoever fetches
    at that moment, and then waits for a new subscription. Nobody may be fetching, so that the worker looks
    alive and never gets a record again (research/faust.md section 3, row 10).
    """
    tell = coordinator._push_error_to_user

    async def told(failure: Exception) -> None:
        died(WorkerExpelled(f"the consumer group refused this worker: {failure!r}"))
        await tell(failure)

    def ended(task: "asyncio.Task[None]") -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            died(WorkerExpelled(f"the consumer left its group: {failure!r}"))

    coordinator._push_error_to_user = told
    coordinator._coordination_task.add_done_callback(ended)


def watch_name(coordinator: Any, fence: Fence, died: Callable[[BaseException], None]) -> None:
    """Call ``died`` when a worker with a name is unknown to its group though it was never silent.

    Another process has joined under the name. aiokafka would join again, which throws the other one out,
    and so on for ever.
    """
    forget, name = coordinator.reset_generation, coordinator._group_instance_id

    def forgetting() -> None:
        if name and coordinator.member_id and fence.holds and not coordinator._closing.done():
            died(WorkerExpelled(f"another process runs under the name {name!r}"))
        forget()

    coordinator.reset_generation = forgetting


class KafkaConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer on Kafka, for the log given by ``use_log``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kafka: KafkaLog = self.transport.log
        app = self.app
        self.fence = Fence(
            app.conf.broker_session_timeout,
            lambda topic: topic in app.tables.changelog_topics,
            lambda: app.consumer_generation_id,
        )
        self.kafka.guard(self.fence)
        self._asked: dict[TP, int] = {}
        self._moves = 0

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

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
        """Declare a topic; raises PartitionMismatch."""
        await self.kafka.declare(topic, partitions, policy_of(config, retention, compacting))

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Declare every topic, then join the group.

        A topic that is missing when a worker joins is never assigned (research/faust.md 2.5).
        """
        for topic in list(self.app.topics):
            await topic.maybe_declare()
        await super().subscribe(topics)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust's signature
    ) -> dict[TP, Any]:
        try:
            fetched = await super()._getmany(active_partitions, timeout)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # the thread ended under this fetch: a stop, no failure of the fetcher (Faust takes it for one)
            await asyncio.sleep(THREAD_ENDED_SECONDS)
            return {}
        generation = self.app.consumer_generation_id
        return {
            tp: records
            for tp, (stamp, records) in fetched.items()
            if stamp == (generation, self._asked.get(tp, 0))
        }

    def _next_move(self, partitions: Iterable[TP]) -> int:
        """Return the number of a move, from now on the newest of these partitions.

        Numbers, and no counts: a rebalance cancels moves, and those the thread has not begun it never makes.
        """
        self._moves += 1
        self._asked.update(dict.fromkeys(partitions, self._moves))
        return self._moves

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Move positions."""
        await cast(ConsumerThread, self._thread).move(partitions, self._next_move(partitions))

    async def _seek(self, partition: TP, offset: int) -> None:
        await self.seek_wait({partition: offset})

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Go to the committed positions of the sources that are not paused.

        Faust's driver stays where it is when nothing was committed, which skips what was fetched.
        """
        sources: list[TP] = sorted(self._to_seek())
        thread = cast(ConsumerThread, self._thread)
        return await thread.seek_sources(sources, self._next_move(sources))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        done = bool(await super()._commit(offsets))
        if done:
            self.kafka.note_committed(offsets)
        return done

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Check local stores against the log before recovery trusts them."""
        changelogs = {tp for tp in assigned if tp.topic in self.app.tables.changelog_topics}
        ends = await self.highwaters(*changelogs) if changelogs else {}
        check_stores(self.app, changelogs, lambda tp: ends[tp], self.kafka.identity)
        await super().on_partitions_assigned(assigned, generation_id)


class Consumer(HardenedConsumer, KafkaConsumer):
    """Reads Kafka, hardened."""

    def _is_stale(self, tp: TP, epoch: int) -> bool:
        return False  # seen by the stamps, which know what happened in the thread

    def _to_seek(self) -> set[TP]:
        # changelogs of standbys go on while the sources are sought
        waiting = self.assignment() - self._paused_partitions
        return {tp for tp in waiting if tp.topic not in self.app.tables.changelog_topics}

    async def _deliver(self, tp: TP) -> bool:
        # a fetch from before a rebalance may end during it: agents get nothing until tables are recovered
        if self.app.rebalancing and tp.topic not in self.app.tables.changelog_topics:
            return False
        return await super()._deliver(tp)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done before Faust forgets it, then let go."""
        await self.commit()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin anew with what is assigned: all of it is sought before it is read."""
        for tp in {*self._backlog, *self._flight}:
            self.forget(tp)
        await super().on_partitions_assigned(assigned, generation_id)


class KafkaProducer(driver.Producer):  # type: ignore[misc]
    """Faust's producer on Kafka: tables written event by event, and topics' own ``send``."""

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

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
        """Declare a topic; raises PartitionMismatch."""
        await self.transport.log.declare(topic, partitions, policy_of(config, retention, compacting))


class Producer(HardenedProducer, KafkaProducer):
    """Writes Kafka, hardened."""


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's Kafka transport over the log given by ``use_log``."""

    Consumer = Consumer
    Producer = Producer

    @property
    def log(self) -> KafkaLog:
        """The log that was given."""
        given = getattr(self.app, "message_log", None)
        if not isinstance(given, KafkaLog):
            raise TypeError("no Kafka log: call use_log(app, log) before the app starts")
        return given


def _shape(app: Any) -> str:
    """Return a digest of what an app consumes and keeps.

    Kafka gives a worker that comes back under its name what it had, whatever it subscribes to by now. So a
    worker whose topics, tables or partitions changed comes under another name and the group is balanced.
    """
    consumed = {
        (name, agent.channel.partitions) for agent in app.agents.values() for name in agent.channel.topics
    }
    kept = {(table.name, table.partitions) for table in app.tables.values()}
    return hashlib.sha256(repr((sorted(consumed), sorted(kept))).encode()).hexdigest()[:8]
