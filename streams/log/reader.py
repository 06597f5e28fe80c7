"""Reading partitions: columns out of stored rows, on a connection of its own."""

import sqlite3
from collections.abc import Iterator
from typing import Final

from streams.log.errors import LogCorrupt
from streams.log.records import Chunk, TopicPartition, decode_chunk
from streams.log.schema import OFFSET_MASK, row_id

#: A fetch of one partition stops here even when fewer records were read than asked for.
FETCH_BYTES: Final = 1 << 20
#: A fetch of many partitions stops here: the others have their turn in the next one.
TOTAL_BYTES: Final = 8 << 20


def rows_from(
    connection: sqlite3.Connection, place: TopicPartition, partition_id: int, offset: int
) -> Iterator[tuple[Chunk, int]]:
    """Yield the stored rows of a partition from the one holding ``offset``, with their size in bytes.

    Raises:
        LogCorrupt: a row does not match its checksum.
    """
    try:
        cursor = connection.execute(
            "SELECT base, crc, body FROM batch WHERE id BETWEEN ? AND ? ORDER BY id",
            (row_id(partition_id, offset), row_id(partition_id, OFFSET_MASK)),
        )
        for base, crc, body in cursor:
            yield decode_chunk(place, base, crc, body), len(body)
    except sqlite3.DatabaseError as exc:
        raise LogCorrupt(f"{place[0]!r} partition {place[1]} from offset {offset}: {exc}") from exc


def read_chunk(
    connection: sqlite3.Connection,
    place: TopicPartition,
    partition_id: int,
    offset: int,
    max_records: int,
) -> tuple[Chunk, int]:
    """Return up to ``max_records`` records at or after ``offset``, none at the end, and the bytes read."""
    chunk = Chunk(place[0], place[1], [], [], [], [])
    size = 0
    for row, weight in rows_from(connection, place, partition_id, offset):
        start = next((at for at, found in enumerate(row.offsets) if found >= offset), len(row))
        part = row if start == 0 else row.cut(start, len(row))
        room = max_records - len(chunk)
        if len(part) > room:
            part = part.cut(0, room)
        if len(chunk):
            chunk.extend(part)
        else:
            chunk = part
        size += weight
        if len(chunk) >= max_records or size >= FETCH_BYTES:
            break
    return chunk, size
