"""Reads people and public videos from the relational store, as federation sees them (J9, X47).

Only what is PUBLIC, READY, not hidden by moderation (X46) and born here ever leaves this module.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Row, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from federation.addresses import Addresses, is_media_path
from federation.assets import files, hls, pictures, rungs, subtitles
from federation.discovery import Usage
from federation.model import Author, Counts, PublicVideo
from tables.errors import ValidationFailed
from tables.lifecycle import ModerationStatus, VideoStatus, Visibility
from tables.relational.engine import Database
from tables.relational.models import (
    ActorKeyRow,
    CommentRow,
    RefreshTokenRow,
    SessionRow,
    TombstoneRow,
    UserRow,
    VideoAssetRow,
    VideoRow,
)

# What has another form names nobody, and need not reach the database.
_DID = re.compile(r"did:key:z[1-9A-HJ-NP-Za-km-z]{1,110}")
_USERNAME = re.compile(r"[A-Za-z0-9_]{1,30}")
_VIDEO_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

PAGE_SIZE = 20
MONTH = timedelta(days=30)
HALF_YEAR = timedelta(days=180)
_PERSON_FIELDS = (UserRow, ActorKeyRow.public_pem)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_published = func.coalesce(VideoRow.published_at, VideoRow.created_at)

CountReader = Callable[[str], Counts | None]
"""Looks up the counters of a video id in the engagement table, None when it holds nothing."""


@dataclass(frozen=True, slots=True)
class VideoPage:
    """Videos newest first, and the cursor of the next page, None on the last."""

    videos: tuple[PublicVideo, ...]
    following: str | None


class Directory:
    """The read side of federation over one database.

    Every method raises ``DatabaseFailure`` (DATABASE_ERROR) when the store does not answer.
    """

    def __init__(self, database: Database, addresses: Addresses, counts: CountReader | None = None) -> None:
        self._database = database
        self._at = addresses
        self._counts = counts or (lambda video_id: None)

    async def by_did(self, did: str) -> Author | None:
        """Return the person with this DID, None when nobody here has it."""
        return await self._person(UserRow.did == did) if _DID.fullmatch(did) else None

    async def by_username(self, username: str) -> Author | None:
        """Return the person with this name in any case, None when there is none."""
        if not _USERNAME.fullmatch(username):
            return None
        return await self._person(UserRow.username_key == username.lower())

    async def video(self, video_id: str) -> PublicVideo | None:
        """Return a video that the world may see, None for any other."""
        if not _VIDEO_ID.fullmatch(video_id):
            return None
        async with self._database.session() as session:
            found = await session.execute(_public_videos().where(VideoRow.id == video_id))
            return next(iter(await self._read(session, found.all())), None)

    async def deleted_at(self, video_id: str) -> datetime | None:
        """Return when a video was deleted, None when it was not."""
        if not _VIDEO_ID.fullmatch(video_id):
            return None
        async with self._database.session() as session:
            row = await session.get(TombstoneRow, video_id)
            return row.deleted_at if row else None

    async def count(self, author: Author) -> int:
        """Return how many public videos a person has."""
        query = select(func.count()).select_from(VideoRow)
        async with self._database.session() as session:
            return await session.scalar(query.where(_is_public(), VideoRow.owner_id == author.user_id)) or 0

    async def page(self, author: Author, cursor: str | None, size: int = PAGE_SIZE) -> VideoPage:
        """Return a page of a person's public videos, newest first.

        Raises:
            ValidationFailed: the cursor is malformed (VALIDATION_ERROR, field ``cursor``).
        """
        query = _public_videos().where(VideoRow.owner_id == author.user_id)
        if cursor:
            moment, video_id = _parse_cursor(cursor)
            older = or_(_published < moment, and_(_published == moment, VideoRow.id < video_id))
            query = query.where(older)
        query = query.order_by(_published.desc(), VideoRow.id.desc()).limit(size + 1)
        async with self._database.session() as session:
            rows = (await session.execute(query)).all()
            videos = await self._read(session, rows[:size])
        more = len(rows) > size
        return VideoPage(tuple(videos), _cursor(videos[-1]) if more else None)

    async def media_key(self, video_id: str, path: str) -> str | None:
        """Return the object key behind a lasting media URL, None when the world may not have it.

        Args:
            video_id: the video named in the URL.
            path: the rest of the URL: ``{video_id}-{quality}.mp4``, or a plain path below ``hls/``,
                ``thumbs/`` or ``captions/``. The source is never served.
        """
        if not _VIDEO_ID.fullmatch(video_id) or not is_media_path(path):
            return None
        async with self._database.session() as session:
            public = await session.scalar(select(VideoRow.id).where(_is_public(), VideoRow.id == video_id))
            if public is None:
                return None
            if path.startswith(("hls/", "thumbs/", "captions/")):
                return f"videos/{video_id}/{path}"
            assets = await _assets(session, [video_id])
        wanted = self._at.media(video_id, path)
        return next((key for file, key in files(self._at, assets) if file.url == wanted), None)

    async def usage(self, now: datetime) -> Usage:
        """Return how much the server is used; active means signed in or renewed a session."""
        async with self._database.session() as session:
            return Usage(
                users=await session.scalar(select(func.count()).select_from(UserRow)) or 0,
                active_month=await session.scalar(_active_since(now - MONTH)) or 0,
                active_half_year=await session.scalar(_active_since(now - HALF_YEAR)) or 0,
                posts=await session.scalar(select(func.count()).select_from(VideoRow).where(_is_public()))
                or 0,
                comments=await session.scalar(
                    select(func.count()).select_from(CommentRow).where(CommentRow.deleted_at.is_(None))
                )
                or 0,
            )

    async def _person(self, condition: ColumnElement[bool]) -> Author | None:
        query = select(*_PERSON_FIELDS).join(ActorKeyRow, ActorKeyRow.user_id == UserRow.id).where(condition)
        async with self._database.session() as session:
            found = (await session.execute(query)).first()
        return _author(*found) if found else None

    async def _read(
        self, session: AsyncSession, rows: Sequence[Row[VideoRow, UserRow, str]]
    ) -> list[PublicVideo]:
        assets = await _assets(session, [video.id for video, _, _ in rows])
        return [
            self._video(video, _author(user, pem), [asset for asset in assets if asset.video_id == video.id])
            for video, user, pem in rows
        ]

    def _video(self, row: VideoRow, author: Author, assets: Sequence[VideoAssetRow]) -> PublicVideo:
        return PublicVideo(
            video_id=row.id,
            author=author,
            title=row.title,
            published_at=row.published_at or row.created_at,
            updated_at=row.updated_at,
            duration_seconds=row.duration_seconds or 0.0,
            width=row.width or 0,
            height=row.height or 0,
            description=row.description,
            tags=tuple(row.tags),
            files=tuple(file for file, _ in files(self._at, assets)),
            rungs=tuple(rungs(self._at, assets)),
            hls_url=hls(self._at, assets),
            pictures=tuple(pictures(self._at, assets)),
            subtitles=tuple(subtitles(self._at, assets)),
            counts=self._counts(row.id)
            or Counts(row.view_count, row.like_count, row.share_count, row.comment_count),
        )


def _public_videos() -> Select[VideoRow, UserRow, str]:
    return (
        select(VideoRow, UserRow, ActorKeyRow.public_pem)
        .join(UserRow, UserRow.id == VideoRow.owner_id)
        .join(ActorKeyRow, ActorKeyRow.user_id == UserRow.id)
        .where(_is_public())
    )


def _is_public() -> ColumnElement[bool]:
    """Return the condition under which a video leaves this server (X46, X47)."""
    return and_(
        VideoRow.status == VideoStatus.READY,
        VideoRow.visibility == Visibility.PUBLIC,
        VideoRow.moderation_status.not_in([ModerationStatus.FLAGGED, ModerationStatus.REJECTED]),
        VideoRow.is_federated.is_(False),
    )


def _active_since(moment: datetime) -> Select[int]:
    return (
        select(func.count(SessionRow.user_id.distinct()))
        .join(RefreshTokenRow, RefreshTokenRow.session_id == SessionRow.id)
        .where(RefreshTokenRow.created_at >= moment)
    )


async def _assets(session: AsyncSession, video_ids: Sequence[str]) -> Sequence[VideoAssetRow]:
    if not video_ids:
        return []
    return (await session.scalars(select(VideoAssetRow).where(VideoAssetRow.video_id.in_(video_ids)))).all()


def _author(user: UserRow, public_pem: str) -> Author:
    return Author(
        user_id=user.id,
        did=user.did,
        username=user.username,
        display_name=user.display_name,
        public_key_pem=public_pem,
        created_at=user.created_at,
        summary=user.bio,
    )


def _cursor(video: PublicVideo) -> str:
    microseconds = (video.published_at - _EPOCH) // timedelta(microseconds=1)
    return f"{microseconds}-{video.video_id}"


def _parse_cursor(cursor: str) -> tuple[datetime, str]:
    number, separator, video_id = cursor.partition("-")
    try:
        if not (separator and _VIDEO_ID.fullmatch(video_id) and number.isdecimal() and number.isascii()):
            raise ValueError(cursor)
        return _EPOCH + timedelta(microseconds=int(number)), video_id
    except (ValueError, OverflowError):
        raise ValidationFailed("The cursor is malformed.", details={"field": "cursor"}) from None
