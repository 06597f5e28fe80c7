"""The bases of all request and answer models."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, RootModel

MAX_LIMIT = 100
MAX_DIGITS = 20


class Body(BaseModel):
    """A JSON body: right types only, and no field that nobody reads."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(BaseModel):
    """Query parameters: always text on the wire, unknown ones passed over."""

    model_config = ConfigDict(extra="ignore")


class Answer(BaseModel):
    """A JSON answer."""

    model_config = ConfigDict(from_attributes=True, ser_json_timedelta="float")


Time = Annotated[AwareDatetime, Field(description="RFC 3339, UTC.")]


def cut_to(most: int) -> Callable[[Any], Any]:
    """Return what cuts a page size to the maximum instead of refusing it (INTERFACE, Errors)."""

    def cut(value: Any) -> Any:
        text = str(value)
        if not (text.isascii() and text.removeprefix("-").isdigit()):
            return value
        if len(text) > MAX_DIGITS:  # more than any count: reading it would be work for nothing
            return 0 if text.startswith("-") else most
        return min(int(text), most)

    return cut


Limit = Annotated[int, BeforeValidator(cut_to(MAX_LIMIT)), Field(ge=1, le=MAX_LIMIT)]
# ``?cursor=`` is what clients send for the first page when they always name it.
Cursor = Annotated[
    Annotated[str, Field(max_length=4096)] | None,
    BeforeValidator(lambda value: value or None),
    Field(description="`next_cursor` of the page before."),
]


class Page(Query):
    """Which page of a list."""

    limit: Limit = 20
    cursor: Cursor = None


class LiveQuery(Query):
    """Credentials of clients that cannot set a header on a socket."""

    token: str | None = Field(None, max_length=4096, description="Access token.")


class Document(RootModel[dict[str, Any]]):
    """A JSON object whose shape another standard fixes."""


class ErrorBody(Answer):
    """What is wrong."""

    code: str = Field(description="Stable code, see the list of codes.")
    message: str = Field(description="One sentence, safe to show.")
    details: dict[str, Any] = Field(description="Such as `field`, `value`, `limit`.")


class ErrorAnswer(Answer):
    """Every error of every route (O1)."""

    error: ErrorBody
    request_id: str
    timestamp: datetime


def uuid_or(raised: Callable[[], Exception], value: str) -> str:
    """Return the canonical form of a UUID; a path with anything else names nothing.

    >>> uuid_or(ValueError, "6F9619FF-8B86-D011-B42D-00C04FC964FF")
    '6f9619ff-8b86-d011-b42d-00c04fc964ff'
    """
    try:
        return str(UUID(value))
    except ValueError:
        raise raised() from None
