"""What the server and the command line call: write the lake, ask it, each in a child process (Y10)."""

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from media.child import ChildCrashed, ChildError, Message
from media.limits import GIB, ChildLimits
from streams.lake import manifest as book
from streams.lake.child import run_child
from streams.lake.columns import DATASETS
from tables.analytics import Answer, Audit, Format, Who
from tables.errors import AppError, Failure, InvalidSql, QueryTooLarge, ServiceUnavailable

log = structlog.get_logger(__name__)
RUNNING = 1
"""Queries at once: one has the processors that serving leaves, and its memory, to itself."""
WAITING = 8
"""Queries that may wait for their turn; more are told to come back."""
MAX_BODY_BYTES = 16 * 1024 * 1024
NICE = 19
PATIENCE = 4.0
"""A query may take so many times its processor time: it runs when serving does not."""
SINK_LIMITS: Final = ChildLimits(
    address_space_bytes=8 * GIB,
    cpu_seconds=3600,
    file_bytes=8 * GIB,
    open_files=512,
    wall_seconds=3600.0,
    nice=NICE,
)


@dataclass(frozen=True)
class LakeSettings:
    """Where the lake is and what its processes may take.

    ``log`` is the file of an embedded ``broker``; ``changelogs`` is the changelog topic of each table,
    ``key`` makes the pseudonyms.
    """

    lake: Path
    log: Path
    key: bytes
    changelogs: Mapping[str, str]
    broker: str = "embedded://"
    snapshot_seconds: float = 60.0
    retention_days: float = 400.0
    query_seconds: float = 30.0
    query_mb: int = 512


