"""Upload sessions over a real S3 server: parts go straight to the bucket (A25, A28, A29, A41, A52)."""

import hashlib
import os
import shutil
import uuid
from dataclasses import dataclass

import aiohttp
import pytest
from sqlalchemy import select

from media.parts import parts_for
from media.policies import LONG, SHORT
from media.probe import SourceInfo
from media.s3 import S3Store
from social.uploads import UploadLinks, UploadSessions, UploadTools, Wanted
from social.videos import VideoMetadata, VideoService
from social.views import Principal
from tables.errors import ChecksumMismatch
from tables.relational.engine import Database
from tables.relational.models import UserRow, VideoRow, moment

PART = 5_242_880
NOW = 1_800_000_000.0
TITLE = VideoMetadata(title="t")


@dataclass
class Bucket:
    store: S3Store
    service: UploadSessions
    videos: VideoService
    database: Database
    owner: Principal

    async def keys(self):
        return [info.key async for info in self.store.list("")]

    async def unfinished(self):
        return [upload.session_id async for upload in self.service._tools.parts.unfinished()]


async def takes_all(path, policy, *, filename=""):
    return SourceInfo("mp4", "video/mp4", 2.0, 64, 48, 0, 30.0, "h264", None, path.stat().st_size)


@pytest.fixture
async def bucket(_sqlite_template, tmp_path, monkeypatch):
    url = os.environ.get("FREEWILL_TEST_S3_URL")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("FREEWILL_TEST_S3_URL is missing: CI runs the tests on an S3 server")
        pytest.skip("no S3 server (set FREEWILL_TEST_S3_URL; `make services` starts one)")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", os.environ["FREEWILL_TEST_S3_ACCESS_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", os.environ["FREEWILL_TEST_S3_SECRET_KEY"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    shutil.copyfile(_sqlite_template, tmp_path / "u.db")
    database = Database.open(f"sqlite+aiosqlite:///{tmp_path}/u.db", synchronous="NORMAL")
    owner = Principal(str(uuid.uuid4()), "ada", "user", "s")
    async with database.transaction() as session:
        session.add(
            UserRow(id=owner.user_id, username="ada", username_key="ada", email="a@x.org",
                    email_key="a@x.org", password_hash="-", role="user", did="did:key:z",
                    created_at=moment(NOW), updated_at=moment(NOW))
        )  # fmt: skip
    async with S3Store(f"u{uuid.uuid4().hex}", endpoint_url=url) as store:
        await store.create_bucket()
        videos = VideoService(database, store, lambda: NOW)
        tools = UploadTools(
            database=database, videos=videos, store=store, parts=parts_for(store, tmp_path / "parts"),
            probe=takes_all, links=UploadLinks(b"k", "http://front.test", lambda: NOW),
            clock=lambda: NOW, folder=tmp_path,
        )  # fmt: skip
        yield Bucket(store, UploadSessions(tools), videos, database, owner)
    await database.close()


async def in_parts(bucket, size):
    video = await bucket.videos.create_draft(bucket.owner, TITLE, "long")
    wanted = Wanted(
        provider="S3_MULTIPART", policy=LONG, size_bytes=size, video_id=video.id, mime="video/mp4"
    )
    return await bucket.service.create(bucket.owner, wanted)


async def test_source_stands_in_the_bucket_when_parts_went_straight_to_it(bucket):
    """Scenario 1 and 3: URLs of the store itself; a client that lost its state asks which parts exist."""
    data = os.urandom(PART + 1_000)
    session = await in_parts(bucket, len(data))
    urls = await bucket.service.part_urls(session.id, bucket.owner, [1, 2])
    assert not any(url.url.startswith("http://front.test") for url in urls)
    etags = {}
    async with aiohttp.ClientSession() as client:
        for url, piece in zip(urls, (data[:PART], data[PART:]), strict=True):
            async with client.put(url.url, data=_stream(piece), headers=_length(piece)) as answer:
                assert answer.status == 200, await answer.text()
                etags[url.number] = answer.headers["ETag"]
            seen = await bucket.service.get(session.id, bucket.owner)
            assert [part.number for part in seen.parts] == list(etags)
    assert seen.bytes_uploaded == len(data)
    with pytest.raises(ChecksumMismatch):
        await bucket.service.complete(session.id, bucket.owner, etags | {2: '"wrong"'})
    done = await bucket.service.complete(session.id, bucket.owner, etags)
    assert done.status == "COMPLETED"
    key = f"videos/{session.video_id}/source.mp4"
    assert await bucket.keys() == [key]
    digest = hashlib.sha256()
    async for chunk in bucket.store.read(key):
        digest.update(chunk)
    async with bucket.database.session() as session_:
        row = (await session_.scalars(select(VideoRow))).one()
    assert row.source_sha256 == digest.hexdigest() == hashlib.sha256(data).hexdigest()
    assert await bucket.unfinished() == []


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
async def test_chunks_of_any_size_become_one_object(bucket, name):
    """A16, A44: smaller than S3 takes as parts, and of another format than the name said."""
    data = b"abcdef"
    wanted = Wanted(
        provider="API_CHUNKS", policy=SHORT, size_bytes=6, part_count=3, filename=name,
        sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip
    session = await bucket.service.create(bucket.owner, wanted)
    for number in (3, 1, 2):
        piece = data[(number - 1) * 2 : number * 2]
        await bucket.service.receive(session.id, bucket.owner, number, _stream(piece))
    video = await bucket.service.finalize(session.id, bucket.owner, TITLE)
    assert await bucket.keys() == [f"videos/{video.id}/source.mp4"]
    assert await bucket.unfinished() == []


@pytest.mark.parametrize("step", ["judged", "stored"])
async def test_completion_finishes_when_it_is_asked_again_after_a_crash(bucket, monkeypatch, step):
    """A19, A48: the same steps on the other store."""

    class Killed(BaseException):
        pass

    def at(now):
        if now == step:
            raise Killed

    session = await in_parts(bucket, 10)
    await bucket.service.receive(session.id, None, 1, _stream(b"0123456789"))
    monkeypatch.setattr(bucket.service.completer, "_at", at)
    with pytest.raises(Killed):
        await bucket.service.complete(session.id, bucket.owner)
    monkeypatch.undo()
    again = UploadSessions(bucket.service._tools)
    await again.sweep(everything=True)
    assert (await again.complete(session.id, bucket.owner)).status == "COMPLETED"
    assert await bucket.keys() == [f"videos/{session.video_id}/source.mp4"]
    assert await bucket.unfinished() == []


async def test_nothing_is_left_in_the_bucket_when_canceled(bucket):
    """A41: the multipart upload is aborted."""
    session = await in_parts(bucket, 10)
    await bucket.service.receive(session.id, None, 1, _stream(b"0123456789"))
    assert await bucket.unfinished() == [session.id]
    await bucket.service.cancel(session.id, bucket.owner)
    assert (await bucket.unfinished(), await bucket.keys()) == ([], [])


async def _stream(data):
    for start in range(0, len(data), 65_536):
        yield data[start : start + 65_536]


def _length(data):
    return {"Content-Length": str(len(data))}
