"""Reading stream tables as an analyst: what there is, and how fresh it is (Y10, DESIGN section 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Freshness:
    """How current a table is.

    Attributes:
        as_of: newest moment that is contained, seconds since the epoch.
        applied: last source offset applied, by ``topic-partition``.
        lag: records written to the sources and not applied yet.
    """

    as_of: float
    applied: Mapping[str, int] = field(default_factory=dict)
    lag: int = 0


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One table of the catalogue. ``fields`` maps the fields of a value to what they mean."""

    name: str
    description: str
    key: str
    value: str
    partitions: int
    rows: int
    fields: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row; the value is plain JSON data."""

    key: str
    value: Any


class TableReader(Protocol):
    """Reads tables by name; an unknown name raises ``Missing`` (NOT_FOUND)."""

    def catalogue(self) -> Sequence[TableInfo]:
        """Return every table, by name."""

    def describe(self, name: str) -> TableInfo:
        """Return one table."""

    def freshness(self, name: str) -> Freshness:
        """Return how current one table is."""

    async def rows(self, name: str, limit: int, after: str | None) -> tuple[Sequence[Row], str | None]:
        """Return up to ``limit`` rows with keys after ``after`` in key order, and where to go on.

        The second value is None at the end.
        """

    async def row(self, name: str, key: str) -> Row | None:
        """Return one row, None when the key has none."""
