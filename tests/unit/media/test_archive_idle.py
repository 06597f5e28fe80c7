"""Which videos go to the archive, and how a video comes back (R32)."""

from collections.abc import AsyncIterator
from pathlib import Path

from media.archive import (
    ArchiveState,
    ArchiveStates,
    archive_idle,
    archive_state,
    archive_video,
    restore_video,
)
from media.layout import master_key, picture_key, source_key
from media.stores import FileStore, ObjectInfo

DAY = 86_400.0


async def ready() -> AsyncIterator[tuple[str, float]]:
    """Three videos, ready since the first day."""
    for video_id in ("old", "played", "never"):
        yield video_id, 0.0


async def test_unwatched_videos_are_moved_and_come_back_when_asked_for(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "objects")
    for video_id in ("old", "played", "never"):
        for key in (source_key(video_id, "mp4"), master_key(video_id), picture_key(video_id, "small.jpg")):
            await store.put_bytes(key, b"x", content_type="text/plain")

    async def last_played(video_id: str) -> float | None:
        return {"old": 10 * DAY, "played": 95 * DAY}.get(video_id)

    moved = await archive_idle(store, ready(), last_played, now=100 * DAY, idle_seconds=30 * DAY)
    assert moved == ["old", "never"]
    again = await archive_idle(store, ready(), last_played, now=100 * DAY, idle_seconds=30 * DAY)
    assert again == []
    assert await archive_state(store, "played") is ArchiveState.LIVE
    assert await archive_state(store, "old") is ArchiveState.ARCHIVED
    assert [info.key async for info in store.list("videos/old/") if not info.archived] == [
        picture_key("old", "small.jpg")
    ]
    await restore_video(store, "old")
    assert await archive_state(store, "old") is ArchiveState.LIVE
    assert [info.key async for info in store.list("videos/old/") if info.archived] == []


async def test_store_is_asked_once_in_a_while_when_a_video_is_there(tmp_path: Path) -> None:
    """R32: what is archived is asked for every time, so that it plays as soon as it is back."""
    now, asked = 0.0, 0

    class Counting(FileStore):
        async def stat(self, key: str) -> ObjectInfo | None:
            nonlocal asked
            asked += 1
            return await super().stat(key)

    store, states = Counting(tmp_path / "objects"), ArchiveStates(lambda: now, window_seconds=60.0)
    await store.put_bytes(master_key("7"), b"x", content_type="text/plain")
    assert {await states.of(store, "7") for _ in range(20)} == {ArchiveState.LIVE}
    assert asked == 1
    await archive_video(store, "7")
    assert await states.of(store, "7") is ArchiveState.LIVE
    now = 60.0
    assert await states.of(store, "7") is ArchiveState.ARCHIVED
    await restore_video(store, "7")
    assert await states.of(store, "7") is ArchiveState.LIVE
    await archive_video(store, "7")
    states.forget("7")
    assert await states.of(store, "7") is ArchiveState.ARCHIVED
