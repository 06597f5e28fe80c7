"""Checks of an installation, each with what to do about it (Y12)."""

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from freewill.encoders import unattended
from freewill.inspection import topic_rows
from freewill.paths import log_path
from freewill.settings import Settings
from streams.topics import DEAD_SUFFIX
from tables.relational.migrate import current_revision, head_revision

LOW_DISK_BYTES = 5 * 1024**3
WEAK_BITS = 0o077


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """What was looked at and what was found."""

    level: Level
    subject: str
    text: str


async def examine(settings: Settings) -> list[Finding]:
    """Look at settings, folders, database and log; change nothing."""
    return [
        *_settings(settings),
        *_folders(settings),
        *_tools(),
        await _database(settings),
        *await _encoders(settings),
        *await _log(settings),
    ]


def _settings(settings: Settings) -> Iterator[Finding]:
    if settings.allow_private_network:
        yield Finding(
            Level.WARNING,
            "FREEWILL_ALLOW_PRIVATE_NETWORK",
            "federation may reach this machine and its network over plain HTTP; for tests only",
        )
    if settings.rate_limits == "off":
        yield Finding(
            Level.WARNING,
            "FREEWILL_RATE_LIMITS",
            "limits, quotas and login throttles are off; for tests only",
        )
    if settings.public_url.startswith("https://"):
        yield Finding(Level.OK, "FREEWILL_BASE_URL", settings.public_url)
    else:
        yield Finding(
            Level.WARNING,
            "FREEWILL_BASE_URL",
            f"{settings.public_url} is not https: other servers will not federate with it",
        )
    if settings.log_fsync == "os":
        yield Finding(
            Level.WARNING, "FREEWILL_LOG_FSYNC", "events of the last moments are lost at a power cut"
        )


def _folders(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    if not folder.exists():
        yield Finding(Level.OK, "data folder", f"{folder} is made at the first start")
        return
    if not os.access(folder, os.W_OK):
        yield Finding(Level.ERROR, "data folder", f"{folder} cannot be written by this user")
    free = shutil.disk_usage(folder).free
    level = Level.OK if free > LOW_DISK_BYTES else Level.WARNING
    yield Finding(level, "disk", f"{free / 1024**3:.1f} GiB free in {folder}")
    for path in sorted(settings.secrets_path.glob("*")):
        if path.stat().st_mode & WEAK_BITS:
            yield Finding(Level.ERROR, "secrets", f"{path} can be read by others: chmod 600 {path}")


def _tools() -> Iterator[Finding]:
    yield Finding(Level.OK, "python", sys.version.split()[0])
    wal_fixed = (3, 7, 17)
    level = Level.OK if sqlite3.sqlite_version_info >= wal_fixed else Level.ERROR
    yield Finding(level, "sqlite", sqlite3.sqlite_version)


async def _database(settings: Settings) -> Finding:
    try:
        current = await current_revision(settings.relational_url)
    except Exception as error:
        return Finding(Level.ERROR, "database", f"{type(error).__name__}: {str(error).splitlines()[0]}")
    head = head_revision()
    if current == head:
        return Finding(Level.OK, "database", f"schema {head}")
    return Finding(
        Level.WARNING, "database", f"schema {current or 'empty'}, newest is {head}: freewill migrate"
    )


async def _encoders(settings: Settings) -> list[Finding]:
    try:
        problem = await unattended(settings)
    except Exception:
        return []  # the database says it
    return [Finding(Level.WARNING, "FREEWILL_MEDIA_WORKERS", problem)] if problem else []


async def _log(settings: Settings) -> list[Finding]:
    if settings.broker.startswith("embedded") and not log_path(settings).exists():
        return []
    try:
        topics = await topic_rows(settings)
    except Exception as error:
        return [Finding(Level.ERROR, "log", f"{type(error).__name__}: {error}")]
    dead = [row for row in topics if row[0].endswith(DEAD_SUFFIX) and row[3] != "0"]
    letters = [
        Finding(Level.WARNING, "dead letters", f"{row[3]} in {row[0]}: freewill dead-letters list")
        for row in dead
    ]
    return [*letters, Finding(Level.OK, "log", f"{len(topics)} topics")]
