"""Drift between statuses, rows and objects, and its repair (C41, C10, C11, X10)."""

import json
import os
from itertools import product

import pytest
from sqlalchemy import delete, update

from media.stores import FileStore
from social.videos import VideoService
from social.videos.reconcile import LOST_SECONDS, SETTLED_SECONDS, Facts, Repair, decide
from social.videos.reconciler import Reconciler
from tables.lifecycle import VIDEO, JobStatus, UploadStatus, VideoStatus, may
from tables.relational.models import EncodingJobRow, UploadSessionRow, VideoRow, moment

V = VideoStatus
QUIET = (0.0, SETTLED_SECONDS, LOST_SECONDS)
FLAGS = ("has_session", "has_job", "has_source", "playable")
TARGET = {
    Repair.ENQUEUE: V.TRANSCODING,
    Repair.REQUEUE: V.TRANSCODING,
    Repair.FINISH: V.READY,
    Repair.FAIL_UPLOAD: V.FAILED,
    Repair.FAIL_SOURCE: V.FAILED,
}


def expected(facts):
    """Say the same as the code in other words: the conditions of each repair, none of which overlap."""
    settled, lost = facts.quiet_seconds >= SETTLED_SECONDS, facts.quiet_seconds >= LOST_SECONDS
    unheard = facts.status is V.TRANSCODING and not facts.playable and (lost or not facts.has_job)
    conditions = {
        Repair.FAIL_UPLOAD: facts.status is V.UPLOADING and lost and not facts.has_session,
        Repair.ENQUEUE: facts.status is V.UPLOADED,
        Repair.FINISH: facts.status in (V.TRANSCODING, V.FAILED) and facts.playable,
        Repair.REQUEUE: unheard and facts.has_source,
        Repair.FAIL_SOURCE: unheard and not facts.has_source,
    }
    return [repair for repair, holds in conditions.items() if settled and holds]


def test_decision_is_the_tables_when_every_state_meets_every_fact():
    """C41, C10, C11: all 288 combinations; no repair is a move that the lifecycle forbids."""
    for status, quiet, *flags in product(V, QUIET, *[(False, True)] * len(FLAGS)):
        facts = Facts(status, quiet, **dict(zip(FLAGS, flags, strict=True)))
        repair = decide(facts)
        assert ([repair] if repair else []) == expected(facts)
        if repair is None or repair is Repair.REQUEUE:
            continue
        way = [V.TRANSCODING, V.READY] if status is V.FAILED else [TARGET[repair]]
        for old, new in zip([status, *way], way, strict=False):
            assert may(VIDEO, old, new)


@pytest.fixture
def place(world, tmp_path):
    """Return a service over a real folder, and its reconciler."""
    store = FileStore(tmp_path / "objects")
    world.videos = VideoService(world.database, store, world.clock)
    world.reconciler = Reconciler(world.database, store, world.videos, world.clock)
    world.files = store
    return world


async def change(place, model, *where, **values):
    async with place.database.transaction() as session:
        await session.execute(update(model).where(*where).values(**values))


async def fill(place, video):
    for asset in video.assets:
        await place.files.put_bytes(asset.key, b"x", content_type="text/plain")


async def both(place):
    """Find twice, repair, and find nothing more."""
    place.clock.now += SETTLED_SECONDS
    dry = await place.reconciler.unfinished(dry_run=True)
    assert not any(finding.repaired for finding in dry)
    done = await place.reconciler.unfinished()
    assert [finding.subject for finding in done] == [finding.subject for finding in dry]
    assert all(finding.repaired for finding in done)
    assert await place.reconciler.unfinished() == []
    return [finding.what for finding in done]


async def test_encode_is_queued_when_the_event_of_an_upload_was_lost(place):
    """C41: UPLOADED without event; what is young is left alone."""
    owner = await place.user()
    video = await place.video(owner)
    await place.drain()
    assert await place.reconciler.unfinished() == []
    assert await both(place) == ["enqueue"]
    assert (await place.videos.get(video.id, owner)).status is V.TRANSCODING
    assert len(await place.outbox("media.jobs")) == 1


@pytest.mark.parametrize("job", [None, JobStatus.FAILED, JobStatus.COMPLETED, JobStatus.PROCESSING])
async def test_job_is_queued_again_when_nobody_works_on_it(place, job):
    """C41: TRANSCODING without a job, or with one that nobody reports of for a day."""
    owner = await place.user()
    video, _ = await place.encoding(owner)
    async with place.database.transaction() as session:
        if job is None:
            await session.execute(delete(EncodingJobRow))
        else:
            await session.execute(update(EncodingJobRow).values(status=job))
    if job is JobStatus.PROCESSING:
        place.clock.now += LOST_SECONDS
    await place.drain()
    assert await both(place) == ["requeue"]
    [job] = await place.videos.unfinished_jobs()
    [sent] = await place.outbox("media.jobs")
    assert json.loads(sent.payload)["job_id"] == job.job_id
    assert (await place.videos.get(video.id, owner)).status is V.TRANSCODING


