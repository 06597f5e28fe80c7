"""What was left of a job that failed, for operators: why, how far it came, what it had made (B10).

Kept for a week by job: in Redis where workers share one, else in a folder of the worker that failed.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

log = logging.getLogger(__name__)
KEPT_SECONDS: Final = 7 * 86_400
KEPT_FILES: Final = 2_000
SAID_CHARACTERS: Final = 4_000
FILES_LISTED: Final = 200
_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")

Partial = dict[str, Any]


class Partials(Protocol):
    """Keeps partial results by job id."""

    async def keep(self, job_id: str, partial: Partial) -> None:
        """Keep one, over an older one of the same job; a failure to keep it is logged only."""

    async def find(self, job_id: str) -> Partial | None:
        """Return one that is kept still."""


class FilePartials:
    """In a folder; the oldest go when there are too many."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """Args: the folder, made when it is needed, and the clock in seconds since the epoch."""
        self._folder = folder
        self._clock = clock

    async def keep(self, job_id: str, partial: Partial) -> None:
        """Write it, and drop what is too old."""
        try:
            await asyncio.to_thread(self._write, job_id, json.dumps(partial))
        except OSError as error:
            log.warning("what is left of job %s cannot be kept: %s", job_id, error)

    async def find(self, job_id: str) -> Partial | None:
        """Read it."""
        if not _ID.fullmatch(job_id):
            return None
        return await asyncio.to_thread(self._read, self._folder / f"{job_id}.json")

    def _write(self, job_id: str, text: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{job_id}.json"
        path.with_suffix(".new").write_text(text, encoding="utf-8")
        path.with_suffix(".new").replace(path)
        newest_first = sorted(self._folder.glob("*.json"), key=lambda file: -file.stat().st_mtime)
        for number, file in enumerate(newest_first):
            if number >= KEPT_FILES or self._clock() - file.stat().st_mtime > KEPT_SECONDS:
                file.unlink(missing_ok=True)

    def _read(self, path: Path) -> Partial | None:
        try:
            if self._clock() - path.stat().st_mtime > KEPT_SECONDS:
                return None
            found: Partial = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return found


class RedisPartials:
    """In Redis, with its time to live; in the folder while Redis is away."""

    def __init__(self, client: Any, failures: tuple[type[Exception], ...], beside: Partials) -> None:
        """Args: a client of redis.asyncio, what it raises when Redis is away, and where they go then."""
        self._client = client
        self._failures = failures
        self._beside = beside

    async def keep(self, job_id: str, partial: Partial) -> None:
        """Set it."""
        try:
            await self._client.set(_key(job_id), json.dumps(partial), ex=KEPT_SECONDS)
        except self._failures:
            await self._beside.keep(job_id, partial)

    async def find(self, job_id: str) -> Partial | None:
        """Get it."""
        try:
            found = await self._client.get(_key(job_id))
        except self._failures:
            found = None
        return json.loads(found) if found else await self._beside.find(job_id)


def _key(job_id: str) -> str:
    return f"freewill:media:partial:{job_id}"
