"""Looks for drift between the status of videos, their rows and their objects, and repairs it (C41).

Two walks. The one over unfinished videos asks the database, and the store only where it decides; it runs
often. The one over everything lists the store and compares it with the rows, some thousand objects at a time.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from media.layout import VIDEOS, owner
from media.reconcile import GRACE_SECONDS, Known, compare
from media.stores import ObjectInfo, ObjectStore
from social.videos.processing import MASTER
from social.videos.reading import latest_jobs, load_assets
from social.videos.reconcile import SETTLED_SECONDS, Facts, Repair, decide
from social.videos.service import VideoService
from tables.lifecycle import JobStatus, UploadStatus, VideoStatus
from tables.relational.engine import Database
from tables.relational.models import UploadSessionRow, VideoAssetRow, VideoRow, moment, seconds

log = structlog.get_logger(__name__)
PAGE: Final = 200
OBJECTS_AT_ONCE: Final = 5_000
UNFINISHED: Final = (VideoStatus.UPLOADING, VideoStatus.UPLOADED, VideoStatus.TRANSCODING, VideoStatus.FAILED)
_WAITING_JOBS = (JobStatus.QUEUED, JobStatus.PROCESSING)
_OPEN_SESSIONS = (UploadStatus.INITIATED, UploadStatus.IN_PROGRESS, UploadStatus.PAUSED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of drift: ``what`` is a repair's name, or ``delete`` or ``missing`` for an object."""

    what: str
    subject: str
    status: str = ""
    repaired: bool = False


class Reconciler:
    """Finds and repairs; with ``dry_run`` it finds only."""

    def __init__(
        self, database: Database, store: ObjectStore, videos: VideoService, clock: Callable[[], float]
    ) -> None:
        """Take what it compares, and the service that repairs."""
        self._database = database
        self._store = store
        self._videos = videos
        self._clock = clock

    async def unfinished(self, *, dry_run: bool = False) -> list[Finding]:
        """Go through the videos that are on their way, or FAILED, and have not changed lately."""
        quiet = VideoRow.updated_at <= moment(self._clock() - SETTLED_SECONDS)
        return [
            finding
            async for rows in self._pages(VideoRow.status.in_(UNFINISHED) & quiet)
            for finding in await self._look(rows, dry_run=dry_run)
        ]

    async def objects(self, *, dry_run: bool = False) -> list[Finding]:
        """Compare all objects of videos with the rows; what nobody owns goes when it is a day old."""
        findings, batch, after = [], list[ObjectInfo](), ""
        async for info in self._store.list(VIDEOS):
            here = owner(info.key) or ""
            if len(batch) >= OBJECTS_AT_ONCE and here != (upto := owner(batch[-1].key) or ""):
                findings += await self._compare(batch, after, upto, dry_run=dry_run)
                batch, after = [], upto
            batch.append(info)
        return findings + await self._compare(batch, after, None, dry_run=dry_run)

    async def _pages(self, condition: object) -> AsyncIterator[Sequence[VideoRow]]:
        after = ""
        while True:
            query = select(VideoRow).where(condition, VideoRow.id > after).order_by(VideoRow.id).limit(PAGE)  # type: ignore[arg-type]
            rows = await self._database.read(partial(_all, query=query))
            if rows:
                yield rows
                after = rows[-1].id
            if len(rows) < PAGE:
                return

    async def _look(self, rows: Sequence[VideoRow], *, dry_run: bool) -> list[Finding]:
        ids, now = [row.id for row in rows], self._clock()
        known = await self._database.read(partial(_possessions, ids=ids))
        findings = []
        for row in rows:
            status, keys = VideoStatus(row.status), known.playable.get(row.id, ())
            unsure = status is VideoStatus.TRANSCODING
            repair = decide(
                Facts(
                    status=status,
                    quiet_seconds=now - seconds(row.updated_at),
                    has_session=row.id in known.sessions,
                    has_job=row.id in known.jobs,
                    has_source=unsure and await self._has([row.source_key] if row.source_key else []),
                    playable=await self._has(keys),
                )
            )
            if repair is not None:
                findings.append(await self._repair(row.id, status, repair, dry_run=dry_run))
        return findings

    async def _has(self, keys: Sequence[str]) -> bool:
        """Tell whether there are keys, and all of their objects."""
        for key in keys:
            if await self._store.stat(key) is None:
                return False
        return bool(keys)

    async def _repair(self, video_id: str, status: VideoStatus, repair: Repair, *, dry_run: bool) -> Finding:
        done = not dry_run and await self._videos.repair(video_id, status, repair)
        log.warning("video_drifted", video_id=video_id, status=status, repair=repair, repaired=done)
        return Finding(repair.value, video_id, status.value, done)

    async def _compare(
        self, found: Sequence[ObjectInfo], after: str, upto: str | None, *, dry_run: bool
    ) -> list[Finding]:
        """Compare the objects of the videos after one, up to one, with their rows."""
        now = self._clock()
        known, young = await self._database.read(partial(_known, after=after, upto=upto, now=now))
        compared = compare(found, (), known, now=now, grace_seconds=GRACE_SECONDS)
        findings = []
        for key in compared.delete:
            if not dry_run:
                await self._store.delete(key)
            findings.append(Finding("delete", key, repaired=not dry_run))
        findings += [Finding("missing", key) for key in compared.missing if owner(key) not in young]
        for finding in findings:
            log.warning("object_drifted", what=finding.what, key=finding.subject, repaired=finding.repaired)
        return findings


@dataclass(frozen=True, slots=True)
class _Possessions:
    """Of some videos: who has a session, a job; the keys of those whose rows name a master playlist."""

    sessions: frozenset[str]
    jobs: frozenset[str]
    playable: dict[str, tuple[str, ...]]


async def _all(session: AsyncSession, query: object) -> Sequence[VideoRow]:
    return list(await session.scalars(query))  # type: ignore[call-overload]


async def _possessions(session: AsyncSession, ids: Sequence[str]) -> _Possessions:
    may_come = UploadSessionRow.video_id.in_(ids) & UploadSessionRow.status.in_(_OPEN_SESSIONS)
    sessions = await session.scalars(select(UploadSessionRow.video_id).where(may_come))
    jobs, assets = await latest_jobs(session, ids), await load_assets(session, ids)
    return _Possessions(
        frozenset(video_id for video_id in sessions if video_id),
        frozenset(video_id for video_id, job in jobs.items() if job.status in _WAITING_JOBS),
        {
            video_id: tuple(asset.key for asset in outputs)
            for video_id, outputs in assets.items()
            if any(asset.type == MASTER for asset in outputs)
        },
    )


async def _known(
    session: AsyncSession, after: str, upto: str | None, now: float
) -> tuple[Known, frozenset[str]]:
    """Return what the rows of a range of videos name, and which of the videos changed just now."""
    within = VideoRow.id > after
    if upto is not None:
        within &= VideoRow.id <= upto
    rows = (
        await session.execute(select(VideoRow.id, VideoRow.source_key, VideoRow.updated_at).where(within))
    ).all()
    ready = within & (VideoRow.status == VideoStatus.READY)
    assets = await session.scalars(select(VideoAssetRow.file_key).join(VideoRow).where(ready))
    young = frozenset(row.id for row in rows if now - seconds(row.updated_at) < SETTLED_SECONDS)
    return Known({row.id: row.source_key for row in rows}, frozenset(assets)), young
