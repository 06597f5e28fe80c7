"""The relational models, one module a subject. They stay behind the services: nothing above sees a row."""

from tables.relational.models.accounts import (
    KEY_ALGORITHMS,
    ROLES,
    ActorKeyRow,
    DidDocumentRow,
    RefreshTokenRow,
    SessionRow,
    UserRow,
)
from tables.relational.models.base import Base, UtcDateTime, moment, seconds, seconds_or_none
from tables.relational.models.encoders import MAX_ENCODER_NAME, EncoderRow
from tables.relational.models.graph import FollowRow
from tables.relational.models.images import MAX_ALT_TEXT, ImageRow, ImageVariantRow
from tables.relational.models.interactions import CommentRow, LikeRow, RelationEventRow, SaveRow, ShareRow
from tables.relational.models.records import ObjectRemovalRow, OutboxRow, TombstoneRow
from tables.relational.models.videos import (
    CONTENT_TYPES,
    PROVIDERS,
    EncodingJobRow,
    EncodingQueueRow,
    UploadPartRow,
    UploadSessionRow,
    VideoAssetRow,
    VideoRegionRow,
    VideoRow,
)

__all__ = [
    "CONTENT_TYPES",
    "KEY_ALGORITHMS",
    "MAX_ALT_TEXT",
    "MAX_ENCODER_NAME",
    "PROVIDERS",
    "ROLES",
    "ActorKeyRow",
    "Base",
    "CommentRow",
    "DidDocumentRow",
    "EncoderRow",
    "EncodingJobRow",
    "EncodingQueueRow",
    "FollowRow",
    "ImageRow",
    "ImageVariantRow",
    "LikeRow",
    "ObjectRemovalRow",
    "OutboxRow",
    "RefreshTokenRow",
    "RelationEventRow",
    "SaveRow",
    "SessionRow",
    "ShareRow",
    "TombstoneRow",
    "UploadPartRow",
    "UploadSessionRow",
    "UserRow",
    "UtcDateTime",
    "VideoAssetRow",
    "VideoRegionRow",
    "VideoRow",
    "moment",
    "seconds",
    "seconds_or_none",
]
