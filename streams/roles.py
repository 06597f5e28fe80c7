"""What a worker of a cluster runs (F17, Z8, Z10).

Faust's assignor needs every worker of one app id to run the same agents, so roles whose subscriptions
differ are apps of their own, each a consumer group:

- ``engagement``: the app that keeps the tables, and tells people what happened (``freewill``);
- ``media``: the app of queueing, encoding and embedding, which keeps no table (``freewill-media``);
- ``web``: no app: it answers clients from copies, and sends reads of a key to the worker that holds it.

Partitions decide which worker holds a key. On the embedded log one process has all roles, in one app.
"""

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """One kind of work."""

    WEB = "web"
    ENGAGEMENT = "engagement"
    MEDIA = "media"


ALL_ROLES = frozenset(Role)
SERVING = frozenset({Role.WEB, Role.ENGAGEMENT})
"""Roles that answer requests: an owner of tables answers what other workers send it."""
MEDIA_SUFFIX = "-media"


def parse_roles(text: str | Iterable[str]) -> frozenset[Role]:
    """Return the roles of a setting, names between commas.

    >>> sorted(parse_roles("media, web"))
    [<Role.MEDIA: 'media'>, <Role.WEB: 'web'>]

    Raises:
        ValueError: an unknown name, or none at all.
    """
    names = text.split(",") if isinstance(text, str) else list(text)
    roles = frozenset(Role(name.strip()) for name in names if name.strip())
    if not roles:
        raise ValueError(f"a worker has at least one role of {', '.join(Role)}")
    return roles
