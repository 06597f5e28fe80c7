"""The append-only record of what analysts and operators read and decided (Y10).

One JSON object a line: at, who, role, action, and what it was about. Written with O_APPEND and synced before
the answer goes out, by the server and the command line alike; nothing in the program changes a line.
"""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tables.analytics import Who

SQL_CHARACTERS = 20_000


class FileAudit:
    """An audit in one file of the data folder, for its owner's eyes only (mode 0600)."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Args: the file, and the clock."""
        self._path = path
        self._clock = clock

    async def note(self, who: Who, action: str, **facts: Any) -> None:
        """Append one entry; durable when it returns."""
        at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds")
        entry = {"at": at, "id": who.id, "name": who.name, "role": who.role, "action": action, **facts}
        if "sql" in entry:
            entry["sql"] = str(entry["sql"])[:SQL_CHARACTERS]
        await asyncio.to_thread(self._append, orjson.dumps(entry, default=str) + b"\n")

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)


def newest(path: Path, limit: int) -> list[str]:
    """Return the last lines of an audit, oldest of them first; none when there is no audit yet."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read().splitlines()[-limit:]
    except FileNotFoundError:
        return []
