"""People: users, their keys, sessions and refresh tokens (N5, N11, N19, K1, K5, X41, X42)."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from tables.relational.models.base import ID_LENGTH, Base, UtcDateTime, one_of

ROLES = ("user", "creator", "operator", "analyst", "service")  # N11
MIGRATION_STATES = ("initiated", "completed")  # K5
KEY_ALGORITHMS = ("rsa-2048", "ed25519")  # X43


class UserRow(Base):
    """An account. Names and addresses are unique whatever their case: the ``*_key`` columns are folded."""

    __tablename__ = "users"
    __table_args__ = (
        one_of("role", ROLES),
        Index("uq_users_username_key", "username_key", unique=True),
        Index("uq_users_email_key", "email_key", unique=True),
        Index("uq_users_did", "did", unique=True),
        # The guard of running sessions asks for roles that changed lately.
        Index("idx_users_role_changed_at", "role_changed_at"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    username: Mapped[str] = mapped_column(String(30))
    username_key: Mapped[str] = mapped_column(String(30))
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16), default="user")
    role_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    display_name: Mapped[str] = mapped_column(String(100), default="")
    bio: Mapped[str] = mapped_column(Text, default="")
    avatar_key: Mapped[str | None] = mapped_column(String(255), default=None)
    did: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ActorKeyRow(Base):
    """The key with which the server signs for an actor; the private half is wrapped by the master key (X42).

    ``endorsement`` is the Ed25519 signature of the identity key over ``public_pem``.
    """

    __tablename__ = "actor_keys"
    __table_args__ = (one_of("algorithm", KEY_ALGORITHMS),)

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    algorithm: Mapped[str] = mapped_column(String(16))
    public_pem: Mapped[str] = mapped_column(Text)
    private_wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    endorsement: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DidDocumentRow(Base):
    """The identity key of a user; its private half is encrypted under the user's password (K1, K3-K5)."""

    __tablename__ = "did_documents"
    __table_args__ = (one_of("migration_status", MIGRATION_STATES),)

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    did: Mapped[str] = mapped_column(String(128), unique=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    private_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    current_instance: Mapped[str] = mapped_column(String(255), default="")
    previous_instance: Mapped[str | None] = mapped_column(String(255), default=None)
    migration_status: Mapped[str | None] = mapped_column(String(16), default=None)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SessionRow(Base):
    """One sign-in. Access tokens name it; it ends by log out, expiry, or reuse of a spent token."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("idx_sessions_user_id", "user_id"),
        # The guard of running sessions asks for those revoked lately.
        Index("idx_sessions_revoked_at", "revoked_at"),
        Index("idx_sessions_expires_at", "expires_at"),  # the sweep of dead sessions
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    revoked_reason: Mapped[str | None] = mapped_column(String(32), default=None)


class RefreshTokenRow(Base):
    """A refresh token by its SHA-256; a spent one is kept, so that its reuse is seen (N5)."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("idx_refresh_tokens_session_id", "session_id"),)

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    spent_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
