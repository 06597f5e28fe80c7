"""Keys and kinds of what a video has in the store (A43, B26, B31, B33, X16).

videos/{id}/source.{ext}
videos/{id}/hls/master.m3u8
videos/{id}/hls/{quality}/playlist.m3u8, segment_00000.ts, ...
videos/{id}/dash/manifest.mpd, {quality}.mp4, audio.mp4
videos/{id}/mp4/{quality}.mp4
videos/{id}/thumbs/{small,medium,large,poster}.jpg, timeline_00.jpg, ..., preview.gif,
                   storyboard.jpg, storyboard.vtt
"""

from enum import StrEnum
from typing import Final

THUMBNAILS: Final = {"small": (160, 90), "medium": (320, 180), "large": (640, 360)}
"""Name and exact size in pixels of the three thumbnails (B27)."""


class AssetType(StrEnum):
    """The ``type`` of an asset row (B33)."""

    HLS_MASTER = "HLS_MASTER"
    HLS_RENDITION = "HLS_RENDITION"
    DASH_MANIFEST = "DASH_MANIFEST"
    DASH_RENDITION = "DASH_RENDITION"
    MP4 = "MP4"
    THUMBNAIL = "THUMBNAIL"
    POSTER = "POSTER"
    TIMELINE = "TIMELINE"
    PREVIEW = "PREVIEW"
    STORYBOARD = "STORYBOARD"


def prefix(video_id: str) -> str:
    """Return the prefix of everything that belongs to a video."""
    return f"videos/{video_id}/"


def source_key(video_id: str, extension: str) -> str:
    """Return the key of the original, which no output ever overwrites.

    >>> source_key("7", "mov")
    'videos/7/source.mov'
    """
    return f"videos/{video_id}/source.{extension}"


def master_key(video_id: str) -> str:
    """Return the key of the HLS master playlist."""
    return f"videos/{video_id}/hls/master.m3u8"


def rendition_key(video_id: str, quality: str) -> str:
    """Return the key of one rung's playlist."""
    return f"videos/{video_id}/hls/{quality}/playlist.m3u8"


def mp4_key(video_id: str, quality: str) -> str:
    """Return the key of the progressive mp4."""
    return f"videos/{video_id}/mp4/{quality}.mp4"


def manifest_key(video_id: str) -> str:
    """Return the key of the DASH manifest."""
    return f"videos/{video_id}/dash/manifest.mpd"


def picture_key(video_id: str, name: str) -> str:
    """Return the key of a picture by its file name.

    >>> picture_key("7", "small.jpg")
    'videos/7/thumbs/small.jpg'
    """
    return f"videos/{video_id}/thumbs/{name}"
