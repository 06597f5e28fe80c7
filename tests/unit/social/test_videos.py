"""The video service: upload, processing, reading, deletion (A8, A19, B1-B9, B16, C1-C18, C23-C25, X67)."""

import asyncio
import json
import random

import pytest

from social.videos import VideoService, check_metadata
from social.videos.editing import edition
from social.videos.metadata import check_fields
from social.views import Principal
from tables.errors import (
    ContentAlreadyDeleted,
    ContentNotFound,
    ContentTooLong,
    DatabaseFailure,
    InvalidStateTransition,
    InvalidVisibility,
    NotContentOwner,
    PreconditionFailed,
    StorageFailure,
    UserNotFound,
    ValidationFailed,
)
from tables.lifecycle import JobStatus, VideoStatus, Visibility
from tables.relational.models import (
    EncodingJobRow,
    ObjectRemovalRow,
    TombstoneRow,
    UploadSessionRow,
    VideoAssetRow,
    VideoRow,
)


class Died(BaseException):
    """The end of the process, as far as the service can tell: nothing handles it."""


def payloads(rows):
    return [json.loads(row.payload) for row in rows]


# Metadata


def test_metadata_is_cleaned_when_within_limits():
    """A8: the limits themselves pass."""
    clean = check_metadata(" " + "t" * 200 + " ", "d" * 2000, ["#Cats", "cats", " ", "D" * 50], "PRIVATE")
    assert clean.title == "t" * 200
    assert clean.tags == ("cats", "d" * 50)
    assert clean.visibility is Visibility.PRIVATE
    assert len(check_metadata("t", tags=[f"tag{number}" for number in range(10)]).tags) == 10


@pytest.mark.parametrize(
    ("said", "error", "field"),
    [
        ({"title": None}, ValidationFailed, "title"),
        ({"title": " \n "}, ValidationFailed, "title"),
        ({"title": "t" * 201}, ContentTooLong, "title"),
        ({"title": "t", "description": "d" * 2001}, ContentTooLong, "description"),
        ({"title": "t", "tags": [f"tag{number}" for number in range(11)]}, ContentTooLong, "tags"),
        ({"title": "t", "tags": ["x" * 51]}, ContentTooLong, "tags"),
        ({"title": "t", "visibility": "public"}, InvalidVisibility, "visibility"),
        ({"title": "a\0b"}, ValidationFailed, "title"),
        ({"title": "t", "description": "\ud800"}, ValidationFailed, "description"),
    ],
)
def test_metadata_is_refused_when_one_limit_is_passed(said, error, field):
    """A8, O10, H6: each on its own, the field named."""
    with pytest.raises(error) as caught:
        check_metadata(**said)
    assert caught.value.details["field"] == field


# Upload


async def test_object_row_session_and_fact_exist_when_uploaded(world):
    """A19, A20, A25, A43, A46, A47."""
    owner = await world.user("ada")
    video = await world.video(owner, tags=("cats",), description="d")
    assert video.status is VideoStatus.UPLOADED
    assert (video.owner_username, video.tags, video.progress, video.assets) == ("ada", ("cats",), 0.0, ())
    assert (video.source_size_bytes, video.source_mime, video.width) == (6, "video/mp4", 640)  # B34
    assert world.store.objects == {f"videos/{video.id}/source.mp4": b"source"}
    (session,) = await world.rows(UploadSessionRow)
    assert (session.video_id, session.size_bytes) == (video.id, 6)
    assert (session.provider, session.status, session.bytes_uploaded) == ("FORM", "COMPLETED", 6)
    (fact,) = payloads(await world.outbox("video.uploaded"))
    assert fact["source_key"] == f"videos/{video.id}/source.mp4"
    assert await world.rows(ObjectRemovalRow) == []


async def test_nothing_remains_when_the_store_fails(world):
    """A19: and what the store kept is removed by the sweep."""
    owner = await world.user()
    world.store.broken = True
    with pytest.raises(StorageFailure):
        await world.video(owner)
    assert await world.rows(VideoRow) == []
    world.store.broken = False
    assert await world.videos.sweep_objects() == 0  # still young
    assert await world.videos.sweep_objects(everything=True) == 1
    assert await world.rows(ObjectRemovalRow) == []


