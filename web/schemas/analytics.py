"""SQL, changes and dead letters for analysts and operators (Y10, F16, O20)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from web.schemas.base import Answer, Body, Page, Query, Time

MAX_ROWS = 100_000


class ChangesQuery(Query):
    """Where to go on."""

    since: str | None = Field(
        None,
        max_length=8192,
        description="`cursor` of the last line, `partition:offset,...`; without: rows first.",
    )


class QueryRequest(Body):
    """One SELECT over the lake."""

    sql: str = Field(min_length=1, max_length=20_000)
    limit: int = Field(10_000, ge=1, le=MAX_ROWS, description="Most rows.")
    fresh: bool = Field(False, description="Write what is new to the lake first.")


class QueryAnswer(Answer):
    """What a query found; `rows` are arrays in the order of `columns`."""

    columns: list[str]
    types: list[str]
    rows: list[list[Any]]
    truncated: bool = Field(description="Whether there were more rows than the limit, or than 16 MB.")
    elapsed_ms: float


class ColumnAnswer(Answer):
    """One column."""

    name: str
    type: str
    description: str


class DatasetAnswer(Answer):
    """One view that SQL sees."""

    name: str
    description: str
    kind: Literal["facts", "snapshot"]
    columns: list[ColumnAnswer]
    rows: int
    as_of: Time | None
    snapshot: str | None


class DatasetList(Answer):
    """Every view."""

    items: list[DatasetAnswer]
    next_cursor: None = None


class LetterQuery(Page):
    """Which letters."""

    topic: str = Field("", max_length=200)
    code: str = Field("", max_length=100)
    key: str = Field("", max_length=300)
    state: Literal["open", "replayed", "dropped", "all"] = "open"


class LetterAnswer(Answer):
    """One dead letter."""

    id: str
    topic: str
    key: str
    code: str
    message: str
    agent: str
    at: Time
    state: str


class LetterWhole(LetterAnswer):
    """One dead letter with the value that could not be handled, as text."""

    original: str


class LetterList(Answer):
    """A page of letters, newest first."""

    items: list[LetterAnswer]
    next_cursor: str | None


LetterId = Annotated[str, Field(min_length=1, max_length=300)]


class LetterChoice(Body):
    """Which letters to decide about; all or none."""

    ids: list[LetterId] = Field(min_length=1, max_length=1000)


class LetterDone(Answer):
    """How many were decided about."""

    count: int
