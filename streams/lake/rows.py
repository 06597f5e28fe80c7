"""Records and table values as flat rows of the lake; people by pseudonym (N14, D20). Pure."""

import math
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from itertools import zip_longest
from typing import Any

import msgspec
import numpy as np

from streams.lake.captured import FIELDS, values_of
from streams.lake.columns import COUNTERS, DAY_COUNTERS
from tables.definitions import TABLES, CatalogueEntry
from tables.records import (
    Card,
    CatalogueChange,
    DayCounts,
    EngagementDelta,
    EngagementEvent,
    Impressions,
    RowChange,
)
from tables.reducers.engagement import STEP_FRACTION, VideoEngagement, WatchHistory, completion_rate, reached
from tables.reducers.preferences import UserPreference
from tables.reducers.together import CoOccurrence
from tables.reducers.totals import DAY_SECONDS, Totals
from tables.reducers.trends import ImpressionDays, TagTrend

Row = tuple[Any, ...]
Timed = tuple[float, Row]
"""A row and the time by which its file is chosen, seconds since the epoch."""
Place = tuple[int, int, float]
"""Partition, offset and time of a record."""
Pseudonym = Callable[[str], str]
EARLIEST, LATEST = 0.0, 7_258_118_400.0  # 1970 to 2200: what fits a timestamp of every reader


class Unfit(ValueError):
    """A record whose numbers fit no column; it is skipped and counted."""


def pseudonyms(key: bytes) -> Pseudonym:
    """Return the function from a user id to its pseudonym: keyed, so nobody without the key can try ids.

    >>> name = pseudonyms(b"k" * 32)
    >>> name("ada") == name("ada") != name("bob")
    True
    """

    def name(user_id: str) -> str:
        return blake2b(user_id.encode(), key=key, digest_size=12, person=b"lake-viewer").hexdigest()

    return name


def micros(seconds: float) -> int | None:
    """Return a time in microseconds; None for 0, which stands for never. Raises ``Unfit`` out of range."""
    if not EARLIEST <= seconds <= LATEST:  # NaN too
        raise Unfit(f"time {seconds!r}")
    return round(seconds * 1_000_000) if seconds else None


def number(value: float) -> float:
    """Return a finite float. Raises ``Unfit``."""
    if not math.isfinite(value):
        raise Unfit(f"number {value!r}")
    return value


def event_row(event: EngagementEvent, place: Place, name: Pseudonym) -> Iterator[Timed]:
    """Yield the event's time and its row of ``events``.

    The owner's own acts have no viewer: a pseudonym beside the creator's id would give the person away.
    """
    own = event.user_id == event.owner_id
    number(event.duration_seconds)
    watching = event.action in STEP_FRACTION
    yield event.occurred_at, (
        event.event_id, None if own else name(event.user_id), event.video_id, event.owner_id,
        event.action.value, micros(event.occurred_at), number(event.watch_seconds), event.duration_seconds,
        reached(event) if watching else None, event.bitrate, event.device, own, event.federated,
        *_place(place),
    )  # fmt: skip


def delta_row(delta: EngagementDelta, place: Place, name: Pseudonym) -> Iterator[Timed]:
    """Yield the delta's time and its row of ``deltas``."""
    yield delta.at, (
        delta.content_id, micros(delta.at), *(getattr(delta, counter) for counter in COUNTERS),
        number(delta.completion), delta.watch_ms, delta.federated, delta.origin_partition,
        delta.origin_offset, *_place(place), delta.switches,
    )  # fmt: skip


def change_row(change: CatalogueChange, place: Place, name: Pseudonym) -> Iterator[Timed]:
    """Yield the change's time and its row of ``catalogue_changes``."""
    card = (change.video_id, *[None] * 13) if change.card is None else _card(change.card)
    yield change.at, (*card, micros(change.at), change.card is None, *_place(place))


def impression_rows(page: Impressions, place: Place, name: Pseudonym) -> Iterator[Timed]:
    """Yield the page's time and one row of ``impressions`` per video; owners have no viewer, as in events."""
    viewer = name(page.viewer_id) if page.viewer_id else None
    shown = zip_longest(page.videos, page.creators, page.reasons, fillvalue="")
    for at, (video_id, creator_id, reason) in enumerate(shown, page.position):
        yield page.at, (
            None if creator_id == page.viewer_id else viewer, video_id, creator_id, micros(page.at),
            page.algorithm, page.asked, reason, at, *_place(place),
        )  # fmt: skip


def captured_rows(change: RowChange, place: Place, name: Pseudonym) -> Iterator[Timed]:
    """Yield the time of a row change and its row of the table's dataset; see ``captured.py``."""
    head = (change.op, change.seq, micros(change.at))
    yield (
        change.at,
        (*head, *values_of(f"cdc_{change.table}", change.key, change.after, name), *_place(place)),
    )


def _place(place: Place) -> Row:
    return place[0], place[1], micros(place[2])


def _card(card: Card) -> Row:
    return (
        card.video_id, card.creator_id, card.creator_username, card.title, card.description, list(card.tags),
        card.visibility, card.moderation_status, micros(card.created_at), number(card.duration_seconds),
        card.width, card.height, list(card.qualities), card.model_version,
    )  # fmt: skip


