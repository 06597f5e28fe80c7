"""Client events at the edge: each is refused, known already, or durable before the answer (F3, F28).

Watching has no row: its events go straight to the topic. Likes, saves and shares are rows, so they go
to the service that keeps them, and reach the same topic through the outbox.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Protocol
from uuid import UUID

import msgspec

from streams.log import MessageLog
from streams.log.commit import LogWriter, Outgoing
from streams.log.errors import LogError
from streams.topics import ENGAGEMENT_EVENTS
from tables.errors import AppError, ContentNotFound, PublishFailure, ValidationFailed
from tables.records import Action, EngagementEvent
from tables.reducers.engagement import STEP_FRACTION, digest

MAX_BATCH = 1000
MAX_FUTURE_SECONDS = 300.0
"""How far ahead a client's clock may be."""
MAX_AGE_SECONDS = 30 * 86400.0
MAX_WATCH_SECONDS = 86400.0
ENVELOPE_EVENTS = 100
"""Events of one user in one record: one offset, one history, one delta per video for all of them. More
would save little and make records large."""
TAIL_RECORDS = 5000
REMEMBERED_IDS = 200_000
"""Event ids kept to tell a known event from a new one; counting does not depend on it."""
RELATIONS = frozenset({Action.LIKE, Action.UNLIKE, Action.SAVE, Action.UNSAVE, Action.SHARE})
CLIENT_ACTIONS = frozenset(STEP_FRACTION) | RELATIONS | {Action.COMMENT, Action.NOT_INTERESTED}

_encode = msgspec.json.Encoder().encode
_DATETIME = Annotated[datetime, msgspec.Meta(tz=True)]


@dataclass(frozen=True)
class WatchedVideo:
    """What folding needs to know of a video."""

    owner_id: str
    duration_seconds: float


@dataclass(frozen=True)
class Rejected:
    """One event that was refused, by its place in the batch."""

    index: int
    code: str
    message: str


@dataclass
class IntakeResult:
    """How a batch was taken: every event is accepted, a duplicate, or rejected."""

    accepted: int = 0
    duplicates: int = 0
    rejected: list[Rejected] = field(default_factory=list)


class RelationEvents(Protocol):
    """Keeps likes, saves and shares; idempotent by event id."""

    async def apply_client_events(self, user_id: str, events: Sequence[EngagementEvent]) -> Sequence[bool]:
        """Apply in order; True for each event whose id was known already."""


class RecentIds:
    """The newest event ids, bounded; filled from the tail of the topic at start."""

    def __init__(self, limit: int = REMEMBERED_IDS) -> None:
        """Args: how many ids are kept."""
        self._ids: OrderedDict[bytes, None] = OrderedDict()
        self._limit = limit

    @staticmethod
    def mark(user_id: str, event_id: str) -> bytes:
        """Return what is remembered of an event: ids of different users never collide by intent."""
        return digest(f"{user_id}/{event_id}")

    def __contains__(self, mark: bytes) -> bool:
        return mark in self._ids

    def add(self, mark: bytes) -> None:
        """Remember a mark, forgetting the oldest over the limit."""
        self._ids[mark] = None
        while len(self._ids) > self._limit:
            self._ids.popitem(last=False)


async def remember_tail(log: MessageLog, recent: RecentIds) -> None:
    """Fill the known ids from the newest records of the topic, so that a restart forgets none of them.

    What other workers go on writing meanwhile is not waited for: that would have no end.
    """
    partitions = log.partitions(ENGAGEMENT_EVENTS.name) or 0
    share = REMEMBERED_IDS // max(1, partitions)
    for partition in range(partitions):
        end = log.highwater(ENGAGEMENT_EVENTS.name, partition)
        offset = max(log.earliest(ENGAGEMENT_EVENTS.name, partition), end - share)
        while offset < end and (
            chunk := await log.read(ENGAGEMENT_EVENTS.name, partition, offset, TAIL_RECORDS)
        ):
            for value in chunk.values:
                _remember(value, recent)
            offset = chunk.offsets[-1] + 1


class _Named(msgspec.Struct):
    """The part of an event that the tail is read for."""

    event_id: str
    user_id: str
    more: tuple["_Named", ...] = ()


_decode_named = msgspec.json.Decoder(_Named).decode


def _remember(value: bytes | None, recent: RecentIds) -> None:
    with contextlib.suppress(msgspec.DecodeError):  # what is poison is no known event
        record = _decode_named(value or b"")
        for event in (record, *record.more):
            recent.add(RecentIds.mark(event.user_id, event.event_id))


