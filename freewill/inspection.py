"""Looking into the embedded log from the command line, beside a running server or without one."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from freewill.paths import changelog, log_path
from freewill.settings import Settings
from streams.dead_letters import DeadLetter
from streams.log import EmbeddedLog
from streams.log.tables import struct_codec
from streams.reading import plain
from streams.topics import DEAD_SUFFIX, TOPICS
from tables.definitions import TABLES, TableSpec
from tables.errors import Missing, ServiceUnavailable
from tables.relational.engine import Database
from tables.relational.models import OutboxRow, moment

READ_RECORDS = 2000
_KEYS = {topic.name: topic.keyed_by for topic in TOPICS}


@asynccontextmanager
async def _log(settings: Settings) -> AsyncIterator[EmbeddedLog]:
    if not settings.broker.startswith("embedded"):
        raise ServiceUnavailable(f"This looks into the embedded log, and the broker is {settings.broker}.")
    path = log_path(settings)
    if not path.exists():
        raise Missing(f"There is no log at {path} yet: start the server once.")
    log = EmbeddedLog.open(path, read_only=True)
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


async def _records(log: EmbeddedLog, topic: str) -> AsyncIterator[tuple[int, int, str, bytes | None]]:
    """Yield (partition, offset, key, value) of a whole topic, partition by partition."""
    for partition in range(log.partitions(topic) or 0):
        offset = log.earliest(topic, partition)
        while chunk := await log.read(topic, partition, offset, READ_RECORDS):
            for record in chunk:
                yield partition, record.offset, (record.key or b"").decode("utf-8", "replace"), record.value
            offset = chunk.offsets[-1] + 1


async def _rows(log: EmbeddedLog, table: TableSpec) -> dict[str, bytes]:
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


async def _letters(log: EmbeddedLog) -> AsyncIterator[tuple[str, DeadLetter]]:
    for topic in log.topics():
        if topic.endswith(DEAD_SUFFIX):
            async for partition, offset, _, value in _records(log, topic):
                if value is not None:
                    letter = msgspec.json.decode(value, type=DeadLetter)
                    yield f"{letter.topic}/{partition}/{offset}", letter


async def dead_letter_rows(settings: Settings, *, topic: str, code: str, limit: int) -> list[tuple[str, ...]]:
    """Return (id, time, key, code, message) of the newest dead letters, newest first."""
    async with _log(settings) as log:
        found = [
            (letter.at, identity, letter)
            async for identity, letter in _letters(log)
            if topic in {"", letter.topic} and code in {"", letter.code}
        ]
    found.sort(reverse=True, key=lambda item: item[:2])
    return [
        (
            identity,
            datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
            item.key,
            item.code,
            item.message,
        )
        for at, identity, item in found[:limit]
    ]


async def _find(settings: Settings, identity: str) -> DeadLetter:
    topic, _, place = identity.partition("/")
    partition, _, offset = place.partition("/")
    async with _log(settings) as log:
        if (
            partition.isdigit()
            and offset.isdigit()
            and int(partition) < (log.partitions(topic + DEAD_SUFFIX) or 0)
        ):
            chunk = await log.read(topic + DEAD_SUFFIX, int(partition), int(offset), 1)
            if len(chunk) and chunk.offsets[0] == int(offset) and chunk.values[0] is not None:
                return msgspec.json.decode(chunk.values[0], type=DeadLetter)
    raise Missing(f"There is no dead letter {identity}.")


async def dead_letter_text(settings: Settings, identity: str) -> str:
    """Return one dead letter as indented JSON, with its original value as text where it is text.

    Raises:
        Missing: NOT_FOUND, no dead letter has this id.
    """
    letter = await _find(settings, identity)
    shown: dict[str, Any] = msgspec.to_builtins(letter)
    shown["original"] = letter.original.decode("utf-8", "backslashreplace")
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


async def replay_dead_letters(settings: Settings, identities: list[str]) -> int:
    """Put the originals into the outbox, which the server relays to their topics (O20).

    Returns:
        How many were put there.

    Raises:
        Missing: NOT_FOUND, no dead letter has one of the ids; then none is replayed.
    """
    letters = [await _find(settings, identity) for identity in identities]
    database = Database.open(settings.relational_url)
    try:
        async with database.transaction() as session:
            session.add_all(
                OutboxRow(
                    topic=letter.topic,
                    key=letter.key,
                    payload=letter.original,
                    created_at=moment(time.time()),
                )
                for letter in letters
            )
    finally:
        await database.close()
    return len(letters)