async def test_object_is_removed_when_the_rows_cannot_be_written(world):
    """A19: the other way round."""
    stranger = Principal("00000000-0000-0000-0000-000000000000", "gone", "user", "s")
    with pytest.raises(UserNotFound):
        await world.video(stranger)
    assert world.store.objects == {}
    assert await world.rows(VideoRow) == []


async def test_object_goes_with_the_sweep_when_the_process_died_before_the_row(world, monkeypatch):
    """A19, INTERFACE: a crash leaves no row and no object."""
    owner = await world.user()

    async def died(*_):
        raise Died

    monkeypatch.setattr(world.videos, "_commit_upload", died)
    with pytest.raises(Died):
        await world.video(owner)
    assert len(world.store.objects) == 1
    restarted = VideoService(world.database, world.store, world.clock)
    assert await restarted.sweep_objects(everything=True) == 1
    assert world.store.objects == {}
    assert await restarted.sweep_objects(everything=True) == 0


async def test_source_stays_when_the_sweep_runs_beside_it(world):
    """A19: the sweep never touches what has a row."""
    video = await world.video(await world.user())
    async with world.database.transaction() as session:
        session.add(ObjectRemovalRow(prefix=f"videos/{video.id}/", due_at=(await _any(world)).created_at))
    await world.videos.sweep_objects()
    assert len(world.store.objects) == 1
    assert await world.rows(ObjectRemovalRow) == []


async def _any(world) -> VideoRow:
    return (await world.rows(VideoRow))[0]


async def test_upload_fails_when_the_sweep_was_faster(world):
    """A19: an upload that took longer than its grace leaves nothing, rather than a video without a source."""
    owner, put = await world.user(), world.store.put_file

    async def slow(key, path, *, content_type, move=False):
        await put(key, path, content_type=content_type, move=move)
        world.clock.now += 4000
        await VideoService(world.database, world.store, world.clock).sweep_objects()

    world.store.put_file = slow
    with pytest.raises(StorageFailure):
        await world.video(owner)
    assert (world.store.objects, await world.rows(VideoRow)) == ({}, [])


async def test_nothing_remains_when_the_client_hangs_up_while_storing(world):
    """INTERFACE: a form upload cut off by the client leaves no row and no object."""
    owner, reached, put = await world.user(), asyncio.Event(), world.store.put_file

    async def stalled(key, path, *, content_type, move=False):
        await put(key, path, content_type=content_type)
        reached.set()
        await asyncio.sleep(60)

    world.store.put_file = stalled
    task = asyncio.create_task(world.video(owner))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (world.store.objects, await world.rows(VideoRow)) == ({}, [])


# Processing


async def test_one_job_is_queued_when_asked_many_times(world):
    """B1, B8, C5."""
    video = await world.video(await world.user())
    changed = await asyncio.gather(*(world.videos.enqueue_encoding(video.id, "core") for _ in range(4)))
    assert sorted(changed) == [False, False, False, True]
    assert len(await world.rows(EncodingJobRow)) == 1
    (job,) = payloads(await world.outbox("media.jobs"))
    assert (job["video_id"], job["ladder"], job.get("attempt", 0)) == (video.id, "core", 0)
    assert [job.job_id for job in await world.videos.unfinished_jobs()] == [job["job_id"]]
    assert not await world.videos.enqueue_encoding("00000000-0000-0000-0000-000000000000", "core")


