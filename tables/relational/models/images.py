"""Images and the variants that are made of them (B38, H15)."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tables.lifecycle import ImageStatus
from tables.relational.models.base import ID_LENGTH, Base, UtcDateTime, one_of

MAX_ALT_TEXT = 1500


class ImageRow(Base):
    """An image (B38). ``source_key`` is none once its variants are made: the upload says where it was taken.

    ``width`` and ``height`` are of the upload, upright; ``placeholder`` is a BlurHash, ``colour`` #rrggbb;
    ``asked`` is how often the queue was asked for its variants.
    """

    __tablename__ = "images"
    __table_args__ = (
        one_of("status", ImageStatus),
        Index("idx_images_owner_created", "owner_id", "created_at"),
        Index("idx_images_status_updated", "status", "updated_at"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(16), default=ImageStatus.PENDING)
    fail_code: Mapped[str | None] = mapped_column(String(64), default=None)
    fail_reason: Mapped[str | None] = mapped_column(Text, default=None)
    source_key: Mapped[str | None] = mapped_column(String(255), default=None)
    alt_text: Mapped[str] = mapped_column(String(MAX_ALT_TEXT), default="")
    width: Mapped[int | None] = mapped_column(default=None)
    height: Mapped[int | None] = mapped_column(default=None)
    placeholder: Mapped[str | None] = mapped_column(String(128), default=None)
    colour: Mapped[str | None] = mapped_column(String(7), default=None)
    asked: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ImageVariantRow(Base):
    """One stored variant of an image (B38)."""

    __tablename__ = "image_variants"
    __table_args__ = (Index("idx_image_variants_image_id", "image_id"),)

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    variant: Mapped[str] = mapped_column(String(16))
    mime: Mapped[str] = mapped_column(String(32))
    width: Mapped[int]
    height: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
