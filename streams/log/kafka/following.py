"""Reading whole topics and what is added to them, without a group: for copies of tables owned elsewhere."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from streams.log.records import Chunk
from streams.log.records import TopicPartition as Place

logger = logging.getLogger(__name__)

#: Most records of one chunk, and how long a fetch waits for new ones.
CHUNK_RECORDS: Final = 2_000
WAIT_MS: Final = 500
RETRY_SECONDS: Final = 1.0


async def follow_topics(
    servers: list[str], partitions: Mapping[str, int], since: dict[Place, int]
) -> AsyncIterator[Chunk]:
    """Yield the records of topics for ever, each partition's in order, from where ``since`` says.

    Args:
        servers: addresses of brokers.
        partitions: how many partitions each topic has.
        since: next offset of each partition, the start where there is none; moved on behind each chunk
            that was taken, so that a connection that broke is taken up again there.
    """
    while True:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        try:
            await consumer.start()
            await _assign(consumer, partitions, since)
            while True:
                fetched = await consumer.getmany(timeout_ms=WAIT_MS, max_records=CHUNK_RECORDS)
                for place, rows in fetched.items():
                    yield _chunk(place, rows)
                    since[place.topic, place.partition] = rows[-1].offset + 1
        except (KafkaError, OSError) as error:
            logger.warning("following waits for Kafka: %r", error)
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            await consumer.stop()


async def _assign(consumer: Any, partitions: Mapping[str, int], since: Mapping[Place, int]) -> None:
    places = [TopicPartition(name, number) for name, count in partitions.items() for number in range(count)]
    consumer.assign(places)
    starts = await consumer.beginning_offsets(places)
    for place in places:
        consumer.seek(place, max(starts[place], since.get((place.topic, place.partition), 0)))


def _chunk(place: Any, rows: Iterable[Any]) -> Chunk:
    taken = list(rows)
    return Chunk(
        place.topic,
        place.partition,
        [row.offset for row in taken],
        [row.key for row in taken],
        [row.value for row in taken],
        [row.timestamp / 1000.0 for row in taken],
        None,
    )
