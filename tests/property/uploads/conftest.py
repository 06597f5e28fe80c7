"""Upload sessions over a real database, file store and part store; a clock, faults and a probe to choose."""

import asyncio
import hashlib
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from media.child import ChildError
from media.generate import generate_clip
from media.parts import parts_for
from media.policies import SHORT, UploadPolicy
from media.probe import SourceInfo
from media.stores import FileStore
from social.uploads import UploadLinks, UploadSessions, UploadTools, Wanted
from social.videos import VideoMetadata, VideoService
from social.views import Principal
from tables.relational.engine import Database
from tables.relational.models import OutboxRow, UploadSessionRow, UserRow, VideoRow, moment

SECRET = b"shared with the store"


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def takes_all(path: Path, policy: UploadPolicy, *, filename: str = "") -> SourceInfo:
    """Say that any bytes are an mp4: for tests whose subject is not the format."""
    return SourceInfo("mp4", "video/mp4", 2.0, 64, 48, 0, 30.0, "h264", None, path.stat().st_size)


@dataclass
class Uploads:
    """Everything a test of uploads needs; ``restart`` is a new process over what the old one left."""

    database: Database
    folder: Path
    clock: Clock = field(default_factory=Clock)
    changes: dict[str, Any] = field(default_factory=dict)
    told: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scratch = self.folder / "tmp"
        self.scratch.mkdir(exist_ok=True)
        self.store = FileStore(self.folder / "objects")
        self.restart()

    def restart(self, **changes: Any) -> UploadSessions:
        self.changes |= changes
        self.videos = VideoService(self.database, self.store, self.clock)
        tools = UploadTools(
            database=self.database,
            videos=self.videos,
            store=self.store,
            parts=parts_for(self.store, self.folder / "parts"),
            probe=takes_all,
            links=UploadLinks(b"k" * 32, "http://front.test", self.clock, SECRET),
            clock=self.clock,
            folder=self.scratch,
            notify=lambda user_id, event, data: self.told.append((user_id, event, dict(data))),
        )
        self.tools = replace(tools, **self.changes)
        self.service = UploadSessions(self.tools)
        return self.service

    async def user(self, role: str = "user") -> Principal:
        user_id, now = str(uuid.uuid4()), moment(self.clock())
        name = f"u{user_id[:8]}"
        async with self.database.transaction() as session:
            session.add(
                UserRow(
                    id=user_id, username=name, username_key=name, email=f"{name}@x.org",
                    email_key=f"{name}@x.org", password_hash="-", role=role, did=f"did:key:z{user_id}",
                    created_at=now, updated_at=now,
                )
            )  # fmt: skip
        return Principal(user_id, name, role, str(uuid.uuid4()))

    async def chunked(self, owner: Principal, data: bytes, count: int, **said: Any) -> Any:
        """Open a session of document 000 for some bytes."""
        wanted = {"provider": "API_CHUNKS", "policy": SHORT, "size_bytes": len(data), "part_count": count}
        wanted["sha256"] = hashlib.sha256(data).hexdigest()
        return await self.service.create(owner, Wanted(**(wanted | said)))

    async def draft(self, owner: Principal) -> str:
        video = await self.videos.create_draft(owner, VideoMetadata(title="A film"), "long")
        return video.id

    async def in_parts(self, owner: Principal, size: int, video_id: str | None = None, **said: Any) -> Any:
        """Open a session of document 001 for so many bytes."""
        video_id = video_id or await self.draft(owner)
        wanted = {"provider": "S3_MULTIPART", "policy": SHORT, "size_bytes": size, "video_id": video_id}
        return await self.service.create(owner, Wanted(**(wanted | said)))

    async def send(self, session: Any, owner: Principal | None, number: int, data: bytes) -> Any:
        return await self.service.receive(session.id, owner, number, body(data))

    async def rows(self, model: type) -> list[Any]:
        async with self.database.session() as session:
            return list(await session.scalars(select(model)))

    async def facts(self, video_id: str | None = None) -> list[str]:
        """Return the videos that were announced, or how often one was."""
        told = select(OutboxRow.key).where(OutboxRow.topic == "video.uploaded").order_by(OutboxRow.id)
        if video_id is not None:
            told = told.where(OutboxRow.key == video_id)
        async with self.database.session() as session:
            return list(await session.scalars(told))

    def source(self, video_id: str, ending: str = "mp4") -> bytes:
        return (self.folder / "objects" / "videos" / video_id / f"source.{ending}").read_bytes()

    def objects(self) -> dict[str, bytes]:
        root = self.folder / "objects"
        files = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
        return {str(path.relative_to(root)): path.read_bytes() for path in files}

    def waiting(self) -> list[str]:
        """Return what lies among the unfinished uploads and in the scratch folder."""
        return sorted(
            str(path.relative_to(self.folder))
            for folder in (self.folder / "parts", self.scratch)
            for path in folder.rglob("*")
            if path.is_file()
        )

    async def assert_no_orphan(self) -> None:
        """Compare the store with the rows: an object for each source and nothing else (A19, A41)."""
        sources = {video.source_key for video in await self.rows(VideoRow) if video.source_key}
        assert set(self.objects()) == sources
        open_ids = {
            row.id
            for row in await self.rows(UploadSessionRow)
            if row.status in ("INITIATED", "IN_PROGRESS", "PAUSED")
        }
        assert {name.split("/")[1] for name in self.waiting() if name.startswith("parts/")} <= open_ids
        assert [name for name in self.waiting() if not name.startswith("parts/")] == []


async def body(data: bytes, step: int = 65_536) -> AsyncIterator[bytes]:
    """Yield bytes as a connection does."""
    for start in range(0, len(data), step):
        yield data[start : start + step]


@pytest.fixture
def sending() -> Callable[..., AsyncIterator[bytes]]:
    return body


@pytest.fixture
async def uploads(
    _sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Uploads]:
    """Return an empty instance. Nothing is synced: processes die in these tests, machines do not."""
    monkeypatch.setattr("os.fsync", lambda file: None)
    path = tmp_path / "uploads.db"
    shutil.copyfile(_sqlite_template, path)
    database = Database.open(f"sqlite+aiosqlite:///{path}", synchronous="NORMAL")
    yield Uploads(database, tmp_path)
    await database.close()


@pytest.fixture
async def uploads_on(database: Database, tmp_path: Path) -> Uploads:
    """Return an empty instance on either database."""
    return Uploads(database, tmp_path)


@pytest.fixture
def real_probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the real probe, its child's work done in a thread: processes would take minutes."""
    from media import probe
    from media.workers.probe import handle
    from media.workers.protocol import Refused

    async def in_thread(module: str, request: Any, limits: Any, on_message: Any = None) -> Any:
        try:
            return await asyncio.to_thread(handle, dict(request))
        except Refused as refused:
            raise ChildError(refused.code, refused.reason, refused.details, retryable=False) from refused

    monkeypatch.setattr(probe, "run_child", in_thread)
    return probe.probe_file


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a real mp4 of one second, a few kB."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    asyncio.run(generate_clip(path, "bars", 1.0, (64, 48)))
    return path
