"""The lake holds every record of the log once, whatever happens to its writer (Y10, F24)."""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from media.child import ROOT, child_environment
from media.workers.protocol import Refused
from streams.lake import manifest as book
from streams.lake import sink, upkeep
from streams.lake.columns import SCHEMA_VERSION, SNAPSHOTS
from streams.lake.rows import pseudonyms
from streams.log import EmbeddedLog
from tables.definitions import TABLES, CatalogueEntry
from tables.records import Action, Card, CatalogueChange, EngagementDelta, EngagementEvent
from tables.reducers.engagement import Counters, VideoEngagement, Watched, WatchHistory
from tables.reducers.preferences import UserPreference

PLACES = "SELECT count(*), count(DISTINCT (source_partition, source_offset)) FROM events"
DAY = 86_400.0


def request(pond, **change):
    known = pond.lake.settings
    return {
        "lake": str(known.lake), "log": str(known.log), "key": known.key.hex(), "retention_days": 400.0,
        "changelogs": dict(known.changelogs), "snapshot_seconds": 0.0, **change,
    }  # fmt: skip


async def run(pond, **change):
    """Do a run in this process, for tests that look inside or break it."""
    return await asyncio.to_thread(sink.handle, request(pond, **change))


async def test_every_event_is_a_row_once_when_runs_follow_one_another(pond):
    """Y10: files by month, date and hour of the event's time; the second run takes only what is new."""
    await pond.watch(3000)
    done = await pond.lake.refresh()
    assert (done["rows"], done["busy"]) == (3000, False)
    await pond.watch(500)
    assert (await pond.lake.refresh())["rows"] == 500
    assert (await pond.lake.refresh()).get("rows", 0) == 0
    assert await pond.ask(PLACES) == [[3500, 3500]]
    folders = await pond.ask(
        "SELECT count(*) FROM events WHERE month != strftime(occurred_at, '%Y-%m')"
        " OR date != occurred_at::DATE OR hour != hour(occurred_at)"
    )
    assert folders == [[0]]
    assert list((pond.folder / "lake/events").glob("month=*/date=*/hour=*/*.parquet"))


async def test_people_are_pseudonyms_when_analysts_read_the_lake(pond):
    """N14, D20: keyed, stable across datasets, absent where the creator's id stands beside it."""
    await pond.watch(230)
    history = WatchHistory(
        videos={"video-1": Watched(fraction=0.5, viewed_at=time.time(), seen_at=time.time())}
    )
    await pond.row("watch_history", "user-1", history)
    await pond.lake.refresh()
    name = pseudonyms(b"k" * 32)
    rows = await pond.ask("SELECT DISTINCT viewer, own FROM events")
    assert {row[0] for row in rows} == {None, *(name(f"user-{n}") for n in range(1, 23))}
    assert [row for row in rows if row[0] is None] == [[None, True]]
    assert await pond.ask("SELECT viewer FROM watch_history") == [[name("user-1")]]
    for path in (pond.folder / "lake").rglob("*.parquet"):
        if "events" in path.parts or "watch_history" in path.parts:
            assert b"user-1" not in path.read_bytes()


async def test_poison_is_skipped_and_counted_when_it_lies_on_a_topic(pond):
    """DESIGN invariant 5: bytes that are no record, times and numbers that fit no column."""
    await pond.watch(10)
    good = {"event_id": "e", "user_id": "u", "video_id": "v", "action": "share", "occurred_at": time.time()}
    for raw in (b"\xff", b"", None, b'{"action": 1}'):
        await pond.put("events.engagement", "x", raw)
    for change in ({"occurred_at": 1e300}, {"occurred_at": -5.0}, {"watch_seconds": 1e999}):
        await pond.put(
            "events.engagement", "x", json.dumps(good | change).replace("Infinity", "1e999").encode()
        )
    huge = EngagementDelta(
        content_id="v", origin_partition=0, origin_offset=0, at=time.time(), watch_ms=2**63
    )
    await pond.put("engagement.deltas", "v", huge)
    await pond.put("engagement.deltas", "v", msgspec.structs.replace(huge, watch_ms=5))
    done = await pond.lake.refresh()
    assert done["skipped"] >= 7
    assert await pond.ask("SELECT count(*) FROM events") == [[10]]
    assert await pond.ask("SELECT sum(watch_ms)::BIGINT FROM deltas") == [[5]]


