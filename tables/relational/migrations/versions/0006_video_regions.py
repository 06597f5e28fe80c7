"""Regions that a video is not shown in.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "video_regions",
        sa.Column("video_id", sa.String(36), nullable=False),
        sa.Column("region", sa.String(8), nullable=False),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name=op.f("fk_video_regions_video_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("video_id", "region", name=op.f("pk_video_regions")),
    )


def downgrade() -> None:
    op.drop_table("video_regions")
