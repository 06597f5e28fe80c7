"""Captions of a video: given, replaced and taken back by its owner, before and after it is READY (Y6).

A caption is an object and a row of the outputs. The object is written first, so that an encode that begins
meanwhile takes it along; playlists that are there already are brought up to date at once, or when the encode
that is writing them has ended.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from media import captions, languages, layout
from media.layout import AssetType
from media.stores import ObjectStore
from social.ids import new_id
from social.videos import facts
from social.videos.access import own_row, seen_row
from social.videos.processing import WORKING, newest_job
from social.views import Principal
from tables.errors import ContentArchived, ContentNotFound, ValidationFailed
from tables.lifecycle import VideoStatus
from tables.relational.engine import Database
from tables.relational.models import VideoAssetRow, VideoRow, moment, seconds

log = structlog.get_logger(__name__)

MAX_LANGUAGES: Final = 100


@dataclass(frozen=True, slots=True)
class Caption:
    """The captions of a video in one language, a BCP 47 tag; ``key`` is that of the WebVTT file."""

    language: str
    key: str
    size_bytes: int
    updated_at: float


class Captions:
    """Captions by video and language."""

    def __init__(self, database: Database, store: ObjectStore, clock: Callable[[], float]) -> None:
        """Take the rows, the store of the files, and the clock."""
        self._database = database
        self._store = store
        self._clock = clock

    async def list(self, video_id: str, viewer: Principal | None) -> list[Caption]:
        """Return the captions of a video that the viewer may see, by language.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND.
            ContentAlreadyDeleted: CONTENT_ALREADY_DELETED while its tombstone is kept.
        """

        async def query(session: AsyncSession) -> list[Caption]:
            row = await seen_row(session, video_id, viewer)
            return [_caption(found) for found in await _rows(session, row.id)]

        return await self._database.read(query)

    async def find(self, video_id: str, language: str, viewer: Principal | None) -> Caption:
        """Return the captions in a language; errors as ``list``, CONTENT_NOT_FOUND for one without any."""
        tag = languages.language(language)
        found = await self.list(video_id, viewer)
        try:
            return next(caption for caption in found if caption.language == tag)
        except StopIteration:
            raise ContentNotFound("There are no captions in this language.") from None

    async def put(self, video_id: str, language: str, data: bytes, caller: Principal) -> tuple[Caption, bool]:
        """Take WebVTT or SubRip as the captions in a language, instead of those that there were.

        Returns:
            The captions, and whether playlists name them already; else those of the encode to come will.

        Raises:
            ContentNotFound, ContentAlreadyDeleted, NotContentOwner: as for every change of a video.
            ContentArchived: CONTENT_ARCHIVED: its playlists have to be restored first.
            ValidationFailed: VALIDATION_ERROR; ``details.field`` is ``language`` or ``captions``.
        """
        tag = languages.known(language)
        if tag is None:
            raise ValidationFailed(
                "This is no language tag (BCP 47).", details={"field": "language", "value": language[:64]}
            )
        known = (await self._database.read(lambda session: _captioned(session, video_id, caller, tag))).id
        text = captions.write(await asyncio.to_thread(captions.read, data)).encode()
        await self._check_restored(known)
        key = layout.caption_key(known, tag)
        await self._store.put_bytes(key, text, content_type="text/vtt; charset=utf-8")
        now = self._clock()

        async def write(session: AsyncSession) -> bool:
            row = await _captioned(session, known, caller, tag, lock=True)
            await _note(session, row, tag, (key, len(text)), now)
            await _tell(session, row, now)
            return await _is_at_rest(session, row.id)

        published = await self._database.run(write) and await self.publish(known)
        return Caption(tag, key, len(text), now), published

    async def remove(self, video_id: str, language: str, caller: Principal) -> None:
        """Take the captions in a language back; the row goes last, so a failure can be repeated.

        Raises:
            ContentNotFound, ContentAlreadyDeleted, NotContentOwner, ContentArchived: as ``put``.
        """
        tag = languages.language(language)
        now = self._clock()

        async def look(session: AsyncSession) -> tuple[str, bool]:
            row = await own_row(session, video_id, caller)
            if not await _rows(session, row.id, tag):
                raise ContentNotFound("There are no captions in this language.")
            return row.id, await _is_at_rest(session, row.id)

        known, at_rest = await self._database.read(look)
        await self._check_restored(known)
        await self._store.delete(layout.caption_key(known, tag))
        if at_rest:
            await self.publish(known)

        async def write(session: AsyncSession) -> None:
            row = await own_row(session, known, caller, lock=True)
            for found in await _rows(session, row.id, tag):
                await session.delete(found)
            await _tell(session, row, now)

        await self._database.run(write)

    async def publish(self, video_id: str) -> bool:
        """Bring the playlists up to the caption files, once nobody else writes them any more.

        Returns:
            False when there are none, or none of our making, or they lie in the archive.
        """
        try:
            await captions.publish(self._store, video_id)
        except ContentNotFound:
            return False  # there is nothing to bring up to date yet
        except (ContentArchived, ValidationFailed, ValueError) as error:
            log.warning("captions_not_published", video_id=video_id, error=repr(error))
            return False
        return True

    async def _check_restored(self, video_id: str) -> None:
        """Refuse to change what cannot be read: CONTENT_ARCHIVED."""
        master = await self._store.stat(layout.master_key(video_id))
        if master is not None and master.archived:
            raise ContentArchived(details={"restoring": master.restoring})


async def _rows(session: AsyncSession, video_id: str, tag: str | None = None) -> Sequence[VideoAssetRow]:
    mine = [VideoAssetRow.video_id == video_id, VideoAssetRow.type == AssetType.CAPTIONS]
    mine += [VideoAssetRow.quality == tag] if tag is not None else []
    return (await session.scalars(select(VideoAssetRow).where(*mine).order_by(VideoAssetRow.quality))).all()


async def _captioned(
    session: AsyncSession, video_id: str, caller: Principal, tag: str, *, lock: bool = False
) -> VideoRow:
    """Return the row of a video that the caller may caption in a language.

    Raises:
        ValidationFailed: it has captions in so many other languages already.
    """
    row = await own_row(session, video_id, caller, lock=lock)
    others = {found.quality for found in await _rows(session, row.id)} - {tag}
    if len(others) >= MAX_LANGUAGES:
        raise ValidationFailed(
            f"A video has captions in at most {MAX_LANGUAGES} languages.",
            details={"field": "language", "limit": MAX_LANGUAGES},
        )
    return row


async def _note(session: AsyncSession, video: VideoRow, tag: str, file: tuple[str, int], at: float) -> None:
    """Write the row of a caption file: its key, its size in bytes, and when it came."""
    known = await _rows(session, video.id, tag)
    row = known[0] if known else VideoAssetRow(id=new_id(), video_id=video.id, type=AssetType.CAPTIONS)
    row.quality, row.container = tag, "vtt"
    row.file_key, row.size_bytes = file
    row.created_at = moment(at)
    session.add(row)


async def _tell(session: AsyncSession, video: VideoRow, at: float) -> None:
    video.updated_at = moment(at)
    await session.flush()
    if video.status == VideoStatus.READY:
        facts.tell_edited(session, video, at)


async def _is_at_rest(session: AsyncSession, video_id: str) -> bool:
    """Tell whether no encode may be writing the playlists just now."""
    job = await newest_job(session, video_id)
    return job is None or job.status not in WORKING


def _caption(row: VideoAssetRow) -> Caption:
    return Caption(row.quality, row.file_key, row.size_bytes or 0, seconds(row.created_at))
