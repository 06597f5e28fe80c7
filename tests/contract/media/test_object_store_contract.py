"""One contract for every object store (B40): a folder, and a bucket of a real S3 server."""

from pathlib import Path

import pytest

from media.parts import parts_for
from media.s3 import S3Store
from media.stores import FileStore, ObjectStore
from tables.errors import ContentNotFound, StorageFailure
from tests.contract.media.conftest import Side

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEY = "videos/1/hls/master.m3u8"


async def read(store: ObjectStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, end)])


async def test_bytes_read_back_when_put(store: ObjectStore) -> None:
    assert await store.stat(KEY) is None
    await store.put_bytes(KEY, b"#EXTM3U\n", content_type="application/vnd.apple.mpegurl")
    info = await store.stat(KEY)
    assert info is not None
    assert (info.key, info.size_bytes) == (KEY, 8)
    assert info.content_type == "application/vnd.apple.mpegurl"
    assert info.etag.startswith('"')
    assert await read(store, KEY) == b"#EXTM3U\n"


async def test_etag_changes_when_the_object_does(store: ObjectStore) -> None:
    await store.put_bytes(KEY, b"one", content_type="text/plain")
    first = await store.stat(KEY)
    await store.put_bytes(KEY, b"two!", content_type="text/plain")
    second = await store.stat(KEY)
    assert first is not None
    assert second is not None
    assert first.etag != second.etag


async def test_ranges_read_back_when_asked(store: ObjectStore) -> None:
    data = bytes(range(256)) * 4096
    await store.put_bytes(KEY, data, content_type="video/mp2t")
    assert await read(store, KEY, 100, 200) == data[100:200]
    assert await read(store, KEY, len(data) - 5) == data[-5:]
    assert await read(store, KEY, 300_000, 900_000) == data[300_000:900_000]
    assert await read(store, KEY, 5, 5) == b""
    assert await read(store, KEY, len(data) + 1) == b""


@pytest.mark.parametrize("move", [False, True])
async def test_file_is_kept_or_moved_when_put(store: ObjectStore, tmp_path: Path, move: bool) -> None:
    path = tmp_path / "in.ts"
    path.write_bytes(b"segment")
    await store.put_file("videos/1/a.ts", path, content_type="video/mp2t", move=move)
    assert await read(store, "videos/1/a.ts") == b"segment"
    assert path.exists() != move


async def test_fetch_copies_and_leaves_the_object(store: ObjectStore, tmp_path: Path) -> None:
    await store.put_bytes(KEY, b"source", content_type="video/mp4")
    await store.fetch(KEY, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"source"
    assert await read(store, KEY) == b"source"


async def test_absent_objects_are_not_found(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(ContentNotFound):
        await read(store, "videos/1/none")
    with pytest.raises(ContentNotFound):
        await store.fetch("videos/1/none", tmp_path / "x")
    await store.delete("videos/1/none")
    assert await store.delete_prefix("videos/9/") == 0


async def test_prefix_is_deleted_and_its_neighbour_stays(store: ObjectStore) -> None:
    for key in ("videos/1/a", "videos/1/b/c", "videos/12/a"):
        await store.put_bytes(key, b"x", content_type="text/plain")
    assert [info.key async for info in store.list("videos/1/")] == ["videos/1/a", "videos/1/b/c"]
    assert await store.delete_prefix("videos/1/") == 2
    assert [info.key async for info in store.list("videos/")] == ["videos/12/a"]
    await store.delete("videos/12/a")
    assert await store.stat("videos/12/a") is None


@pytest.mark.parametrize(
    "key",
    [
        "../x",
        "videos/../../etc/passwd",
        "/etc/passwd",
        "a//b",
        "",
        ".incoming/x",
        "a/.b",
        "a\x00b",
        "a" * 600,
    ],
)
async def test_key_is_refused_when_it_could_lead_out(store: ObjectStore, key: str) -> None:
    with pytest.raises(ContentNotFound):
        await store.put_bytes(key, b"x", content_type="text/plain")
    with pytest.raises(ContentNotFound):
        await read(store, key)
    with pytest.raises(ContentNotFound):
        store.local_path(key)


async def test_local_path_exists_only_for_a_folder(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    assert store.local_path(KEY) is None
    await store.put_bytes(KEY, b"x", content_type="text/plain")
    path = store.local_path(KEY)
    assert path is not None
    assert path.read_bytes() == b"x"


async def test_listing_passes_by_what_lies_in_folders_with_a_dot(tmp_path: Path) -> None:
    """Archive, temporary files and unfinished uploads may lie in the store's own folder."""
    store = FileStore(tmp_path)
    await store.put_bytes(KEY, b"x", content_type="text/plain")
    await parts_for(store, tmp_path / ".uploads").begin("s-1", KEY, content_type="video/mp4")
    await store.archive(KEY)
    assert [(info.key, info.archived) async for info in store.list("")] == [(KEY, True)]


async def test_failed_disk_is_a_storage_failure(tmp_path: Path) -> None:
    """O9: STORAGE_ERROR, not a stack trace."""
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(StorageFailure):
        await FileStore(blocked).put_bytes(KEY, b"x", content_type="text/plain")


async def test_half_written_objects_go_when_they_are_old(side: Side, tmp_path: Path) -> None:
    """A41: what a crash left behind inside the store itself; an unfinished upload is not touched."""
    await side.objects.put_bytes(KEY, b"x", content_type="text/plain")
    upload = await side.parts.begin("s-1", "videos/1/source.mp4", content_type="video/mp4")
    if isinstance(side.objects, S3Store):
        name = side.objects.name("videos/2/source.mp4")
        await side.objects.client.create_multipart_upload(Bucket=side.objects.bucket, Key=name)
    else:
        (tmp_path / "objects" / ".incoming" / "left").write_bytes(b"x")
    assert await side.objects.tidy() == 0
    assert await side.objects.tidy(older_seconds=-5.0) == 1
    assert await side.objects.tidy(older_seconds=-5.0) == 0
    assert [each.session_id async for each in side.parts.unfinished()] == [upload.session_id]
    assert [info.key async for info in side.objects.list("")] == [KEY]
