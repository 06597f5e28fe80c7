"""What only S3 has: signed parts, joining inside the store, another client's opinion (A28, A29, A50)."""

import asyncio
import hashlib
import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio
import requests
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.config import Config

from media.layout import upload_prefix
from media.parts import MIN_PART_BYTES, Incoming, PartInfo, PartStore, parts_for
from media.s3 import S3Store
from media.s3_parts import PIECE_BYTES
from tables.errors import ChecksumMismatch, StorageFailure

KEY = "videos/1/source.mp4"


pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def parts(bucket: S3Store, tmp_path: Path) -> PartStore:
    return parts_for(bucket, tmp_path / "uploads")


@pytest_asyncio.fixture(loop_scope="session")
async def upload(parts: PartStore) -> Incoming:
    return await parts.begin("s-1", KEY, content_type="video/mp4")


@pytest.fixture
def boto(bucket: S3Store) -> Any:
    """Return Amazon's own client."""
    return boto3.client(
        "s3",
        endpoint_url=os.environ["FREEWILL_TEST_S3_URL"],
        aws_access_key_id=os.environ["FREEWILL_TEST_S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["FREEWILL_TEST_S3_SECRET_KEY"],
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


async def body(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def send(url: str | None, data: bytes) -> requests.Response:
    """PUT as any HTTP client does."""
    assert url is not None
    return await asyncio.to_thread(requests.put, url, data=data, timeout=30)


def listed(boto: Any, bucket: S3Store, upload: Incoming) -> list[tuple[int, int, str]]:
    found = boto.list_parts(
        Bucket=bucket.bucket,
        Key=bucket.name(f"{upload_prefix(upload.session_id)}whole"),
        UploadId=upload.provider_upload_id,
    )
    return [(part["PartNumber"], part["Size"], part["ETag"]) for part in found.get("Parts", ())]


async def test_signed_parts_become_the_object_when_clients_send_them(
    parts: PartStore, upload: Incoming, bucket: S3Store, boto: Any, tmp_path: Path
) -> None:
    """A28, A29, A52: the store takes the bytes; we, it, and Amazon's client agree on what is there."""
    pieces = [os.urandom(MIN_PART_BYTES), os.urandom(1000)]
    answers = []
    for number, data in enumerate(pieces, 1):
        url = await parts.sign_put(upload, number, size_bytes=len(data), expires_seconds=60)
        answers.append(await send(url, data))
    assert [answer.status_code for answer in answers] == [200, 200]
    known = await parts.parts(upload)
    assert [(part.number, part.size_bytes, part.etag) for part in known] == listed(boto, bucket, upload)
    assert [part.etag for part in known] == [answer.headers["ETag"] for answer in answers]
    whole = b"".join(pieces)
    assert await parts.assemble(upload, known, tmp_path / "x") == hashlib.sha256(whole).hexdigest()
    late = await send(await parts.sign_put(upload, 3, size_bytes=1, expires_seconds=60), b"x")
    assert late.status_code == 404
    info = await parts.complete(upload, known)
    assert (info.size_bytes, info.content_type) == (len(whole), "video/mp4")
    stands = await asyncio.to_thread(boto.get_object, Bucket=bucket.bucket, Key=bucket.name(KEY))
    assert stands["Body"].read() == whole
    assert [each async for each in parts.unfinished()] == []


async def test_signed_url_is_refused_when_anything_of_it_is_other(parts: PartStore, upload: Incoming) -> None:
    """A50: number, size, upload and expiry are the ones that were signed."""
    url = await parts.sign_put(upload, 1, size_bytes=10, expires_seconds=60)
    assert url is not None
    refused = [
        await send(url, b"x" * 9),
        await send(url, b"x" * 11),
        await send(url.replace("partNumber=1", "partNumber=2"), b"x" * 10),
        await send(url.replace("s-1", "s-2"), b"x" * 10),
        await send(url[:-1] + ("0" if url[-1] != "0" else "1"), b"x" * 10),
    ]
    assert [answer.status_code for answer in refused] == [403] * 5
    brief = await parts.sign_put(upload, 1, size_bytes=10, expires_seconds=1)
    await asyncio.sleep(2.1)
    assert (await send(brief, b"x" * 10)).status_code == 403
    assert await parts.parts(upload) == []
    assert (await send(url, b"x" * 10)).status_code == 200


async def test_signed_url_is_dead_when_the_upload_was_aborted(parts: PartStore, upload: Incoming) -> None:
    """A41."""
    url = await parts.sign_put(upload, 1, size_bytes=10, expires_seconds=60)
    await parts.abort(upload)
    assert (await send(url, b"x" * 10)).status_code == 404
    assert [each async for each in parts.unfinished()] == []


async def test_wrong_etag_is_a_mismatch_when_parts_were_sent_directly(
    parts: PartStore, upload: Incoming
) -> None:
    """A29: and the upload can still be completed."""
    await send(await parts.sign_put(upload, 1, size_bytes=4, expires_seconds=60), b"data")
    with pytest.raises(ChecksumMismatch):
        await parts.complete(upload, [PartInfo(1, 4, hashlib.md5(b"other").hexdigest())])
    info = await parts.complete(upload, [PartInfo(1, 4, hashlib.md5(b"data").hexdigest())])
    assert info.size_bytes == 4


async def test_both_ways_mix_when_one_part_came_through_the_server(
    parts: PartStore, upload: Incoming, bucket: S3Store
) -> None:
    """A50: a client may fall back to the server's route for a part."""
    first, second = os.urandom(MIN_PART_BYTES), os.urandom(100)
    kept = await parts.put(upload, 1, body(first), max_bytes=len(first))
    await send(await parts.sign_put(upload, 2, size_bytes=100, expires_seconds=60), second)
    known = await parts.parts(upload)
    assert known[0].etag == kept.etag
    await parts.complete(upload, known)
    assert b"".join([chunk async for chunk in bucket.read(KEY)]) == first + second


async def test_received_parts_join_inside_the_store_when_they_are_long_enough(
    parts: PartStore, upload: Incoming, bucket: S3Store
) -> None:
    """A31: 5 MiB parts and a shorter last one."""
    pieces = [os.urandom(MIN_PART_BYTES), os.urandom(MIN_PART_BYTES), os.urandom(10)]
    known = [
        await parts.put(upload, number, body(piece), max_bytes=MIN_PART_BYTES)
        for number, piece in enumerate(pieces, 1)
    ]
    await parts.complete(upload, known)
    assert b"".join([chunk async for chunk in bucket.read(KEY)]) == b"".join(pieces)


async def test_appends_fill_pieces_when_they_cross_their_borders(
    parts: PartStore, upload: Incoming, bucket: S3Store, tmp_path: Path
) -> None:
    """A49: a short last piece is filled by the next append; the offset survives another process."""
    data = os.urandom(PIECE_BYTES + 3_000_000)
    cuts = [0, 100, 2_000_000, PIECE_BYTES, PIECE_BYTES + 1, len(data)]
    for start, end in itertools.pairwise(cuts):
        arrived = [data[at : min(at + 300_000, end)] for at in range(start, end, 300_000)]
        assert await parts.append(upload, start, body(*arrived), max_bytes=end - start) == end
    other = parts_for(bucket, tmp_path / "other")
    assert await other.offset(upload) == len(data)
    names = [info.key async for info in bucket.list(f"{upload_prefix(upload.session_id)}appended/")]
    assert len(names) == 2
    await other.complete(upload, [])
    assert b"".join([chunk async for chunk in bucket.read(KEY)]) == data


async def test_completion_goes_on_when_it_was_cut_before_the_object_stood(
    parts: PartStore, upload: Incoming, bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A48, A54: after a crash between closing the multipart upload and copying it, complete still answers."""
    await send(await parts.sign_put(upload, 1, size_bytes=4, expires_seconds=60), b"data")
    known = await parts.parts(upload)

    class Killed(BaseException): ...

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("media.s3_parts.S3Parts._copy", killed)
        with pytest.raises(Killed):
            await parts.complete(upload, known)
    assert await bucket.stat(KEY) is None
    info = await parts_for(bucket, tmp_path / "later").complete(upload, known)
    assert info.size_bytes == 4
    assert [each async for each in parts.unfinished()] == []


async def test_everything_is_a_storage_failure_when_the_store_is_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unused_tcp_port: int
) -> None:
    """O9: STORAGE_ERROR; nothing of the body stays here."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    async with S3Store("gone", endpoint_url=f"http://127.0.0.1:{unused_tcp_port}") as down:
        parts = parts_for(down, tmp_path / "uploads")
        upload = Incoming("s-1", KEY, "none", "video/mp4")
        outcomes = await asyncio.gather(
            parts.begin("s-1", KEY, content_type="video/mp4"),
            parts.put(upload, 1, body(b"x"), max_bytes=1),
            parts.append(replace(upload, session_id="s-2"), 0, body(b"x"), max_bytes=1),
            parts.complete(replace(upload, session_id="s-3"), [PartInfo(1, 1, "x")]),
            parts.abort(upload),
            return_exceptions=True,
        )
    assert [type(outcome) for outcome in outcomes] == [StorageFailure] * 5
    assert not (tmp_path / "uploads").exists() or list((tmp_path / "uploads").iterdir()) == []


async def test_part_is_a_storage_failure_when_the_store_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """O9: S3 servers answer 507 or 500; nothing of the body stays here."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    full = "<Error><Code>InsufficientStorage</Code><Message>no room</Message></Error>"

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if request.method == "GET":
            return web.Response(text="<ListPartsResult/>", content_type="application/xml")
        return web.Response(status=507, text=full, content_type="application/xml")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, S3Store("full", endpoint_url=str(server.make_url("/"))) as store:
        upload = Incoming("s-1", KEY, "any", "video/mp4")
        with pytest.raises(StorageFailure) as failure:
            await parts_for(store, tmp_path).put(upload, 1, body(b"x"), max_bytes=1)
    assert failure.value.details["cause"] == "InsufficientStorage"
    assert list(tmp_path.iterdir()) == []


async def test_pages_may_send_parts_when_their_origin_is_ours(bucket: S3Store) -> None:
    """A28: the bucket's CORS rule names our origin, PUT, and the ETag that completing needs."""

    def preflight(origin: str) -> requests.Response:
        asks = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
        url = f"{os.environ['FREEWILL_TEST_S3_URL']}/{bucket.bucket}/x"
        return requests.options(url, headers=asks, timeout=10)

    allowed = await asyncio.to_thread(preflight, "https://web.example")
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://web.example"
    assert "ETag" in allowed.headers["Access-Control-Expose-Headers"]
    other = await asyncio.to_thread(preflight, "https://evil.example")
    assert other.headers.get("Access-Control-Allow-Origin") != "https://evil.example"
