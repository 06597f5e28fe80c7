"""Delivery from a store that is elsewhere: through the origin, never by its own URLs (C27, C32, X18)."""

import asyncio
import os
import uuid
from urllib.parse import urlsplit

import pytest

from media.layout import master_key
from media.s3 import S3Store
from media.stores import FileStore, ObjectInfo

LARGE = os.urandom(1_500_000)
BLOCK, BLOCKS = 256 * 1024, 400


@pytest.fixture
async def bucket(monkeypatch):
    """Return a store on a bucket of its own, of a real S3 server."""
    url = os.environ.get("FREEWILL_TEST_S3_URL")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("FREEWILL_TEST_S3_URL is missing: CI runs the tests on an S3 server")
        pytest.skip("no S3 server (set FREEWILL_TEST_S3_URL; `make services` starts one)")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", os.environ["FREEWILL_TEST_S3_ACCESS_KEY"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", os.environ["FREEWILL_TEST_S3_SECRET_KEY"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    async with S3Store(f"d{uuid.uuid4().hex}", endpoint_url=url) as store:
        await store.create_bucket()
        yield store


async def ready(front, owner):
    """Return a READY video whose outputs lie in the front's store, one of them large; and a path to that."""
    video = (await front.upload(owner))["id"]
    await front.make_ready(video)
    key = f"videos/{video}/hls/360p/segment_00000.ts"
    await front.deps.store.put_bytes(key, LARGE, content_type="video/mp2t")
    return video, f"/media/{front.deps.signer.token(video)}/{key}"


async def test_ranges_and_validators_pass_through_when_objects_lie_in_a_bucket(build, bucket):
    """C40, X18: the origin answers as it does from a folder."""
    front = await build({"store": bucket})
    _, path = await ready(front, await front.person("ada"))
    ask = front.client.get
    whole = await ask(path)
    assert (whole.status, whole.content_type, await whole.read()) == (200, "video/mp2t", LARGE)
    etag = whole.headers["ETag"]
    for header, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=300000-900000", 300_000, 900_001),
        ("bytes=1400000-", 1_400_000, len(LARGE)),
        ("bytes=-7", len(LARGE) - 7, len(LARGE)),
    ):
        part = await ask(path, headers={"Range": header, "If-Range": etag})
        assert (part.status, await part.read()) == (206, LARGE[start:end])
        assert part.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(LARGE)}"
    head = await front.client.head(path)
    assert (head.status, head.headers["Content-Length"], await head.read()) == (200, str(len(LARGE)), b"")
    assert (await ask(path, headers={"If-None-Match": etag})).status == 304
    past = await ask(path, headers={"Range": f"bytes={len(LARGE)}-"})
    assert (past.status, past.headers["Content-Range"]) == (416, f"bytes */{len(LARGE)}")
    assert (await ask(path.replace("segment_00000", "segment_00009"))).status == 404


async def test_no_answer_names_the_bucket_when_objects_lie_in_one(
    build, bucket, monkeypatch, unused_tcp_port
):
    """C27, X18: neither URLs nor headers nor errors of the store reach a client."""
    front = await build({"store": bucket})
    ada = await front.person("ada")
    video, segment = await ready(front, ada)
    playlist = f"/media/{front.deps.signer.token(video)}/{master_key(video)}"
    paths = [
        segment,
        playlist,
        segment.replace("segment_00000", "segment_00009"),
        f"/api/v1/videos/{video}",
        f"/api/videos/{video}",
        f"/api/posts/{video}",
        f"/api/v1/videos/{video}/playback",
        f"/api/v1/videos/{video}/playback?form=query",
        f"/api/v1/videos/{video}/playback?form=cookies",
        f"/api/v1/reels/{video}/manifest.m3u8",
        f"/api/v1/reels/{video}/segments/360p/0",
        "/api/v1/reels",
        "/api/v1/feed",
    ]
    host = urlsplit(os.environ["FREEWILL_TEST_S3_URL"]).netloc

    async def shown(path):
        answer = await front.client.get(path, headers=ada.headers, allow_redirects=False)
        text = "" if path == segment else await answer.text()
        lines = [f"{name}: {value}" for name, value in answer.headers.items()]
        return answer.status, "\n".join([*lines, text]).lower()

    for path in paths:
        status, said = await shown(path)
        assert status < 500, path
        assert not [word for word in ("x-amz", bucket.bucket, host) if word in said], path

    async with S3Store(bucket.bucket, endpoint_url=f"http://127.0.0.1:{unused_tcp_port}") as away:
        monkeypatch.setattr(bucket, "client", away.client)
        for path, expected in ((segment, 500), (paths[3], 200), (paths[4], 200), (paths[9], 503)):
            status, said = await shown(path)
            assert (path, status) == (path, expected)
            assert not [word for word in ("x-amz", bucket.bucket, host) if word in said], path


class Endless(FileStore):
    """Has one object of a hundred megabytes, elsewhere, and counts what was read of it."""

    taken, closed = 0, False

    def open_local(self, key):
        return None

    async def stat(self, key):
        if not key.endswith("segment_00000.ts"):
            return await super().stat(key)
        return ObjectInfo(key, BLOCK * BLOCKS, "video/mp2t", '"e"', 1.0)

    async def read(self, key, start=0, end=None):
        try:
            for _ in range(BLOCKS):
                self.taken += 1
                yield bytes(BLOCK)
        finally:
            self.closed = True


async def test_store_is_read_as_fast_as_the_client_takes_it(build, tmp_path):
    """C32: a viewer on a slow line holds some blocks of a file in memory, not the file."""
    store = Endless(tmp_path / "objects")
    front = await build({"store": store})
    _, path = await ready(front, await front.person("ada"))
    answer = await front.client.get(path)
    assert len(await answer.content.readexactly(BLOCK)) == BLOCK
    before = -1
    while before != store.taken:  # until the buffers between are full
        before = store.taken
        await asyncio.sleep(0.1)
    assert store.taken < BLOCKS / 2
    answer.close()
    async with asyncio.timeout(120):
        while not store.closed:
            await asyncio.sleep(0.01)
    assert store.taken < BLOCKS
