"""The transactional outbox: facts are written with the change that they tell of, a relay sends them later."""

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tables.records import Record
from tables.relational.models import OutboxRow, moment

_encode = msgspec.json.Encoder().encode


def enqueue(session: AsyncSession, topic: str, key: str, record: Record, *, at: float) -> OutboxRow:
    """Add a record to the outbox of the caller's transaction; ``at`` is in seconds since the epoch."""
    row = OutboxRow(topic=topic, key=key, payload=_encode(record), created_at=moment(at))
    session.add(row)
    return row


async def enqueue_numbered(
    session: AsyncSession, topic: str, key: str, build: Callable[[int], Record], *, at: float
) -> OutboxRow:
    """Add a record that carries its own outbox sequence, which ``build`` receives.

    Lock or write the row that the fact is about first: then sequences of one aggregate follow the order
    of its changes, also when PostgreSQL commits other transactions in between.
    """
    row = OutboxRow(topic=topic, key=key, payload=b"", created_at=moment(at))
    session.add(row)
    await session.flush()
    row.payload = _encode(build(row.id))
    return row


async def pending(session: AsyncSession, limit: int) -> list[OutboxRow]:
    """Return up to ``limit`` rows in sequence order; an empty list means there is nothing to send."""
    rows = await session.scalars(select(OutboxRow).order_by(OutboxRow.id).limit(limit))
    return list(rows)


def payload_of(row: OutboxRow) -> bytes:
    """Return a row's record as it is published: row changes get their sequence, known only by now."""
    if row.topic.startswith("cdc."):
        return b'%s,"seq":%d}' % (row.payload[:-1], row.id)
    return row.payload


async def delete(session: AsyncSession, ids: Sequence[int]) -> None:
    """Remove rows that the log has acknowledged."""
    if ids:
        await session.execute(sql_delete(OutboxRow).where(OutboxRow.id.in_(ids)))
