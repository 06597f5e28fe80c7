"""Videos: metadata, lifecycle, reading, deletion."""

from social.videos.metadata import VideoMetadata, check_metadata
from social.videos.service import VideoService
from social.videos.uploads import StoredUpload

__all__ = ["StoredUpload", "VideoMetadata", "VideoService", "check_metadata"]
