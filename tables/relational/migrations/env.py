"""Alembic's entry: runs the revisions on the connection that ``tables.relational.migrate`` hands over."""

from alembic import context

from tables.relational.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
    # SQLite cannot alter a table in place: changes go through a copy.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