async def test_progress_never_falls_when_reports_come_in_any_order(world, report):
    """B5, A38: monotone, below 100 until READY, also over a restart that begins at 0 again."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    shown = []
    steps = [(0.0, "probing"), (10.0, "transcoding"), (5.0, "transcoding"), (None, "transcoding")]
    steps += [(60.0, "transcoding"), (0.0, "probing"), (100.0, "storing"), (30.0, "transcoding")]
    for percent, stage in steps:
        result = report(done.job_id, video.id, "progress", progress=percent, stage=stage)
        frames = await world.videos.apply_progress(result)
        shown.append((await world.videos.get(video.id, owner)).progress)
        assert [frame.event for frame in frames] in ([], ["progress_update", "video_progress"])
        assert all(frame.data["progress"] == shown[-1] for frame in frames)
    assert shown == sorted(shown)
    assert shown[-1] == 99.0
    job = await world.videos.encoding_job(video.id, owner)
    assert (job.status, job.stage) == (JobStatus.PROCESSING, "transcoding")
    assert job.started_at is not None


async def test_progress_is_passed_over_when_nobody_waits_for_it(world, report):
    """X67."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    await world.videos.apply_completed(done)
    late = report(done.job_id, video.id, "progress", progress=50.0)
    assert await world.videos.apply_progress(late) == []
    assert await world.videos.apply_progress(report("unknown", video.id, "progress")) == []
    assert (await world.videos.get(video.id, owner)).progress == 100.0


async def test_video_is_ready_with_assets_and_facts_when_completed(world):
    """C6, B17, B33, C43: assets, status and facts are one transaction."""
    owner = await world.user("ada")
    video, done = await world.encoding(owner, tags=("cats",))
    await world.drain()
    assert await world.videos.apply_completed(done)
    ready = await world.videos.get(video.id, None)
    assert ready.status is VideoStatus.READY
    assert ready.asset("HLS_RENDITION", "360p").bandwidth == 800_000
    assert ready.asset("HLS_RENDITION", "4k") is None
    assert (ready.duration_seconds, ready.progress) == (10.5, 100.0)
    assert ready.published_at == ready.processing_completed_at == world.clock.now
    assert [row.topic for row in await world.outbox()] == [
        "events.content",
        "notifications",
        "notifications",
        "catalogue.changes",
    ]
    content, note, ended, change = payloads(await world.outbox())
    assert (ended["event"], ended["data"]["status"]) == ("job_completed", "completed")
    assert (content["kind"], content["status"]) == ("video.ready", "READY")
    assert (note["recipient_id"], note["event"]) == (owner.user_id, "video_status")
    assert change["seq"] == (await world.outbox("catalogue.changes"))[0].id
    card = await world.videos.card(video.id)
    assert (card.creator_username, card.tags, card.qualities) == ("ada", ("cats",), ("360p",))
    job = await world.videos.encoding_job(video.id, owner)
    assert (job.status, job.progress, job.outputs) == (JobStatus.COMPLETED, 100.0, ("360p",))
    assert await world.videos.unfinished_jobs() == []


async def test_nothing_changes_when_a_report_comes_again_or_late(world, report):
    """B8, X67: READY wins over a later FAILED, whatever comes and however often."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    await world.videos.apply_completed(done)
    before, count = await world.videos.get(video.id, owner), len(await world.outbox())
    late = report(done.job_id, video.id, "failed", fail_code="TRANSCODE_ERROR", fail_reason="x")
    world.clock.now += 60
    assert not await world.videos.apply_completed(done)
    assert not await world.videos.apply_failed(late)
    assert await world.videos.get(video.id, owner) == before
    assert len(await world.outbox()) == count
    assert len(world.store.objects) == 1


async def test_ready_is_refused_when_there_are_no_assets(world, report):
    """C6, O36."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    with pytest.raises(InvalidStateTransition):
        await world.videos.apply_completed(report(done.job_id, video.id, assets=()))
    assert (await world.videos.get(video.id, owner)).status is VideoStatus.TRANSCODING
    assert await world.rows(VideoAssetRow) == []


