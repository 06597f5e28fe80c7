"""Client events at the edge: refused, known, or durable before the answer (F2, F3, F28; INTERFACE)."""

from uuid import uuid4

import msgspec
import pytest

from streams.intake import (
    ENVELOPE_EVENTS,
    EngagementIntake,
    RecentIds,
    WatchedVideo,
    parse_event,
    remember_tail,
)
from streams.log import LogWriteFailed
from streams.log.records import Chunk
from tables.errors import PublishFailure, ValidationFailed
from tables.records import Action, EngagementEvent, events_of

NOW = 1_800_000_000.0
VIDEO = str(uuid4())


class Log:
    """A writer that keeps what it is given, or refuses it."""

    def __init__(self):
        self.records = []
        self.envelopes = 0
        self.broken = False

    async def publish(self, outputs):
        if self.broken:
            raise LogWriteFailed("disk full")
        self.envelopes += len(outputs)
        for item in outputs:
            self.records += events_of(msgspec.json.decode(item.value, type=EngagementEvent))

    async def commit(self, *, outputs=(), writes=()):
        raise AssertionError("the intake writes no table")


class Relations:
    """Remembers event ids as the database does."""

    def __init__(self):
        self.events = []

    async def apply_client_events(self, user_id, events):
        known = [event.event_id in self.events for event in events]
        self.events += [event.event_id for event in events]
        return known


async def find_video(video_id, viewer_id):
    return WatchedVideo("owner", 12.0) if video_id == VIDEO else None


@pytest.fixture
def parts():
    log, relations = Log(), Relations()
    intake = EngagementIntake(log, relations, find_video, recent=RecentIds(1000), clock=lambda: NOW)
    return intake, log, relations


def event(action="watch_start", **more):
    return {"event_id": str(uuid4()), "video_id": VIDEO, "action": action} | more


async def test_events_are_enriched_and_counted_when_new(parts):
    intake, log, _ = parts
    result = await intake.submit("u", [event(), event("watch_25%", watch_seconds=3)])
    assert (result.accepted, result.duplicates, result.rejected) == (2, 0, [])
    assert [(r.action, r.owner_id, r.duration_seconds) for r in log.records] == [
        (Action.WATCH_START, "owner", 12.0),
        (Action.WATCH_25, "owner", 12.0),
    ]


async def test_batch_of_a_user_is_one_record_up_to_a_bound(parts):
    """One envelope is one message: one offset and one changelog record for all its events (F3)."""
    intake, log, _ = parts
    batch = [event() for _ in range(ENVELOPE_EVENTS)]
    await intake.submit("u", batch)
    assert log.envelopes == 1
    assert [record.event_id for record in log.records] == [item["event_id"] for item in batch]
    await intake.submit("u", [event() for _ in range(ENVELOPE_EVENTS + 1)])
    assert log.envelopes == 3


async def test_known_id_is_a_duplicate_when_it_comes_again_also_within_a_batch(parts):
    intake, log, relations = parts
    watch, like = event(), event("like")
    first = await intake.submit("u", [watch, watch, like])
    again = await intake.submit("u", [watch, like])
    assert (first.accepted, first.duplicates) == (2, 1)
    assert (again.accepted, again.duplicates) == (0, 2)
    assert (len(log.records), len(relations.events)) == (1, 1)


async def test_relation_known_to_the_database_is_a_duplicate_after_a_restart(parts):
    intake, _, relations = parts
    like = event("like")
    relations.events.append(like["event_id"])
    result = await intake.submit("u", [like])
    assert (result.accepted, result.duplicates) == (0, 1)


async def test_bad_events_are_refused_each_by_itself_and_the_rest_counts(parts):
    intake, log, _ = parts
    bad = [
        event("dance"),
        event("uncomment"),
        event(video_id=str(uuid4())),
        event(event_id="1"),
        event(watch_seconds=-1),
        event(watch_seconds=True),
        event(occurred_at="2099-01-01T00:00:00Z"),
        event(occurred_at="yesterday"),
        event(occurred_at="2026-11-21T08:00:00"),
        event(device="x" * 33),
        "no object",
    ]
    result = await intake.submit("u", [*bad, event()])
    assert result.accepted == len(log.records) == 1
    assert [rejected.index for rejected in result.rejected] == list(range(len(bad)))
    codes = [rejected.code for rejected in result.rejected]
    assert codes == ["VALIDATION_ERROR"] * 2 + ["CONTENT_NOT_FOUND"] + ["VALIDATION_ERROR"] * 8


async def test_batch_over_the_limit_is_refused_whole(parts):
    intake, log, _ = parts
    with pytest.raises(ValidationFailed):
        await intake.submit("u", [event() for _ in range(1001)])
    assert not log.records


async def test_refused_by_the_log_is_not_known_afterwards(parts):
    intake, log, _ = parts
    watch = event()
    log.broken = True
    with pytest.raises(PublishFailure):
        await intake.submit("u", [watch])
    log.broken = False
    result = await intake.submit("u", [watch])
    assert (result.accepted, result.duplicates) == (1, 0)


def test_time_is_now_when_the_client_names_none():
    assert parse_event(event(), "u", NOW).occurred_at == NOW


class Busy:
    """A log to which somebody appends a record whenever one is read."""

    def partitions(self, topic):
        return 2

    def earliest(self, topic, partition):
        return 0

    def highwater(self, topic, partition):
        return 3

    async def read(self, topic, partition, offset, max_records):
        value = msgspec.json.encode({"event_id": f"{partition}-{offset}", "user_id": "u"})
        return Chunk(topic, partition, [offset], [b"u"], [value], [0.0])


async def test_start_remembers_what_was_there_when_others_go_on_writing():
    """A worker that joins a busy cluster becomes ready."""
    recent = RecentIds()
    await remember_tail(Busy(), recent)
    known = [(p, n) for p in range(2) for n in range(5) if RecentIds.mark("u", f"{p}-{n}") in recent]
    assert known == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_remembered_ids_are_bounded():
    recent = RecentIds(2)
    marks = [RecentIds.mark("u", str(number)) for number in range(3)]
    for mark in marks:
        recent.add(mark)
    assert [mark in recent for mark in marks] == [False, True, True]
    assert RecentIds.mark("a", "1") != RecentIds.mark("b", "1")
