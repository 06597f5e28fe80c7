"""The stores that the media contract is checked on: a folder, and a bucket of a real S3 server."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from media.parts import PartStore, parts_for
from media.s3 import S3Store
from media.stores import FileStore, ObjectStore

REGION = "us-east-1"


@dataclass(frozen=True)
class Side:
    """An object store with its part store."""

    objects: ObjectStore
    parts: PartStore
    uploads: Path


def _service(name: str, what: str) -> str:
    value = os.environ.get(name)
    if not value:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing: CI runs the tests on {what}")
        pytest.skip(f"no {what} (set {name}; `make services` starts one)")
    return value


@pytest.fixture
def s3_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of the S3 server, with its keys in the usual AWS variables."""
    url = _service("FREEWILL_TEST_S3_URL", "S3 server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _service("FREEWILL_TEST_S3_ACCESS_KEY", "S3 access key"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", _service("FREEWILL_TEST_S3_SECRET_KEY", "S3 secret key"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return url


@pytest.fixture
def moto_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of moto's server, which knows lifecycles and archives; it takes any keys."""
    url = _service("FREEWILL_TEST_MOTO_URL", "moto server")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return url


@asynccontextmanager
async def open_bucket(url: str) -> AsyncIterator[S3Store]:
    """Open a store on a new bucket, emptied and removed at the end."""
    async with S3Store(f"t{uuid.uuid4().hex}", endpoint_url=url, prefix="pre") as store:
        await store.create_bucket(origins=["https://web.example"])
        yield store
        async for info in store.list(""):
            await store.delete(info.key)
        await store.client.delete_bucket(Bucket=store.bucket)


@pytest.fixture
async def bucket(s3_url: str) -> AsyncIterator[S3Store]:
    """Return a store on a bucket of its own."""
    async with open_bucket(s3_url) as store:
        yield store


@pytest.fixture(params=["file", "s3"])
async def side(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Side]:
    """Return each object store with its part store."""
    uploads = tmp_path / "uploads"
    if request.param == "file":
        objects: ObjectStore = FileStore(tmp_path / "objects")
        yield Side(objects, parts_for(objects, uploads), uploads)
        return
    async with open_bucket(request.getfixturevalue("s3_url")) as store:
        yield Side(store, parts_for(store, uploads), uploads)


@pytest.fixture
def store(side: Side) -> ObjectStore:
    """Return each object store."""
    return side.objects
