"""aiokafka's clients, made to wait for brokers without spinning and to end when they are told to."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]
from aiokafka.errors import KafkaConnectionError  # type: ignore[import-untyped]

from streams.log.kafka.sending import BATCH_BYTES
from streams.log.kafka.topics import MAX_RECORD_BYTES

logger = logging.getLogger(__name__)

#: What a producer gets to send the rest before it is closed all the same.
FLUSH_SECONDS: Final = 3.0
#: Least pause between two looks at the cluster. A partition without a leader has aiokafka ask again at
#: once, thousands of times a second.
METADATA_SECONDS: Final = 0.1


def make_admin(servers: list[str]) -> Any:
    """Return a client for topics and groups; not started."""
    return _paced(AIOKafkaAdminClient(bootstrap_servers=servers))


def make_reader(servers: list[str]) -> Any:
    """Return a client that reads any partition, as a member of no group; not started."""
    return _paced(
        AIOKafkaConsumer(
            bootstrap_servers=servers,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=100,
        )
    )


def make_producer(servers: list[str]) -> Any:
    """Return a client that writes, idempotent and acknowledged by all replicas; not started."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        acks="all",
        # a request that is repeated is taken once: a slow broker cannot put an old changelog record
        # behind a newer one
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        max_request_size=MAX_RECORD_BYTES,
    )
    # A batch that expires for want of a leader leaves a gap in the sequence, which ends the producer when
    # the leader is back. Who waits for an answer has a deadline of its own.
    producer._message_accumulator._batch_ttl = math.inf
    return _paced(producer)


def _paced(client: Any) -> Any:
    pace_metadata(getattr(client, "client", None) or client._client)
    return client


def pace_metadata(client: Any) -> None:
    """Have a client look at the cluster at most once in ``METADATA_SECONDS``."""
    update: Callable[..., Awaitable[bool]] = client._metadata_update
    looked = -math.inf

    async def paced(*args: Any) -> bool:
        nonlocal looked
        await asyncio.sleep(looked + METADATA_SECONDS - monotonic())
        looked = monotonic()
        return await update(*args)

    client._metadata_update = paced


async def close_producer(producer: Any) -> None:
    """Close a producer; what no broker took by then fails, and nobody was told that it was taken.

    aiokafka repeats a batch of an idempotent producer for ever, and its ``stop`` waits for it.
    """
    stopping = asyncio.ensure_future(producer.stop())
    if await _ended(stopping):
        return
    logger.error("records that Kafka did not take in %.0f s are given up", FLUSH_SECONDS)
    producer._message_accumulator.fail_all(KafkaConnectionError("closed"))
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
    await producer.client.close()  # requests that are on their way fail with their connections
    await _ended(stopping)
    stopping.cancel()
    await asyncio.gather(stopping, *([sender] if sender is not None else []), return_exceptions=True)


async def _ended(stopping: "asyncio.Future[None]") -> bool:
    done, _ = await asyncio.wait({stopping}, timeout=FLUSH_SECONDS)
    failure = stopping.exception() if done and not stopping.cancelled() else None
    if failure is not None:
        logger.warning("closing the producer failed: %r", failure)
    return bool(done)
