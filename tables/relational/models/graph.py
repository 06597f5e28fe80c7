"""Who follows whom (R13, R19)."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from tables.relational.models.base import ID_LENGTH, Base, UtcDateTime


class FollowRow(Base):
    """A follow is a relation: at most one a pair."""

    __tablename__ = "follows"
    __table_args__ = (
        Index("idx_follows_following_id", "following_id", "created_at"),  # list and count of followers
        Index("idx_follows_follower_id", "follower_id", "created_at"),  # list of the followed, newest first
    )

    follower_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    following_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
