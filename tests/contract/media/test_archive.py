"""Moving to the archive and back, and the lifecycle of a bucket (R32, R33)."""

from pathlib import Path

import pytest

from media.s3 import S3Store
from media.stores import FileStore, ObjectStore
from tables.errors import ContentArchived, ContentNotFound
from tests.contract.media.conftest import within

KEY = "videos/1/hls/720p/segment_00000.ts"
DATA = b"segment"


pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(params=["file", "s3"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """Return each store; the S3 gateway has neither lifecycles nor storage classes, moto's server has."""
    if request.param == "file":
        return FileStore(tmp_path / "objects", tmp_path / "slow" / "archive")
    return within(request.getfixturevalue("moto"))


async def read(store: ObjectStore) -> bytes:
    return b"".join([chunk async for chunk in store.read(KEY)])


async def test_object_comes_back_when_it_was_archived(archive: ObjectStore, tmp_path: Path) -> None:
    """R32: marked, unreadable with a code that says why, restored on demand, each step idempotent."""
    await archive.put_bytes(KEY, DATA, content_type="video/mp2t")
    live = await archive.stat(KEY)
    assert live is not None
    assert not live.archived
    for _ in range(2):
        await archive.archive(KEY)
        marked = await archive.stat(KEY)
        assert marked is not None
        assert (marked.archived, marked.restoring, marked.size_bytes) == (True, False, len(DATA))
    with pytest.raises(ContentArchived):
        await read(archive)
    with pytest.raises(ContentArchived):
        await archive.fetch(KEY, tmp_path / "x")
    assert archive.local_path(KEY) is None
    assert [(info.key, info.archived) async for info in archive.list("videos/")] == [(KEY, True)]
    for _ in range(2):
        await archive.restore(KEY, days=3)
    # The folder answers when it is there; a cloud, and moto in its likeness, after a while.
    while (found := await archive.stat(KEY)) is not None and found.archived:
        assert found.restoring
    assert await read(archive) == DATA


async def test_archived_object_is_replaced_or_deleted_like_any_other(archive: ObjectStore) -> None:
    await archive.put_bytes(KEY, DATA, content_type="video/mp2t")
    await archive.archive(KEY)
    await archive.put_bytes(KEY, b"new", content_type="video/mp2t")
    assert await read(archive) == b"new"
    await archive.archive(KEY)
    assert await archive.delete_prefix("videos/1/") == 1
    assert await archive.stat(KEY) is None


async def test_absent_object_cannot_be_archived(archive: ObjectStore) -> None:
    with pytest.raises(ContentNotFound):
        await archive.archive(KEY)
    with pytest.raises(ContentNotFound):
        await archive.restore(KEY)


async def test_object_is_readable_when_a_crash_left_it_in_both_places(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "objects")
    await store.put_bytes(KEY, DATA, content_type="video/mp2t")
    (tmp_path / "objects/.archive" / KEY).parent.mkdir(parents=True)
    (tmp_path / "objects/.archive" / KEY).write_bytes(DATA)
    found = await store.stat(KEY)
    assert found is not None
    assert not found.archived
    assert [info.key async for info in store.list("")] == [KEY]


async def test_bucket_is_private_and_ages_into_the_archive_when_it_is_created(moto: S3Store) -> None:
    """R33."""
    block = await moto.client.get_public_access_block(Bucket=moto.bucket)
    assert set(block["PublicAccessBlockConfiguration"].values()) == {True}
    rules = (await moto.client.get_bucket_lifecycle_configuration(Bucket=moto.bucket))["Rules"]
    by_id = {rule["ID"]: rule for rule in rules}
    assert by_id["archive"]["Filter"] == {"Prefix": "videos/"}
    assert by_id["archive"]["Transitions"] == [{"Days": 30, "StorageClass": "GLACIER_IR"}]
    assert by_id["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


async def test_bucket_is_left_as_it_is_when_it_exists(moto: S3Store) -> None:
    await moto.client.delete_bucket_lifecycle(Bucket=moto.bucket)
    await moto.create_bucket(archive_days=1)
    with pytest.raises(Exception, match="NoSuchLifecycleConfiguration"):
        await moto.client.get_bucket_lifecycle_configuration(Bucket=moto.bucket)
