"""Records on their way to Kafka: as few produce batches as fit, one partition after its own order.

aiokafka's ``send`` costs 8 us a record, a batch that is built at once 0.8 us (research/faust.md 2.5).
"""

import asyncio
from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final

from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from streams.log.errors import LogWriteFailed
from streams.log.kafka.topics import MAX_RECORD_BYTES
from streams.log.records import Batch

#: Largest produce batch that is put together; a broker's default limit is 1,048,588 bytes.
BATCH_BYTES: Final = 1_000_000
#: Kafka's own bytes around one record: lengths, offset and timestamp deltas, batch header.
RECORD_OVERHEAD: Final = 256


class RecordTooLarge(ValueError):
    """A record is larger than any topic takes: trying again is of no use."""


async def send_batches(producer: Any, batches: Sequence[Batch]) -> list[int]:
    """Send batches of different partitions side by side; return the last offset of each.

    Raises:
        RecordTooLarge: one record does not fit; nothing was sent.
        LogWriteFailed: Kafka refused one; others may have been taken.
    """
    built = [_build(producer, batch) for batch in batches]
    sent = [_send(producer, batch, parts) for batch, parts in zip(batches, built, strict=True)]
    done = await asyncio.gather(*sent, return_exceptions=True)
    for failure in done:
        if isinstance(failure, KafkaError):
            raise LogWriteFailed(f"Kafka did not take a batch: {failure!r}") from failure
        if isinstance(failure, BaseException):
            raise failure
    return [offset for offset in done if isinstance(offset, int)]


async def _send(producer: Any, batch: Batch, builders: list[Any]) -> int:
    futures = [
        await producer.send_batch(builder, batch.topic, partition=batch.partition) for builder in builders
    ]
    placed = await asyncio.gather(*futures)
    return int(placed[-1].offset) + int(builders[-1].record_count()) - 1


def _build(producer: Any, batch: Batch) -> list[Any]:
    for key, value in zip(batch.keys, batch.values, strict=True):
        if len(key or b"") + len(value or b"") + RECORD_OVERHEAD > MAX_RECORD_BYTES:
            raise RecordTooLarge(f"a record of {len(value or b'')} bytes for {batch.topic!r} is too large")
    builder = producer.create_batch()
    builders = [builder]
    times = batch.timestamps
    stamps = [int(at * 1000) for at in times] if isinstance(times, list) else repeat(int(times * 1000))
    headers = batch.headers if batch.headers is not None else repeat(())
    for key, value, stamp, names in zip(batch.keys, batch.values, stamps, headers, strict=False):
        if builder.append(timestamp=stamp, key=key, value=value, headers=list(names)) is None:
            builder = producer.create_batch()
            builders.append(builder)
            builder.append(timestamp=stamp, key=key, value=value, headers=list(names))
    for made in builders:
        made.close()
    return builders
