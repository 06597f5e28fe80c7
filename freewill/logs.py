"""Structured logs: one JSON object a line on stderr, ours and the libraries' alike (P32-P34)."""

import logging
import sys
from typing import Any

import structlog

SECRET_NAMES = frozenset(
    {"password", "token", "access_token", "refresh_token", "authorization", "secret", "private_key", "cookie"}
)
# Faust names every service that starts and stops.
_NOISY = {
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "streams.log": logging.WARNING,
    "alembic.runtime.plugins": logging.WARNING,
    "aiosqlite": logging.INFO,
    "asyncio": logging.INFO,
}


def configure_logging(level: str) -> None:
    """Send structlog and the standard library's logging to stderr as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in _NOISY.items():
        logging.getLogger(name).setLevel(max(least, root.level))


def redact(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Blank the values that never belong in a log (P33, N16).

    >>> redact(None, "info", {"event": "login", "password": "hunter2"})
    {'event': 'login', 'password': '[redacted]'}
    """
    return {
        name: "[redacted]" if name.lower() in SECRET_NAMES and value else value
        for name, value in event.items()
    }