async def test_reports_never_break_the_table_when_they_come_in_any_order(world, report):
    """C10, C11, X67: random reports, each maybe repeated; READY is final and FAILED has its reason."""
    owner = await world.user()
    for seed in range(6):
        rng = random.Random(seed)
        video, done = await world.encoding(owner)
        job, status = done.job_id, VideoStatus.TRANSCODING
        for _ in range(12):
            step = rng.choice(["progress", "completed", "failed", "requeue", "retry", "enqueue"])
            if step == "completed":
                await world.videos.apply_completed(done)
            elif step == "failed":
                await world.videos.apply_failed(
                    report(job, video.id, "failed", fail_code="C", fail_reason="r")
                )
            elif step == "progress":
                await world.videos.apply_progress(
                    report(job, video.id, "progress", progress=rng.random() * 100)
                )
            elif step == "requeue":
                await world.videos.requeue_job(job, "C", "r")
            elif step == "enqueue":
                await world.videos.enqueue_encoding(video.id, "core")
            elif (await world.videos.get(video.id, owner)).status is VideoStatus.FAILED:
                await world.videos.retry(video.id, owner)
            now = await world.videos.get(video.id, owner)
            assert not (status is VideoStatus.READY and now.status is not VideoStatus.READY)
            assert bool(now.assets) == (now.status is VideoStatus.READY)
            assert bool(now.fail_code) == (now.status is VideoStatus.FAILED)
            status = now.status


async def test_video_is_failed_with_its_code_when_processing_fails(world, report):
    """C7, O32, O37: the owner hears of it with the reason."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    await world.drain()
    fail = report(done.job_id, video.id, "failed", fail_code="CORRUPTED_FILE", fail_reason="No frames.")
    assert await world.videos.apply_failed(fail)
    assert not await world.videos.apply_failed(fail)
    failed = await world.videos.get(video.id, owner)
    assert (failed.status, failed.fail_code, failed.fail_reason) == ("FAILED", "CORRUPTED_FILE", "No frames.")
    content, note, _ended = payloads(await world.outbox())
    assert (content["status"], content["fail_code"]) == ("FAILED", "CORRUPTED_FILE")
    assert note["data"]["fail_reason"] == "No frames."
    assert not await world.videos.apply_completed(done)  # X67: no row for FAILED to READY


async def test_job_is_queued_again_when_the_failure_may_pass(world):
    """B9, B51: three tries after the first."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    await world.drain()
    tries = [await world.videos.requeue_job(done.job_id, "STORAGE_ERROR", "x") for _ in range(4)]
    assert tries == [True, True, True, False]
    assert [job["attempt"] for job in payloads(await world.outbox("media.jobs"))] == [1, 2, 3]
    assert (await world.videos.get(video.id, owner)).status is VideoStatus.TRANSCODING
    assert not await world.videos.requeue_job("unknown", "x", "x")


async def test_video_is_processed_again_when_the_owner_asks(world, report):
    """C48, B16, C9: FAILED only, source required, owner and operators only; progress stays."""
    owner, other, operator = await world.user(), await world.user(), await world.user(role="operator")
    video, done = await world.encoding(owner)
    with pytest.raises(InvalidStateTransition):
        await world.videos.retry(video.id, owner)
    await world.videos.apply_progress(report(done.job_id, video.id, "progress", progress=40.0))
    fail = report(done.job_id, video.id, "failed", fail_code="TRANSCODE_ERROR", fail_reason="x")
    await world.videos.apply_failed(fail)
    with pytest.raises(ContentNotFound):
        await world.videos.retry(video.id, other)
    again = await world.videos.retry(video.id, owner)
    assert (again.status, again.fail_code, again.progress) == (VideoStatus.TRANSCODING, None, 40.0)
    assert await world.videos.apply_failed(fail)
    world.store.objects.clear()
    with pytest.raises(InvalidStateTransition) as caught:
        await world.videos.retry(video.id, operator)
    assert caught.value.details["reason"] == "no source"


# Reading


