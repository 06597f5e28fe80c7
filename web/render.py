"""Turns what services answer into what clients get: videos, playback, counters."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from media.languages import name
from media.layout import AssetType, primary
from social.videos.standing import audience_of
from tables.lifecycle import job_status_004, status_000
from tables.reducers.engagement import engagement_score
from web.schemas.captions import CaptionLink
from web.schemas.videos import Creator, EncodingAnswer, Playback, Source, Thumbnails, VideoAnswer, VideoPost

if TYPE_CHECKING:
    from social.views import Video
    from tables.reducers.engagement import VideoEngagement
    from web.keys import Deps


def moment(at: float) -> datetime:
    """Return seconds since the epoch as an aware time."""
    return datetime.fromtimestamp(at, UTC)


def moment_or_none(at: float | None) -> datetime | None:
    """Return the time, None for none."""
    return None if at is None else moment(at)


def table_counters(engagement: "VideoEngagement | None") -> dict[str, int]:
    """Return the public counters as the table has them, zeros without a row."""
    return {
        "view_count": engagement.views if engagement else 0,
        "like_count": engagement.likes if engagement else 0,
        "comment_count": engagement.comments if engagement else 0,
        "share_count": engagement.shares if engagement else 0,
    }


def video_counters(engagement: "VideoEngagement | None", video: "Video") -> dict[str, int]:
    """Return the public counters of one video: views from the table, relations from their rows.

    The rows know a like in the moment that it is answered; the table follows, and adds the other servers'.
    """
    far = engagement.federated if engagement else None
    return {
        "view_count": engagement.views if engagement else video.view_count,
        "like_count": max(0, video.like_count + (far.likes if far else 0)),
        "comment_count": max(0, video.comment_count + (far.comments if far else 0)),
        "share_count": video.share_count + (far.shares if far else 0),
    }


def playback(video: "Video", services: "Deps") -> Playback:
    """Return how to play a video, signed; nothing but nulls unless it is READY (C13, C31, C34)."""
    if video.status != "READY":
        return Playback(state="failed" if video.status == "FAILED" else "processing")
    audience = audience_of(video)

    def url(kind: AssetType, container: str | None = None) -> str | None:
        found = primary((each for each in video.assets if container in (None, each.container)), kind)
        return services.signer.url(found.key, audience) if found else None

    hls = url(AssetType.HLS_MASTER)
    rungs = [asset for asset in video.assets if asset.type == AssetType.HLS_RENDITION and asset.quality]
    rungs.sort(key=lambda asset: asset.bandwidth or 0, reverse=True)
    return Playback(
        ready=hls is not None,
        state="processing" if hls is None else "ready",
        stream_url=hls,
        hls_url=hls,
        hls_cmaf_url=url(AssetType.HLS_MASTER, "fmp4"),
        dash_url=url(AssetType.DASH_MANIFEST),
        mp4_url=url(AssetType.MP4),
        poster_url=url(AssetType.POSTER),
        preview_url=url(AssetType.PREVIEW),
        preview_webp_url=url(AssetType.PREVIEW, "webp"),
        storyboard_url=url(AssetType.STORYBOARD),
        storyboard_image_url=url(AssetType.STORYBOARD, "jpg"),
        qualities=[asset.quality for asset in rungs if asset.quality],
    )


def captions(video: "Video", services: "Deps") -> list[CaptionLink]:
    """Return the captions of a READY video, by language (Y6)."""
    return [
        CaptionLink(
            language=asset.quality,
            name=name(asset.quality),
            url=services.signer.url(asset.key, audience_of(video)),
        )
        for asset in video.assets
        if asset.type == AssetType.CAPTIONS and asset.quality
    ]


def thumbnails(video: "Video", services: "Deps") -> Thumbnails:
    """Return the three sizes of B27, null until they exist."""
    signer, audience = services.signer, audience_of(video)
    found = {a.quality: signer.url(a.key, audience) for a in video.assets if a.type == AssetType.THUMBNAIL}
    return Thumbnails(small=found.get("small"), medium=found.get("medium"), large=found.get("large"))


def video_answer(
    video: "Video", services: "Deps", *, liked: bool = False, saved: bool = False
) -> VideoAnswer:
    """Return the canonical shape of a video (INTERFACE Video, C21)."""
    counted, playing = services.engagement(video.id), playback(video, services)
    return VideoAnswer(
        id=video.id,
        owner_id=video.owner_id,
        owner=Creator(id=video.owner_id, username=video.owner_username),
        title=video.title,
        description=video.description,
        tags=list(video.tags),
        hashtags=list(video.hashtags),
        visibility=video.visibility.value,
        content_type=video.content_type,
        audio_url=video.audio_url,
        policy=video.policy,
        source=Source(mime=video.source_mime, size_bytes=video.source_size_bytes),
        status=video.status.value,
        fail_reason=video.fail_reason,
        fail_code=video.fail_code,
        duration_seconds=video.duration_seconds,
        width=video.width,
        height=video.height,
        progress=video.progress,
        processing_more=video.status == "READY" and video.job is not None,
        thumbnails=thumbnails(video, services),
        playback=playing,
        captions=captions(video, services),
        available_qualities=playing.qualities,
        is_federated=video.is_federated,
        origin_instance=video.origin_instance,
        origin_actor_did=video.origin_actor_did,
        activitypub_id=video.activitypub_id,
        moderation_status=video.moderation_status.value,
        moderation_reason=video.moderation_reason,
        engagement_score=engagement_score(counted) if counted else 0.0,
        **video_counters(counted, video),
        liked=liked,
        saved=saved,
        created_at=moment(video.created_at),
        updated_at=moment(video.updated_at),
        processing_started_at=moment_or_none(video.processing_started_at),
        processing_completed_at=moment_or_none(video.processing_completed_at),
        published_at=moment_or_none(video.published_at),
    )


def video_post(video: "Video", services: "Deps") -> VideoPost:
    """Return document 000's shape of a video (C45)."""
    small, counted = thumbnails(video, services), services.engagement(video.id)
    return VideoPost(
        id=video.id,
        user_id=video.owner_id,
        title=video.title,
        description=video.description,
        tags=list(video.tags),
        duration=video.duration_seconds,
        status=status_000(video.status, video.moderation_status),
        thumbnails=[url for url in (small.small, small.medium, small.large) if url],
        resolutions=[
            {
                "quality": asset.quality,
                "width": asset.width,
                "height": asset.height,
                "bitrate": asset.bandwidth,
                "url": services.signer.url(asset.key, audience_of(video)),
            }
            for asset in video.assets
            if asset.type == AssetType.HLS_RENDITION
        ],
        is_federated=video.is_federated,
        origin_server=video.origin_instance,
        origin_actor_did=video.origin_actor_did,
        activity_id=video.activitypub_id,
        engagement_score=engagement_score(counted) if counted else 0.0,
        moderation_status=video.moderation_status.value,
        moderation_reason=video.moderation_reason,
        **video_counters(counted, video),
        created_at=moment(video.created_at),
        updated_at=moment(video.updated_at),
        processing_started_at=moment_or_none(video.processing_started_at),
        processing_completed_at=moment_or_none(video.processing_completed_at),
    )


def encoding_answer(video: "Video") -> EncodingAnswer:
    """Return how far the processing of a video is; of a READY one, of what it gets (Y5, B44)."""
    more = video.job if video.status == "READY" else None
    return EncodingAnswer(
        video_id=video.id,
        status=video.status.value,
        job_status=more.status.value if more else job_status_004(video.status),
        progress=more.progress if more else video.progress,
        stage=(more.stage if more else video.stage) or None,
        fail_code=video.fail_code,
        fail_reason=video.fail_reason,
        notes=list(video.notes),
    )