@dataclass
class Lake:
    """The lake of one instance; see ``tables.analytics.Sql``."""

    settings: LakeSettings
    audit: Audit
    clock: Callable[[], float] = time.time
    position: Callable[[], object] = lambda: None
    """Changes when the log has something new; None: unknown."""
    _seen: object = None
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _running: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RUNNING))
    _asked: int = 0

    async def refresh(self) -> Mapping[str, Any]:
        """Write what is new, unless there is nothing; returns the counts of the run.

        Raises:
            Failure: FAILURE, the sink refused or ended badly; the lake is as it was committed last.
        """
        async with self._writing:
            position = self.position()
            if position is not None and position == self._seen:
                return {"rows": 0}
            known = self.settings
            request = {
                "lake": str(known.lake.absolute()),
                "broker": known.broker,
                "log": str(known.log.absolute()),
                "key": known.key.hex(),
                "changelogs": dict(known.changelogs),
                "snapshot_seconds": known.snapshot_seconds,
                "retention_days": known.retention_days,
            }
            try:
                _, done = await run_child("streams.lake.sink", request, SINK_LIMITS)
            except (ChildError, ChildCrashed) as error:
                log.error("lake_write_failed", error=str(error), details=getattr(error, "details", None))
                raise Failure(f"The lake could not be written: {error}") from error
            if not done.get("busy"):
                self._seen = position
            log.info("lake_written", **{name: value for name, value in done.items() if name != "kind"})
            return done

    async def query(self, who: Who, sql: str, form: Format, limit: int, *, fresh: bool = False) -> Answer:
        """Run one SELECT and audit it, refused ones too; see ``Sql.query``."""
        started = self.clock()
        outcome, rows = "FAILED", 0
        await self.audit.note(who, "sql.asked", sql=sql)
        try:
            if fresh:
                await self.refresh()
            answer = await self._admitted(sql, form, limit)
            outcome, rows = "OK", answer.rows
            return answer
        except AppError as error:
            outcome = error.code
            raise
        finally:
            spent = round((self.clock() - started) * 1000, 1)
            await self.audit.note(who, "sql.done", sql=sql, outcome=outcome, rows=rows, ms=spent)

    async def _admitted(self, sql: str, form: Format, limit: int) -> Answer:
        if self._asked >= RUNNING + WAITING:
            raise ServiceUnavailable("Too many queries are running.", retry_after_seconds=5)
        self._asked += 1
        try:
            async with self._running:
                return await self._run(sql, form, limit)
        finally:
            self._asked -= 1

    async def _run(self, sql: str, form: Format, limit: int) -> Answer:
        known, started = self.settings, time.perf_counter()
        request = {
            "lake": str(known.lake.absolute()), "sql": sql, "form": form, "limit": limit,
            "max_bytes": MAX_BODY_BYTES, "memory_mb": known.query_mb,
        }  # fmt: skip
        limits = ChildLimits(
            address_space_bytes=8 * GIB,
            cpu_seconds=max(1, round(known.query_seconds)),
            file_bytes=0,
            open_files=4096,
            wall_seconds=known.query_seconds * PATIENCE,
            nice=NICE,
        )
        body, done = await self._child("streams.lake.query", request, limits)
        elapsed_ms = round((time.perf_counter() - started) * 1000, 1)
        if form == "json":
            body += f', "truncated": {str(done["truncated"]).lower()}, "elapsed_ms": {elapsed_ms}}}'.encode()
        return Answer(body, done["rows"], done["truncated"], elapsed_ms)

    async def _child(
        self, module: str, request: Mapping[str, Any], limits: ChildLimits
    ) -> tuple[bytes, Message]:
        """Run a child that sends its body in messages; its failures are the caller's."""
        try:
            return await run_child(module, request, limits)
        except ChildError as error:
            if error.code == InvalidSql.code:
                raise InvalidSql(error.reason or None) from None
            if error.code == QueryTooLarge.code:
                raise QueryTooLarge(details={**error.details, "mb": self.settings.query_mb}) from None
            log.error("query_failed", code=error.code, reason=error.reason, details=error.details)
            raise Failure("The query failed.") from error
        except ChildCrashed as error:
            late = error.cause in {"timeout", f"signal {signal.SIGXCPU}"}
            limit = "time" if late else "memory"
            log.warning("query_ended", cause=error.cause, stderr=error.stderr_tail[-500:])
            raise QueryTooLarge(details={"limit": limit, "seconds": limits.cpu_seconds}) from None

    async def table_arrow(self, name: str, rows: AsyncIterator[bytes]) -> bytes:
        """Return stored rows as an Arrow IPC stream in the lake's columns: ``rows`` are ``json_line``s."""
        with tempfile.TemporaryDirectory(prefix="freewill-arrow-") as folder:
            lines = Path(folder) / "rows.jsonl"
            with lines.open("wb") as file:
                async for line in rows:
                    file.write(line)
            request = {"table": name, "lines": str(lines), "key": self.settings.key.hex()}
            async with self._running:
                body, _ = await self._child("streams.lake.convert", request, ChildLimits(nice=NICE))
            return body

    async def datasets(self) -> Sequence[Mapping[str, Any]]:
        """Return what SQL sees; see ``Sql.datasets``."""
        return await asyncio.to_thread(describe, self.settings.lake)


def describe(lake: Path) -> list[dict[str, Any]]:
    """Return every dataset: name, help, kind, columns, rows, snapshot, as_of (None before a write)."""
    manifest, found = book.load(lake), []
    for kind in DATASETS:
        snapshot = ""
        if kind.facts:
            facts = manifest.facts.get(kind.name, book.Facts())
            rows, as_of = sum(part.rows for part in facts.files), facts.as_of
        else:
            made = book.snapshots(lake, kind.name)
            rows, as_of = (made[-1].rows, made[-1].as_of) if made else (0, 0.0)
            snapshot = made[-1].name if made else ""
        found.append(
            {
                "name": kind.name,
                "description": kind.help,
                "kind": "facts" if kind.facts else "snapshot",
                "columns": [{"name": c.name, "type": c.type, "description": c.help} for c in kind.columns],
                "rows": rows,
                "as_of": as_of or None,
                "snapshot": snapshot or None,
            }
        )
    return found


def json_line(key: str, value: bytes) -> bytes:
    """Return a stored row as a line for ``table_arrow``.

    >>> json_line("a", b'{"local":[1]}')
    b'["a",{"local":[1]}]\\n'
    """
    return b"[" + orjson.dumps(key) + b"," + value + b"]\n"
