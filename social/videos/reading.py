"""Reads videos with all that belongs to them, in three queries however many there are."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from social.paging import Position, before, encode
from social.views import EncodingJob, Page, Video
from tables.lifecycle import JobStatus, ModerationStatus, VideoStatus, Visibility
from tables.records import Asset, Card
from tables.relational.models import (
    EncodingJobRow,
    UserRow,
    VideoAssetRow,
    VideoRow,
    seconds,
    seconds_or_none,
)

RENDITION = "HLS_RENDITION"


async def load(session: AsyncSession, ids: Sequence[str]) -> dict[str, Video]:
    """Return the videos that exist, by id."""
    if not ids:
        return {}
    found = await session.execute(
        select(VideoRow, UserRow.username)
        .join(UserRow, UserRow.id == VideoRow.owner_id)
        .where(VideoRow.id.in_(ids))
        .execution_options(populate_existing=True)
    )
    rows = [(row, username) for row, username in found]
    ready = [row.id for row, _ in rows if row.status == VideoStatus.READY]
    assets = await load_assets(session, ready)
    jobs = await latest_jobs(session, [row.id for row, _ in rows])
    return {row.id: _view(row, username, assets.get(row.id, ()), jobs.get(row.id)) for row, username in rows}


async def load_page(
    session: AsyncSession, condition: ColumnElement[bool], position: Position | None, limit: int
) -> Page[Video]:
    """Return a page of the videos that meet the condition, newest first."""
    query = select(VideoRow.id, VideoRow.created_at).where(condition)
    older = before(VideoRow.created_at, VideoRow.id, position)
    if older is not None:
        query = query.where(older)
    ordered = query.order_by(VideoRow.created_at.desc(), VideoRow.id.desc()).limit(limit + 1)
    rows = (await session.execute(ordered)).all()
    shown = rows[:limit]
    videos = await load(session, [row.id for row in shown])
    following = encode((shown[-1].created_at, shown[-1].id)) if len(rows) > limit else None
    return Page([videos[row.id] for row in shown if row.id in videos], following)


async def load_assets(session: AsyncSession, ids: Sequence[str]) -> dict[str, tuple[Asset, ...]]:
    """Return the outputs of videos, by video id, best rung first."""
    if not ids:
        return {}
    rows = await session.scalars(
        select(VideoAssetRow)
        .where(VideoAssetRow.video_id.in_(ids))
        .order_by(VideoAssetRow.type, VideoAssetRow.height.desc(), VideoAssetRow.file_key)
    )
    found: dict[str, list[Asset]] = {}
    for row in rows:
        found.setdefault(row.video_id, []).append(_asset(row))
    return {video_id: tuple(assets) for video_id, assets in found.items()}


async def latest_jobs(session: AsyncSession, ids: Sequence[str]) -> dict[str, EncodingJob]:
    """Return the newest encoding job of videos, by video id."""
    if not ids:
        return {}
    rows = await session.scalars(
        select(EncodingJobRow).where(EncodingJobRow.video_id.in_(ids)).order_by(EncodingJobRow.created_at)
    )
    return {row.video_id: job_view(row) for row in rows}


async def load_card(session: AsyncSession, video_id: str) -> Card | None:
    """Return what ranking knows of a video, without its embedding; None unless it is READY."""
    video = (await load(session, [video_id])).get(video_id)
    if video is None or video.status is not VideoStatus.READY:
        return None
    return Card(
        video_id=video.id,
        creator_id=video.owner_id,
        creator_username=video.owner_username,
        title=video.title,
        created_at=video.created_at,
        duration_seconds=video.duration_seconds or 0.0,
        width=video.width or 0,
        height=video.height or 0,
        description=video.description,
        tags=tuple(dict.fromkeys(video.tags + video.hashtags)),
        visibility=video.visibility,
        moderation_status=video.moderation_status,
        qualities=qualities(video.assets),
    )


def qualities(assets: Sequence[Asset]) -> tuple[str, ...]:
    """Return the quality labels of the adaptive renditions, best first."""
    return tuple(asset.quality for asset in assets if asset.type == RENDITION and asset.quality)


def job_view(row: EncodingJobRow) -> EncodingJob:
    """Turn a job's row into what services answer."""
    return EncodingJob(
        id=row.id,
        video_id=row.video_id,
        status=JobStatus(row.status),
        progress=row.progress,
        stage=row.stage,
        ladder=row.ladder,
        outputs=tuple(row.outputs),
        notes=tuple(row.notes),
        error_code=row.error_code,
        error=row.error,
        attempts=row.attempts,
        priority=row.priority,
        qualities=tuple(row.parameters.get("qualities", ())),
        preset=row.parameters.get("preset", ""),
        created_at=seconds(row.created_at),
        started_at=seconds_or_none(row.started_at),
        completed_at=seconds_or_none(row.completed_at),
    )


def _asset(row: VideoAssetRow) -> Asset:
    return Asset(
        type=row.type,
        key=row.file_key,
        quality=row.quality or None,
        bandwidth=row.bandwidth,
        width=row.width,
        height=row.height,
        codec=row.codec,
        container=row.container or None,
        size_bytes=row.size_bytes,
    )


def _view(row: VideoRow, username: str, assets: tuple[Asset, ...], job: EncodingJob | None) -> Video:
    done = row.status == VideoStatus.READY
    return Video(
        id=row.id,
        owner_id=row.owner_id,
        owner_username=username,
        title=row.title,
        description=row.description,
        tags=tuple(row.tags),
        visibility=Visibility(row.visibility),
        hashtags=tuple(row.hashtags),
        content_type=row.content_type,
        audio_url=row.audio_url,
        policy=row.policy,
        status=VideoStatus(row.status),
        fail_code=row.fail_code,
        fail_reason=row.fail_reason,
        moderation_status=ModerationStatus(row.moderation_status),
        moderation_reason=row.moderation_reason,
        progress=100.0 if done else (job.progress if job else 0.0),
        stage="" if done or job is None else job.stage,
        source_key=row.source_key,
        source_mime=row.source_mime,
        source_size_bytes=row.source_size_bytes,
        duration_seconds=row.duration_seconds,
        width=row.width,
        height=row.height,
        assets=assets,
        is_federated=row.is_federated,
        origin_instance=row.origin_instance,
        origin_actor_did=row.origin_actor_did,
        activitypub_id=row.activitypub_id,
        view_count=row.view_count,
        like_count=row.like_count,
        comment_count=row.comment_count,
        share_count=row.share_count,
        save_count=row.save_count,
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
        processing_started_at=seconds_or_none(row.processing_started_at),
        processing_completed_at=seconds_or_none(row.processing_completed_at),
        published_at=seconds_or_none(row.published_at),
        notes=job.notes if job else (),
        job=job if job and job.status in (JobStatus.QUEUED, JobStatus.PROCESSING) else None,
    )
