"""Agents that count what moves now, what feeds showed, and what users did elsewhere (E37, F11, F12, F31)."""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from streams.folding import Fold, Folded
from streams.log.commit import LogWriter, Outgoing
from streams.log.partitioner import partition_for
from streams.log.slices import Slice
from streams.topics import IMPRESSION_DELTAS, TAG_DELTAS
from tables.records import EngagementDelta, ImpressionDelta, Impressions, TagDelta, UserFact
from tables.reducers.totals import Totals, fold_journeys
from tables.reducers.trends import (
    ImpressionDays,
    TagsOf,
    TagTrend,
    fold_shown,
    fold_tags,
    is_idle,
    of_pages,
    of_tags,
)

_encode = msgspec.json.Encoder().encode


def tell_tags(
    told: Iterable[tuple[int, Sequence[EngagementDelta]]], tags_of: TagsOf, partition: int
) -> list[Outgoing]:
    """Return what a slice of events is told to tags as; see ``of_tags``."""
    return [
        Outgoing(TAG_DELTAS.name, delta.tag, _encode(delta)) for delta in of_tags(told, tags_of, partition)
    ]


async def trend(
    batch: Slice[TagDelta],
    trends: Fold[TagTrend],
    show: Callable[[str, TagTrend | None], None],
    oldest: Callable[[], Sequence[str]],
    now: float,
) -> None:
    """Add a slice of changes to their tags, and let go of rows that nothing happens to any more.

    Args:
        batch: changes of tags of this partition.
        trends: the table.
        show: takes a new row, or None for one that went.
        oldest: names some tags that nothing was added to for longest.
        now: seconds since the epoch.
    """
    partitions = trends.table.changelog_partitions
    stale = [tag for tag in oldest() if partition_for(tag.encode(), partitions) == batch.partition]

    def fold(states: dict[str, TagTrend]) -> Folded[TagTrend]:
        added = fold_tags(states, batch.records)
        touched = {delta.tag for delta in batch.records}
        rows: dict[str, TagTrend | None] = {tag: states[tag] for tag in touched} if added else {}
        for tag in stale:
            if tag not in touched and tag in states and is_idle(states[tag], now):
                rows[tag] = None
        return Folded(rows)

    keys = [*(delta.tag for delta in batch.records), *stale]
    for tag, row in (await trends.apply(batch.partition, keys, fold)).rows.items():
        show(tag, row)


async def spread(batch: Slice[Impressions], writer: LogWriter) -> None:
    """Tell each video and each creator of a slice of pages how often they were shown."""
    pages = zip(batch.offsets, batch.records, strict=True)
    deltas = of_pages(pages, batch.partition)
    await writer.commit(
        outputs=[Outgoing(IMPRESSION_DELTAS.name, delta.key, _encode(delta)) for delta in deltas]
    )


async def count_shown(batch: Slice[ImpressionDelta], days: Fold[ImpressionDays]) -> None:
    """Add a slice of what was shown to the days of videos and creators."""

    def fold(states: dict[str, ImpressionDays]) -> Folded[ImpressionDays]:
        return Folded(states) if fold_shown(states, batch.records) else Folded({})

    await days.apply(batch.partition, (delta.key for delta in batch.records), fold)


async def note_journeys(batch: Slice[UserFact], days: Fold[Totals]) -> None:
    """Count sign-ins and new videos in the days of their users (F12)."""

    def fold(states: dict[str, Totals]) -> Folded[Totals]:
        changed = fold_journeys(states, zip(batch.records, batch.offsets, strict=True))
        return Folded({user: states[user] for user in changed})

    await days.apply(batch.partition, (fact.user_id for fact in batch.records), fold)
