"""The stores that the media contract is checked on: a folder, and a bucket of a real S3 server."""

import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

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


async def _opened(url: str, access_key: str, secret_key: str) -> AsyncIterator[S3Store]:
    """Open a store on a new bucket, which is emptied and removed at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        async with S3Store(f"t{uuid.uuid4().hex}", endpoint_url=url) as store:
            await store.create_bucket(archive_days=30, origins=["https://web.example"])
            yield store
            async for info in store.list(""):
                await store.delete(info.key)
            await store.client.delete_bucket(Bucket=store.bucket)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway() -> AsyncIterator[S3Store]:
    """Return a store on the real S3 server; opening its client is what takes long."""
    url = _service("FREEWILL_TEST_S3_URL", "S3 server")
    keys = [_service(f"FREEWILL_TEST_S3_{name}_KEY", "S3 server") for name in ("ACCESS", "SECRET")]
    async for store in _opened(url, *keys):
        yield store


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def moto() -> AsyncIterator[S3Store]:
    """Return a store on moto's server, which knows lifecycles and archives."""
    async for store in _opened(_service("FREEWILL_TEST_MOTO_URL", "moto server"), "any", "any"):
        yield store


def within(store: S3Store) -> S3Store:
    """Return a store of a test's own: another folder of the bucket, over the same client."""
    own = S3Store(store.bucket, prefix=f"t{uuid.uuid4().hex}")
    own.client = own.signer = store.client
    return own


@pytest.fixture
def bucket(gateway: S3Store) -> S3Store:
    """Return an empty store on the real S3 server."""
    return within(gateway)


@pytest.fixture(params=["file", "s3"])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Side:
    """Return each object store with its part store."""
    uploads = tmp_path / "uploads"
    objects: ObjectStore = FileStore(tmp_path / "objects")
    if request.param == "s3":
        objects = request.getfixturevalue("bucket")
    return Side(objects, parts_for(objects, uploads), uploads)


@pytest.fixture
def store(side: Side) -> ObjectStore:
    """Return each object store."""
    return side.objects
