"""Stream tables for analysts (INTERFACE Analysts, Y10)."""

from typing import Any

from pydantic import Field

from web.schemas.base import Answer, Page, Time


class Envelope(Answer):
    """How fresh the answer is."""

    as_of: Time
    applied_offsets: dict[str, int] = Field(description="Last source offset applied, by topic-partition.")
    lag: int = Field(description="Source records that are not applied yet.")


class TableAnswer(Envelope):
    """One table."""

    name: str
    description: str
    key: str
    value: str
    partitions: int
    rows: int
    fields: dict[str, str]
    sources: list[str]


class TableCatalogue(Answer):
    """Every table."""

    items: list[TableAnswer]
    next_cursor: None = None


class TableRow(Answer):
    """One row."""

    key: str
    value: Any


class TableRows(Envelope):
    """A page of rows in key order."""

    items: list[TableRow]
    next_cursor: str | None


class TableRowAnswer(Envelope):
    """One row with its freshness."""

    key: str
    value: Any


class RowsQuery(Page):
    """Which rows."""


class HealthAnswer(Answer):
    """Whether the process answers."""

    status: str


class ReadinessAnswer(HealthAnswer):
    """Whether the server can do its work, and what it waits for."""

    missing: list[str]
    checks: dict[str, str]
