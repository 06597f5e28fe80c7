"""SQL over the lake from the command line: the same process, limits and audit as over HTTP (Y10)."""

import getpass
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from freewill.analysts import open_lake
from freewill.audit import newest
from freewill.logs import configure_logging
from freewill.paths import audit_path, lake_path
from freewill.settings import Settings
from streams.lake.service import describe
from tables.analytics import Answer, Format, Who


async def ask(settings: Settings, sql: str, form: Format, limit: int, *, fresh: bool) -> Answer:
    """Run one SELECT; errors are those of ``tables.analytics.Sql.query``."""
    configure_logging("ERROR")  # nothing beside the answer on standard output
    who = Who("", getpass.getuser(), "command line")
    return await open_lake(settings).query(who, sql, form, limit, fresh=fresh)


async def write(settings: Settings) -> Mapping[str, Any]:
    """Write what is new on the log to the lake, beside a running server or without one."""
    configure_logging("ERROR")
    return await open_lake(settings).refresh()


def dataset_rows(settings: Settings) -> list[tuple[str, ...]]:
    """Return (name, kind, rows, as of, help) of every dataset."""
    return [
        (
            item["name"],
            item["kind"],
            str(item["rows"]),
            "never" if item["as_of"] is None else _moment(item["as_of"]),
            item["description"],
        )
        for item in describe(lake_path(settings))
    ]


def audit_lines(settings: Settings, limit: int) -> list[str]:
    """Return the newest entries of the audit, oldest of them first."""
    return newest(audit_path(settings), limit)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
