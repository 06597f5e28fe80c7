"""The datasets of the lake and what their columns mean: the one list of both (Y10).

Types are DuckDB's names. Columns are only ever added, at the end, with ``SCHEMA_VERSION`` raised: old files
stay readable and give NULL.
"""

from dataclasses import dataclass
from typing import Literal

from streams.lake.captured import FIELDS
from tables.definitions import TABLES, TableSpec

SCHEMA_VERSION = 2

Kind = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "TIMESTAMPTZ", "VARCHAR[]", "FLOAT[]"]
COUNTERS = ("views", "viewers", "likes", "comments", "shares", "saves", "completes")
DAY_COUNTERS = ("views", "likes", "comments", "shares", "saves", "completes")


@dataclass(frozen=True, slots=True)
class Column:
    """One column; every column may be NULL unless its help says otherwise."""

    name: str
    type: Kind
    help: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset, which SQL sees as a view of that name.

    Attributes:
        name: of the view and of the folder.
        source: topic for facts, table for snapshots.
        facts: whether rows are facts by hour (else a snapshot of a table).
        help: one line.
        columns: in order.
    """

    name: str
    source: str
    facts: bool
    help: str
    columns: tuple[Column, ...]


_PLACE = (
    Column("source_partition", "BIGINT", "Partition of the record in the log."),
    Column(
        "source_offset", "BIGINT", "Offset in that partition, never NULL; the facts of one envelope share it."
    ),
    Column("recorded_at", "TIMESTAMPTZ", "When the log took it."),
)
_VIEWER = "Who did it: a keyed pseudonym, the same everywhere in the lake; NULL for the owner's own acts."

EVENTS = Dataset(
    "events",
    "events.engagement",
    True,
    "Every engagement event as it came, before duplicates are sorted out.",
    (
        Column("event_id", "VARCHAR", "Idempotency key of the event."),
        Column("viewer", "VARCHAR", _VIEWER),
        Column("video_id", "VARCHAR", "The video."),
        Column("creator_id", "VARCHAR", "Its owner."),
        Column("action", "VARCHAR", "watch_start, watch_25, ..., watch_complete, like, unlike, share, ..."),
        Column("occurred_at", "TIMESTAMPTZ", "When it happened, by the client; files are partitioned by it."),
        Column("watch_seconds", "DOUBLE", "Seconds watched so far in this view."),
        Column("duration_seconds", "DOUBLE", "Length of the video."),
        Column("fraction", "DOUBLE", "Share of the video that the event proves, 0..1; NULL unless watching."),
        Column("bitrate", "VARCHAR", "Rendition played, as the client says."),
        Column("device", "VARCHAR", "Device, as the client says."),
        Column("own", "BOOLEAN", "Whether the owner did it; counts for nobody."),
        Column("federated", "BOOLEAN", "Whether it came from another server."),
        *_PLACE,
    ),
)
DELTAS = Dataset(
    "deltas",
    "engagement.deltas",
    True,
    "What each event really changed, duplicates removed; sums of it are the counters.",
    (
        Column("video_id", "VARCHAR", "The video."),
        Column("at", "TIMESTAMPTZ", "Event time; files are partitioned by it."),
        *(Column(name, "BIGINT", f"Change of {name}.") for name in COUNTERS),
        Column("completion", "DOUBLE", "Change of the sum over viewers of the best fraction reached."),
        Column("watch_ms", "BIGINT", "Change of the watched time."),
        Column("federated", "BOOLEAN", "Whether it came from another server."),
        Column("origin_partition", "BIGINT", "Partition of the event behind it."),
        Column("origin_offset", "BIGINT", "Offset of that event; repeated after a crash, so count it once."),
        *_PLACE,
        Column("switches", "BIGINT", "Changes of the rung within a view."),
    ),
)
_CARD = (
    Column("video_id", "VARCHAR", "The video."),
    Column("creator_id", "VARCHAR", "Its owner."),
    Column("creator_username", "VARCHAR", "The owner's name."),
    Column("title", "VARCHAR", "Title."),
    Column("description", "VARCHAR", "Description."),
    Column("tags", "VARCHAR[]", "Tags."),
    Column("visibility", "VARCHAR", "PUBLIC, ..."),
    Column("moderation_status", "VARCHAR", "What moderation decided."),
    Column("created_at", "TIMESTAMPTZ", "When it was uploaded."),
    Column("duration_seconds", "DOUBLE", "Length."),
    Column("width", "BIGINT", "Pixels."),
    Column("height", "BIGINT", "Pixels."),
    Column("qualities", "VARCHAR[]", "Rungs."),
    Column("model_version", "VARCHAR", "Encoder of the embedding; empty while there is none."),
)
CATALOGUE_CHANGES = Dataset(
    "catalogue_changes",
    "catalogue.changes",
    True,
    "Every change of a playable video's card; `deleted` when it went.",
    (
        *_CARD,
        Column("at", "TIMESTAMPTZ", "When it changed; files are partitioned by it."),
        Column("deleted", "BOOLEAN", "Whether the video went."),
        *_PLACE,
    ),
)
CATALOGUE = Dataset(
    "catalogue",
    "catalogue",
    False,
    "Every playable video with its embedding.",
    (*_CARD, Column("embedding", "FLOAT[]", "512 numbers of unit length; NULL while there is none.")),
)
VIDEO_ENGAGEMENT = Dataset(
    "video_engagement",
    "video_engagement",
    False,
    "Counters of every video.",
    (
        Column("video_id", "VARCHAR", "The video."),
        *(Column(name, "BIGINT", f"All {name}, local and federated.") for name in COUNTERS),
        Column("watch_seconds", "DOUBLE", "Seconds watched, all views."),
        Column("completion_rate", "DOUBLE", "Mean over viewers of the best fraction reached, 0..1."),
        Column("decayed", "DOUBLE", "Weighted count with a half-life of six hours, as of decayed_at."),
        Column("decayed_at", "TIMESTAMPTZ", "Time of `decayed`."),
        Column("updated_at", "TIMESTAMPTZ", "Newest event counted."),
        *(
            Column(f"federated_{name}", "BIGINT", f"Of these from other servers: {name}.")
            for name in COUNTERS
        ),
        Column("switches", "BIGINT", "Changes of the rung within a view, all views."),
    ),
)
WATCH_HISTORY = Dataset(
    "watch_history",
    "watch_history",
    False,
    "One row per viewer and video, the newest 500 of each viewer.",
    (
        Column("viewer", "VARCHAR", "Keyed pseudonym, as in events."),
        Column("video_id", "VARCHAR", "The video."),
        Column("fraction", "DOUBLE", "Best fraction reached, 0..1."),
        Column("watch_seconds", "DOUBLE", "Longest watch of the view counted last."),
        Column("completed", "BOOLEAN", "Whether a view was watched to the end."),
        Column("viewed_at", "TIMESTAMPTZ", "When that view was counted."),
        Column("seen_at", "TIMESTAMPTZ", "Last event."),
    ),
)
USER_PREFERENCE = Dataset(
    "user_preference",
    "user_preference",
    False,
    "Taste of every viewer, by pseudonym.",
    (
        Column("viewer", "VARCHAR", "Keyed pseudonym, as in events."),
        Column("weight", "DOUBLE", "Sum of the decayed weights behind the vector."),
        Column("updated_at", "TIMESTAMPTZ", "Last change."),
        Column("model_version", "VARCHAR", "Encoder of the vector."),
        Column("positives", "BIGINT", "Videos with a positive action, kept."),
        Column("creators", "VARCHAR[]", "Creators with affinity."),
        Column("tags", "VARCHAR[]", "Tags with weight."),
        Column("vector", "FLOAT[]", "512 numbers, the decayed sum; NULL while there is none."),
    ),
)

IMPRESSIONS = Dataset(
    "impressions",
    "events.impressions",
    True,
    "Every video that a feed showed.",
    (
        Column("viewer", "VARCHAR", "Keyed pseudonym, as in events; NULL for the owner and the unknown."),
        Column("video_id", "VARCHAR", "The video."),
        Column("creator_id", "VARCHAR", "Its owner."),
        Column("at", "TIMESTAMPTZ", "When; files are partitioned by it."),
        Column("algorithm", "VARCHAR", "Profile that ranked the page."),
        Column("asked", "VARCHAR", "Profile that was asked for."),
        Column("reason", "VARCHAR", "Why the video was there."),
        Column("position", "BIGINT", "Place in the walk, 0 the first."),
        *_PLACE,
    ),
)
_CHANGED = {
    "cdc_users": "Changes of accounts.",
    "cdc_videos": "Changes of videos, those that are not playable too.",
    "cdc_follows": "Who began or ceased to follow whom.",
    "cdc_likes": "Likes given and taken back.",
    "cdc_comments": "Comments written, changed, deleted.",
}


def _changes(name: str, help: str) -> Dataset:  # noqa: A002 - the attribute's name
    """Return the dataset of a topic of row changes."""
    columns = (
        Column("op", "VARCHAR", "c, u, d, or r for a row that was there before changes were told."),
        Column("seq", "BIGINT", "Of two changes of one row the one with the higher is newer."),
        Column("at", "TIMESTAMPTZ", "When it changed; files are partitioned by it."),
        *(Column(field.name, field.kind, field.help) for field in FIELDS[name]),
        *_PLACE,
    )
    return Dataset(name, name.replace("_", ".", 1), True, help, columns)


_DAY = Column("day", "TIMESTAMPTZ", "Start of the day, UTC.")
_COUNTS = (
    *(Column(name, "BIGINT", f"{name.capitalize()} of the day.") for name in DAY_COUNTERS),
    Column("watch_seconds", "DOUBLE", "Seconds watched."),
)
CO_OCCURRENCE = Dataset(
    "co_occurrence",
    "co_occurrence",
    False,
    "Pairs of videos that the same people found good, the 100 strongest of each video.",
    (
        Column("video_id", "VARCHAR", "The video."),
        Column("other_id", "VARCHAR", "The one found good with it; NULL when there is none."),
        Column("weight", "DOUBLE", "Sum of the pairs as of `since`; it halves every three days."),
        Column("positives", "DOUBLE", "How often people found the video good, likewise."),
        Column("since", "TIMESTAMPTZ", "Time of `weight` and `positives`."),
    ),
)
CREATOR_TOTALS = Dataset(
    "creator_totals",
    "creator_totals",
    False,
    "What happened to each creator's videos, a row a day, newest 90.",
    (Column("creator_id", "VARCHAR", "The creator."), _DAY, *_COUNTS),
)
USER_DAY = Dataset(
    "user_day",
    "user_day",
    False,
    "What each viewer did, a row a day, newest 90.",
    (
        Column("viewer", "VARCHAR", "Keyed pseudonym, as in events."),
        _DAY,
        *_COUNTS,
        Column("events", "BIGINT", "Events told, whether or not they changed something."),
        Column("logins", "BIGINT", "Sessions opened."),
    ),
)
TAG_TRENDS = Dataset(
    "tag_trends",
    "tag_trends",
    False,
    "What moves, by tag: a row for each hour with anything in it, of the newest 168.",
    (
        Column("tag", "VARCHAR", "The tag, lower case."),
        Column("hour", "TIMESTAMPTZ", "Start of the hour; NULL when none is left."),
        Column("count", "BIGINT", "Views and actions of public videos with the tag in that hour."),
        Column("decayed", "DOUBLE", "Weighted count of the tag with a half-life of six hours."),
        Column("decayed_at", "TIMESTAMPTZ", "Time of `decayed`."),
    ),
)
IMPRESSION_DAYS = Dataset(
    "impression_days",
    "impression_days",
    False,
    "How often feeds showed a video, or the videos of a creator, a row a day, newest 90.",
    (
        Column("key", "VARCHAR", "The video or the creator."),
        _DAY,
        Column("count", "BIGINT", "Impressions of the day."),
        Column("total", "BIGINT", "Impressions of all times."),
    ),
)

FACTS: tuple[Dataset, ...] = (
    EVENTS,
    DELTAS,
    CATALOGUE_CHANGES,
    IMPRESSIONS,
    *(_changes(name, text) for name, text in _CHANGED.items()),
)
_FLAT = (
    VIDEO_ENGAGEMENT,
    WATCH_HISTORY,
    USER_PREFERENCE,
    CATALOGUE,
    CO_OCCURRENCE,
    CREATOR_TOTALS,
    USER_DAY,
    TAG_TRENDS,
    IMPRESSION_DAYS,
)


def _whole(table: TableSpec) -> Dataset:
    """Return the dataset of a table that has no columns of its own here: its values as JSON text."""
    key = "Keyed pseudonym, as in events." if table.personal else f"The {table.keyed_by}."
    columns = (
        Column("key", "VARCHAR", key),
        Column("value", "VARCHAR", "The row as JSON text: value->>'$.field' reads a field."),
    )
    return Dataset(table.name, table.name, False, table.help, columns)


SNAPSHOTS: tuple[Dataset, ...] = (
    *_FLAT,
    *(_whole(table) for table in TABLES if table.name not in {flat.source for flat in _FLAT}),
)
DATASETS: tuple[Dataset, ...] = FACTS + SNAPSHOTS


def dataset(name: str) -> Dataset:
    """Return the dataset of that name; ``KeyError`` when there is none.

    >>> dataset("events").source
    'events.engagement'
    """
    return {item.name: item for item in DATASETS}[name]