async def test_nothing_is_lost_or_repeated_when_a_run_breaks_at_any_step(pond, monkeypatch):
    """A run that fails before, in or after any commit is made good by the next (exactly once)."""
    monkeypatch.setattr(sink, "COMMIT_ROWS", 300)
    monkeypatch.setattr(sink, "READ_RECORDS", 100)
    steps = {
        "parquet.write": (sink.parquet, "write"),
        "commit": (book, "commit"),
        "sync": (book, "write_synced"),
    }
    chance = random.Random(7)
    for _ in range(25):
        await pond.watch(chance.randrange(200, 900))
        module, name = steps[chance.choice(sorted(steps))]
        real, left, after = getattr(module, name), [chance.randrange(1, 30)], chance.random() < 0.5

        def broken(*args, real=real, left=left, after=after, **kwargs):
            left[0] -= 1
            if left[0] == 0 and not after:
                raise OSError("no space left on device")
            found = real(*args, **kwargs)
            if left[0] == 0:
                raise OSError("the machine stopped")
            return found

        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            with contextlib.suppress(OSError):
                await run(pond)
    await run(pond)
    assert await pond.ask(PLACES) == [[pond.written, pond.written]]
    known = {part.path for facts in book.load(pond.folder / "lake").facts.values() for part in facts.files}
    known |= {item.path for item in book.load(pond.folder / "lake").retired}
    lying = {
        str(p.relative_to(pond.folder / "lake")) for p in (pond.folder / "lake/events").rglob("*.parquet*")
    }
    assert lying <= known


async def test_nothing_is_lost_or_repeated_when_the_writer_is_killed(pond):
    """kill -9 of the child at random moments, while events keep coming."""
    chance = random.Random(11)
    line = json.dumps(
        {
            "limits": {
                "cpu_seconds": 60,
                "address_space_bytes": 8 << 30,
                "file_bytes": 1 << 30,
                "open_files": 256,
            }
        }
        | request(pond)
    )
    for _ in range(8):
        await pond.watch(4000)
        child = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "streams.lake.sink"],
            stdin=subprocess.PIPE, env=child_environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
        child.stdin.write(line.encode() + b"\n")
        child.stdin.flush()
        await asyncio.sleep(0.35 + chance.random() * 0.5)
        child.kill()
        child.wait()
        child.stdin.close()
    await pond.lake.refresh()
    assert await pond.ask(PLACES) == [[pond.written, pond.written]]


async def test_small_files_are_merged_when_an_hour_has_many(pond, monkeypatch):
    """Merged files hold the same rows; the old ones stay for running queries, then go."""
    long_ago = time.time() - 3 * DAY
    for _ in range(3):
        await pond.watch(240, at=long_ago)
        await run(pond)
    before = await pond.ask("SELECT * FROM events ORDER BY source_partition, source_offset")
    manifest = book.load(pond.folder / "lake")
    assert manifest.retired
    assert all((pond.folder / "lake" / item.path).exists() for item in manifest.retired)
    assert len(manifest.facts["events"].files) <= 26
    monkeypatch.setattr(upkeep, "GRACE_SECONDS", -1.0)
    await run(pond)
    assert book.load(pond.folder / "lake").retired == []
    assert await pond.ask("SELECT * FROM events ORDER BY source_partition, source_offset") == before
    assert len(list((pond.folder / "lake/events").rglob("*.parquet"))) == len(manifest.facts["events"].files)


async def test_months_go_when_they_are_older_than_the_retention(pond):
    """F24: partitions of whole months."""
    await pond.watch(50, at=time.time() - 100 * DAY)
    await pond.watch(50)
    await run(pond, retention_days=40.0)
    assert await pond.ask("SELECT count(*) FROM events WHERE occurred_at < now() - INTERVAL 60 DAY") == [[0]]
    assert (await pond.ask("SELECT count(*) FROM events"))[0][0] >= 50


