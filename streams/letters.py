"""Deciding about dead letters: look, send again, drop (O20, O39).

A topic is append-only, so a decision is a record beside the letter: a mark in the same dead-letter topic.
Both the originals that go back and the marks leave through the outbox, in one transaction, from a server and
from the command line alike.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from streams.dead_letters import DeadLetter
from streams.log.records import Chunk
from streams.topics import DEAD_SUFFIX
from tables.analytics import Letter, LetterFilter
from tables.errors import Conflict, Missing, ValidationFailed
from tables.records import Record
from tables.relational.engine import Database
from tables.relational.models import OutboxRow, moment

OPEN, REPLAYED, DROPPED = "open", "replayed", "dropped"
SCAN_RECORDS = 10_000
"""Newest records of a partition that are looked through: a flood of poison does not stop its operator."""
READ_RECORDS = 1000


class LetterMark(Record, frozen=True, kw_only=True):
    """What was decided about a letter: ``letter`` is its id, ``state`` replayed or dropped."""

    letter: str
    state: str
    by: str
    at: float


class ReadableLog(Protocol):
    """What this needs of a log; the embedded one fits."""

    def topics(self) -> list[str]:
        """Return the names of all topics."""

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None when it is unknown."""

    def earliest(self, topic: str, partition: int) -> int:
        """Return the first offset that may still be there."""

    def highwater(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Chunk:
        """Return records at or after ``offset``, none at the end."""


class LetterDesk:
    """Dead letters of one instance; see ``tables.analytics.DeadLetterDesk``."""

    def __init__(self, log: ReadableLog, database: Database, clock: Callable[[], float] = time.time) -> None:
        """Args: the log that holds the letters, and the database whose outbox takes decisions."""
        self._log = log
        self._database = database
        self._clock = clock
        self._decided: dict[str, str] = {}  # here, and maybe not on the log yet

    async def list(
        self, wanted: LetterFilter, limit: int, cursor: str | None
    ) -> tuple[Sequence[Letter], str | None]:
        """Return the newest first; see ``DeadLetterDesk.list``."""
        before = _read_cursor(cursor) if cursor else None
        found = [
            letter
            for letter in await self._all(wanted.topic)
            if wanted.code in {"", letter.code}
            and wanted.state in {"", letter.state}
            and wanted.key in {"", letter.key}
            and (before is None or (letter.at, letter.id) < before)
        ]
        found.sort(key=lambda letter: (letter.at, letter.id), reverse=True)
        page = found[:limit]
        return page, f"{page[-1].at!r}|{page[-1].id}" if len(found) > limit else None

    async def show(self, letter_id: str) -> Letter:
        """Return one letter; see ``DeadLetterDesk.show``."""
        letter = await self._find(letter_id)
        states = await self._marks(letter.topic + DEAD_SUFFIX)
        return _shown(letter_id, letter, states.get(letter_id, OPEN))

    async def replay(self, letter_ids: Sequence[str], by: str) -> int:
        """Send originals again; see ``DeadLetterDesk.replay``."""
        return await self._decide(letter_ids, REPLAYED, by)

    async def drop(self, letter_ids: Sequence[str], by: str) -> int:
        """Drop letters; see ``DeadLetterDesk.drop``."""
        return await self._decide(letter_ids, DROPPED, by)

    async def _decide(self, letter_ids: Sequence[str], state: str, by: str) -> int:
        wanted = list(dict.fromkeys(letter_ids))
        letters = [await self._find(letter_id) for letter_id in wanted]
        if state == REPLAYED and any(letter.cut for letter in letters):
            raise Conflict("The record was too large to be kept whole: it can be dropped, not replayed.")
        now = moment(self._clock())
        async with self._database.transaction() as session:
            for letter_id, letter in zip(wanted, letters, strict=True):
                if state == REPLAYED:
                    row = OutboxRow(
                        topic=letter.topic, key=letter.key, payload=letter.original, created_at=now
                    )
                    session.add(row)
                mark = LetterMark(letter=letter_id, state=state, by=by, at=self._clock())
                payload = msgspec.json.encode(mark)
                session.add(
                    OutboxRow(
                        topic=letter.topic + DEAD_SUFFIX, key=letter.key, payload=payload, created_at=now
                    )
                )
        self._decided |= dict.fromkeys(wanted, state)
        return len(wanted)

    async def _find(self, letter_id: str) -> DeadLetter:
        topic, _, place = letter_id.partition("/")
        partition, _, offset = place.partition("/")
        dead = topic + DEAD_SUFFIX
        if _number(partition) and _number(offset) and int(partition) < (self._log.partitions(dead) or 0):
            chunk = await self._log.read(dead, int(partition), int(offset), 1)
            if len(chunk) and chunk.offsets[0] == int(offset):
                found = _decoded(chunk.values[0])
                if isinstance(found, DeadLetter):
                    return found
        raise Missing(f"There is no dead letter {letter_id[:300]}.")

    async def _all(self, topic: str) -> Sequence[Letter]:
        found = []
        for dead in self._log.topics():
            if dead.endswith(DEAD_SUFFIX) and topic in {"", dead.removesuffix(DEAD_SUFFIX)}:
                letters, states = [], dict[str, str]()
                async for letter_id, record in self._records(dead):
                    if isinstance(record, DeadLetter):
                        letters.append((letter_id, record))
                    else:
                        states[record.letter] = record.state
                states |= self._decided
                found += [_shown(name, letter, states.get(name, OPEN)) for name, letter in letters]
        return found

    async def _marks(self, dead: str) -> dict[str, str]:
        states = {
            record.letter: record.state
            async for _, record in self._records(dead)
            if isinstance(record, LetterMark)
        }
        return states | self._decided

    async def _records(self, dead: str) -> AsyncIterator[tuple[str, DeadLetter | LetterMark]]:
        topic = dead.removesuffix(DEAD_SUFFIX)
        for partition in range(self._log.partitions(dead) or 0):
            end = self._log.highwater(dead, partition)
            offset = max(self._log.earliest(dead, partition), end - SCAN_RECORDS)
            while offset < end and len(chunk := await self._log.read(dead, partition, offset, READ_RECORDS)):
                for record in chunk:
                    found = _decoded(record.value)
                    if found is not None:
                        yield f"{topic}/{partition}/{record.offset}", found
                offset = chunk.offsets[-1] + 1


def _decoded(value: bytes | None) -> DeadLetter | LetterMark | None:
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(value or b"", type=DeadLetter)
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(value or b"", type=LetterMark)
    return None


def _shown(letter_id: str, letter: DeadLetter, state: str) -> Letter:
    return Letter(
        id=letter_id,
        topic=letter.topic,
        key=letter.key,
        code=letter.code,
        message=letter.message,
        agent=letter.agent,
        at=letter.at,
        state=state,
        original=letter.original.decode("utf-8", "backslashreplace"),
    )


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12  # offsets have 40 bits


def _read_cursor(cursor: str) -> tuple[float, str]:
    at, _, letter_id = cursor.partition("|")
    try:
        return float(at), letter_id
    except ValueError:
        raise ValidationFailed("This cursor is not one of ours.", details={"field": "cursor"}) from None
