"""Moving what nobody watches to the archive, and asking for it back (R32)."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from media.layout import master_key, prefix
from media.stores import RESTORED_DAYS, ObjectStore

KEPT = "thumbs/"
"""Pictures stay: pages show a video's card also while it is archived, and they are small."""
WINDOW_SECONDS = 60.0
"""For so long a video counts as there after it was seen: the store is not asked for every page of it."""
REMEMBERED = 20_000


class ArchiveState(StrEnum):
    """Whether a video can be played, for the answer that says why not."""

    LIVE = "LIVE"
    ARCHIVED = "ARCHIVED"
    RESTORING = "RESTORING"


@dataclass(frozen=True, slots=True)
class Watched:
    """When a video was last of interest: times in seconds since the epoch, None for never played."""

    video_id: str
    ready_at: float
    last_played_at: float | None


def idle(videos: Iterable[Watched], *, now: float, idle_seconds: float) -> list[str]:
    """Return the videos that were neither made ready nor played for so long.

    >>> old, new = Watched("1", 0.0, None), Watched("2", 0.0, 90.0)
    >>> idle([old, new], now=100.0, idle_seconds=50.0)
    ['1']
    """
    latest = now - idle_seconds
    return [video.video_id for video in videos if max(video.ready_at, video.last_played_at or 0.0) <= latest]


async def archive_idle(
    store: ObjectStore,
    ready: AsyncIterator[tuple[str, float]],
    last_played: Callable[[str], Awaitable[float | None]],
    *,
    now: float,
    idle_seconds: float,
) -> list[str]:
    """Archive the videos that nobody played for so long, and return which were moved now.

    A crash leaves a video partly archived; the next run ends it.

    Args:
        store: where they lie.
        ready: READY videos with the time when they became so.
        last_played: the last play of a video that was counted, from the engagement table.
        now: seconds since the epoch.
        idle_seconds: how long nobody played it.
    """
    moved = []
    async for video_id, ready_at in ready:
        watched = Watched(video_id, ready_at, await last_played(video_id))
        if idle([watched], now=now, idle_seconds=idle_seconds) and await archive_video(store, video_id):
            moved.append(video_id)
    return moved


async def archive_video(store: ObjectStore, video_id: str) -> int:
    """Archive everything of a video but its pictures; returns how many objects were moved."""
    area = prefix(video_id)
    keys = [
        info.key
        async for info in store.list(area)
        if not info.archived and not info.key.startswith(area + KEPT)
    ]
    # The master playlist tells the state, so it goes first and comes back last.
    keys.sort(key=lambda key: key != master_key(video_id))
    for key in keys:
        await store.archive(key)
    return len(keys)


async def restore_video(store: ObjectStore, video_id: str, *, days: int = RESTORED_DAYS) -> None:
    """Ask for everything of a video; ``archive_state`` tells when it is there. Idempotent."""
    keys = [info.key async for info in store.list(prefix(video_id)) if info.archived]
    keys.sort(key=lambda key: key == master_key(video_id))
    for key in keys:
        await store.restore(key, days=days)


async def archive_state(store: ObjectStore, video_id: str) -> ArchiveState:
    """Return whether a video can be played, by its master playlist."""
    found = await store.stat(master_key(video_id))
    if found is None or not found.archived:
        return ArchiveState.LIVE
    return ArchiveState.RESTORING if found.restoring else ArchiveState.ARCHIVED


class ArchiveStates:
    """Answers by video id, from memory where a video was there a moment ago; what is not is asked for."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, window_seconds: float = WINDOW_SECONDS
    ) -> None:
        """Remember nothing yet."""
        self._clock = clock
        self._window = window_seconds
        self._until: OrderedDict[str, float] = OrderedDict()

    async def of(self, store: ObjectStore, video_id: str) -> ArchiveState:
        """Return whether a video can be played, LIVE for up to the window after it was archived elsewhere.

        Raises:
            StorageFailure: STORAGE_ERROR.
        """
        asked_at = self._clock()
        if self._until.get(video_id, asked_at) > asked_at:
            return ArchiveState.LIVE
        state = await archive_state(store, video_id)
        if state is ArchiveState.LIVE:
            self._until[video_id] = asked_at + self._window
            self._until.move_to_end(video_id)
            while len(self._until) > REMEMBERED:
                self._until.popitem(last=False)
        return state

    def forget(self, video_id: str) -> None:
        """Ask again the next time: the video was archived."""
        self._until.pop(video_id, None)
