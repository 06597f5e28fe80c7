"""Alembic migrations; see ``tables.relational.migrate``."""
