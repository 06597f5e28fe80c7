"""Nothing is left of a session that ended: its parts, its object, its row's note of them (A35, A41).

``sweep_at`` in the row is that note. It is set when a session opens, to its expiry; moved to now when it
ends; and taken away when the store has nothing of it any more. So whatever crashes, the sweep finds it.
"""

from functools import partial
from typing import Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from media.layout import source_key
from media.parts import Incoming
from media.policies import extension
from media.sniff import Container
from social.uploads import rows
from social.uploads.states import OPEN, Operation
from social.uploads.tools import UploadTools
from social.videos import arriving
from tables.errors import AppError
from tables.lifecycle import UploadStatus
from tables.relational.models import UploadSessionRow, VideoRow, moment

log = structlog.get_logger(__name__)
BATCH: Final = 100
#: What began less than this ago may have a row that our snapshot does not show.
YOUNG_SECONDS: Final = 60.0


async def close(
    session: AsyncSession,
    row: UploadSessionRow,
    operation: Operation,
    at: float,
    *,
    code: str | None = None,
    strict: bool = False,
    fails_video: bool = False,
) -> None:
    """End a session: CANCELED, FAILED or EXPIRED; by policy its video is FAILED then (C8)."""
    rows.move(row, operation, at, strict=strict)
    row.fail_code = code
    row.lease_id = row.lease_until = None
    video = await session.get(VideoRow, row.video_id, with_for_update=True) if row.video_id else None
    if fails_video and video is not None:
        arriving.broke_off(session, video, code or f"UPLOAD_{row.status}", at)


class Cleaner:
    """Removes what ended sessions left in the store."""

    def __init__(self, tools: UploadTools) -> None:
        """Take the tools."""
        self._tools = tools

    async def clean(self, session_id: str) -> bool:
        """Remove what an ended session left, then its note; False when that has to be tried again."""
        try:
            row = await self._tools.database.read(lambda session: session.get(UploadSessionRow, session_id))
            if row is None or row.status in OPEN:
                return True
            await self._tools.parts.abort(rows.incoming(row))
            if row.status != UploadStatus.COMPLETED and row.verdict is not None:
                await self._drop_object(row)
            await self._tools.database.run(partial(_settle, session_id=session_id))
        except AppError as error:
            log.warning("upload_left_to_sweep", session_id=session_id, error=repr(error))
            return False
        return True

    async def sweep(self, *, everything: bool = False) -> int:
        """Expire what is over and remove what ended sessions, or none, left in the store (A35).

        Args:
            everything: at the start of the only process: nobody can be completing anything.

        Returns:
            How many sessions were settled, and uploads without a session aborted.
        """
        if everything:
            await self._tools.database.run(_free_all)
        settled = 0
        for session_id in await self._due():
            await self._expire(session_id)
            settled += await self.clean(session_id)
        return settled + await self._drop_unknown()

    async def _due(self) -> list[str]:
        now = moment(self._tools.clock())
        free = UploadSessionRow.lease_until.is_(None) | (UploadSessionRow.lease_until <= now)
        query = (
            select(UploadSessionRow.id)
            .where(UploadSessionRow.sweep_at <= now, free)
            .order_by(UploadSessionRow.sweep_at)
            .limit(BATCH)
        )

        async def due(session: AsyncSession) -> list[str]:
            return list(await session.scalars(query))

        return await self._tools.database.read(due)

    async def _expire(self, session_id: str) -> None:
        now, fails_video = self._tools.clock(), self._tools.settings.fail_videos

        async def write(session: AsyncSession) -> None:
            row = await session.get(UploadSessionRow, session_id, with_for_update=True)
            if row is not None and row.status in OPEN and rows.is_over(row, now):
                await close(
                    session, row, Operation.EXPIRE, now, code="SESSION_EXPIRED", fails_video=fails_video
                )

        await self._tools.database.run(write)

    async def _drop_object(self, row: UploadSessionRow) -> None:
        """Delete the object that a completion stored before the session ended, unless it is a source."""
        container = Container((row.verdict or {})["container"])
        key = source_key(row.target_id, extension(container))
        video = await self._tools.database.read(lambda session: session.get(VideoRow, row.target_id))
        if video is None or video.source_key != key:
            await self._tools.store.delete(key)

    async def _drop_unknown(self) -> int:
        """Abort uploads whose session is gone with its video or user, or was settled before."""
        dropped = 0
        async for upload in self._tools.parts.unfinished():
            if self._tools.clock() - upload.begun_at < YOUNG_SECONDS:
                continue
            if await self._is_lost(upload):
                await self._tools.parts.abort(upload)
                dropped += 1
        return dropped

    async def _is_lost(self, upload: Incoming) -> bool:
        row = await self._tools.database.read(
            lambda session: session.get(UploadSessionRow, upload.session_id)
        )
        return row is None or row.status not in OPEN


async def _settle(session: AsyncSession, session_id: str) -> None:
    row = await session.get(UploadSessionRow, session_id, with_for_update=True)
    if row is not None:
        row.sweep_at = row.verdict = None


async def _free_all(session: AsyncSession) -> None:
    held = UploadSessionRow.lease_until.is_not(None)
    await session.execute(update(UploadSessionRow).where(held).values(lease_id=None, lease_until=None))
