"""Changing what is said of a video, without losing what somebody else said meanwhile (C19, C23, X48)."""

from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from social.videos import facts
from social.videos.access import own_row
from social.videos.metadata import EDITABLE
from social.views import Principal, Video
from tables.errors import PreconditionFailed
from tables.lifecycle import VideoStatus
from tables.relational.models import VideoRow, moment


def edition(video: Video | VideoRow) -> str:
    """Return a name for what is said of a video: the same words, tags and audience have the same name.

    Counters, progress and links change all the time and are nobody's edit, so they have no part in it.
    """
    said = msgspec.json.encode([getattr(video, name) for name in EDITABLE])
    return blake2b(said, digest_size=9).hexdigest()


def check_edition(row: VideoRow, expected: Collection[str] | None) -> None:
    """Refuse to go on from another edition than those expected; None expects none.

    Raises:
        PreconditionFailed: PRECONDITION_FAILED.
    """
    if expected is not None and edition(row) not in expected:
        raise PreconditionFailed(details={"field": "If-Match"})


async def edit(
    session: AsyncSession,
    video_id: str,
    caller: Principal,
    changes: Mapping[str, Any],
    expected: Collection[str] | None,
    at: float,
) -> str:
    """Apply checked changes, by field, and tell of them; an edit that changes nothing tells nothing.

    Returns:
        The video's id.

    Raises:
        ContentNotFound: CONTENT_NOT_FOUND.
        ContentAlreadyDeleted: CONTENT_ALREADY_DELETED while its tombstone is kept (X34).
        NotContentOwner: NOT_CONTENT_OWNER.
        PreconditionFailed: PRECONDITION_FAILED.
    """
    row = await own_row(session, video_id, caller, lock=True)
    check_edition(row, expected)
    before = edition(row)
    for name, value in changes.items():
        setattr(row, name, list(value) if isinstance(value, tuple) else value)
    if edition(row) != before:
        row.updated_at = moment(at)
        await session.flush()
        facts.tell_edited(session, row, at)
        if row.status == VideoStatus.READY:
            await facts.tell_card(session, row.id, at)
    return row.id
