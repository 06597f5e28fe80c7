"""Topics of a Kafka cluster: declared with partition count and policy, checked when they exist."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # type: ignore[import-untyped]
from aiokafka.admin.config_resource import (  # type: ignore[import-untyped]
    ConfigResource,
    ConfigResourceType,
)
from aiokafka.errors import TopicAlreadyExistsError, for_code  # type: ignore[import-untyped]

from streams.log.errors import LogError, PartitionMismatch
from streams.log.topics import DAY_SECONDS, TopicPolicy

#: Largest record a topic takes: a user's preference row with its vector is the largest of ours, 100 kB.
MAX_RECORD_BYTES: Final = 8 << 20
#: Copies of each partition, on a cluster that has as many brokers.
REPLICAS: Final = 3
#: How long a new topic may take until every partition has a leader.
CREATE_SECONDS: Final = 30.0
_MISSING: Final = 3  # UNKNOWN_TOPIC_OR_PARTITION


def config_of(policy: TopicPolicy) -> dict[str, str]:
    """Return a policy in Kafka's configuration names; forever is -1."""
    age, size = policy.retention_seconds, policy.retention_bytes
    config = {
        "cleanup.policy": "compact" if policy.compact else "delete",
        "retention.ms": str(round(age * 1000)) if age is not None else "-1",
        "retention.bytes": str(size) if size is not None else "-1",
        "max.message.bytes": str(MAX_RECORD_BYTES),
    }
    if policy.compact:
        config["delete.retention.ms"] = str(round(policy.tombstone_grace_seconds * 1000))
        # A changelog is read whole at every recovery: cleaned when a fifth of it is old, not a half
        config["min.cleanable.dirty.ratio"] = "0.2"
    return config


def policy_from(config: Mapping[str, str]) -> TopicPolicy:
    """Return what a topic's configuration says as a policy.

    >>> policy_from(config_of(TopicPolicy(retention_seconds=60.0))).retention_seconds
    60.0
    """
    age, size = int(config.get("retention.ms", -1)), int(config.get("retention.bytes", -1))
    grace = config.get("delete.retention.ms")
    return TopicPolicy(
        compact="compact" in config.get("cleanup.policy", ""),
        retention_seconds=age / 1000 if age >= 0 else None,
        retention_bytes=size if size >= 0 else None,
        tombstone_grace_seconds=int(grace) / 1000 if grace is not None else DAY_SECONDS,
    )


async def partition_counts(
    admin: AIOKafkaAdminClient, names: Iterable[str] | None = None
) -> dict[str, int | None]:
    """Return the partition count of topics (all when no names are given); None while one has no leader."""
    wanted = list(names) if names is not None else None
    counts: dict[str, int | None] = {}
    for topic in await admin.describe_topics(wanted):
        if topic["error_code"] == _MISSING or topic["is_internal"]:
            continue
        ready = topic["error_code"] == 0 and all(
            part["error_code"] == 0 and part["leader"] >= 0 for part in topic["partitions"]
        )
        counts[topic["topic"]] = len(topic["partitions"]) if ready else None
    return counts


async def declare(
    admin: AIOKafkaAdminClient, topic: str, partitions: int, policy: TopicPolicy | None, brokers: int
) -> int:
    """Create a topic, or check it and bring its configuration up to the policy; return its partitions.

    Raises:
        PartitionMismatch: it exists with another partition count.
        LogError: the cluster refuses.
    """
    existing = (await partition_counts(admin, [topic])).get(topic, 0)
    if existing == 0:
        await _create(admin, topic, partitions, policy or TopicPolicy(), brokers)
    existing = existing or await _until_led(admin, topic)
    if existing != partitions:
        raise PartitionMismatch(topic, existing, partitions)
    if policy is not None:
        await _configure(admin, topic, config_of(policy))
    return existing


async def _create(
    admin: AIOKafkaAdminClient, topic: str, partitions: int, policy: TopicPolicy, brokers: int
) -> None:
    replicas = min(REPLICAS, brokers)
    config = config_of(policy)
    if replicas == REPLICAS:
        config["min.insync.replicas"] = "2"  # with acks=all, one broker may be lost at any moment
    made = await admin.create_topics([NewTopic(topic, partitions, replicas, topic_configs=config)])
    for name, code, *reason in made.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise LogError(f"Kafka does not create topic {name!r}: {for_code(code).__name__} {reason}")


async def _until_led(admin: AIOKafkaAdminClient, topic: str) -> int:
    try:
        async with asyncio.timeout(CREATE_SECONDS):
            while not (count := (await partition_counts(admin, [topic])).get(topic)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            return count
    except TimeoutError:
        raise LogError(f"topic {topic!r} has partitions without a leader") from None


async def configuration(admin: AIOKafkaAdminClient, topics: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the configuration in force of each topic."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, Any]] = {}
    if resources:
        for response in await admin.describe_configs(resources):
            for _, _, _, name, entries in response.resources:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def _configure(admin: AIOKafkaAdminClient, topic: str, wanted: Mapping[str, str]) -> None:
    current = (await configuration(admin, [topic])).get(topic, {})
    if all(current.get(name) == value for name, value in wanted.items()):
        return
    # Kafka's AlterConfigs replaces: what an operator set besides is given along
    kept = {"min.insync.replicas": current["min.insync.replicas"]} if "min.insync.replicas" in current else {}
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, {**kept, **wanted})
    for response in await admin.alter_configs([resource]):
        for code, reason, *_ in response.resources:
            if code:
                raise LogError(f"Kafka does not configure topic {topic!r}: {reason}")
