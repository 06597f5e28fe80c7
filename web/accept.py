"""Choosing the form of an answer by ``Accept`` (RFC 9110 section 12.5.1)."""

from collections.abc import Mapping
from typing import TypeVar

from aiohttp import hdrs, web

from tables.errors import NotAcceptable

FormT = TypeVar("FormT", bound=str)
CSV = "text/csv"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
EVENT_STREAM = "text/event-stream"


def choose(request: web.Request, offers: Mapping[str, FormT]) -> FormT:
    """Return the offer that the caller likes best; the first one when anything will do.

    Args:
        request: read for ``Accept`` only.
        offers: form by media type, the server's favourite first.

    Raises:
        NotAcceptable: NOT_ACCEPTABLE, none of the offers is accepted.
    """
    header = request.headers.get(hdrs.ACCEPT, "").strip() or "*/*"
    for wanted in _ranges(header):
        for media_type, form in offers.items():
            family = media_type.split("/")[0]
            if wanted in {media_type, f"{family}/*", "*/*"}:
                return form
    raise NotAcceptable(details={"supported": list(offers)})


def _ranges(header: str) -> list[str]:
    """Return the media ranges of a header, best first.

    >>> _ranges("text/csv;q=0.5, application/json")
    ['application/json', 'text/csv']
    """
    found: list[tuple[float, str]] = []
    for part in header.split(",")[:50]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if weight > 0 and name:
            found.append((weight, name))
    return [name for _, name in sorted(found, key=lambda item: -item[0])]
