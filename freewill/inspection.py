"""Looking into the log from the command line, beside a running server or without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from freewill.paths import APP_ID, changelog, log_path
from freewill.settings import Settings
from streams.letters import LetterDesk
from streams.log import LogUnreachable, MessageLog, open_log
from streams.log.tables import struct_codec
from streams.reading import plain
from streams.topics import TOPICS
from tables.analytics import LetterFilter
from tables.definitions import TABLES, TableSpec
from tables.errors import Missing, ServiceUnavailable
from tables.relational.engine import Database

READ_RECORDS = 2000
_KEYS = {topic.name: topic.keyed_by for topic in TOPICS}


@asynccontextmanager
async def _log(settings: Settings) -> AsyncIterator[MessageLog]:
    path = log_path(settings)
    if settings.broker.startswith("embedded") and not path.exists():
        raise Missing(f"There is no log at {path} yet: start the server once.")
    log = open_log(settings.broker, path, group=APP_ID, read_only=True)
    try:
        await log.connect()
    except LogUnreachable as error:
        raise ServiceUnavailable(str(error)) from error
    try:
        yield log
    finally:
        await log.close()


async def topic_rows(settings: Settings) -> list[tuple[str, ...]]:
    """Return (name, key, partitions, records, end offsets) of every topic."""
    async with _log(settings) as log:
        return [
            (
                topic.name,
                _KEYS.get(topic.name, ""),
                str(len(topic.partitions)),
                str(sum(partition.records for partition in topic.partitions)),
                " ".join(str(partition.end) for partition in topic.partitions),
            )
            for topic in await log.describe()
        ]


async def _records(log: MessageLog, topic: str) -> AsyncIterator[tuple[int, int, str, bytes | None]]:
    """Yield (partition, offset, key, value) of a topic as it is now, partition by partition."""
    for partition in range(log.partitions(topic) or 0):
        offset, end = log.earliest(topic, partition), log.highwater(topic, partition)
        while offset < end and (chunk := await log.read(topic, partition, offset, READ_RECORDS)):
            for record in chunk:
                yield partition, record.offset, (record.key or b"").decode("utf-8", "replace"), record.value
            offset = chunk.offsets[-1] + 1


async def _rows(log: MessageLog, table: TableSpec) -> dict[str, bytes]:
    """Fold a changelog to the newest value of each key."""
    rows: dict[str, bytes] = {}
    async for _, _, key, value in _records(log, changelog(table.name)):
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value
    return rows


async def table_rows(settings: Settings) -> list[tuple[str, ...]]:
    """Return (name, key, rows, source topic, help) of every table."""
    async with _log(settings) as log:
        return [
            (table.name, table.keyed_by, str(len(await _rows(log, table))), table.source, table.help)
            for table in TABLES
        ]


async def table_contents(settings: Settings, name: str, limit: int) -> list[str]:
    """Return up to ``limit`` rows of a table as JSON lines ``{key, value}``, by key.

    Raises:
        Missing: NOT_FOUND, no table has this name.
    """
    table = next((table for table in TABLES if table.name == name), None)
    if table is None:
        raise Missing(f"No table is named {name}; there are {', '.join(t.name for t in TABLES)}.")
    codec = struct_codec(table.value)
    async with _log(settings) as log:
        rows = sorted((await _rows(log, table)).items())[:limit]
    return [
        msgspec.json.encode({"key": key, "value": plain(codec.loads(value))}).decode() for key, value in rows
    ]


@asynccontextmanager
async def _desk(settings: Settings) -> AsyncIterator[LetterDesk]:
    database = Database.open(settings.relational_url)
    try:
        async with _log(settings) as log:
            yield LetterDesk(log, database)
    finally:
        await database.close()


async def dead_letter_rows(
    settings: Settings, *, topic: str, code: str, state: str, limit: int
) -> list[tuple[str, ...]]:
    """Return (id, time, key, code, state, message) of the newest dead letters, newest first."""
    async with _desk(settings) as desk:
        found, _ = await desk.list(LetterFilter(topic=topic, code=code, state=state), limit, None)
    return [
        (
            letter.id,
            datetime.fromtimestamp(letter.at, UTC).isoformat(timespec="seconds"),
            letter.key,
            letter.code,
            letter.state,
            letter.message,
        )
        for letter in found
    ]


async def dead_letter_text(settings: Settings, identity: str) -> str:
    """Return one dead letter as indented JSON, with its original value as text where it is text.

    Raises:
        Missing: NOT_FOUND, no dead letter has this id.
    """
    async with _desk(settings) as desk:
        letter = await desk.show(identity)
    return msgspec.json.format(msgspec.json.encode(letter), indent=2).decode()


async def drop_dead_letters(settings: Settings, identities: list[str]) -> int:
    """Mark dead letters as dropped, through the outbox of the running or next server (O20).

    Returns:
        How many were marked.

    Raises:
        Missing: NOT_FOUND, no dead letter has one of the ids; then none is marked.
    """
    async with _desk(settings) as desk:
        return await desk.drop(identities, "command line")


async def replay_dead_letters(settings: Settings, identities: list[str]) -> int:
    """Put the originals into the outbox, which the server relays to their topics (O20).

    Returns:
        How many were put there.

    Raises:
        Missing: NOT_FOUND, no dead letter has one of the ids; then none is replayed.
    """
    async with _desk(settings) as desk:
        return await desk.replay(identities, "command line")
