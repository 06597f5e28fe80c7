"""Who may see a video: the one decision that every surface asks for (C44, X8, X63, DESIGN invariant 8)."""

from typing import Protocol

from sqlalchemy import ColumnElement, and_

from social.views import Principal
from tables.lifecycle import ModerationStatus, VideoStatus, Visibility
from tables.relational.models import VideoRow

# Pending content shows unless it is flagged or rejected (X63).
SHOWN_MODERATION = (ModerationStatus.PENDING, ModerationStatus.APPROVED)


class Visible(Protocol):
    """What the decision needs to know of a video; rows and views both have it."""

    @property
    def owner_id(self) -> str:
        """Whose it is."""

    @property
    def status(self) -> str:
        """Its processing state (C1)."""

    @property
    def visibility(self) -> str:
        """Who is meant to see it (H6)."""

    @property
    def moderation_status(self) -> str:
        """Its moderation state (C15)."""


def can_view(viewer: Principal | None, video: Visible, *, follows: bool = False) -> bool:
    """Tell whether the viewer may see the video; None is somebody who is not signed in.

    Owners see their own in every state, operators see all. Others see what is READY, not flagged or
    rejected, and PUBLIC, or FOLLOWERS_ONLY when ``follows`` says that they follow the owner.
    """
    if viewer is not None and (viewer.user_id == video.owner_id or viewer.is_operator):
        return True
    if video.status != VideoStatus.READY or video.moderation_status not in SHOWN_MODERATION:
        return False
    return video.visibility == Visibility.PUBLIC or (
        follows and video.visibility == Visibility.FOLLOWERS_ONLY
    )


def publicly_visible() -> ColumnElement[bool]:
    """Return ``can_view(None, row)`` as a condition of a query."""
    return and_(
        VideoRow.status == VideoStatus.READY,
        VideoRow.visibility == Visibility.PUBLIC,
        VideoRow.moderation_status.in_(SHOWN_MODERATION),
    )
