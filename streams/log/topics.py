"""What the log knows of a topic: its policy, and its state for operators and analysts."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

DAY_SECONDS: Final = 86_400.0


class TopicPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How old records leave a topic.

    ``compact`` keeps the newest record of each key and drops tombstones after ``tombstone_grace_seconds``.
    Otherwise records leave by age (``retention_seconds``) and by size of a partition (``retention_bytes``),
    None meaning never. What a group has not committed yet stays, whatever its age, unless ``drop_unread``.
    """

    compact: bool = False
    retention_seconds: float | None = None
    retention_bytes: int | None = None
    tombstone_grace_seconds: float = DAY_SECONDS
    drop_unread: bool = False


class PartitionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One partition: offsets from ``start`` to before ``end``; sizes are of the stored rows."""

    number: int
    start: int
    end: int
    records: int
    size_bytes: int
    committed: dict[str, int]  # position of each group: the next offset that it will read


class TopicInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One topic with its partitions."""

    name: str
    policy: TopicPolicy
    partitions: list[PartitionInfo]


def policy_of(
    config: Mapping[str, Any] | None, retention: float | None, compacting: bool | None
) -> TopicPolicy | None:
    """Translate what Faust says of a topic, with Kafka's configuration names; None when it says nothing."""
    if not config and retention is None and compacting is None:
        return None
    config = config or {}
    size = config.get("retention.bytes")
    grace = config.get("delete.retention.ms")
    age = config.get("retention.ms")
    seconds = float(retention) if retention else float(age) / 1000 if age is not None else None
    return TopicPolicy(
        compact=bool(compacting),
        retention_seconds=seconds,
        retention_bytes=int(size) if size is not None else None,
        tombstone_grace_seconds=float(grace) / 1000 if grace is not None else DAY_SECONDS,
        drop_unread=bool(config.get("drop.unread", False)),
    )
