"""Every changelog-backed table, declared once, with its explicit name (DESIGN section 4, Z4).

A table's changelog is named after it, so a rename loses its state. A test snapshots the names.
"""

from dataclasses import dataclass

import msgspec

from tables.records import Card
from tables.reducers.engagement import VideoEngagement, WatchHistory
from tables.reducers.preferences import UserPreference
from tables.reducers.together import CoOccurrence
from tables.reducers.totals import Totals
from tables.reducers.trends import ImpressionDays, TagTrend


class CatalogueEntry(msgspec.Struct):
    """Table ``catalogue``: a playable video's card and the outbox sequence that it came with."""

    card: Card
    seq: int = 0


@dataclass(frozen=True)
class TableSpec:
    """One table: its name, what a row is, and what analysts should know of it.

    Attributes:
        name: explicit, stable.
        value: type of every value.
        keyed_by: what the key is.
        source: topic whose events it folds.
        agent: name of the agent that folds them.
        everywhere: whether every worker that serves reads all of it, from a copy where others keep it.
        help: one line for the catalogue of tables.
        personal: whether rows describe one person, so that only their owner and analysts may read them.
    """

    name: str
    value: type[msgspec.Struct]
    keyed_by: str
    source: str
    agent: str
    help: str
    everywhere: bool = False
    personal: bool = False


VIDEO_ENGAGEMENT = TableSpec(
    "video_engagement",
    VideoEngagement,
    "content id",
    "engagement.deltas",
    "engagement.count",
    "Counters of one video, local and federated apart, with hourly buckets and a decayed sum.",
    everywhere=True,
)
WATCH_HISTORY = TableSpec(
    "watch_history",
    WatchHistory,
    "user id",
    "events.engagement",
    "engagement.observe",
    "What one user watched: best fraction, seconds and last time per video, newest 500.",
    personal=True,
)
USER_PREFERENCE = TableSpec(
    "user_preference",
    UserPreference,
    "user id",
    "events.engagement",
    "preferences.learn",
    "One user's taste: sum vector, recent positives, creators and tags.",
    personal=True,
)
CO_OCCURRENCE = TableSpec(
    "co_occurrence",
    CoOccurrence,
    "content id",
    "pairs.deltas",
    "pairs.count",
    "The 100 videos that the same people found good, with weights that halve in three days.",
    everywhere=True,
)
CREATOR_TOTALS = TableSpec(
    "creator_totals",
    Totals,
    "creator id",
    "creator.deltas",
    "creators.total",
    "What happened to one creator's videos, by day, newest 90.",
    personal=True,
)
USER_DAY = TableSpec(
    "user_day",
    Totals,
    "user id",
    "user.deltas",
    "users.total",
    "What one user did, by day, newest 90; sign-ins and videos made too.",
    personal=True,
)
TAG_TRENDS = TableSpec(
    "tag_trends",
    TagTrend,
    "tag",
    "tag.deltas",
    "tags.trend",
    "How much happens to public videos with one tag: a sum that halves in six hours, and 168 hours.",
    everywhere=True,
)
IMPRESSION_DAYS = TableSpec(
    "impression_days",
    ImpressionDays,
    "video or creator id",
    "impression.deltas",
    "impressions.count",
    "How often feeds showed one video, or all videos of one creator, by day, newest 90.",
    personal=True,
)
CATALOGUE = TableSpec(
    "catalogue",
    CatalogueEntry,
    "video id",
    "catalogue.changes",
    "catalogue.keep",
    "Card and embedding of every playable video.",
    everywhere=True,
)

TABLES: tuple[TableSpec, ...] = (
    VIDEO_ENGAGEMENT,
    WATCH_HISTORY,
    USER_PREFERENCE,
    CO_OCCURRENCE,
    CREATOR_TOTALS,
    USER_DAY,
    TAG_TRENDS,
    IMPRESSION_DAYS,
    CATALOGUE,
)
