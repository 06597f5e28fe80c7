"""Tells who asks that a video's availability has changed, whatever code changed its row.

Not the outbox, which is for what must never be lost: what is told here is forgotten cached answers, which
are short-lived anyway.
"""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from tables.relational.capture import capturing_session
from tables.relational.models import VideoRow

# Columns that decide who may play a video, and when its files are others.
DECIDING: Final = ("status", "visibility", "moderation_status", "owner_id")
_CHANGED: Final = "availability of videos"


def on_availability(told: Callable[[str], object]) -> Callable[[], None]:
    """Call ``told`` with the id of each video whose availability a commit of this process changed.

    After the commit, on the event loop's thread, for every ``Database`` of the process.

    Returns:
        The way to end it.
    """

    def gather(session: Session, _context: Any) -> None:
        touched = {row.id for row in session.deleted if isinstance(row, VideoRow)}
        touched |= {row.id for row in session.dirty if isinstance(row, VideoRow) and _deciding(row)}
        if touched:
            session.info.setdefault((_CHANGED, id(told)), set()).update(touched)

    def tell(session: Session) -> None:
        for video_id in session.info.pop((_CHANGED, id(told)), ()):
            told(video_id)

    def drop(session: Session) -> None:
        session.info.pop((_CHANGED, id(told)), None)

    kind = capturing_session()
    listeners: tuple[tuple[str, Callable[..., None]], ...] = (
        ("after_flush", gather),
        ("after_commit", tell),
        ("after_rollback", drop),
    )
    for name, listener in listeners:
        event.listen(kind, name, listener)

    def end() -> None:
        for name, listener in listeners:
            event.remove(kind, name, listener)

    return end


def _deciding(row: VideoRow) -> bool:
    state = inspect(row)
    return any(state.attrs[name].history.has_changes() for name in DECIDING)
