"""The bookkeeping of the store itself: outbox, tombstones, objects to remove."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from tables.relational.models.base import ID_LENGTH, Base, UtcDateTime

# SQLite counts only a column declared INTEGER PRIMARY KEY.
_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")


class OutboxRow(Base):
    """A record to publish, written in the transaction of the change that it tells of (DESIGN section 1).

    ``id`` is never given twice, also after the row is gone: reducers order facts by it.
    """

    __tablename__ = "outbox"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_SEQUENCE, primary_key=True, autoincrement=True)
    topic: Mapped[str] = mapped_column(String(100))
    key: Mapped[str] = mapped_column(String(255))
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TombstoneRow(Base):
    """What remains of deleted content: id, kind and time only (X35)."""

    __tablename__ = "tombstones"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    deleted_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ObjectRemovalRow(Base):
    """A prefix of the object store that must become empty (A19, C24).

    Written before a source is stored and withdrawn by the transaction that makes it a video; written by
    the transaction that deletes a video and withdrawn when its objects are gone. So a crash at any moment
    leaves a row that the sweep finishes.
    """

    __tablename__ = "object_removals"
    __table_args__ = (Index("idx_object_removals_due_at", "due_at"),)

    prefix: Mapped[str] = mapped_column(String(255), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
