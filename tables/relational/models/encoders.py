"""Encoders on other machines, and how they prove who they are (Y14)."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from tables.relational.models.base import ID_LENGTH, Base, UtcDateTime

MAX_ENCODER_NAME = 64


class EncoderRow(Base):
    """An encoder elsewhere (Y14). Of its token only a hash is kept; a revoked one keeps its row.

    ``capabilities`` is what it last said of itself; ``done``, ``failed`` and ``refused`` count the jobs that
    it finished, gave up, and brought wrong results of.
    """

    __tablename__ = "encoders"
    __table_args__ = (
        Index("uq_encoders_name", "name", unique=True),
        Index("uq_encoders_token_hash", "token_hash", unique=True),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_ENCODER_NAME))
    token_hash: Mapped[str] = mapped_column(String(64))
    capabilities: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
