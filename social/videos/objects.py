"""Keeps the object store and the rows in step, whatever fails or crashes in between (A19, C24).

A prefix that must become empty has a row. It is written before a source is stored, and withdrawn by the
transaction that makes the source a video; the transaction that deletes a video writes it again.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tables.errors import AppError, StorageFailure
from tables.relational.engine import Database
from tables.relational.models import ObjectRemovalRow, VideoRow, moment

log = structlog.get_logger(__name__)

# An upload that is being stored is not touched before this; a deleted video is swept once more after it,
# for outputs that an encode under way may still have written.
GRACE_SECONDS = 3_600.0
OUTPUT_AREAS = ("hls/", "dash/", "mp4/", "thumbs/")  # of a video's prefix (A43)


class SourceStore(Protocol):
    """What the video service needs of the object store."""

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Store a file, durably."""

    async def stat(self, key: str) -> object | None:
        """Return what is known of an object, None when there is none."""

    async def delete_prefix(self, prefix: str) -> int:
        """Delete every object under a prefix."""


def video_prefix(video_id: str) -> str:
    """Return the prefix of all objects of a video (A43, B31)."""
    return f"videos/{video_id}/"


class ObjectKeeper:
    """Stores sources and removes objects."""

    def __init__(self, database: Database, store: SourceStore, clock: Callable[[], float]) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    async def has(self, key: str | None) -> bool:
        """Tell whether an object is there."""
        return bool(key) and await self._store.stat(key or "") is not None

    async def put_source(self, video_id: str, key: str, path: Path, content_type: str) -> None:
        """Store a source that has no video yet; the file at ``path`` is gone afterwards.

        Raises:
            StorageFailure: STORAGE_ERROR; nothing remains.
        """
        await self._database.run(lambda session: schedule(session, video_id, self._clock()))
        try:
            await self._store.put_file(key, path, content_type=content_type, move=True)
        except AppError:
            await self.discard(video_id)
            raise
        except OSError as error:
            await self.discard(video_id)
            raise StorageFailure from error

    async def discard(self, video_id: str) -> bool:
        """Remove all objects of what is not, or no longer, a video.

        Returns:
            False when the store or the database failed: the sweep will finish it.
        """
        try:
            if await self._database.read(lambda session: session.get(VideoRow, video_id)) is None:
                await self._store.delete_prefix(video_prefix(video_id))
        except (AppError, OSError) as error:
            log.warning("objects_left_to_sweep", video_id=video_id, error=repr(error))
            return False
        return True

    async def discard_outputs(self, video_id: str) -> None:
        """Remove what encodes made of a video; what the store cannot do now, the next try overwrites."""
        try:
            for area in OUTPUT_AREAS:
                await self._store.delete_prefix(video_prefix(video_id) + area)
        except (AppError, OSError) as error:
            log.warning("outputs_left", video_id=video_id, error=repr(error))

    async def sweep(self, *, everything: bool = False) -> int:
        """Finish the removals that are due; with ``everything`` also those that a crash left young.

        Returns:
            How many prefixes were settled.
        """
        limit = moment(self._clock())
        query = select(ObjectRemovalRow.prefix).where(ObjectRemovalRow.prefix.startswith("videos/"))
        if not everything:
            query = query.where(ObjectRemovalRow.due_at <= limit)

        async def due(session: AsyncSession) -> list[str]:
            return list(await session.scalars(query))

        settled = 0
        for prefix in await self._database.read(due):
            video_id = prefix.removeprefix("videos/").rstrip("/")
            if await self.discard(video_id):
                settled += await self._database.run(partial(withdraw, video_id=video_id))
        return settled


async def schedule(session: AsyncSession, video_id: str, at: float) -> None:
    """Note in this transaction that the objects of a video must go."""
    await session.merge(ObjectRemovalRow(prefix=video_prefix(video_id), due_at=moment(at + GRACE_SECONDS)))


async def withdraw(session: AsyncSession, video_id: str) -> bool:
    """Take the note back; False when there was none: the sweep has been here."""
    row = await session.get(ObjectRemovalRow, video_prefix(video_id), with_for_update=True)
    if row is not None:
        await session.delete(row)
    return row is not None
