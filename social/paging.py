"""Keyset pages: newest first, the id breaks ties, a cursor is base64 of both (C18)."""

import base64
import binascii
import json
import math
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from social.ids import canonical
from tables.errors import ValidationFailed
from tables.relational.models import moment, seconds

DEFAULT_LIMIT, MAX_LIMIT = 20, 100
_MAX_CURSOR_CHARS = 200
# Years that every database and the standard library can express.
_EARLIEST, _LATEST = 0.0, 253_402_300_799.0

Position = tuple[datetime, str]


def clamp(limit: int) -> int:
    """Return the limit, cut to the maximum (INTERFACE, Errors).

    Raises:
        ValidationFailed: VALIDATION_ERROR below 1.
    """
    if limit < 1:
        raise ValidationFailed("limit is at least 1.", details={"field": "limit", "value": limit})
    return min(limit, MAX_LIMIT)


def encode(position: Position) -> str:
    """Return the cursor that continues after a row."""
    packed = json.dumps([seconds(position[0]), position[1]], separators=(",", ":"))
    return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")


def decode(cursor: str | None) -> Position | None:
    """Return where a page starts; None is the first page.

    Raises:
        ValidationFailed: VALIDATION_ERROR, ``details.field`` is ``cursor``.
    """
    if cursor is None:
        return None
    try:
        if len(cursor) > _MAX_CURSOR_CHARS:
            raise ValueError(cursor)
        packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        at, row_id = json.loads(packed)
        known = canonical(row_id)
        if known is None or isinstance(at, bool) or not math.isfinite(at) or not _EARLIEST <= at <= _LATEST:
            raise ValueError(cursor)
        return moment(at), known
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise ValidationFailed("The cursor is malformed.", details={"field": "cursor"}) from None


def before(
    created: InstrumentedAttribute[datetime], row_id: InstrumentedAttribute[str], position: Position | None
) -> ColumnElement[bool] | None:
    """Return the condition "older than the position", None for the first page."""
    if position is None:
        return None
    at, last = position
    # The first half alone lets the index do the work; the tie break follows.
    return and_(created <= at, or_(created < at, row_id < last))
