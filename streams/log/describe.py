"""What is in the log, for operators and analysts."""

import sqlite3
from collections.abc import Mapping

from streams.log.positions import Positions
from streams.log.records import TopicPartition
from streams.log.schema import OFFSET_MASK, row_id
from streams.log.topics import PartitionInfo, TopicInfo, TopicPolicy


def describe(
    reading: sqlite3.Connection, topics: Mapping[str, tuple[int, TopicPolicy]], positions: Positions
) -> list[TopicInfo]:
    """Return every topic, given partition count and policy by name, sorted."""
    return [
        TopicInfo(
            name=name,
            policy=policy,
            partitions=[_partition(reading, (name, number), positions) for number in range(count)],
        )
        for name, (count, policy) in sorted(topics.items())
    ]


def _partition(reading: sqlite3.Connection, place: TopicPartition, positions: Positions) -> PartitionInfo:
    key = positions.ids[place]
    records, size = reading.execute(
        "SELECT coalesce(sum(records), 0), coalesce(sum(length(body)), 0) FROM batch"
        " WHERE id BETWEEN ? AND ?",
        (row_id(key, 0), row_id(key, OFFSET_MASK)),
    ).fetchone()
    return PartitionInfo(
        number=place[1],
        start=positions.starts[place],
        end=positions.ends[place],
        records=records,
        size_bytes=size,
        committed=positions.groups(place),
    )