class EngagementIntake:
    """Takes client events; what it accepts is durable when it answers."""

    def __init__(
        self,
        writer: LogWriter,
        relations: RelationEvents,
        find_video: Callable[[str, str], Awaitable[WatchedVideo | None]],
        *,
        recent: RecentIds | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Args: the log, the relation service, ``find_video(video_id, viewer_id)``, known ids, the clock."""
        self._writer = writer
        self._relations = relations
        self._find_video = find_video
        self._recent = recent or RecentIds()
        self._clock = clock
        self._locks: dict[str, asyncio.Lock] = {}

    async def submit(self, user_id: str, raw: Sequence[Any]) -> IntakeResult:
        """Take one user's events in order.

        Args:
            user_id: the bearer's.
            raw: events as the client sent them, at most 1,000 (INTERFACE, Engagement).

        Returns:
            The counts and the refused ones, each with its code.

        Raises:
            ValidationFailed: more than 1,000 events (VALIDATION_ERROR, field ``events``).
            PublishFailure: the log did not take them (PUBLISH_ERROR); nothing was accepted.
        """
        if len(raw) > MAX_BATCH:
            raise ValidationFailed(
                f"At most {MAX_BATCH} events at once.", details={"field": "events", "limit": MAX_BATCH}
            )
        lock = self._locks.setdefault(user_id, asyncio.Lock())
        try:
            async with lock:  # one at a time per user: order of arrival, and no race between two same ids
                return await self._take(user_id, raw)
        finally:
            if not lock.locked() and not getattr(lock, "_waiters", None):
                self._locks.pop(user_id, None)

    async def _take(self, user_id: str, raw: Sequence[Any]) -> IntakeResult:
        result = IntakeResult()
        fresh: dict[bytes, EngagementEvent] = {}
        videos: dict[str, WatchedVideo | None] = {}
        for index, item in enumerate(raw):
            try:
                event = parse_event(item, user_id, self._clock())
                if event.video_id not in videos:
                    videos[event.video_id] = await self._find_video(event.video_id, user_id)
                video = videos[event.video_id]
                if video is None:
                    raise ContentNotFound(details={"field": "video_id", "value": event.video_id})
            except AppError as error:
                result.rejected.append(Rejected(index, error.code, error.message))
                continue
            mark = RecentIds.mark(user_id, event.event_id)
            if mark in self._recent or mark in fresh:
                result.duplicates += 1
                continue
            fresh[mark] = msgspec.structs.replace(
                event, owner_id=video.owner_id, duration_seconds=video.duration_seconds
            )
        await self._store(user_id, fresh, result)
        return result

    async def _store(self, user_id: str, fresh: dict[bytes, EngagementEvent], result: IntakeResult) -> None:
        """Make the new events durable: rows for relations, records for the rest."""
        related = [event for event in fresh.values() if event.action in RELATIONS]
        streamed = [event for event in fresh.values() if event.action not in RELATIONS]
        if streamed:
            try:
                await self._writer.publish(
                    [Outgoing(ENGAGEMENT_EVENTS.name, user_id, _encode(e)) for e in envelopes(streamed)]
                )
            except LogError as error:
                raise PublishFailure(retry_after_seconds=1.0) from error
        if related:
            known = await self._relations.apply_client_events(user_id, related)
            result.duplicates += sum(known)
            result.accepted -= sum(known)
        result.accepted += len(fresh)
        for mark in fresh:
            self._recent.add(mark)


def envelopes(events: Sequence[EngagementEvent]) -> list[EngagementEvent]:
    """Return one user's events as records, each an envelope of up to 100 of them, in order (F3)."""
    records = []
    for start in range(0, len(events), ENVELOPE_EVENTS):
        first, *rest = events[start : start + ENVELOPE_EVENTS]
        records.append(msgspec.structs.replace(first, more=tuple(rest)) if rest else first)
    return records


def parse_event(item: Any, user_id: str, now: float) -> EngagementEvent:
    """Read one client event (F2, F28).

    Args:
        item: what the client sent; document 002's spellings such as ``watch_25%`` are read too, and fields
            that newer clients may add are passed over.
        user_id: the bearer's.
        now: seconds since the epoch; an event from the future is refused, one without a time is of now.

    Raises:
        ValidationFailed: VALIDATION_ERROR with ``details.field``.
    """
    if not isinstance(item, Mapping):
        raise _invalid("event", "An event is an object.")
    return EngagementEvent(
        event_id=_uuid(item, "event_id"),
        user_id=user_id,
        video_id=_uuid(item, "video_id"),
        action=_action(item.get("action")),
        occurred_at=_time(item.get("occurred_at"), now),
        watch_seconds=_seconds(item.get("watch_seconds")),
        bitrate=_text(item, "bitrate"),
        device=_text(item, "device"),
    )


def _invalid(name: str, message: str) -> ValidationFailed:
    return ValidationFailed(f"{name}: {message}", details={"field": name})


def _uuid(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    try:
        if not isinstance(value, str):
            raise TypeError
        return str(UUID(value))
    except (TypeError, ValueError):
        raise _invalid(name, "Not a UUID.") from None


def _action(value: Any) -> Action:
    try:
        action = Action(value.rstrip("%") if isinstance(value, str) else value)
    except ValueError:
        raise _invalid("action", "Unknown action.") from None
    if action not in CLIENT_ACTIONS:
        raise _invalid("action", "Unknown action.")
    return action


def _time(value: Any, now: float) -> float:
    if value is None:
        return now
    try:
        if not isinstance(value, str):
            raise TypeError
        moment = msgspec.convert(value, type=_DATETIME, strict=False).timestamp()
    except (TypeError, ValueError, OverflowError, msgspec.ValidationError):
        raise _invalid("occurred_at", "Not an RFC 3339 time with a zone.") from None
    if moment > now + MAX_FUTURE_SECONDS:
        raise _invalid("occurred_at", "In the future.")
    if moment < now - MAX_AGE_SECONDS:
        raise _invalid("occurred_at", "More than 30 days ago.")
    return float(moment)


def _seconds(value: Any) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_WATCH_SECONDS:
        raise _invalid("watch_seconds", "Not a number of seconds, 0 to 86400.")
    return float(value)


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 32:
        raise _invalid(name, "Not a text of at most 32 characters.")
    return value
