"""Ids: UUID text (X4). What has another form names nothing, and need not reach the database."""

import re
import uuid

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def new_id() -> str:
    """Return a new random id."""
    return str(uuid.uuid4())


def canonical(value: str) -> str | None:
    """Return an id in its stored, lower-case form, None when it cannot be one.

    >>> canonical("0B7C7C1E-3B55-4A4E-9D6D-0A4F3A1C2B3D")
    '0b7c7c1e-3b55-4a4e-9d6d-0a4f3a1c2b3d'
    >>> canonical("../etc/passwd") is None
    True
    """
    return value.lower() if _UUID.fullmatch(value) else None
