"""Videos, their outputs, upload sessions and encoding jobs.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    _create_videos()
    _create_video_assets()
    _create_upload_sessions()
    _create_encoding_jobs()


def downgrade() -> None:
    for table in ("encoding_jobs", "upload_sessions", "video_assets", "videos"):
        op.drop_table(table)


def _create_videos() -> None:
    op.create_table("videos", *_video_columns(), *_video_state_columns(), *_video_constraints())
    op.create_index("idx_videos_created_at", "videos", ["created_at"], unique=False)
    op.create_index("idx_videos_duration", "videos", ["duration_seconds"], unique=False)
    op.create_index("idx_videos_owner_created", "videos", ["owner_id", "created_at", "id"], unique=False)
    op.create_index("idx_videos_status_visibility", "videos", ["status", "visibility"], unique=False)
    op.create_index("idx_videos_views_count", "videos", ["view_count"], unique=False)


def _video_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("hashtags", sa.JSON(), nullable=False),
        sa.Column("visibility", sa.String(16), nullable=False),
        sa.Column("content_type", sa.String(16), nullable=False),
        sa.Column("audio_url", sa.String(2048), nullable=True),
        sa.Column("policy", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("fail_code", sa.String(64), nullable=True),
        sa.Column("fail_reason", sa.Text(), nullable=True),
        sa.Column("moderation_status", sa.String(16), nullable=False),
        sa.Column("moderation_reason", sa.Text(), nullable=True),
        sa.Column("source_key", sa.String(255), nullable=True),
        sa.Column("source_size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("source_mime", sa.String(127), nullable=True),
        sa.Column("source_sha256", sa.String(64), nullable=True),
        sa.Column("duration_seconds", sa.Double(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
    ]


def _video_state_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("is_federated", sa.Boolean(), nullable=False),
        sa.Column("origin_instance", sa.String(255), nullable=True),
        sa.Column("origin_actor_did", sa.String(255), nullable=True),
        sa.Column("activitypub_id", sa.String(2048), nullable=True),
        sa.Column("view_count", sa.BigInteger(), nullable=False),
        sa.Column("like_count", sa.BigInteger(), nullable=False),
        sa.Column("comment_count", sa.BigInteger(), nullable=False),
        sa.Column("share_count", sa.BigInteger(), nullable=False),
        sa.Column("save_count", sa.BigInteger(), nullable=False),
        sa.Column("embedding_state", sa.String(16), nullable=False),
        sa.Column("embedding_model", sa.String(64), nullable=True),
        sa.Column("embedding_error", sa.Text(), nullable=True),
        sa.Column("processing_started_at", TIME, nullable=True),
        sa.Column("processing_completed_at", TIME, nullable=True),
        sa.Column("published_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
    ]


def _video_constraints() -> list[sa.Constraint]:
    return [
        sa.CheckConstraint(
            "content_type IN ('original', 'challenge', 'duet', 'reaction')",
            name=op.f("ck_videos_content_type"),
        ),
        sa.CheckConstraint(
            "embedding_state IN ('pending', 'ready', 'failed')", name=op.f("ck_videos_embedding_state")
        ),
        sa.CheckConstraint(
            "moderation_status IN ('pending', 'approved', 'flagged', 'rejected')",
            name=op.f("ck_videos_moderation_status"),
        ),
        sa.CheckConstraint(
            "status IN ('DRAFT', 'UPLOADING', 'UPLOADED', 'TRANSCODING', 'READY', 'FAILED')",
            name=op.f("ck_videos_status"),
        ),
        sa.CheckConstraint(
            "visibility IN ('PUBLIC', 'FOLLOWERS_ONLY', 'PRIVATE')", name=op.f("ck_videos_visibility")
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_videos_owner_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_videos")),
    ]


def _create_video_assets() -> None:
    op.create_table(
        "video_assets",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("video_id", sa.String(36), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("quality", sa.String(32), nullable=False),
        sa.Column("container", sa.String(32), nullable=False),
        sa.Column("file_key", sa.String(512), nullable=False),
        sa.Column("bandwidth", sa.BigInteger(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("codec", sa.String(127), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_video_assets_video_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_video_assets")),
    )
    op.create_index(
        "uq_video_assets_identity", "video_assets", ["video_id", "type", "quality", "container"], unique=True
    )


def _create_upload_sessions() -> None:
    op.create_table(
        "upload_sessions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("video_id", sa.String(36), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("provider", sa.String(16), nullable=False),
        sa.Column("provider_upload_id", sa.String(255), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("bytes_uploaded", sa.BigInteger(), nullable=False),
        sa.Column("part_size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.CheckConstraint(
            "provider IN ('FORM', 'API_CHUNKS', 'S3_MULTIPART', 'TUS')",
            name=op.f("ck_upload_sessions_provider"),
        ),
        sa.CheckConstraint(
            "status IN ('INITIATED', 'IN_PROGRESS', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELED', 'EXPIRED')",
            name=op.f("ck_upload_sessions_status"),
        ),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_upload_sessions_owner_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_upload_sessions_video_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upload_sessions")),
    )
    op.create_index(
        "idx_upload_sessions_status_expires", "upload_sessions", ["status", "expires_at"], unique=False
    )
    op.create_index("idx_upload_sessions_video_id", "upload_sessions", ["video_id"], unique=False)


def _create_encoding_jobs() -> None:
    op.create_table(
        "encoding_jobs",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("video_id", sa.String(36), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("ladder", sa.String(16), nullable=False),
        sa.Column("outputs", sa.JSON(), nullable=False),
        sa.Column("error_code", sa.String(64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("completed_at", TIME, nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'processing', 'completed', 'failed')", name=op.f("ck_encoding_jobs_status")
        ),
        sa.CheckConstraint("progress >= 0 AND progress <= 100", name=op.f("ck_encoding_jobs_progress")),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_encoding_jobs_video_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encoding_jobs")),
    )
    op.create_index("idx_encoding_jobs_status", "encoding_jobs", ["status"], unique=False)
    op.create_index(
        "idx_encoding_jobs_video_created", "encoding_jobs", ["video_id", "created_at"], unique=False
    )
