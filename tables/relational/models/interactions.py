"""What people do to videos, as rows (H2-H5, H13, R19)."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tables.relational.models.base import ID_LENGTH, Base, UtcDateTime


class LikeRow(Base):
    """A like is a relation: at most one a user and video (H3, R19)."""

    __tablename__ = "likes"
    __table_args__ = (
        Index("idx_likes_video_id", "video_id"),  # cascade of a deleted video, list of likers
    )

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SaveRow(Base):
    """A save is a relation, listed newest first for its owner (H13)."""

    __tablename__ = "saves"
    __table_args__ = (
        Index("idx_saves_user_created", "user_id", "created_at", "video_id"),
        Index("idx_saves_video_id", "video_id"),  # cascade of a deleted video
    )

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ShareRow(Base):
    """One share; the event id makes a repeated one the same share."""

    __tablename__ = "shares"
    __table_args__ = (
        Index("idx_shares_video_id", "video_id"),  # cascade of a deleted video
    )

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CommentRow(Base):
    """A comment or a reply (H4). One that has replies is blanked, not removed, so that its thread stands."""

    __tablename__ = "comments"
    __table_args__ = (
        Index("idx_comments_video_id", "video_id", "created_at", "id"),
        Index("idx_comments_owner_created", "user_id", "created_at"),
        Index("idx_comments_parent_id", "parent_id"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("comments.id", ondelete="CASCADE"), default=None)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)


class RelationEventRow(Base):
    """A client event that touched a relation, by its id, so that a repeated one is known (H8)."""

    __tablename__ = "relation_events"
    __table_args__ = (
        Index("idx_relation_events_created_at", "created_at"),  # the sweep of old ids
    )

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
