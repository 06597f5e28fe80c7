"""A front with the fediverse routes over a real SQLite database and a real file store."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, unused_port
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from federation.addresses import Addresses
from federation.directory import Directory
from federation.keys import public_pem
from federation.model import Counts
from federation.multikey import ed25519_multibase
from federation.site import Federation
from media.delivery import content_type
from media.layout import master_key, mp4_key, picture_key, rendition_key
from media.stores import FileStore
from tables.relational.engine import Database
from tables.relational.models import (
    ActorKeyRow,
    RefreshTokenRow,
    SessionRow,
    TombstoneRow,
    UserRow,
    VideoAssetRow,
    VideoRow,
)
from web.api.fediverse import ROUTES
from web.api.fediverse_answers import FEDERATION
from web.app import create_app
from web.hub import Hub
from web.keys import Deps, Readiness, WebSettings
from web.limits import MemoryLimiter
from web.metrics import Metrics

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MP4_BYTES = bytes(range(256)) * 40


@pytest.fixture(scope="session")
def instance_pem() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass
class Seeds:
    """Hands to put people, videos and files into the stores."""

    database: Database
    store: FileStore
    pem: str

    now = NOW

    async def person(self, username: str) -> UserRow:
        user = UserRow(
            id=str(uuid4()),
            username=username,
            username_key=username.lower(),
            email=f"{username}@example.org",
            email_key=f"{username.lower()}@example.org",
            password_hash="-",
            display_name=username.title(),
            bio="",
            did="did:key:" + ed25519_multibase(uuid4().bytes * 2),
            created_at=NOW,
            updated_at=NOW,
        )
        key = ActorKeyRow(
            user_id=user.id,
            algorithm="rsa-2048",
            public_pem=self.pem,
            private_wrapped=b"-",
            endorsement=b"-",
            created_at=NOW,
        )
        await self._insert(user)
        await self._insert(key)
        return user

    async def video(
        self, owner: UserRow, *, minutes: int = 0, stored: bool = True, **changes: Any
    ) -> VideoRow:
        values: dict[str, Any] = {
            "id": str(uuid4()),
            "owner_id": owner.id,
            "title": "The engine runs",
            "description": "It turns and turns.",
            "tags": ["steam"],
            "visibility": "PUBLIC",
            "status": "READY",
            "moderation_status": "pending",
            "duration_seconds": 12.3,
            "width": 1280,
            "height": 720,
            "published_at": NOW + timedelta(minutes=minutes),
            "created_at": NOW,
            "updated_at": NOW,
        }
        row = VideoRow(**(values | changes))
        await self._insert(row)
        await self._insert(*_assets(row.id))
        if stored:
            for asset in _assets(row.id):
                data = MP4_BYTES if asset.type == "MP4" else b"#EXTM3U\n"
                await self.store.put_bytes(asset.file_key, data, content_type=content_type(asset.file_key))
            await self.store.put_bytes(f"videos/{row.id}/source.mp4", b"source", content_type="video/mp4")
        return row

    async def delete(self, video: VideoRow) -> None:
        async with self.database.transaction() as session:
            await session.delete(await session.get(VideoRow, video.id))
            session.add(TombstoneRow(id=video.id, kind="video", deleted_at=NOW))

    async def signed_in(self, user: UserRow, at: datetime) -> None:
        session_id = str(uuid4())
        await self._insert(
            SessionRow(id=session_id, user_id=user.id, created_at=at, expires_at=at + timedelta(days=30))
        )
        await self._insert(RefreshTokenRow(token_hash=uuid4().hex, session_id=session_id, created_at=at))

    async def _insert(self, *rows: Any) -> None:
        async with self.database.transaction() as session:
            session.add_all(rows)


@dataclass
class Site(Seeds):
    """A running server."""

    client: TestClient[Any, Any]
    at: Addresses
    counts: dict[str, Counts]
    missing: list[str]

    @property
    def host(self) -> str:
        return self.at.host

    async def get(self, url: str, accept: str | None = "application/activity+json", **kwargs: Any):
        headers = {"Accept": accept} if accept else {}
        headers |= kwargs.pop("headers", {})
        path = url.removeprefix(self.at.base)
        return await self.client.get(path, headers=headers, allow_redirects=False, **kwargs)

    async def json(self, url: str, accept: str | None = "application/activity+json") -> dict[str, Any]:
        response = await self.get(url, accept)
        assert response.status == 200, await response.text()
        document: dict[str, Any] = await response.json(content_type=None)
        return document


def _assets(video_id: str) -> list[VideoAssetRow]:
    def asset(kind: str, key: str, **values: Any) -> VideoAssetRow:
        return VideoAssetRow(
            id=str(uuid4()), video_id=video_id, type=kind, file_key=key, created_at=NOW, **values
        )

    return [
        asset("HLS_MASTER", master_key(video_id), container="m3u8"),
        asset("HLS_RENDITION", rendition_key(video_id, "720p"), quality="720p", container="ts", width=1280,
              height=720, bandwidth=2_800_000),
        asset("HLS_RENDITION", rendition_key(video_id, "360p"), quality="360p", container="ts", width=640,
              height=360, bandwidth=800_000),
        asset("MP4", mp4_key(video_id, "720p"), quality="720p", container="mp4", width=1280, height=720,
              size_bytes=len(MP4_BYTES)),
        asset("THUMBNAIL", picture_key(video_id, "small.jpg"), quality="small", container="jpg", width=160,
              height=90),
        asset("THUMBNAIL", picture_key(video_id, "large.jpg"), quality="large", container="jpg", width=640,
              height=360),
        asset("POSTER", picture_key(video_id, "poster.jpg"), container="jpg", width=1280, height=720),
    ]  # fmt: skip


@pytest.fixture
async def seeds(database: Database, tmp_path: Path, instance_pem: bytes) -> Seeds:
    """Return hands on an empty database, once for each dialect."""
    return Seeds(database, FileStore(tmp_path / "objects"), public_pem(instance_pem))


@pytest.fixture
async def site(_sqlite_template: Path, tmp_path: Path, instance_pem: bytes) -> AsyncIterator[Site]:
    """Return a running server with nobody on it."""
    shutil.copyfile(_sqlite_template, tmp_path / "site.db")
    database = Database.open(f"sqlite+aiosqlite:///{tmp_path / 'site.db'}", synchronous="NORMAL")
    store, counts = FileStore(tmp_path / "objects"), dict[str, Counts]()
    port = unused_port()
    at = Addresses.of(f"http://127.0.0.1:{port}")
    missing: list[str] = []
    app = _application(tmp_path, at, store, missing)
    app[FEDERATION] = Federation(
        addresses=at,
        directory=Directory(database, at, counts.get),
        instance_key_pem=public_pem(instance_pem),
        software_version="0.1.0",
    )
    client = TestClient(TestServer(app, port=port))
    await client.start_server()
    yield Site(database, store, public_pem(instance_pem), client, at, counts, missing)
    await client.close()
    await database.close()


def _application(folder: Path, at: Addresses, store: FileStore, missing: list[str]) -> web.Application:
    services: dict[str, Any] = dict.fromkeys(field.name for field in fields(Deps))  # what is not asked here
    services |= {
        "settings": WebSettings(
            base_url=at.base, upload_dir=folder, client_dir=folder / "client", rate_limits=False
        ),
        "clock": NOW.timestamp,
        "readiness": lambda: Readiness(tuple(missing)),
        "store": store,
        "hub": Hub(NOW.timestamp),
        "metrics": Metrics(),
        "limiter": MemoryLimiter(),
    }
    return create_app(Deps(**services), ROUTES)