async def test_video_fails_when_its_source_was_lost_before_it_was_processed(place):
    """C41: rows without objects; the owner can upload again (X10)."""
    owner = await place.user()
    video, _ = await place.encoding(owner)
    async with place.database.transaction() as session:
        await session.execute(delete(EncodingJobRow))
    await place.files.delete_prefix(f"videos/{video.id}/")
    assert await both(place) == ["fail_source"]
    failed = await place.videos.get(video.id, owner)
    assert (failed.status, failed.fail_code) == (V.FAILED, "SOURCE_MISSING")


@pytest.mark.parametrize("status", [V.TRANSCODING, V.FAILED])
async def test_video_becomes_ready_when_all_its_outputs_are_there(place, status):
    """C41, C6: assets present without READY; the facts are told again."""
    owner = await place.user()
    video = await place.ready(owner)
    await fill(place, video)
    await change(place, VideoRow, VideoRow.id == video.id, status=status)
    await place.drain()
    assert await both(place) == ["finish"]
    again = await place.videos.get(video.id, owner)
    assert (again.status, again.fail_code, again.assets) == (V.READY, None, video.assets)
    assert "video.ready" in [json.loads(row.payload)["kind"] for row in await place.outbox("events.content")]
    assert await place.outbox("catalogue.changes")


async def test_failed_video_stays_when_one_output_is_missing(place):
    """C6: what does not play is not READY."""
    owner = await place.user()
    video = await place.ready(owner)
    await fill(place, video)
    await place.files.delete(video.assets[-1].key)
    await change(place, VideoRow, VideoRow.id == video.id, status=V.FAILED)
    place.clock.now += LOST_SECONDS
    assert await place.reconciler.unfinished() == []


async def test_upload_is_given_up_when_its_session_is_gone_for_a_day(place):
    """C41, C8: an open session keeps it waiting."""
    owner = await place.user()
    video = await place.video(owner)
    await change(place, VideoRow, VideoRow.id == video.id, status=V.UPLOADING, source_key=None)
    await change(place, UploadSessionRow, UploadSessionRow.video_id == video.id, status=UploadStatus.PAUSED)
    place.clock.now += LOST_SECONDS
    assert await place.reconciler.unfinished() == []
    await change(place, UploadSessionRow, UploadSessionRow.video_id == video.id, status=UploadStatus.EXPIRED)
    assert await both(place) == ["fail_upload"]
    assert (await place.videos.get(video.id, owner)).fail_code == "UPLOAD_ABANDONED"


async def test_repair_is_passed_over_when_the_video_moved_meanwhile(place):
    """C41: what was found is looked at again under the row's lock."""
    owner = await place.user()
    video = await place.ready(owner)
    for repair in Repair:
        assert not await place.videos.repair(video.id, V.TRANSCODING, repair)
    assert (await place.videos.get(video.id, owner)).status is V.READY


async def test_objects_agree_with_rows_when_they_were_compared(place, monkeypatch):
    """C41: objects without rows go, rows without objects are told, READY stays; in ranges of any size."""
    owner = await place.user()
    videos = [await place.ready(owner) for _ in range(3)]
    for video in videos:
        await fill(place, video)
    gone = videos[1].assets[0].key
    await place.files.delete(gone)
    strays = [f"videos/{video_id}/source.mp4" for video_id in ("0" * 36, "f" * 36)]
    strays.append(f"videos/{videos[0].id}/source.mov")
    for key in strays:
        await place.files.put_bytes(key, b"x", content_type="video/mp4")
    place.clock.now = os.stat(place.files.local_path(strays[0])).st_mtime + LOST_SECONDS + 60.0
    await change(place, VideoRow, updated_at=moment(place.clock.now - SETTLED_SECONDS - 1.0))
    found = []
    for size in (1, 5_000):
        monkeypatch.setattr("social.videos.reconciler.OBJECTS_AT_ONCE", size)
        found.append({(one.what, one.subject) for one in await place.reconciler.objects(dry_run=True)})
    assert found[0] == found[1] == {("delete", key) for key in strays} | {("missing", gone)}
    await place.reconciler.objects()
    assert [(one.what, one.subject) for one in await place.reconciler.objects()] == [("missing", gone)]
    assert {(await place.videos.get(video.id, owner)).status for video in videos} == {V.READY}
