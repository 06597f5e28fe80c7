"""Which worker holds a key of a stream table (F17, DESIGN section 7).

A worker that keeps tables learns it with its own assignment: Faust's assignor hands every member the whole
distribution with each worker's URL. A worker that keeps none asks the group's coordinator every second; what
it knows may be that old, and a worker that is asked for what it no longer holds says so.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]
from faust.types import TP

from streams.log.kafka import KafkaLog
from streams.log.kafka.members import flat, holders
from streams.log.records import TopicPartition
from tables.errors import Missing, ServiceUnavailable

log = structlog.get_logger(__name__)

ASK_SECONDS: Final = 1.0
RETRY_AFTER_SECONDS: Final = 1.0


class Ownership:
    """Answers for one worker where a key is held."""

    def __init__(self, app: Any, shared: KafkaLog, url: str, *, member: bool) -> None:
        """Args: the app that keeps the tables, its log, this worker's URL, whether the app runs here."""
        self._app = app
        self._log = shared
        self._url = url
        self._member = member
        self._seen: object = None
        self._holders: Mapping[TopicPartition, str] = {}
        self._topics = {str(t.name): str(t.changelog_topic.get_topic_name()) for t in app.tables.values()}

    def __call__(self, table: str, key: str) -> str | None:
        """Return the base URL of the worker that holds a key of a table; None: this one does.

        Raises:
            Missing: there is no such table (NOT_FOUND).
            ServiceUnavailable: partitions are moving (SERVICE_UNAVAILABLE); try again in a second.
        """
        topic = self._topic(table)
        return self._holder((topic, self._log.partition_for(topic, key.encode())))

    def _topic(self, table: str) -> str:
        if table not in self._topics:
            raise Missing(f"There is no table {table[:100]!r}.", details={"field": "name"})
        return self._topics[table]

    def _holder(self, place: TopicPartition) -> str | None:
        url = self._known().get(place)
        here = self._member and url == self._url
        if url is None or (here and not self._serves(place)):
            raise ServiceUnavailable(
                "This part of the data is moving to another worker.", retry_after_seconds=RETRY_AFTER_SECONDS
            )
        return None if here else url

    def holds(self, table: str, key: str) -> bool:
        """Tell whether this worker holds a key and may read it now."""
        try:
            return self(table, key) is None
        except ServiceUnavailable:
            return False

    def parts(self, table: str) -> Mapping[str | None, frozenset[int]]:
        """Return the partitions of a table by the worker that holds them; None stands for this one.

        Raises:
            Missing: there is no such table (NOT_FOUND).
            ServiceUnavailable: partitions are moving (SERVICE_UNAVAILABLE); try again in a second.
        """
        found: dict[str | None, set[int]] = {}
        topic = self._topic(table)
        for partition in range(self._log.partitions(topic) or 0):
            found.setdefault(self._holder((topic, partition)), set()).add(partition)
        return {url: frozenset(held) for url, held in found.items()}

    def held(self, table: str) -> frozenset[int]:
        """Return the partitions of a table that this worker holds and may read now."""
        try:
            return self.parts(table).get(None, frozenset())
        except ServiceUnavailable:
            return frozenset()

    @property
    def asks(self) -> bool:
        """Whether this worker is no member, so that ``run`` has to."""
        return not self._member

    async def run(self) -> None:
        """Keep asking the coordinator who holds what, until cancelled."""
        while True:
            try:
                self._holders = await holders(self._log.admin, self._log.group)
            except (KafkaError, OSError) as error:
                log.warning("owners_stay_as_known", error=repr(error))
            await asyncio.sleep(ASK_SECONDS)

    def _known(self) -> Mapping[TopicPartition, str]:
        if self._member:
            told = self._app.assignor.changelog_distribution
            if told is not self._seen:
                self._seen, self._holders = told, flat(told)
        return self._holders

    def _serves(self, place: TopicPartition) -> bool:
        """Tell whether a partition of ours has been recovered, and is not about to leave."""
        app, recovery = self._app, self._app.tables.recovery
        settled = not app.rebalancing and not recovery.in_recovery and recovery.completed.is_set()
        return settled and app.assignor.is_active(TP(*place))