async def test_snapshot_is_the_table_when_rows_were_changed_and_deleted(pond):
    """Y10: the newest value of each key, flat; a manifest with offsets, schema version and time."""
    vector = (np.ones(512) / np.sqrt(512)).astype("<f2")
    await pond.row("catalogue", "v1", CatalogueEntry(card("v1", title="Old"), 1))
    await pond.row("catalogue", "v1", CatalogueEntry(card("v1", title="New", embedding=vector.tobytes()), 2))
    await pond.row("catalogue", "v2", CatalogueEntry(card("v2"), 3))
    await pond.row("catalogue", "v2", None)
    state = VideoEngagement(
        local=Counters(views=3, viewers=2, completion=1.5),
        federated=Counters(likes=2),
        updated_at=time.time(),
    )
    await pond.row("video_engagement", "v1", state)
    await pond.row("user_preference", "u1", UserPreference(vector=np.ones(512, "<f4").tobytes(), weight=1.0))
    await pond.put("catalogue.changes", "v1", CatalogueChange(video_id="v1", at=time.time(), card=card("v1")))
    await pond.put("catalogue.changes", "v2", CatalogueChange(video_id="v2", at=time.time()))
    await pond.lake.refresh()
    assert await pond.ask("SELECT video_id, title, tags, len(embedding) FROM catalogue") == [
        ["v1", "New", ["a", "b"], 512]
    ]
    assert await pond.ask("SELECT views, likes, federated_likes, completion_rate FROM video_engagement") == [
        [3, 2, 2, 0.75]
    ]
    assert await pond.ask("SELECT len(vector), weight FROM user_preference") == [[512, 1.0]]
    assert await pond.ask("SELECT video_id, deleted FROM catalogue_changes ORDER BY 1") == [
        ["v1", False],
        ["v2", True],
    ]
    (made,) = book.snapshots(pond.folder / "lake", "catalogue")
    topic = "freewill-catalogue-changelog"
    assert made.offsets == {p: pond.log.highwater(topic, p) for p in range(4)}
    assert (made.rows, made.schema_version) == (1, SCHEMA_VERSION)
    assert (pond.folder / "lake/tables/catalogue" / made.name / made.files[0]).is_file()
    await pond.watch(1)
    await pond.lake.refresh()
    assert len(book.snapshots(pond.folder / "lake", "catalogue")) == 1  # it has not changed


async def test_every_table_is_a_dataset_when_it_has_no_columns_of_its_own(pond):
    """A table that is added later can be asked at once: its values are JSON text."""
    assert {kind.name for kind in SNAPSHOTS} == {table.name for table in TABLES}
    for table in TABLES:
        await pond.row(table.name, "some key", _smallest(table.value))
    await pond.lake.refresh()
    for kind in SNAPSHOTS:
        if [column.name for column in kind.columns] == ["key", "value"]:
            ((key, text),) = await pond.ask(f'SELECT key, value FROM "{kind.name}"')
            assert isinstance(json.loads(text), dict)
            spec = next(table for table in TABLES if table.name == kind.name)
            assert (key == "some key") is not spec.personal


def _smallest(kind):
    """Return a value of a table with nothing in it."""
    return CatalogueEntry(card("v1"), 1) if kind is CatalogueEntry else kind()


async def test_lake_refuses_when_the_log_was_set_back(pond, tmp_path):
    """Offsets of a lost future would hide new records; the operator decides."""
    await pond.watch(100)
    await run(pond)
    manifest = book.load(pond.folder / "lake")
    manifest.facts["events"].offsets[0] = 10_000
    book.commit(pond.folder / "lake", manifest)
    with pytest.raises(Refused, match="ahead"):
        await run(pond)


async def test_lake_goes_on_when_the_log_is_a_new_one(pond):
    """Another log identity starts at its beginning and keeps the old files."""
    await pond.watch(100)
    await run(pond)
    other = EmbeddedLog.open(pond.folder / "other.db", fsync="os", upkeep_seconds=None)
    await other.declare("events.engagement", 4)
    event = EngagementEvent(
        event_id="e", user_id="u", video_id="v", action=Action.SHARE, occurred_at=time.time(), owner_id="o"
    )
    await other.append("events.engagement", 0, [msgspec.json.encode(event)], keys=[b"u"])
    await other.close()
    await run(pond, log=str(pond.folder / "other.db"))
    assert await pond.ask("SELECT count(*) FROM events") == [[101]]


async def test_second_writer_stands_back_when_one_is_at_work(pond):
    """One writer at a time, across processes."""
    with book.locked(pond.folder / "lake") as mine:
        assert mine
        assert (await pond.lake.refresh())["busy"] is True


async def test_no_child_is_started_when_the_log_has_nothing_new(pond, monkeypatch):
    """An idle server costs nothing."""
    pond.lake.position = lambda: 7
    await pond.lake.refresh()
    monkeypatch.setattr("streams.lake.service.run_child", SimpleNamespace())  # calling it would fail
    assert await pond.lake.refresh() == {"rows": 0}


def card(video_id, **change):
    known = {
        "video_id": video_id, "creator_id": "user-0", "creator_username": "ada", "title": "t",
        "created_at": time.time() - DAY, "duration_seconds": 10.0, "width": 640, "height": 360,
        "tags": ("a", "b"),
    }  # fmt: skip
    return Card(**(known | change))
