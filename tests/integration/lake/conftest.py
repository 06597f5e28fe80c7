"""A log with engagement on it and a lake beside it, without a server."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import msgspec
import orjson
import pytest

from streams.lake import child
from streams.lake.service import Lake, LakeSettings
from streams.log import EmbeddedLog
from streams.log.topics import TopicPolicy
from tables.analytics import Who
from tables.definitions import TABLES
from tables.records import Action, EngagementEvent

PARTITIONS = 4
DAY = 86_400.0
SPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
ANALYST = Who("7", "eve", "analyst")
STEPS = [Action.WATCH_START, Action.WATCH_25, Action.WATCH_50, Action.WATCH_75, Action.WATCH_COMPLETE]
CHANGELOGS = {table.name: f"freewill-{table.name}-changelog" for table in TABLES}


@pytest.fixture(autouse=True)
def _children_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lake's children have their turn: tests that run beside these would starve them otherwise."""
    monkeypatch.setattr(child, "_put_last", lambda pid, nice: None)


@dataclass
class Notes:
    """Keeps what the audit is told."""

    kept: list[tuple[Any, ...]] = field(default_factory=list)

    async def note(self, who: Who, action: str, **facts: Any) -> None:
        self.kept.append((who, action, facts))


@dataclass
class Pond:
    """A log, its lake, and hands on both."""

    log: EmbeddedLog
    lake: Lake
    notes: Notes
    folder: Path
    written: int = 0

    async def watch(self, count: int, *, at: float | None = None) -> None:
        """Append watch events of many users and videos, spread over the day that began at ``at``."""
        start = time.time() - DAY if at is None else at
        by_partition: dict[int, list[tuple[bytes, bytes]]] = {}
        for number in range(self.written, self.written + count):
            user = f"user-{number % 23}"
            event = EngagementEvent(
                event_id=str(uuid5(SPACE, str(number))), user_id=user, video_id=f"video-{number % 7}",
                action=STEPS[number % 5], occurred_at=start + (number * 977) % DAY, owner_id="user-0",
                duration_seconds=10.0,
            )  # fmt: skip
            place = self.log.partition_for("events.engagement", user.encode())
            by_partition.setdefault(place, []).append((user.encode(), msgspec.json.encode(event)))
        for place, rows in by_partition.items():
            await self.log.append("events.engagement", place, [v for _, v in rows], keys=[k for k, _ in rows])
        self.written += count

    async def put(self, topic: str, key: str, value: msgspec.Struct | bytes | None) -> None:
        """Append one record where its key belongs."""
        raw = msgspec.json.encode(value) if isinstance(value, msgspec.Struct) else value
        await self.log.append(topic, self.log.partition_for(topic, key.encode()), [raw], keys=[key.encode()])

    async def row(self, table: str, key: str, value: msgspec.Struct | None) -> None:
        """Set a row of a table, as its changelog has it."""
        await self.put(CHANGELOGS[table], key, value)

    async def ask(self, sql: str, limit: int = 10_000) -> list[list[Any]]:
        """Return the rows of a query."""
        answer = await self.lake.query(ANALYST, sql, "json", limit)
        rows: list[list[Any]] = orjson.loads(answer.body)["rows"]
        return rows


@pytest.fixture
async def pond(tmp_path: Path) -> AsyncIterator[Pond]:
    """Return an empty log with every topic and table, and its lake."""
    log = EmbeddedLog.open(tmp_path / "log.db", fsync="os", upkeep_seconds=None)
    for topic in ("events.engagement", "engagement.deltas", "catalogue.changes"):
        await log.declare(topic, PARTITIONS)
    for changelog in CHANGELOGS.values():
        await log.declare(changelog, PARTITIONS, TopicPolicy(compact=True))
    notes = Notes()
    settings = LakeSettings(
        lake=tmp_path / "lake", log=tmp_path / "log.db", key=b"k" * 32, changelogs=CHANGELOGS,
        snapshot_seconds=0.0, query_seconds=10.0, query_mb=128,
    )  # fmt: skip
    yield Pond(log, Lake(settings, notes), notes, tmp_path)
    await log.close()
