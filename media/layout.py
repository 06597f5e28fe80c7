"""Keys and kinds of what a video has in the store (A43, B26, B31, B33, X16).

videos/{id}/source.{ext}
videos/{id}/hls/master.m3u8        of .ts segments
videos/{id}/hls/{quality}/playlist.m3u8, segment_00000.ts, ...
videos/{id}/hls/master-cmaf.m3u8   of byte ranges of the DASH files (fMP4)
videos/{id}/hls/{quality,audio}/cmaf.m3u8
videos/{id}/hls/captions/{language}-{ts,cmaf}.m3u8, .vtt
videos/{id}/hls/storyboard.m3u8
videos/{id}/dash/manifest.mpd, {quality}.mp4, audio.mp4
videos/{id}/mp4/{quality}.mp4
videos/{id}/thumbs/{small,medium,large,poster}.jpg, timeline_00.jpg, ..., preview.gif, preview.webp,
                   storyboard.jpg, storyboard.vtt
videos/{id}/captions/{language}.vtt    given by people (Y6)
images/{id}/source.{ext}           until its variants are made
images/{id}/{small,medium,large,original}.{jpg,webp}
federated/{id}/...                 the same, for what was downloaded from another instance (J22)
uploads/{session}/...              parts of unfinished uploads, where the store itself keeps them
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Protocol, TypeVar

VIDEOS: Final = "videos/"
IMAGES: Final = "images/"
FEDERATED: Final = "federated/"
UPLOADS: Final = "uploads/"
_CAPTION: Final = re.compile(r"videos/[^/]+/captions/[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*\.vtt")

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
    CAPTIONS = "CAPTIONS"


class Output(Protocol):
    """What is recorded of a stored output."""

    @property
    def type(self) -> str:
        """An asset type."""

    @property
    def container(self) -> str | None:
        """Its file format."""

    @property
    def height(self) -> int | None:
        """Lines of the picture."""


FIRST_CHOICE: Final = frozenset({"m3u8", "gif", "vtt"})
"""Containers that a kind with several is known by: every player reads them."""

Found = TypeVar("Found", bound=Output)


def primary(assets: Iterable[Found], kind: AssetType) -> Found | None:
    """Return the output that stands for its kind: the ``.ts`` master, the GIF, the largest mp4."""
    found = [asset for asset in assets if asset.type == kind]
    return max(found, key=lambda asset: (asset.container in FIRST_CHOICE, asset.height or 0), default=None)


def prefix(video_id: str) -> str:
    """Return the prefix of everything that belongs to a video."""
    return f"{VIDEOS}{video_id}/"


def federated_prefix(video_id: str) -> str:
    """Return the prefix of everything downloaded for another instance's video (J22)."""
    return f"{FEDERATED}{video_id}/"


def federated_source_key(video_id: str, extension: str) -> str:
    """Return the key of a downloaded original.

    >>> federated_source_key("7", "mp4")
    'federated/7/source.mp4'
    """
    return f"{federated_prefix(video_id)}source.{extension}"


def upload_prefix(session_id: str) -> str:
    """Return the prefix of an unfinished upload's parts."""
    return f"{UPLOADS}{session_id}/"


def image_prefix(image_id: str) -> str:
    """Return the prefix of everything that belongs to an image (B38)."""
    return f"{IMAGES}{image_id}/"


def owner(key: str) -> str | None:
    """Return the video that an object belongs to, None for what lies elsewhere.

    >>> owner("videos/7/hls/master.m3u8"), owner("federated/8/source.mp4"), owner("uploads/s/parts/00001")
    ('7', '8', None)
    """
    area, _, rest = key.partition("/")
    video_id, slash, _ = rest.partition("/")
    return video_id if slash and f"{area}/" in (VIDEOS, FEDERATED) else None


def is_source(key: str) -> bool:
    """Return whether the key is an original's.

    >>> is_source("videos/7/source.mov"), is_source("videos/7/mp4/source.mp4")
    (True, False)
    """
    return owner(key) is not None and key.count("/") == 2 and key.rpartition("/")[2].startswith("source.")


def source_key(video_id: str, extension: str) -> str:
    """Return the key of the original, which no output ever overwrites.

    >>> source_key("7", "mov")
    'videos/7/source.mov'
    """
    return f"videos/{video_id}/source.{extension}"


def captions_prefix(video_id: str) -> str:
    """Return the prefix of a video's caption files."""
    return f"{prefix(video_id)}captions/"


def caption_key(video_id: str, language: str) -> str:
    """Return the key of the captions in a language, a BCP 47 tag.

    >>> caption_key("7", "pt-BR")
    'videos/7/captions/pt-BR.vtt'
    """
    return f"{captions_prefix(video_id)}{language}.vtt"


def is_caption(key: str) -> bool:
    """Return whether a key is that of a caption file: its name is a language tag (RFC 5646).

    >>> is_caption("videos/7/captions/pt-BR.vtt"), is_caption("videos/7/captions/x.y.vtt")
    (True, False)
    """
    return _CAPTION.fullmatch(key) is not None


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
