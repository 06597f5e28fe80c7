"""Names of topics and tables are for life: a rename loses what they hold (DESIGN section 4)."""

import msgspec

from freewill.paths import APP_ID
from streams.topics import CHANGE_TOPICS, TOPICS, spec
from tables.definitions import TABLES
from tables.relational import capture


def test_topic_names_never_change():
    assert {topic.name: (topic.record.__name__, topic.keyed_by) for topic in TOPICS} == {
        "video.uploaded": ("VideoUploaded", "video id"),
        "media.jobs": ("MediaJob", "video id"),
        "media.images": ("ImageJob", "image id"),
        "media.results": ("MediaResult", "video id"),
        "events.engagement": ("EngagementEvent", "user id"),
        "engagement.deltas": ("EngagementDelta", "content id"),
        "pairs.deltas": ("PairDelta", "content id"),
        "creator.deltas": ("TotalsDelta", "creator id"),
        "user.deltas": ("TotalsDelta", "user id"),
        "tag.deltas": ("TagDelta", "tag"),
        "events.impressions": ("Impressions", "viewer id"),
        "impression.deltas": ("ImpressionDelta", "video or creator id"),
        "events.user": ("UserFact", "user id"),
        "events.content": ("ContentFact", "video id"),
        "catalogue.changes": ("CatalogueChange", "video id"),
        "notifications": ("Notification", "recipient id"),
    }
    assert spec("media.jobs").dead == "media.jobs.dead"
    assert {topic.name: (topic.record.__name__, topic.keyed_by) for topic in CHANGE_TOPICS} == {
        "cdc.users": ("RowChange", "user id"),
        "cdc.videos": ("RowChange", "video id"),
        "cdc.follows": ("RowChange", "follower and followed id"),
        "cdc.likes": ("RowChange", "user and video id"),
        "cdc.comments": ("RowChange", "comment id"),
    }
    assert {topic.name for topic in CHANGE_TOPICS} == set(capture.TOPICS.values())


def test_table_names_never_change():
    assert APP_ID == "freewill"
    assert {table.name: (table.value.__name__, table.source) for table in TABLES} == {
        "video_engagement": ("VideoEngagement", "engagement.deltas"),
        "watch_history": ("WatchHistory", "events.engagement"),
        "user_preference": ("UserPreference", "events.engagement"),
        "co_occurrence": ("CoOccurrence", "pairs.deltas"),
        "creator_totals": ("Totals", "creator.deltas"),
        "user_day": ("Totals", "user.deltas"),
        "tag_trends": ("TagTrend", "tag.deltas"),
        "impression_days": ("ImpressionDays", "impression.deltas"),
        "catalogue": ("CatalogueEntry", "catalogue.changes"),
    }


def test_record_fields_never_leave():
    """Old records stay readable: fields are only added, with a default (Z3)."""
    fields = {topic.record.__name__: msgspec.structs.fields(topic.record) for topic in TOPICS}
    names = {record: {field.name for field in found} for record, found in fields.items()}
    assert names["EngagementEvent"] >= {
        "event_id", "user_id", "video_id", "action", "occurred_at", "owner_id", "duration_seconds",
        "watch_seconds", "bitrate", "device", "relation_seq", "federated",
    }  # fmt: skip
    assert names["EngagementDelta"] >= {
        "content_id", "origin_partition", "origin_offset", "at", "views", "viewers", "likes", "comments",
        "shares", "saves", "completes", "completion", "watch_ms", "federated",
    }  # fmt: skip
    assert names["MediaJob"] >= {"job_id", "video_id", "source_key", "ladder", "title", "attempt"}
    assert names["VideoUploaded"] >= {
        "video_id",
        "owner_id",
        "source_key",
        "size_bytes",
        "mime",
        "policy",
        "at",
    }
