"""Keeps the objects and the rows of images in step, whatever fails in between (B38, A19).

As with videos: a prefix that must become empty has a row, written before an upload is stored, withdrawn by
the transaction that makes it an image, and written again by the one that deletes the image.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from media.layout import IMAGES, image_prefix
from media.reconcile import compare_keys
from media.stores import ObjectInfo, ObjectStore
from social.videos.reconciler import Finding
from tables.errors import AppError
from tables.lifecycle import ImageStatus
from tables.relational.engine import Database
from tables.relational.models import ImageRow, ImageVariantRow, ObjectRemovalRow, moment

log = structlog.get_logger(__name__)
GRACE_SECONDS: Final = 3_600.0
OBJECTS_AT_ONCE: Final = 5_000


class ImageObjects:
    """Removes objects of images."""

    def __init__(self, database: Database, store: ObjectStore, clock: Callable[[], float]) -> None:
        """Take where rows and objects are."""
        self._database = database
        self._store = store
        self._clock = clock

    async def discard(self, image_id: str) -> bool:
        """Remove all objects of what is not, or no longer, an image.

        Returns:
            False when the store or the database failed: the sweep will finish it.
        """
        try:
            if await self._database.read(lambda session: session.get(ImageRow, image_id)) is None:
                await self._store.delete_prefix(image_prefix(image_id))
        except (AppError, OSError) as error:
            log.warning("image_objects_left_to_sweep", image_id=image_id, error=repr(error))
            return False
        return True

    async def drop(self, key: str | None) -> None:
        """Remove an upload that nobody needs any more; what fails now is found by the comparison."""
        try:
            if key is not None:
                await self._store.delete(key)
        except (AppError, OSError) as error:
            log.warning("image_upload_left", key=key, error=repr(error))

    async def sweep(self, *, everything: bool = False) -> int:
        """Finish the removals that are due; with ``everything`` also those that a crash left young.

        Returns:
            How many images were settled.
        """
        query = select(ObjectRemovalRow.prefix).where(ObjectRemovalRow.prefix.startswith(IMAGES))
        if not everything:
            query = query.where(ObjectRemovalRow.due_at <= moment(self._clock()))

        async def due(session: AsyncSession) -> list[str]:
            return list(await session.scalars(query))

        settled = 0
        for prefix in await self._database.read(due):
            image_id = prefix.removeprefix(IMAGES).rstrip("/")
            if await self.discard(image_id):
                settled += await self._database.run(partial(withdraw, image_id=image_id))
        return settled

    async def reconcile(self, *, dry_run: bool = False) -> list[Finding]:
        """Compare all objects of images with the rows; what nobody owns goes when it is a day old."""
        findings: list[Finding] = []
        after = ""
        async for batch, upto in self._batches():
            known = await self._database.read(partial(_known, after=after, upto=upto))
            compared = compare_keys(batch, known, now=self._clock())
            for key in () if dry_run else compared.delete:
                await self._store.delete(key)
            findings += [Finding("delete", key, repaired=not dry_run) for key in compared.delete]
            findings += [Finding("missing", key) for key in compared.missing]
            after = upto or after
        for finding in findings:
            log.warning("object_drifted", what=finding.what, key=finding.subject, repaired=finding.repaired)
        return findings

    async def _batches(self) -> AsyncIterator[tuple[list[ObjectInfo], str | None]]:
        """Yield objects, those of an image together, and the last image's id; none with the last ones."""
        batch: list[ObjectInfo] = []
        async for info in self._store.list(IMAGES):
            if len(batch) >= OBJECTS_AT_ONCE and _image_of(info.key) != _image_of(batch[-1].key):
                yield batch, _image_of(batch[-1].key)
                batch = []
            batch.append(info)
        yield batch, None


def _image_of(key: str) -> str:
    return key.removeprefix(IMAGES).partition("/")[0]


async def _known(session: AsyncSession, after: str, upto: str | None) -> set[str]:
    """Return the keys that rows of a range of images name: uploads that wait, and variants."""
    within = ImageRow.id > after
    if upto is not None:
        within &= ImageRow.id <= upto
    waits = ImageRow.source_key.is_not(None) & (ImageRow.status == ImageStatus.PENDING)
    sources = await session.scalars(select(ImageRow.source_key).where(within, waits))
    variants = await session.scalars(select(ImageVariantRow.key).join(ImageRow).where(within))
    return {key for key in (*sources, *variants) if key is not None}


async def schedule(session: AsyncSession, image_id: str, at: float) -> None:
    """Note in this transaction that the objects of an image must go."""
    await session.merge(ObjectRemovalRow(prefix=image_prefix(image_id), due_at=moment(at + GRACE_SECONDS)))


async def withdraw(session: AsyncSession, image_id: str) -> bool:
    """Take the note back; False when there was none: the sweep has been here."""
    row = await session.get(ObjectRemovalRow, image_prefix(image_id), with_for_update=True)
    if row is not None:
        await session.delete(row)
    return row is not None
