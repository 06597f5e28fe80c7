"""Who holds which changelog partition, seen from outside the group (F17).

A member learns it from its own assignment. A worker that runs no agents asks the group's coordinator: the
assignment that Faust's assignor gave each member carries the whole distribution with the workers' URLs.
"""

import zlib
from collections.abc import Mapping
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment  # type: ignore[import-untyped]
from faust.assignor.client_assignment import ClientMetadata

from streams.log.records import TopicPartition

STABLE = "Stable"


async def holders(admin: Any, group: str) -> dict[TopicPartition, str]:
    """Return the URL of the worker that holds each changelog partition; empty while partitions move.

    Raises:
        KafkaError: nobody answers.
    """
    for response in await admin.describe_consumer_groups([group]):
        for described in response.groups:
            _, _, state, _, _, members, *_ = described
            if state != STABLE:
                return {}
            for *_, assignment in members:
                data = ConsumerProtocolMemberAssignment.decode(assignment).user_data
                metadata = ClientMetadata.loads(zlib.decompress(data))
                return flat(metadata.changelog_distribution)
    return {}


def flat(distribution: Mapping[str, Mapping[str, list[int]]]) -> dict[TopicPartition, str]:
    """Return Faust's distribution by partition.

    >>> flat({"http://a": {"t": [0, 1]}, "http://b": {"t": [2]}})[("t", 2)]
    'http://b'
    """
    return {
        (topic, partition): url
        for url, topics in distribution.items()
        for topic, partitions in topics.items()
        for partition in partitions
    }
