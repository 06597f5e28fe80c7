"""What analysts and operators work with beyond single rows: changes, SQL, dead letters (Y10, F16, O20).

Only shapes: ``streams`` builds them, ``web`` answers with them, ``freewill`` puts them together.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tables.errors import ValidationFailed

Format = Literal["json", "csv", "arrow"]
Vector = Mapping[int, int]
"""Where a reader stands: by partition, the offset that it reads next."""


def format_vector(vector: Vector) -> str:
    """Return a vector as text.

    >>> format_vector({1: 7, 0: 12})
    '0:12,1:7'
    """
    return ",".join(f"{partition}:{vector[partition]}" for partition in sorted(vector))


def parse_vector(text: str) -> dict[int, int]:
    """Read what ``format_vector`` wrote.

    >>> parse_vector("0:12,1:7")
    {0: 12, 1: 7}

    Raises:
        ValidationFailed: VALIDATION_ERROR, field ``since``.
    """
    found: dict[int, int] = {}
    for part in text.split(","):
        partition, colon, offset = part.strip().partition(":")
        if not (colon and _count(partition) and _count(offset)) or int(partition) in found:
            raise ValidationFailed(
                "A position is partition:offset, comma separated, each partition once.",
                details={"field": "since", "value": text[:200]},
            )
        found[int(partition)] = int(offset)
    return found


def _count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15


@dataclass(frozen=True, slots=True)
class Change:
    """One row as it is (``op`` row), or one new value of a key (``op`` change; value None: deleted).

    ``offset`` is the position in the table's changelog that the value stands for. For a row it is the last
    one that is certainly contained: the change that made it may come once more, never less.
    """

    op: Literal["row", "change"]
    key: str
    value: Any
    partition: int
    offset: int
    time: float


@dataclass(frozen=True, slots=True)
class Position:
    """Everything before this has been sent: resuming with ``since`` at it misses nothing."""

    vector: Vector
    as_of: float
    live: bool = True
    """False while the rows of the snapshot are still being sent."""


class ChangeFeed(Protocol):
    """Follows tables (Y10)."""

    def check(self, name: str, since: Vector | None) -> None:
        """Refuse an unknown table (NOT_FOUND) and a position that is none of it (VALIDATION_ERROR)."""

    def follow(
        self, name: str, since: Vector | None, idle_seconds: float
    ) -> AsyncGenerator[Change | Position, None]:
        """Yield changes after ``since``; without it all rows first, then what changes from there on.

        A ``Position`` follows every burst and every ``idle_seconds`` without one. Ends when the server stops.
        """


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks, as the audit keeps it."""

    id: str
    name: str
    role: str


class Audit(Protocol):
    """The append-only record of what analysts read (Y10)."""

    async def note(self, who: Who, action: str, **facts: Any) -> None:
        """Keep one entry; durable when it returns."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a query: ``body`` in the asked format, and what it holds."""

    body: bytes
    rows: int
    truncated: bool
    elapsed_ms: float


class Sql(Protocol):
    """Answers SQL over the lake (Y10)."""

    async def query(self, who: Who, sql: str, form: Format, limit: int, *, fresh: bool) -> Answer:
        """Run one SELECT in a bounded process and audit it.

        Args:
            who: kept in the audit.
            sql: one SELECT statement of DuckDB's dialect.
            form: of the body.
            limit: most rows; one more is not read.
            fresh: write what is new to the lake first.

        Raises:
            InvalidSql: INVALID_SQL, it is not one SELECT, or DuckDB refuses it.
            QueryTooLarge: QUERY_TOO_LARGE, it needs more time or memory than it may have.
            ServiceUnavailable: SERVICE_UNAVAILABLE, too many queries are running.
        """

    async def datasets(self) -> Sequence[Mapping[str, Any]]:
        """Return the views that SQL sees: name, description, columns, rows, freshness."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. ``state`` is open, replayed or dropped; ``original`` its value as text."""

    id: str
    topic: str
    key: str
    code: str
    message: str
    agent: str
    at: float
    state: str
    original: str


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters: empty text means any."""

    topic: str = ""
    code: str = ""
    state: str = "open"
    key: str = ""


class DeadLetterDesk(Protocol):
    """Looks at what could not be handled and decides about it (O20)."""

    async def list(
        self, wanted: LetterFilter, limit: int, cursor: str | None
    ) -> tuple[Sequence[Letter], str | None]:
        """Return the newest first, and the cursor of the next page."""

    async def show(self, letter_id: str) -> Letter:
        """Return one whole; an unknown id raises ``Missing`` (NOT_FOUND)."""

    async def replay(self, letter_ids: Sequence[str], by: str) -> int:
        """Send the originals to their topics again; all or none (NOT_FOUND)."""

    async def drop(self, letter_ids: Sequence[str], by: str) -> int:
        """Decide that nothing is to be done about them; all or none (NOT_FOUND)."""


@dataclass(frozen=True)
class AnalystTools:
    """What the front needs for analysts and operators."""

    changes: ChangeFeed
    sql: Sql
    letters: DeadLetterDesk
    audit: Audit
    arrow: Callable[[str, int | None, str | None], Awaitable[bytes]]
    """Rows of a table as an Arrow IPC stream, in the lake's columns: name, limit, key to begin behind."""
    personal: frozenset[str] = field(default_factory=frozenset)
    """Tables whose rows describe one person: reading them is audited."""
