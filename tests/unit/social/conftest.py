"""The services of people and content over a real database, with a clock and a store that tests control."""

import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from social.interactions import Interactions
from social.videos import StoredUpload, VideoMetadata, VideoService
from social.views import Principal, Video
from tables.records import Asset, MediaResult
from tables.relational.engine import Database
from tables.relational.models import OutboxRow, UserRow, moment


@dataclass
class Clock:
    """Time that moves when a test says so."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class MemoryStore:
    """An object store in a dict that can be told to fail."""

    objects: dict[str, bytes] = field(default_factory=dict)
    broken: bool = False

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        self._check()
        self.objects[key] = path.read_bytes()
        if move:
            path.unlink()

    async def stat(self, key: str) -> object | None:
        self._check()
        return self.objects.get(key)

    async def delete_prefix(self, prefix: str) -> int:
        self._check()
        gone = [key for key in self.objects if key.startswith(prefix)]
        for key in gone:
            del self.objects[key]
        return len(gone)

    def _check(self) -> None:
        if self.broken:
            raise OSError("the disk is full")


@dataclass
class World:
    """Everything a test of videos and interactions needs."""

    database: Database
    clock: Clock
    store: MemoryStore
    folder: Path
    videos: VideoService
    interactions: Interactions

    async def user(self, name: str = "", role: str = "user") -> Principal:
        user_id = str(uuid.uuid4())
        username = name or f"u{user_id[:8]}"
        now = moment(self.clock())
        async with self.database.transaction() as session:
            session.add(
                UserRow(
                    id=user_id,
                    username=username,
                    username_key=username.lower(),
                    email=f"{username}@example.org",
                    email_key=f"{username}@example.org".lower(),
                    password_hash="x",
                    role=role,
                    did=f"did:key:z{user_id}",
                    created_at=now,
                    updated_at=now,
                )
            )
        return Principal(user_id, username, role, str(uuid.uuid4()))

    def upload(self, data: bytes = b"source") -> StoredUpload:
        path = self.folder / uuid.uuid4().hex
        path.write_bytes(data)
        return StoredUpload(
            path=path,
            size_bytes=len(data),
            mime="video/mp4",
            extension="mp4",
            duration_seconds=10.0,
            width=640,
            height=360,
        )

    async def video(self, owner: Principal, **metadata: object) -> Video:
        said = VideoMetadata(**{"title": "A video", **metadata})  # type: ignore[arg-type]
        return await self.videos.create_from_upload(owner, self.upload(), said)

    async def encoding(self, owner: Principal, **metadata: object) -> tuple[Video, MediaResult]:
        """Return a TRANSCODING video and the report that would make it READY."""
        video = await self.video(owner, **metadata)
        await self.videos.enqueue_encoding(video.id, "core")
        job = next(job for job in await self.videos.unfinished_jobs() if job.video_id == video.id)
        return video, result(job.job_id, video.id)

    async def ready(self, owner: Principal, **metadata: object) -> Video:
        video, done = await self.encoding(owner, **metadata)
        assert await self.videos.apply_completed(done)
        return await self.videos.get(video.id, owner)

    async def outbox(self, topic: str | None = None) -> list[OutboxRow]:
        """Return the rows of a topic, or of all but row changes."""
        async with self.database.session() as session:
            rows = list(await session.scalars(select(OutboxRow).order_by(OutboxRow.id)))
        if topic is None:
            return [row for row in rows if not row.topic.startswith("cdc.")]
        return [row for row in rows if row.topic == topic]

    async def drain(self) -> None:
        async with self.database.transaction() as session:
            for row in await session.scalars(select(OutboxRow)):
                await session.delete(row)

    async def rows(self, model: type) -> list[object]:
        async with self.database.session() as session:
            return list(await session.scalars(select(model)))


def result(job_id: str, video_id: str, outcome: str = "completed", **changes: object) -> MediaResult:
    """Return a report of the encode."""
    assets = (
        Asset(type="HLS_MASTER", key=f"videos/{video_id}/hls/master.m3u8", container="hls"),
        Asset(
            type="HLS_RENDITION",
            key=f"videos/{video_id}/hls/360p/playlist.m3u8",
            quality="360p",
            bandwidth=800_000,
            width=640,
            height=360,
            container="hls",
        ),
    )
    base: dict[str, object] = {"assets": assets, "duration_seconds": 10.5, "width": 640, "height": 360}
    fields = (base if outcome == "completed" else {}) | changes
    return MediaResult(job_id=job_id, video_id=video_id, outcome=outcome, at=0.0, **fields)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(database: Database, clock: Clock, tmp_path: Path) -> World:
    store = MemoryStore()
    return World(
        database,
        clock,
        store,
        tmp_path,
        VideoService(database, store, clock),
        Interactions(database, clock),
    )


@pytest.fixture
def report() -> object:
    """Return the builder of reports; test modules cannot import a conftest."""
    return result
