"""A worker that fell silent does not write over the one that took its place.

Kafka gives the partitions of a worker that sent no heartbeat for a session to another. The silent one may
only have been stopped, or cut off, and what it was about to write to a changelog is old by then: it would
be the newest record of its keys, and the next recovery would count too little. So a changelog batch leaves
only while the last heartbeat that Kafka confirmed is younger than a session. An older one waits: for the
next heartbeat, when this worker is a member still, or for the group's next generation, when it fails.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Final

from aiokafka.errors import ProducerFenced  # type: ignore[import-untyped]

from streams.log.records import TopicPartition

logger = logging.getLogger(__name__)

#: How soon a batch that waits is looked at again.
LOOK_SECONDS: Final = 0.1


class Fence:
    """Knows whether this worker is a member of its group, from the heartbeats that Kafka confirmed."""

    def __init__(
        self, session_seconds: float, is_changelog: Callable[[str], bool], generation: Callable[[], int]
    ) -> None:
        self._session_seconds = session_seconds
        self._is_changelog = is_changelog
        self._generation = generation
        self._alive_at: float | None = None
        self._begun: dict[TopicPartition, int] = {}

    def watch(self, coordinator: Any) -> None:
        """Hear of heartbeats and joins; called in the consumer's thread."""
        beat, join = coordinator._do_heartbeat, coordinator._do_rejoin_group

        async def beating() -> bool:
            asked_at = monotonic()
            taken = bool(await beat())
            if taken:
                self._alive_at = asked_at  # Kafka's session began later than this
            return taken

        async def joining(subscription: Any) -> bool:
            joined = bool(await join(subscription))
            if joined:
                self._alive_at = monotonic()
            return joined

        coordinator._do_heartbeat, coordinator._do_rejoin_group = beating, joining

    @property
    def holds(self) -> bool:
        """Whether nobody can have taken this worker's place; True before it ever joined."""
        return self._alive_at is None or monotonic() < self._alive_at + self._session_seconds

    def begin(self, places: Iterable[TopicPartition]) -> None:
        """Note that a batch for each of these is written in the present generation."""
        generation = self._generation()
        self._begun |= {place: generation for place in places if self._is_changelog(place[0])}

    def guard(self, producer: Any) -> None:
        """Have every changelog batch of a producer pass, at each try to send it."""
        sender = producer._sender
        send = sender._send_produce_req

        async def guarded(node: int, batches: dict[Any, Any]) -> None:
            held = {place: batches.pop(place) for place in [*batches] if not self._may_leave(place)}
            if batches:
                await send(node, batches)
            else:
                sender._in_flight.remove(node)
            if held:
                await self._hold(producer, held)

        sender._send_produce_req = guarded

    def _may_leave(self, place: TopicPartition) -> bool:
        return not self._is_changelog(place[0]) or (self.holds and not self._is_old(place))

    def _is_old(self, place: TopicPartition) -> bool:
        now = self._generation()
        return self._begun.get((place[0], place[1]), now) != now

    async def _hold(self, producer: Any, held: dict[Any, Any]) -> None:
        await asyncio.sleep(LOOK_SECONDS)
        for place, batch in held.items():
            if self._is_old(place):
                logger.error("a batch for %s is of a former generation of the group: not written", place)
                batch.failure(ProducerFenced("the partition may be another worker's"))
            else:
                producer._message_accumulator.reenqueue(batch)
            producer._sender._muted_partitions.remove(place)
