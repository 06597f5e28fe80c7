"""Opening a session: what a client wants against the limits, before the first byte (A10, A14, A24, A26)."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from media.layout import source_key
from media.policies import extension, policy_named
from social.ids import new_id
from social.uploads import rows, rules
from social.uploads.model import PART_BYTES, Report, Wanted
from social.uploads.tools import DAY_SECONDS, UploadSettings
from social.videos import arriving
from social.views import Principal
from tables.errors import RateLimitExceeded, UserNotFound, ValidationFailed
from tables.lifecycle import UploadStatus
from tables.relational.models import UploadSessionRow, UserRow, moment

PIECES = "pieces"
"""Under which a session's ``about`` names the sessions that it was joined from."""


def draft(owner: Principal, wanted: Wanted, settings: UploadSettings, at: float) -> UploadSessionRow:
    """Check what is declared and build the row of the session; nothing is written.

    Raises:
        ValidationFailed: VALIDATION_ERROR: size, number of chunks, checksum or name make no sense.
        FileTooLarge: FILE_TOO_LARGE.
        InvalidFormat: INVALID_FORMAT.
    """
    rules.check_size(wanted.size_bytes, wanted.policy)
    container = None if wanted.partial else rules.declared_container(wanted)
    count = rules.count_parts(wanted)
    session_id, now = new_id(), moment(at)
    # Without a word about the format the key is the first's of the policy; the bytes correct it.
    ending = extension(container or wanted.policy.formats[0])
    target_id = wanted.video_id or new_id()
    expires_at = now + timedelta(seconds=settings.session_seconds)
    return UploadSessionRow(
        id=session_id,
        video_id=wanted.video_id,
        target_id=target_id,
        owner_id=owner.user_id,
        provider=wanted.provider,
        source_key=source_key(target_id, ending),
        status=UploadStatus.INITIATED,
        policy=wanted.policy.name,
        filename=rules.clean_name(wanted.filename),
        mime=rules.clean_mime(wanted.mime),
        sha256=rules.clean_sha256(wanted.sha256),
        size_bytes=wanted.size_bytes,
        bytes_uploaded=0,
        part_size_bytes=part_size(wanted, count),
        part_count=count,
        partial=wanted.partial,
        about=dict(wanted.about),
        created_at=now,
        updated_at=now,
        expires_at=expires_at,
        sweep_at=expires_at,
    )


def part_size(wanted: Wanted, count: int | None) -> int:
    """Return the part size that clients are told: 001's, or what a file of so many chunks would have."""
    if wanted.provider == "API_CHUNKS" and count and wanted.size_bytes:
        return -(-wanted.size_bytes // count)
    return PART_BYTES


async def insert(
    session: AsyncSession, row: UploadSessionRow, owner: Principal, settings: UploadSettings, at: float
) -> UploadSessionRow:
    """Write the session; the video of 001 begins to wait for it (A26, C3).

    Raises:
        UserNotFound: USER_NOT_FOUND.
        RateLimitExceeded: RATE_LIMIT_EXCEEDED (A24).
        ContentNotFound, NotContentOwner, InvalidStateTransition: as ``arriving.expect``.
    """
    # The lock makes one owner's sessions begin in order: the quota counts exactly.
    if await session.get(UserRow, owner.user_id, with_for_update=True) is None:
        raise UserNotFound
    if not row.partial:
        await check_quota(session, owner.user_id, settings, at)
    if row.video_id is not None:
        video = await arriving.expect(session, row.video_id, owner, at)
        row.owner_id = video.owner_id  # an operator may help; the session stays the owner's
    session.add(row)
    await session.flush()
    return row


async def check_quota(session: AsyncSession, owner_id: str, settings: UploadSettings, at: float) -> None:
    """Refuse the upload after the last of the day (A24); a day is any 24 hours.

    Raises:
        RateLimitExceeded: RATE_LIMIT_EXCEEDED with Retry-After.
    """
    if settings.daily is None:
        return
    begun = await rows.created_since(session, owner_id, moment(at - DAY_SECONDS))
    if len(begun) >= settings.daily:
        free_at = begun[-settings.daily].timestamp() + DAY_SECONDS
        raise RateLimitExceeded(
            "No more uploads today.",
            details={"limit": settings.daily, "seconds": DAY_SECONDS},
            retry_after_seconds=max(1.0, free_at - at),
        )


def declare_size(row: UploadSessionRow, size_bytes: int) -> None:
    """Set the size of a session that was opened without one; the same size again changes nothing.

    Raises:
        ValidationFailed: VALIDATION_ERROR: another size, or fewer bytes than arrived.
        FileTooLarge: FILE_TOO_LARGE.
    """
    rules.check_size(size_bytes, policy_named(row.policy))
    if row.size_bytes not in (None, size_bytes) or size_bytes < row.bytes_uploaded:
        raise ValidationFailed(
            "This upload has another size.", details={"field": "size", "declared": row.size_bytes}
        )
    row.size_bytes = size_bytes


def joined(wanted: Wanted, size_bytes: int, pieces: Sequence[str]) -> Wanted:
    """Return what a concatenation wants: the size is that of its pieces.

    Raises:
        ValidationFailed: VALIDATION_ERROR without pieces.
    """
    if not pieces:
        raise ValidationFailed("There is nothing to join.", details={"field": "pieces"})
    about = {**wanted.about, PIECES: list(pieces)}
    return replace(wanted, size_bytes=size_bytes, partial=False, part_count=None, about=about)


def check_report(row: UploadSessionRow, report: Report) -> None:
    """Compare the store's report with the session (A42).

    Raises:
        ValidationFailed: VALIDATION_ERROR; ``details.field`` names what differs.
    """
    told = {
        "source_file_key": (report.source_key, row.source_key),
        "source_size_bytes": (report.size_bytes, row.size_bytes),
        "source_mime": (rules.clean_mime(report.mime), row.mime),
    }
    for field, (said, known) in told.items():
        if said is not None and known is not None and said != known:
            raise ValidationFailed("The report is of another upload.", details={"field": field})
