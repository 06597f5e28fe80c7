"""What S3 and the way to it can answer, as errors of the application."""

import contextlib
from collections.abc import Callable, Iterator

from media.parts import ended
from tables.errors import AppError, ContentArchived, ContentNotFound, StorageFailure

_KNOWN: dict[str, Callable[[], AppError]] = {
    "404": ContentNotFound,
    "NoSuchKey": ContentNotFound,
    "NotFound": ContentNotFound,
    "InvalidObjectState": ContentArchived,
    "NoSuchUpload": ended,
}


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn what the client raises into what the ports promise; anything unknown is StorageFailure."""
    from aiohttp import ClientError as TransportError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except AppError:
        raise
    except (BotoCoreError, ClientError, TransportError, OSError) as error:
        code = error_code(error)
        if code in _KNOWN:
            raise _KNOWN[code]() from error
        raise StorageFailure(details={"cause": code or type(error).__name__}) from error


def error_code(error: BaseException) -> str:
    """Return S3's own error code, empty when the request did not get an answer."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
