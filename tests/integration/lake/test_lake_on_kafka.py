"""The lake reads Kafka as it reads the embedded log: every record a row once (Y10, Z10)."""

import asyncio
import os
import time
from uuid import uuid4

import msgspec
import pytest

from streams.lake import manifest as book
from streams.lake import sink
from streams.lake.source import RemoteSource
from streams.log.kafka import KafkaLog
from streams.log.records import Batch
from tables.records import Action, EngagementEvent
from tables.reducers.engagement import Counters, VideoEngagement

PARTITIONS = 2
PREFIX = f"lake-{uuid4().hex[:8]}-"

pytestmark = pytest.mark.services


class Renamed(RemoteSource):
    """A broker is shared: this test's topics have names of their own."""

    def partitions(self, topic):
        return super().partitions(PREFIX + topic)

    def earliest(self, topic, partition):
        return super().earliest(PREFIX + topic, partition)

    def highwater(self, topic, partition):
        return super().highwater(PREFIX + topic, partition)

    def read(self, place, offset, max_records):
        return super().read((PREFIX + place[0], place[1]), offset, max_records)


@pytest.fixture
async def kafka():
    url = os.environ.get("FREEWILL_TEST_KAFKA")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("FREEWILL_TEST_KAFKA is missing: CI runs the tests on Kafka too")
        pytest.skip("no Kafka (set FREEWILL_TEST_KAFKA; `make services` or `make kafka` starts one)")
    log = KafkaLog.open(url, group="lake-test")
    await log.connect()
    yield log
    await log.close()


def events(first, count):
    return [
        msgspec.json.encode(
            EngagementEvent(
                event_id=str(number), user_id=f"u{number % 5}", video_id="v", action=Action.WATCH_50,
                occurred_at=time.time() - number, owner_id="o", duration_seconds=10.0,
            )
        )
        for number in range(first, first + count)
    ]  # fmt: skip


async def put(log, topic, partition, keys, values):
    await log.append([Batch(PREFIX + topic, partition, list(keys), list(values), time.time())])


async def test_every_record_is_a_row_once_when_the_log_is_kafka(kafka, pond, monkeypatch):
    """A run that breaks before its commit repeats nothing; tables are folds of their changelogs."""
    changelog = pond.lake.settings.changelogs["video_engagement"]
    for topic in ("events.engagement", changelog):
        await kafka.declare(PREFIX + topic, PARTITIONS)
    monkeypatch.setattr(
        sink, "open_source", lambda broker, path: Renamed(KafkaLog.open(broker, group="lake-test"))
    )
    request = {
        "lake": str(pond.lake.settings.lake), "broker": kafka.url, "log": "", "key": "6b" * 32,
        "changelogs": dict(pond.lake.settings.changelogs),
        "snapshot_seconds": 0.0, "retention_days": 400.0,
    }  # fmt: skip

    async def run():
        return await asyncio.to_thread(sink.handle, request)

    for partition in range(PARTITIONS):
        raw = events(partition * 1000, 700)
        await put(kafka, "events.engagement", partition, [b"u"] * len(raw), raw)
    for views in (1, 2):
        row = msgspec.json.encode(VideoEngagement(local=Counters(views=views)))
        await put(kafka, changelog, 0, [b"v", f"v{views}".encode()], [row, row])
    await put(kafka, changelog, 0, [b"v1"], [None])
    commit = book.commit
    monkeypatch.setattr(book, "commit", lambda lake, manifest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await run()
    monkeypatch.setattr(book, "commit", commit)
    assert (await run())["rows"] == 1400
    raw = events(5000, 30)
    await put(kafka, "events.engagement", 1, [b"u"] * 30, raw)
    assert (await run())["rows"] == 30
    assert (await run()).get("rows", 0) == 0
    assert await pond.ask(
        "SELECT count(*), count(DISTINCT (source_partition, source_offset)), count(DISTINCT event_id),"
        " (SELECT list(video_id || views ORDER BY video_id) FROM video_engagement) FROM events"
    ) == [[1430, 1430, 1430, ["v2", "v22"]]]
    manifest = book.load(pond.lake.settings.lake)
    assert manifest.log_identity == kafka.identity
    assert manifest.facts["events"].offsets == {0: 700, 1: 730}
    with book.locked(pond.lake.settings.lake):
        assert await run() == {"busy": True}


async def test_run_says_so_when_kafka_is_away(pond, monkeypatch):
    """The lake stays as it was committed last."""
    monkeypatch.setattr("streams.log.kafka.log.CONNECT_SECONDS", 1.0)
    request = {
        "lake": str(pond.lake.settings.lake), "broker": "kafka://127.0.0.1:9", "log": "", "key": "6b" * 32,
        "changelogs": {}, "snapshot_seconds": 0.0, "retention_days": 400.0,
    }  # fmt: skip
    with pytest.raises(sink.Refused, match="no Kafka"):
        await asyncio.to_thread(sink.handle, request)
