"""Every failure as one JSON shape: ``{error: {code, message, details}, request_id, timestamp}`` (O1)."""

import errno
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from tables import errors

# What aiohttp itself raises, by status, as members of our tree.
BY_STATUS: Mapping[int, type[errors.AppError]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.Missing,
    405: errors.MethodNotAllowed,
    406: errors.NotAcceptable,
    410: errors.Gone,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMedia,
    416: errors.RangeNotSatisfiable,
    429: errors.RateLimitExceeded,
    503: errors.ServiceUnavailable,
}
# A wrong value is shown to its sender, but not at any length, and never from these fields (P33).
SHOWN_VALUE_CHARACTERS = 100
FULL_RETRY_SECONDS = 30.0
SECRET_FIELDS = frozenset({"password", "access_token", "refresh_token", "token"})


def rfc3339(at: float) -> str:
    """Render seconds since the epoch as RFC 3339 UTC with ``Z``.

    >>> rfc3339(0.5)
    '1970-01-01T00:00:00.500000Z'
    """
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat() + "Z"


def body(error: errors.AppError, request_id: str, now: float) -> bytes:
    """Encode the error body of O1."""
    return orjson.dumps(
        {
            "error": {"code": error.code, "message": error.message, "details": error.details},
            "request_id": request_id,
            "timestamp": rfc3339(now),
        },
        default=str,
    )


def response(error: errors.AppError, request_id: str, now: float) -> web.Response:
    """Build the answer of an error, with ``Retry-After`` when it says when to come back (N9)."""
    answer = web.Response(
        status=error.status, body=body(error, request_id, now), content_type="application/json"
    )
    if error.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    if error.status == 401:
        answer.headers["WWW-Authenticate"] = f'Bearer error="{error.code.lower()}"'
    if error.status == 416:
        answer.headers["Content-Range"] = f"bytes */{error.details['size']}"  # RFC 9110 section 14.4
    answer.headers["Cache-Control"] = "no-store"
    return answer


def from_http(raised: web.HTTPException) -> errors.AppError:
    """Turn what aiohttp raised into a member of our tree."""
    kind = BY_STATUS.get(raised.status)
    if kind is None:
        kind = errors.BadRequest if raised.status < 500 else errors.AppError
    return kind()


def root_of(error: BaseException) -> errors.AppError:
    """Return the failure to answer: a full disk says so, whichever store it stopped (O9, O38).

    >>> root_of(OSError(errno.ENOSPC, "No space left on device")).code
    'INSUFFICIENT_STORAGE'
    """
    if _is_full(error):
        return errors.StorageFull(retry_after_seconds=FULL_RETRY_SECONDS)
    return error if isinstance(error, errors.AppError) else errors.AppError()


def _is_full(error: BaseException | None) -> bool:
    """Tell whether an error or one of its causes is that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__
    return False


def from_validation(raised: ValidationError) -> errors.ValidationFailed:
    """Name the first wrong field in ``details.field`` and all of them in ``details.errors`` (O10)."""
    problems = [_problem(item) for item in raised.errors(include_url=False, include_context=False)]
    first = problems[0]
    field = first["field"] or "body"
    details: dict[str, Any] = {**first, "field": field}
    if len(problems) > 1:
        details["errors"] = problems[:20]
    return errors.ValidationFailed(f"{field}: {first['problem']}", details=details)


def _problem(item: Mapping[str, Any]) -> dict[str, Any]:
    path = [str(part) for part in item["loc"]]
    problem: dict[str, Any] = {"field": ".".join(path), "problem": item["msg"]}
    value = item.get("input")
    if isinstance(value, str | int | float | bool) and not SECRET_FIELDS.intersection(path):
        problem["value"] = value[:SHOWN_VALUE_CHARACTERS] if isinstance(value, str) else value
    return problem
