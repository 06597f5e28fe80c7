"""Upload sessions and their parts in the database: finding, moving, confirming (A13, A33-A37, A52, A55).

Each function works in its caller's transaction. Writers take the row's lock, so that simultaneous parts
queue; the version column refuses a write by whoever did not (A36).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from media.parts import Incoming, PartInfo
from social.ids import canonical
from social.uploads.model import UploadSession
from social.uploads.rules import is_same
from social.uploads.states import OPEN, Operation, after
from social.views import Principal
from tables.errors import ContentNotFound, NotContentOwner, SessionExpired
from tables.lifecycle import UploadStatus
from tables.relational.models import UploadPartRow, UploadSessionRow, moment, seconds, seconds_or_none

_PARTS = (
    select(UploadPartRow.number, UploadPartRow.size_bytes, UploadPartRow.etag, UploadPartRow.sha256)
    .where(UploadPartRow.session_id == bindparam("of"))
    .order_by(UploadPartRow.number)
)


async def find(
    session: AsyncSession, session_id: str, caller: Principal | None, *, lock: bool = False
) -> UploadSessionRow:
    """Return a session's row for its owner or an operator; ``caller`` None is the server itself (A55).

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND.
        NotContentOwner: NOT_CONTENT_OWNER.
    """
    known = canonical(session_id)
    row = await session.get(UploadSessionRow, known, with_for_update=lock) if known else None
    if row is None:
        raise ContentNotFound
    if caller is not None and row.owner_id != caller.user_id and not caller.is_operator:
        raise NotContentOwner
    return row


async def find_with_parts(
    session: AsyncSession, session_id: str, caller: Principal | None
) -> tuple[UploadSessionRow, list[PartInfo]]:
    """Return a session's row as :func:`find`, with its confirmed parts."""
    row = await find(session, session_id, caller)
    return row, await parts_of(session, row.id)


def target(row: UploadSessionRow, operation: Operation, at: float, *, strict: bool = False) -> UploadStatus:
    """Return the state that an operation leads to (A33, A34).

    Raises:
        SessionExpired: SESSION_EXPIRED, also before the sweep has been here (A17).
        InvalidStateTransition: INVALID_STATE_TRANSITION.
    """
    status = UploadStatus(row.status)
    if operation is not Operation.EXPIRE and status in OPEN and is_over(row, at):
        raise SessionExpired
    return after(status, operation, strict=strict)


def move(row: UploadSessionRow, operation: Operation, at: float, *, strict: bool = False) -> bool:
    """Move a session's state; False when it stays as it is; errors as :func:`target`."""
    status = target(row, operation, at, strict=strict)
    if status == row.status:
        return False
    row.status, row.updated_at = status, moment(at)
    if status not in OPEN:
        row.sweep_at = moment(at)  # until nothing of it is left in the store
    return True


def is_over(row: UploadSessionRow, at: float) -> bool:
    """Tell whether a session's time has passed; one that is being completed may finish."""
    over = row.expires_at is not None and row.expires_at <= moment(at)
    return over and not is_leased(row, at)


def is_leased(row: UploadSessionRow, at: float) -> bool:
    """Tell whether some process is completing the session just now."""
    return row.lease_until is not None and row.lease_until > moment(at)


async def parts_of(session: AsyncSession, session_id: str) -> list[PartInfo]:
    """Return the confirmed parts of a session, by number."""
    return [PartInfo(*row) for row in await session.execute(_PARTS, {"of": session_id})]


async def count_parts(session: AsyncSession, session_id: str) -> int:
    """Return how many parts of a session are confirmed."""
    counted = select(func.count()).where(UploadPartRow.session_id == session_id)
    return (await session.scalar(counted)) or 0


async def put_part(session: AsyncSession, row: UploadSessionRow, part: PartInfo, at: float) -> None:
    """Confirm a part, or replace a confirmed one; the session's byte count follows."""
    known = await session.get(UploadPartRow, (row.id, part.number))
    if known is None:
        known = UploadPartRow(session_id=row.id, number=part.number, size_bytes=0)
        session.add(known)
    row.bytes_uploaded += part.size_bytes - known.size_bytes
    row.updated_at = known.received_at = moment(at)
    known.size_bytes, known.etag, known.sha256 = part.size_bytes, part.etag, part.sha256


async def adopt(session: AsyncSession, row: UploadSessionRow, stored: Sequence[PartInfo], at: float) -> None:
    """Let the confirmed parts be those that the store has: it received them itself (A28, A52)."""
    confirmed = {part.number: part for part in await parts_of(session, row.id)}
    for part in stored:
        if not is_same(part, confirmed.pop(part.number, None)):
            await put_part(session, row, part, at)
    for number in confirmed:
        gone = await session.get(UploadPartRow, (row.id, number))
        if gone is not None:
            row.bytes_uploaded -= gone.size_bytes
            await session.delete(gone)


async def created_since(session: AsyncSession, owner_id: str, since: datetime) -> list[datetime]:
    """Return when the owner's uploads since a moment began, oldest first (A24)."""
    query = (
        select(UploadSessionRow.created_at)
        .where(UploadSessionRow.owner_id == owner_id, UploadSessionRow.created_at > since)
        .where(UploadSessionRow.partial.is_(False))
        .order_by(UploadSessionRow.created_at)
    )
    return list(await session.scalars(query))


def incoming(row: UploadSessionRow) -> Incoming:
    """Return how the part store knows a session."""
    return Incoming(row.id, row.source_key, row.provider_upload_id or "", row.mime or "")


def view(row: UploadSessionRow, parts: Sequence[PartInfo], arriving: int = 0) -> UploadSession:
    """Turn a session's row into what services answer."""
    same: dict[str, Any] = {
        name: getattr(row, name)
        for name in (
            "id", "video_id", "owner_id", "provider", "fail_code", "policy", "filename", "mime", "sha256",
            "size_bytes", "bytes_uploaded", "part_size_bytes", "part_count", "partial",
        )
    }  # fmt: skip
    return UploadSession(
        **same,
        status=UploadStatus(row.status),
        about=dict(row.about),
        parts=tuple(parts),
        bytes_arriving=arriving,
        created_at=seconds(row.created_at),
        updated_at=seconds(row.updated_at),
        expires_at=seconds_or_none(row.expires_at),
    )
