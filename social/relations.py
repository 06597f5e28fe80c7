"""Likes, saves and shares as rows: what events of one user change, in one transaction (H3, H8, R19)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tables.errors import UserNotFound
from tables.records import Action, EngagementEvent
from tables.relational.models import (
    LikeRow,
    OutboxRow,
    RelationEventRow,
    SaveRow,
    ShareRow,
    UserRow,
    VideoRow,
    moment,
)

TOPIC = "events.engagement"
_encode = msgspec.json.Encoder().encode

# What each action does: the set that it touches, and whether the video is in it afterwards.
_RELATION = {
    Action.LIKE: ("like_count", True),
    Action.UNLIKE: ("like_count", False),
    Action.SAVE: ("save_count", True),
    Action.UNSAVE: ("save_count", False),
}
_ROWS: dict[str, type[LikeRow] | type[SaveRow]] = {"like_count": LikeRow, "save_count": SaveRow}


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of events: for each whether its id was known; the ids of those that changed something."""

    known: list[bool]
    changed: frozenset[str]


async def lock_user(session: AsyncSession, user_id: str) -> None:
    """Let one transaction at a time change what a user likes and saves.

    SQLite's writers queue anyway. The lock leaves rows that only refer to the user alone.

    Raises:
        UserNotFound: USER_NOT_FOUND.
    """
    locked = select(UserRow.id).where(UserRow.id == user_id).with_for_update(key_share=True)
    if await session.scalar(locked) is None:
        raise UserNotFound


async def apply(
    session: AsyncSession, user_id: str, events: Sequence[EngagementEvent], at: float, *, remember: bool
) -> Applied:
    """Apply one user's events in order; call :func:`lock_user` first.

    An event that changes something becomes a fact of ``events.engagement`` with its outbox sequence; one
    that changes nothing, such as a second like, does not. Videos must exist.

    Args:
        session: The caller's transaction.
        user_id: Whose events they are.
        events: With the video's owner and duration filled in.
        at: Now, in seconds since the epoch.
        remember: Keep the event ids, so that a repeated event is known.

    Returns:
        Which events were known already, and which changed something.
    """
    seen = await _known_ids(session, user_id, events) if remember else set()
    state = await _load(session, user_id, events)
    before = {name: frozenset(videos) for name, videos in state.items()}
    known, changes, shares = [], [], []
    for event in events:
        known.append(event.event_id in seen)
        if known[-1]:
            continue
        seen.add(event.event_id)
        if event.action is Action.SHARE:
            shares.append(event)
            changes.append(event)
        elif _flip(state, event):
            changes.append(event)
    if remember:
        _remember(session, user_id, [e.event_id for e, was in zip(events, known, strict=True) if not was], at)
    await _write(session, user_id, before, state, at)
    await _write_shares(session, user_id, shares, at)
    await publish(session, changes, at)
    return Applied(known, frozenset(event.event_id for event in changes))


async def publish(session: AsyncSession, events: Sequence[EngagementEvent], at: float) -> None:
    """Put facts in the outbox, each with its own sequence as ``relation_seq`` (DESIGN invariant 1)."""
    rows = [OutboxRow(topic=TOPIC, key=e.user_id, payload=b"", created_at=moment(at)) for e in events]
    session.add_all(rows)
    await session.flush()
    for row, event in zip(rows, events, strict=True):
        row.payload = _encode(msgspec.structs.replace(event, relation_seq=row.id))


async def count(session: AsyncSession, deltas: dict[str, Counter[str]]) -> None:
    """Add to the counters of videos; ``deltas`` maps a column to the change of each video.

    In the order of ids, so that two transactions never wait for each other.
    """
    for column, changes in sorted(deltas.items()):
        changed = [{"id_": video, "by": by} for video, by in sorted(changes.items()) if by]
        if changed:
            counter = getattr(VideoRow, column)
            # Straight to the connection: the ORM would take a list of parameters for a bulk update.
            await (await session.connection()).execute(
                update(VideoRow.__table__)  # type: ignore[arg-type]
                .where(VideoRow.__table__.c.id == bindparam("id_"))
                .values({counter.key: VideoRow.__table__.c[counter.key] + bindparam("by")}),
                changed,
            )


def _remember(session: AsyncSession, user_id: str, event_ids: Sequence[str], at: float) -> None:
    session.add_all(
        RelationEventRow(user_id=user_id, event_id=event_id, created_at=moment(at)) for event_id in event_ids
    )


def _flip(state: dict[str, set[str]], event: EngagementEvent) -> bool:
    name, wanted = _RELATION[event.action]
    videos = state[name]
    if (event.video_id in videos) == wanted:
        return False
    if wanted:
        videos.add(event.video_id)
    else:
        videos.remove(event.video_id)
    return True


async def _known_ids(session: AsyncSession, user_id: str, events: Sequence[EngagementEvent]) -> set[str]:
    ids = {event.event_id for event in events}
    found: set[str] = set()
    # Shares are kept for ever, remembered ids are not.
    for row in (RelationEventRow, ShareRow):
        found |= set(
            await session.scalars(select(row.event_id).where(row.user_id == user_id, row.event_id.in_(ids)))
        )
    return found


async def _load(
    session: AsyncSession, user_id: str, events: Sequence[EngagementEvent]
) -> dict[str, set[str]]:
    videos = {event.video_id for event in events}
    state = {}
    for name, row in _ROWS.items():
        query = select(row.video_id).where(row.user_id == user_id, row.video_id.in_(videos))
        state[name] = set(await session.scalars(query))
    return state


async def _write(
    session: AsyncSession,
    user_id: str,
    before: dict[str, frozenset[str]],
    after: dict[str, set[str]],
    at: float,
) -> None:
    deltas: dict[str, Counter[str]] = {}
    for name, row in _ROWS.items():
        added, removed = after[name] - before[name], before[name] - after[name]
        session.add_all(
            row(user_id=user_id, video_id=video, created_at=moment(at)) for video in sorted(added)
        )
        if removed:
            await session.execute(delete(row).where(row.user_id == user_id, row.video_id.in_(removed)))
        deltas[name] = Counter(dict.fromkeys(added, 1) | dict.fromkeys(removed, -1))
    await session.flush()
    await count(session, deltas)


async def _write_shares(
    session: AsyncSession, user_id: str, shares: Sequence[EngagementEvent], at: float
) -> None:
    session.add_all(
        ShareRow(user_id=user_id, event_id=event.event_id, video_id=event.video_id, created_at=moment(at))
        for event in shares
    )
    await session.flush()
    await count(session, {"share_count": Counter(event.video_id for event in shares)})
