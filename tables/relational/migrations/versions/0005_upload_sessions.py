"""Upload sessions that resume: what was declared, confirmed parts, leases.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
SESSIONS = "upload_sessions"


def upgrade() -> None:
    # Not in batch mode: on SQLite a copy of the table would take with it all rows that point to it.
    op.add_column(
        "videos", sa.Column("needs_review", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    _widen_sessions()
    op.create_index("idx_upload_sessions_owner_created", SESSIONS, ["owner_id", "created_at"])
    op.create_index("idx_upload_sessions_sweep_at", SESSIONS, ["sweep_at"])
    op.create_table(
        "upload_parts",
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("etag", sa.String(127), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("received_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["upload_sessions.id"],
            name=op.f("fk_upload_parts_session_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", "number", name=op.f("pk_upload_parts")),
    )


def _widen_sessions() -> None:
    op.drop_index("idx_upload_sessions_status_expires", SESSIONS)
    with op.batch_alter_table(SESSIONS) as sessions:
        for column in _added():
            sessions.add_column(column)
        sessions.drop_column("parts")
        sessions.alter_column("video_id", existing_type=sa.String(36), nullable=True)
        sessions.alter_column("size_bytes", existing_type=sa.BigInteger(), nullable=True)
    op.execute(
        "UPDATE upload_sessions SET target_id = video_id, source_key = coalesce("
        "(SELECT source_key FROM videos WHERE videos.id = upload_sessions.video_id), '')"
    )


def downgrade() -> None:
    op.drop_table("upload_parts")
    op.execute("DELETE FROM upload_sessions WHERE video_id IS NULL OR size_bytes IS NULL")
    op.drop_index("idx_upload_sessions_owner_created", SESSIONS)
    op.drop_index("idx_upload_sessions_sweep_at", SESSIONS)
    with op.batch_alter_table(SESSIONS) as sessions:
        for column in _added():
            sessions.drop_column(column.name)
        sessions.add_column(sa.Column("parts", sa.JSON(), nullable=False, server_default="[]"))
        sessions.alter_column("video_id", existing_type=sa.String(36), nullable=False)
        sessions.alter_column("size_bytes", existing_type=sa.BigInteger(), nullable=False)
    op.create_index("idx_upload_sessions_status_expires", SESSIONS, ["status", "expires_at"])
    op.drop_column("videos", "needs_review")


def _added() -> list[sa.Column[object]]:
    return [
        sa.Column("target_id", sa.String(36), nullable=False, server_default=""),
        sa.Column("source_key", sa.String(255), nullable=False, server_default=""),
        sa.Column("fail_code", sa.String(64), nullable=True),
        sa.Column("policy", sa.String(16), nullable=False, server_default="short"),
        sa.Column("filename", sa.String(255), nullable=True),
        sa.Column("mime", sa.String(127), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("part_count", sa.Integer(), nullable=True),
        sa.Column("partial", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("about", sa.JSON(), nullable=False, server_default="{}"),
        sa.Column("verdict", sa.JSON(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("lease_id", sa.String(36), nullable=True),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("sweep_at", TIME, nullable=True),
    ]