def _vector(raw: bytes, kind: str) -> Any:
    return np.frombuffer(raw, kind).astype(np.float32) if raw else None


def catalogue_rows(key: str, entry: CatalogueEntry, name: Pseudonym) -> Iterator[Row]:
    """Yield the row of ``catalogue``."""
    yield (*_card(entry.card), _vector(entry.card.embedding, "<f2"))


def engagement_rows(key: str, state: VideoEngagement, name: Pseudonym) -> Iterator[Row]:
    """Yield the row of ``video_engagement``."""
    local, far = state.local, state.federated
    yield (
        key, *(max(0, getattr(local, c) + getattr(far, c)) for c in COUNTERS),
        (local.watch_ms + far.watch_ms) / 1000, completion_rate(state), number(state.decayed),
        micros(state.decayed_at), micros(state.updated_at), *(max(0, getattr(far, c)) for c in COUNTERS),
        local.switches + far.switches,
    )  # fmt: skip


def history_rows(key: str, history: WatchHistory, name: Pseudonym) -> Iterator[Row]:
    """Yield one row of ``watch_history`` per video."""
    viewer = name(key)
    for video_id, seen in history.videos.items():
        yield (
            viewer, video_id, number(seen.fraction), seen.watch_ms / 1000, seen.completed_at >= 0,
            micros(seen.viewed_at), micros(seen.seen_at),
        )  # fmt: skip


def preference_rows(key: str, state: UserPreference, name: Pseudonym) -> Iterator[Row]:
    """Yield the row of ``user_preference``."""
    yield (
        name(key), number(state.weight), micros(state.updated_at), state.model_version,
        sum(1 for entry in state.positives.values() if entry.actions), sorted(state.creators),
        sorted(state.tags), _vector(state.vector, "<f4"),
    )  # fmt: skip


def pair_rows(key: str, row: CoOccurrence, name: Pseudonym) -> Iterator[Row]:
    """Yield one row of ``co_occurrence`` per neighbour, one without when there is none."""
    rest = number(row.positives), micros(row.since)
    for other, weight in row.neighbours.items() or [(None, 0.0)]:
        yield key, other, number(weight), *rest


def creator_rows(key: str, row: Totals, name: Pseudonym) -> Iterator[Row]:
    """Yield one row of ``creator_totals`` per day; the creator's id stands beside the videos anyway."""
    for day, counts in row.days.items():
        yield key, micros(day * DAY_SECONDS), *_counts(counts)


def user_rows(key: str, row: Totals, name: Pseudonym) -> Iterator[Row]:
    """Yield one row of ``user_day`` per day; videos made would tell whose pseudonym it is."""
    for day, counts in row.days.items():
        yield name(key), micros(day * DAY_SECONDS), *_counts(counts), counts.events, counts.logins


def _counts(counts: DayCounts) -> Row:
    return *(max(0, getattr(counts, c)) for c in DAY_COUNTERS), counts.watch_ms / 1000


def tag_rows(key: str, row: TagTrend, name: Pseudonym) -> Iterator[Row]:
    """Yield one row of ``tag_trends`` per hour, one without when there is none."""
    rest = max(0.0, number(row.decayed)), micros(row.decayed_at)
    for hour, count in row.hourly.items() or [(0, 0)]:
        yield key, micros(hour * 3600.0), count, *rest


def shown_rows(key: str, row: ImpressionDays, name: Pseudonym) -> Iterator[Row]:
    """Yield one row of ``impression_days`` per day."""
    for day, count in row.daily.items():
        yield key, micros(day * DAY_SECONDS), count, row.total


FACT_ROWS: Mapping[str, tuple[type[Any], Callable[[Any, Place, Pseudonym], Iterator[Timed]]]] = {
    "events": (EngagementEvent, event_row),
    "deltas": (EngagementDelta, delta_row),
    "catalogue_changes": (CatalogueChange, change_row),
    "impressions": (Impressions, impression_rows),
    **dict.fromkeys(FIELDS, (RowChange, captured_rows)),
}
MakeRows = Callable[[str, Any, Pseudonym], Iterator[Row]]
_TABLE_ROWS: Mapping[str, tuple[type[msgspec.Struct], MakeRows]] = {
    "catalogue": (CatalogueEntry, catalogue_rows),
    "video_engagement": (VideoEngagement, engagement_rows),
    "watch_history": (WatchHistory, history_rows),
    "user_preference": (UserPreference, preference_rows),
    "co_occurrence": (CoOccurrence, pair_rows),
    "creator_totals": (Totals, creator_rows),
    "user_day": (Totals, user_rows),
    "tag_trends": (TagTrend, tag_rows),
    "impression_days": (ImpressionDays, shown_rows),
}


def table_rows(name: str) -> tuple[type[msgspec.Struct], MakeRows]:
    """Return the type of a table's values and what makes rows of them: flat ones, or (key, JSON text)."""
    if name in _TABLE_ROWS:
        return _TABLE_ROWS[name]
    from streams.reading import plain  # brings the log, which only this needs

    spec = next(table for table in TABLES if table.name == name)

    def whole_rows(key: str, value: Any, pseudonym: Pseudonym) -> Iterator[Row]:
        yield pseudonym(key) if spec.personal else key, msgspec.json.encode(plain(value)).decode()

    return spec.value, whole_rows
