"""Priorities and parameters of encoding jobs, their signs of life, and the queue that operators can pause.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("encoding_jobs", sa.Column("parameters", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("encoding_jobs", sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("encoding_jobs", sa.Column("rescues", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("encoding_jobs", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "encoding_queue",
        sa.Column("name", sa.String(16), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.String(255), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_encoding_queue")),
    )


def downgrade() -> None:
    op.drop_table("encoding_queue")
    for column in ("seen_at", "rescues", "priority", "parameters"):
        op.drop_column("encoding_jobs", column)