async def test_page_lists_each_video_once_when_followed(world):
    """C18, C44: newest first with the id as tie break, status filter."""
    owner, other = await world.user(), await world.user()
    ids = []
    for number in range(7):
        world.clock.now += number % 2  # some share their time
        ids.append((await world.video(owner)).id)
    await world.video(other)
    seen, cursor = [], None
    while True:
        page = await world.videos.list_own(owner, None, cursor, 3)
        assert len(page.items) == 3 or page.next_cursor is None
        seen += [(video.created_at, video.id) for video in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert {video_id for _, video_id in seen} == set(ids)
    assert (await world.videos.list_own(owner, "READY")).items == []
    assert len((await world.videos.list_own(owner, "UPLOADED", None, 500)).items) == 7


@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "bnVsbA", "W10", "WzEsMl0", "W3RydWUsInh4Il0", "x" * 300, "WzFlOTk5LCJ4Il0"]
)
async def test_list_is_refused_when_a_parameter_is_bad(world, cursor):
    """INTERFACE, Errors: VALIDATION_ERROR with the field."""
    owner = await world.user()
    for arguments, field in (
        ({"cursor": cursor}, "cursor"),
        ({"limit": 0}, "limit"),
        ({"status": "ready"}, "status"),
    ):
        with pytest.raises(ValidationFailed) as caught:
            await world.videos.list_own(owner, **arguments)
        assert caught.value.details["field"] == field


async def test_video_shows_only_to_those_who_may_see_it(world):
    """C44, H6, O7: another's private or unfinished video is not there."""
    owner, other, operator = await world.user(), await world.user(), await world.user(role="operator")
    public, private = await world.ready(owner), await world.ready(owner, visibility=Visibility.PRIVATE)
    unfinished = await world.video(owner)
    ids = [public.id, private.id, unfinished.id, "x", "00000000-0000-0000-0000-000000000000"]
    assert set(await world.videos.get_many(ids, None)) == {public.id}
    assert set(await world.videos.get_many(ids, other)) == {public.id}
    assert len(await world.videos.get_many(ids, owner)) == 3
    assert len(await world.videos.get_many(ids, operator)) == 3
    assert [video.id for video in (await world.videos.list_public(owner.user_id)).items] == [public.id]
    for video_id in ids[1:]:
        with pytest.raises(ContentNotFound):
            await world.videos.get(video_id, other)
    assert await world.videos.card(unfinished.id) is None


# Deletion


async def test_all_is_gone_but_a_tombstone_when_deleted(world):
    """C24, C25, X34, X35: rows, objects and the card; the second time it is not found."""
    owner, other = await world.user(), await world.user()
    video = await world.ready(owner)
    world.store.objects[f"videos/{video.id}/hls/master.m3u8"] = b"m"
    await world.interactions.like(other, video.id)
    await world.interactions.comments.add(other, video.id, "hello")
    await world.drain()
    with pytest.raises(NotContentOwner):
        await world.videos.delete(video.id, other)
    await world.videos.delete(video.id, owner)
    for model in (VideoRow, VideoAssetRow, EncodingJobRow, UploadSessionRow):
        assert await world.rows(model) == []
    assert world.store.objects == {}
    (tombstone,) = await world.rows(TombstoneRow)
    assert (tombstone.id, tombstone.kind) == (video.id, "video")
    content, change = payloads(await world.outbox())
    assert content["kind"] == "video.deleted"
    assert "card" not in change
    with pytest.raises(ContentNotFound):
        await world.videos.delete(video.id, owner)
    with pytest.raises(ContentNotFound):
        await world.videos.get(video.id, owner)
    with pytest.raises(ContentAlreadyDeleted):
        await world.interactions.like(other, video.id)
    with pytest.raises(ContentAlreadyDeleted):
        await world.videos.retry(video.id, owner)


