"""What an access token cannot know: that its session has ended, or its user's role has changed."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tables.errors import DatabaseFailure
from tables.relational.engine import Database
from tables.relational.models import SessionRow, UserRow, moment

log = structlog.get_logger(__name__)

POLL_SECONDS = 2.0  # how long another process's log out or role change may go unnoticed here
_MARGIN_SECONDS = 60.0  # clocks of processes differ


class SessionGuard:
    """Remembers sessions that ended, and roles that changed, within the life of an access token.

    Older ones need no memory: their tokens have expired. This process's own changes count at once; those
    of others are read at most ``poll_seconds`` later. While the database is away the last state counts.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        *,
        access_seconds: int,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._horizon = timedelta(seconds=access_seconds + _MARGIN_SECONDS)
        self._poll_seconds = poll_seconds
        self._ended: set[str] = set()
        self._roles: dict[str, str] = {}
        self._changes = 0
        self._loaded_at: float | None = None
        self._loading = asyncio.Lock()

    async def fresh(self) -> None:
        """Read the state again when it is due; the hot path returns at once."""
        if self._is_due():
            async with self._loading:
                if self._is_due():  # the one before us in the queue may have done it
                    await self._load()

    def has_ended(self, session_id: str) -> bool:
        """Tell whether the session was logged out or revoked."""
        return session_id in self._ended

    def role_of(self, user_id: str, claimed: str) -> str:
        """Return the role that holds now, given the one in the token."""
        return self._roles.get(user_id, claimed)

    def end(self, session_id: str) -> None:
        """Refuse the session from now on."""
        self._ended.add(session_id)
        self._changes += 1

    def set_role(self, user_id: str, role: str) -> None:
        """Use another role from now on."""
        self._roles[user_id] = role
        self._changes += 1

    def _is_due(self) -> bool:
        return self._loaded_at is None or self._clock() - self._loaded_at >= self._poll_seconds

    async def _load(self) -> None:
        since = moment(self._clock()) - self._horizon

        async def query(session: AsyncSession) -> tuple[set[str], dict[str, str]]:
            ended = await session.scalars(select(SessionRow.id).where(SessionRow.revoked_at > since))
            changed = await session.execute(
                select(UserRow.id, UserRow.role).where(UserRow.role_changed_at > since)
            )
            return set(ended), {user_id: role for user_id, role in changed}  # noqa: C416

        seen = self._changes
        try:
            ended, roles = await self._database.read(query)
        except DatabaseFailure:
            if self._loaded_at is None:
                raise
            log.warning("session_guard_stale")
        else:
            if self._changes != seen:
                return  # something ended here while the query ran: its answer may not know; ask again
            self._ended, self._roles = ended, roles
        self._loaded_at = self._clock()
