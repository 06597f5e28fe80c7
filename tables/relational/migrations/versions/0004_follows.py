"""Who follows whom.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "follows",
        sa.Column("follower_id", sa.String(36), nullable=False),
        sa.Column("following_id", sa.String(36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["follower_id"], ["users.id"], name=op.f("fk_follows_follower_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["following_id"], ["users.id"], name=op.f("fk_follows_following_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("follower_id", "following_id", name=op.f("pk_follows")),
    )
    op.create_index("idx_follows_following_id", "follows", ["following_id", "created_at"])
    op.create_index("idx_follows_follower_id", "follows", ["follower_id", "created_at"])


def downgrade() -> None:
    op.drop_table("follows")
