"""Every topic, declared once, with its explicit name (DESIGN section 4, Z12).

Names never follow a module path: a rename would lose what a topic holds. A test snapshots them.
"""

from dataclasses import dataclass

from tables.records import (
    CatalogueChange,
    ContentFact,
    EngagementDelta,
    EngagementEvent,
    ImageJob,
    ImpressionDelta,
    Impressions,
    MediaJob,
    MediaResult,
    Notification,
    PairDelta,
    Record,
    RowChange,
    TagDelta,
    TotalsDelta,
    UserFact,
    VideoUploaded,
)

DAY_SECONDS = 86400.0
WEEK_SECONDS = 7 * DAY_SECONDS
DEAD_SUFFIX = ".dead"


@dataclass(frozen=True)
class TopicSpec:
    """One topic: its name, what it carries and for how long.

    Attributes:
        name: explicit, stable.
        record: type of every value.
        keyed_by: what the key is, for readers.
        sliced: whether agents get whole partition slices (hot topics) or single events (long work).
        retention_seconds: how long records are kept; None keeps the newest of each key for ever.
    """

    name: str
    record: type[Record]
    keyed_by: str
    sliced: bool = True
    retention_seconds: float | None = 30 * DAY_SECONDS

    @property
    def dead(self) -> str:
        """The topic that takes its poison records."""
        return self.name + DEAD_SUFFIX


VIDEO_UPLOADED = TopicSpec("video.uploaded", VideoUploaded, "video id")
MEDIA_JOBS = TopicSpec("media.jobs", MediaJob, "video id", sliced=False)
MEDIA_IMAGES = TopicSpec("media.images", ImageJob, "image id", sliced=False)
MEDIA_RESULTS = TopicSpec("media.results", MediaResult, "video id", retention_seconds=WEEK_SECONDS)
ENGAGEMENT_EVENTS = TopicSpec(
    "events.engagement", EngagementEvent, "user id", retention_seconds=31 * DAY_SECONDS
)
ENGAGEMENT_DELTAS = TopicSpec(
    "engagement.deltas", EngagementDelta, "content id", retention_seconds=WEEK_SECONDS
)
PAIR_DELTAS = TopicSpec("pairs.deltas", PairDelta, "content id", retention_seconds=WEEK_SECONDS)
CREATOR_DELTAS = TopicSpec("creator.deltas", TotalsDelta, "creator id", retention_seconds=WEEK_SECONDS)
USER_DELTAS = TopicSpec("user.deltas", TotalsDelta, "user id", retention_seconds=WEEK_SECONDS)
TAG_DELTAS = TopicSpec("tag.deltas", TagDelta, "tag", retention_seconds=WEEK_SECONDS)
# What feeds showed (E39, F11).
IMPRESSIONS = TopicSpec("events.impressions", Impressions, "viewer id", retention_seconds=31 * DAY_SECONDS)
IMPRESSION_DELTAS = TopicSpec(
    "impression.deltas", ImpressionDelta, "video or creator id", retention_seconds=WEEK_SECONDS
)
USER_EVENTS = TopicSpec("events.user", UserFact, "user id")
CONTENT_EVENTS = TopicSpec("events.content", ContentFact, "video id", sliced=False)
CATALOGUE_CHANGES = TopicSpec(
    "catalogue.changes", CatalogueChange, "video id", retention_seconds=WEEK_SECONDS
)
NOTIFICATIONS = TopicSpec("notifications", Notification, "recipient id", retention_seconds=WEEK_SECONDS)

TOPICS: tuple[TopicSpec, ...] = (
    VIDEO_UPLOADED,
    MEDIA_JOBS,
    MEDIA_IMAGES,
    MEDIA_RESULTS,
    ENGAGEMENT_EVENTS,
    ENGAGEMENT_DELTAS,
    PAIR_DELTAS,
    CREATOR_DELTAS,
    USER_DELTAS,
    TAG_DELTAS,
    IMPRESSIONS,
    IMPRESSION_DELTAS,
    USER_EVENTS,
    CONTENT_EVENTS,
    CATALOGUE_CHANGES,
    NOTIFICATIONS,
)
# Row changes of the relational store (F20): for analysts and whoever keeps a copy; no agent of ours reads
# them, so they have no dead letters. The newest record of each row stays.
CHANGE_TOPICS: tuple[TopicSpec, ...] = tuple(
    TopicSpec(f"cdc.{table}", RowChange, f"{key} id", retention_seconds=None)
    for table, key in (
        ("users", "user"),
        ("videos", "video"),
        ("follows", "follower and followed"),
        ("likes", "user and video"),
        ("comments", "comment"),
    )
)
DEAD_RETENTION_SECONDS = 90 * DAY_SECONDS


def spec(name: str) -> TopicSpec:
    """Return the topic of that name.

    >>> spec("events.engagement").keyed_by
    'user id'

    Raises:
        KeyError: no topic has this name.
    """
    return {topic.name: topic for topic in TOPICS}[name]
