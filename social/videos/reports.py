"""What encoders outside report of a video: checked against the store before it counts (B35, X67, X71)."""

from dataclasses import dataclass

from media.layout import AssetType, prefix
from social.videos.objects import SourceStore
from tables.errors import ValidationFailed
from tables.lifecycle import VideoStatus
from tables.records import Asset, MediaResult

FAILED_OUTSIDE = "TRANSCODE_ERROR"


@dataclass(frozen=True, slots=True)
class Report:
    """READY with assets, or FAILED with a reason; seconds and pixels."""

    video_id: str
    status: str
    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    assets: tuple[Asset, ...] = ()
    fail_reason: str | None = None


async def check_assets(report: Report, store: SourceStore) -> None:
    """Refuse assets that are of no known kind, of another video, named twice, or not in the store.

    Raises:
        ValidationFailed: VALIDATION_ERROR, ``details.field`` is ``assets``.
        StorageFailure: STORAGE_ERROR.
    """
    seen = set()
    for asset in report.assets:
        place = (asset.type, asset.quality, asset.container)
        known = asset.type in set(AssetType) and place not in seen
        inside = asset.key.startswith(prefix(report.video_id)) and ".." not in asset.key
        if not (known and inside and await store.stat(asset.key) is not None):
            raise ValidationFailed(
                "An asset is unknown, named twice, or not in the store.",
                details={"field": "assets", "value": asset.key},
            )
        seen.add(place)


def result_of(report: Report, at: float) -> MediaResult:
    """Return a report as the pipeline's own encoder would make it; it names no job."""
    failed = report.status == VideoStatus.FAILED
    return MediaResult(
        job_id="",
        video_id=report.video_id,
        outcome="failed" if failed else "completed",
        at=at,
        duration_seconds=report.duration_seconds,
        width=report.width,
        height=report.height,
        assets=report.assets,
        fail_code=FAILED_OUTSIDE if failed else None,
        fail_reason=(report.fail_reason or "An outside encoder could not process it.") if failed else None,
    )
