"""Rows that were there before their changes were told, told as row changes (F20).

A batch of rows is locked, read and written to the outbox in one transaction: the sequence of each record is
drawn under its row's lock, so it stands in order with the changes before and after. A batch that is told
again says the same once more; of two records of one row the one with the higher sequence is newer.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Table, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from tables.relational.capture import COLUMNS, TOPICS, record_of
from tables.relational.engine import Database
from tables.relational.models import Base, OutboxRow

BATCH_ROWS: Final = 500
"""Rows locked at once: a change of one of them waits some milliseconds."""
THERE_BEFORE: Final = "r"
"""``op`` of a record of a row that did not just change."""
DONE: Final = "done"
Progress = Mapping[str, str]
"""By topic, the key of the last row told, or ``done``."""


async def backfill(database: Database, progress: Progress) -> AsyncIterator[tuple[str, str, int]]:
    """Tell all rows of the captured tables from where ``progress`` stands.

    Yields:
        After each batch, once it is committed: the topic, its progress, and the rows told.

    Raises:
        DatabaseFailure: DATABASE_ERROR; what was yielded is told.
    """
    for model, topic in TOPICS.items():
        at = progress.get(topic, "")
        while at != DONE:
            at, rows = await _batch(database, model, at)
            yield topic, at, rows


async def _batch(database: Database, model: type[Base], after: str) -> tuple[str, int]:
    table: Table = model.__table__  # type: ignore[assignment]
    keys = list(table.primary_key)
    query = select(*(table.c[name] for name in COLUMNS[model])).order_by(*keys).limit(BATCH_ROWS)
    if after:
        query = query.where(_behind(keys, after))

    async def tell(session: AsyncSession) -> tuple[str, int]:
        now, key, records = time.time(), after, []
        for row in await session.execute(query.with_for_update()):
            values = dict(row._mapping)
            key = ":".join(str(values[column.name]) for column in keys)
            records.append(record_of(model, THERE_BEFORE, key, now, values))
        if records:
            await session.execute(insert(OutboxRow.__table__), records)  # type: ignore[arg-type]
        return (key if len(records) == BATCH_ROWS else DONE), len(records)

    return await database.run(tell)


def _behind(keys: Sequence[ColumnElement[str]], after: str) -> ColumnElement[bool]:
    """Return the condition of the rows behind a key; keys are UUIDs and hold no colon."""
    return tuple_(*keys) > tuple_(*after.split(":"))