async def test_late_outputs_go_when_their_video_was_deleted(world, report):
    """C24: an encode that ends after the deletion leaves nothing."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    await world.videos.delete(video.id, owner)
    world.store.objects[f"videos/{video.id}/hls/master.m3u8"] = b"late"
    assert not await world.videos.apply_completed(done)
    assert world.store.objects == {}
    world.store.objects[f"videos/{video.id}/hls/later.ts"] = b"later"
    world.clock.now += 4000
    assert await world.videos.sweep_objects() == 1
    assert world.store.objects == {}
    assert not await world.videos.apply_completed(report("job", "../../etc", assets=done.assets))


async def test_objects_go_later_when_the_store_is_away_at_deletion(world):
    """C24, O40: the request does not fail for it."""
    owner = await world.user()
    video = await world.video(owner)
    world.store.broken = True
    await world.videos.delete(video.id, owner)
    world.clock.now += 4000
    assert await world.videos.sweep_objects() == 0
    world.store.broken = False
    assert await world.videos.sweep_objects() == 1
    assert world.store.objects == {}


async def test_embedding_state_is_checked_when_recorded(world):
    """R22."""
    owner = await world.user()
    video = await world.ready(owner)
    await world.videos.record_embedding(video.id, "failed", "v1", error="no frames")
    (row,) = await world.rows(VideoRow)
    assert (row.embedding_state, row.embedding_model, row.embedding_error) == ("failed", "v1", "no frames")
    with pytest.raises(ValueError, match="state"):
        await world.videos.record_embedding(video.id, "odd", "v1")


async def test_failure_is_reported_when_the_database_is_away(world, monkeypatch):
    """A19, O9: the object is left to the sweep, the caller gets DATABASE_ERROR."""
    owner = await world.user()
    real = world.database.run
    calls = 0

    async def second_fails(work):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise DatabaseFailure
        return await real(work)

    monkeypatch.setattr(world.database, "run", second_fails)
    with pytest.raises(DatabaseFailure):
        await world.video(owner)
    assert (world.store.objects, await world.rows(VideoRow)) == ({}, [])


# Editing


async def test_catalogue_and_facts_follow_when_a_ready_video_is_edited(world):
    """C19, H6, DESIGN invariant 8: the card has the new words and audience; the same words tell nothing."""
    owner = await world.user()
    video = await world.ready(owner, tags=("a",))
    await world.drain()
    said = check_fields({"title": "New", "hashtags": ["#B", "a"], "visibility": "PRIVATE"})
    edited = await world.videos.edit(video.id, owner, said)
    [card] = [change["card"] for change in payloads(await world.outbox("catalogue.changes"))]
    assert (card["title"], card["tags"], card["visibility"]) == ("New", ["a", "b"], "PRIVATE")
    assert [fact["kind"] for fact in payloads(await world.outbox("events.content"))] == ["video.updated"]
    assert edited.status is VideoStatus.READY
    await world.drain()
    await world.videos.edit(video.id, owner, said)
    assert await world.outbox() == []


async def test_one_of_two_edits_wins_when_they_come_at_once(world):
    """C19, RFC 9110 section 13.1.1: both go on from the same edition, so one would undo the other."""
    owner = await world.user()
    video = await world.ready(owner)
    known = {edition(video)}
    for round_ in range(5):
        words = [f"{round_} {name}" for name in "abcd"]
        done = await asyncio.gather(
            *(world.videos.edit(video.id, owner, check_fields({"title": word}), known) for word in words),
            return_exceptions=True,
        )
        [won] = [edited for edited in done if not isinstance(edited, BaseException)]
        lost = [error for error in done if isinstance(error, BaseException)]
        assert [type(error) for error in lost] == [PreconditionFailed] * 3
        assert (await world.videos.get(video.id, owner)).title == won.title
        known = {edition(won)}


async def test_card_is_not_told_when_a_video_is_edited_before_it_is_ready(world):
    """C13: discovery knows READY videos only."""
    owner = await world.user()
    video = await world.video(owner)
    await world.drain()
    await world.videos.edit(video.id, owner, check_fields({"title": "New"}))
    assert await world.outbox("catalogue.changes") == []


async def test_source_is_asked_for_when_nothing_else_may_be_retried(world):
    """B16, C48: only FAILED, and only with a source that is there."""
    owner = await world.user()
    video = await world.video(owner)
    with pytest.raises(InvalidStateTransition) as caught:
        await world.videos.retry(video.id, owner)
    assert caught.value.details["allowed"] == ["TRANSCODING"]
    assert (await world.videos.get(video.id, owner)).status is VideoStatus.UPLOADED
