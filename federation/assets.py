"""Turns the stored outputs of a video into what federated documents list (B26, B33, J3). Pure."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from federation.addresses import Addresses
from federation.model import Mp4, Picture, Rung, Subtitle
from media.languages import name
from media.layout import AssetType, primary

_PICTURE_TYPES = {AssetType.THUMBNAIL, AssetType.POSTER}
_MEDIA_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class StoredOutput(Protocol):
    """The columns of an asset row that matter here."""

    video_id: str
    type: str
    quality: str
    container: str
    file_key: str
    bandwidth: int | None
    width: int | None
    height: int | None
    size_bytes: int | None


def files(at: Addresses, assets: Iterable[StoredOutput]) -> list[tuple[Mp4, str]]:
    """Return the progressive files, best first, each with its object key."""
    found = [
        (
            Mp4(
                quality=asset.quality,
                url=at.mp4(asset.video_id, asset.quality),
                width=asset.width or 0,
                height=asset.height or 0,
                size_bytes=asset.size_bytes or 0,
            ),
            asset.file_key,
        )
        for asset in assets
        if asset.type == AssetType.MP4
    ]
    return sorted(found, key=lambda item: item[0].height, reverse=True)


def rungs(at: Addresses, assets: Iterable[StoredOutput]) -> list[Rung]:
    """Return the renditions of the HLS ladder, best first."""
    found = [
        Rung(
            quality=asset.quality,
            playlist_url=at.media(asset.video_id, _path(asset)),
            width=asset.width or 0,
            height=asset.height or 0,
            bandwidth=asset.bandwidth or 0,
        )
        for asset in assets
        if asset.type == AssetType.HLS_RENDITION
    ]
    return sorted(found, key=lambda rung: rung.bandwidth, reverse=True)


def hls(at: Addresses, assets: Iterable[StoredOutput]) -> str | None:
    """Return the URL of the master playlist, None without one."""
    found = primary(assets, AssetType.HLS_MASTER)
    return None if found is None else at.media(found.video_id, _path(found))


def subtitles(at: Addresses, assets: Iterable[StoredOutput]) -> list[Subtitle]:
    """Return the captions, by language (Y6)."""
    found = [
        Subtitle(asset.quality, name(asset.quality), at.media(asset.video_id, _path(asset)))
        for asset in assets
        if asset.type == AssetType.CAPTIONS
    ]
    return sorted(found, key=lambda subtitle: subtitle.language)


def pictures(at: Addresses, assets: Sequence[StoredOutput]) -> list[Picture]:
    """Return poster and thumbnails, the poster first, then by size: peers take the first or the largest."""
    found = [
        (
            asset.type == AssetType.POSTER,
            Picture(
                url=at.media(asset.video_id, _path(asset)),
                media_type=_MEDIA_TYPES[_suffix(asset)],
                width=asset.width or 0,
                height=asset.height or 0,
            ),
        )
        for asset in assets
        if asset.type in _PICTURE_TYPES and _suffix(asset) in _MEDIA_TYPES
    ]
    found.sort(key=lambda item: (item[0], item[1].width * item[1].height), reverse=True)
    return [picture for _, picture in found]


def _path(asset: StoredOutput) -> str:
    return asset.file_key.removeprefix(f"videos/{asset.video_id}/")


def _suffix(asset: StoredOutput) -> str:
    return asset.file_key.rpartition(".")[2].lower()
