"""Jobs of videos: a first rung, more rungs, operators' decisions, lost jobs (Y5, B15, B42-B44)."""

import msgspec
import pytest
from sqlalchemy import delete

from social.videos.jobs import LOST_SECONDS, EncodingJobs, Wish
from social.videos.processing import MAX_RUNNING_PROGRESS
from social.videos.reencoding import Encoding
from tables.errors import InvalidStateTransition, Missing, NotContentOwner, ValidationFailed
from tables.lifecycle import JobStatus, VideoStatus
from tables.records import Asset, MediaJob
from tables.relational.models import VideoAssetRow


def jobs_of(world):
    return EncodingJobs(world.database, world.videos, world.store, world.clock)


async def sent(world):
    """Return what is on the media queue."""
    return [msgspec.json.decode(row.payload, type=MediaJob) for row in await world.outbox("media.jobs")]


async def events(world):
    """Return (event, status) of the frames to owners."""
    frames = [msgspec.json.decode(row.payload) for row in await world.outbox("notifications")]
    return [(frame["event"], frame["data"]["status"]) for frame in frames]


def rung(done, quality, height):
    made = Asset(
        type="HLS_RENDITION", key=f"videos/v/{quality}", quality=quality, height=height, container="ts"
    )
    return msgspec.structs.replace(done, assets=(*done.assets, made))


@pytest.fixture
async def half(world, report):
    """A video that plays with its first rung while its job goes on, and the report of the whole."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    first = msgspec.structs.replace(done, outcome="playable")
    assert await world.videos.apply_playable(first)
    return owner, video.id, first, rung(done, "720p", 720)


async def test_video_is_ready_while_its_job_goes_on_when_a_first_rung_plays(world, half):
    """Y5, C6: published, in the catalogue, told as READY; the job is still at work and says so."""
    _owner, video_id, first, _ = half
    video = await world.videos.get(video_id, None)
    assert (video.status, video.progress, video.published_at) == (VideoStatus.READY, 100.0, world.clock.now)
    assert video.processing_completed_at is None
    assert (video.job.status, video.job.outputs) == (JobStatus.PROCESSING, ("360p",))
    assert (await world.videos.card(video_id)).qualities == ("360p",)
    assert len(await world.outbox("catalogue.changes")) == 1
    assert not await world.videos.apply_playable(first), "the same report again changes nothing"
    assert len(await world.outbox("catalogue.changes")) == 1


async def test_captions_of_the_source_come_once_when_their_owner_takes_them_back(world):
    """Y6: with the first rung; the end of the same job does not bring them again."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    own = Asset(type="CAPTIONS", key=f"videos/{video.id}/captions/en.vtt", quality="en", container="vtt")
    done = msgspec.structs.replace(done, assets=(*done.assets, own))
    assert await world.videos.apply_playable(msgspec.structs.replace(done, outcome="playable"))
    assert "CAPTIONS" in {asset.type for asset in (await world.videos.get(video.id, None)).assets}
    async with world.database.transaction() as session:
        await session.execute(delete(VideoAssetRow).where(VideoAssetRow.type == "CAPTIONS"))
    assert await world.videos.apply_completed(rung(done, "720p", 720))
    kinds = [asset.type for asset in (await world.videos.get(video.id, None)).assets]
    assert "CAPTIONS" not in kinds
    assert kinds.count("HLS_RENDITION") == 2


async def test_rungs_are_added_and_ready_stays_when_the_job_completes(world, half):
    """B44, C10: the catalogue and peers hear of them; the end comes once."""
    _owner, video_id, first, done = half
    await world.drain()
    assert await world.videos.apply_completed(done)
    video = await world.videos.get(video_id, None)
    assert (video.status, video.job) == (VideoStatus.READY, None)
    assert video.processing_completed_at == world.clock.now
    assert set((await world.videos.card(video_id)).qualities) == {"720p", "360p"}
    assert [row.topic for row in await world.outbox()] == [
        "events.content",
        "notifications",
        "catalogue.changes",
    ]
    assert await events(world) == [("job_completed", "completed")]
    assert not await world.videos.apply_completed(done)
    assert not await world.videos.apply_playable(first)
    assert len(await world.outbox("catalogue.changes")) == 1


async def test_ready_stays_with_its_first_rung_when_the_rest_fails(world, half, report):
    """Y5, C10, X67: the job fails and its owner is told; the video plays on, and can be encoded again."""
    owner, video_id, first, done = half
    await world.drain()
    fail = report(first.job_id, video_id, "failed", fail_code="STORAGE_ERROR", fail_reason="Full.")
    assert await world.videos.apply_failed(fail)
    video = await world.videos.get(video_id, None)
    assert (video.status, video.fail_code, video.job) == (VideoStatus.READY, None, None)
    assert await events(world) == [("job_completed", "failed")]
    assert not await world.videos.apply_failed(fail)
    assert not await world.videos.apply_completed(done), "the job has ended"
    again = await jobs_of(world).reencode(video_id, owner, Encoding())
    assert again.job.id != first.job_id


async def test_tries_go_on_when_a_job_fails_after_its_first_rung(world, half, report):
    """B9: a retry of what is READY is wanted for more, not for a first rung again."""
    _owner, video_id, first, _ = half
    jobs = jobs_of(world)
    delivered = (await sent(world))[0]
    assert await jobs.wish(delivered) is Wish.MORE
    assert await world.videos.requeue_job(first.job_id, "TRANSCODE_ERROR", "signal 9")
    assert await jobs.wish(delivered) is Wish.NOTHING, "an older try"
    again = (await sent(world))[-1]
    assert (again.attempt, await jobs.wish(again)) == (1, Wish.MORE)
    frames = await world.videos.apply_progress(report(first.job_id, video_id, "progress", progress=50.0))
    assert [frame.event for frame in frames] == ["progress_update"]
    assert (await world.videos.get(video_id, None)).progress == 100.0


async def test_rungs_are_asked_for_when_a_ready_video_is_encoded_again(world):
    """B44: what it has is made again beside them; parameters are kept with the job and sent."""
    owner = await world.user()
    video = await world.ready(owner)
    jobs = jobs_of(world)
    wanted = Encoding(qualities=("720p",), preset="slow", priority=3)
    world.clock.now += 1.0  # the newest job is the latest made
    listed = await jobs.reencode(video.id, owner, wanted)
    assert (listed.job.qualities, listed.job.preset, listed.job.priority) == (("360p", "720p"), "slow", 3)
    job = (await sent(world))[-1]
    assert (job.ladder, job.preset, job.priority, job.owner_id) == ("360p+720p", "slow", 3, owner.user_id)
    assert await jobs.wish(job) is Wish.MORE
    with pytest.raises(InvalidStateTransition):
        await jobs.reencode(video.id, owner, wanted)
    with pytest.raises(NotContentOwner):
        await jobs.reencode(video.id, await world.user(), wanted)
    other, _ = await world.encoding(owner)
    with pytest.raises(InvalidStateTransition):
        await jobs.reencode(other.id, owner, wanted)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Encoding(qualities=("721p",)), "qualities"),
        (Encoding(ladder="most"), "ladder"),
        (Encoding(preset="placebo; rm"), "preset"),
        (Encoding(priority=101), "priority"),
    ],
)
async def test_encode_is_refused_when_a_parameter_is_unknown(world, wanted, field):
    """B44, O1."""
    owner = await world.user()
    video = await world.ready(owner)
    with pytest.raises(ValidationFailed) as refused:
        await jobs_of(world).reencode(video.id, owner, wanted)
    assert refused.value.details["field"] == field


async def test_short_goes_before_long_when_jobs_are_made(world):
    """Y14: the priority of a job is its policy's; a re-encode comes after both."""
    owner = await world.user()
    await world.encoding(owner)
    (job,) = await sent(world)
    assert (job.priority, job.owner_id) == (10, owner.user_id)
    assert Encoding().priority < 0


async def test_job_ends_when_an_operator_cancels_it(world):
    """B43: FAILED with its code; what was stored goes, the source stays; nothing ended is canceled."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    world.store.objects[f"videos/{video.id}/thumbs/poster.jpg"] = b"x"
    jobs = jobs_of(world)
    listed = await jobs.cancel(done.job_id)
    assert (listed.job.status, listed.job.error_code, listed.video_status) == ("failed", "CANCELED", "FAILED")
    assert list(world.store.objects) == [f"videos/{video.id}/source.mp4"]
    assert await jobs.wish((await sent(world))[0]) is Wish.NOTHING
    with pytest.raises(InvalidStateTransition):
        await jobs.cancel(done.job_id)
    with pytest.raises(Missing):
        await jobs.cancel("what")
    assert (await world.videos.retry(video.id, owner)).status == "TRANSCODING"


async def test_jobs_are_listed_when_asked_by_status_and_person(world):
    """B43: newest first, in pages."""
    ada, bob = await world.user(), await world.user()
    jobs = jobs_of(world)
    for owner in (ada, ada, bob):
        world.clock.now += 1
        await world.encoding(owner)
    await world.ready(bob)
    assert [job.owner_id for job in (await jobs.list("queued")).items] == [
        bob.user_id,
        ada.user_id,
        ada.user_id,
    ]
    first = await jobs.list(owner_id=ada.user_id, limit=1)
    second = await jobs.list(owner_id=ada.user_id, limit=1, cursor=first.next_cursor)
    assert first.items[0].job.created_at > second.items[0].job.created_at
    assert second.next_cursor is None
    assert await jobs.counts() == {"queued": 3, "processing": 0}
    with pytest.raises(ValidationFailed):
        await jobs.list("lost")


async def test_decisions_stay_when_they_were_made(world):
    """B15: pausing and throttling are rows, seen by every worker; resuming forgets the reason."""
    jobs = jobs_of(world)
    assert not (await jobs.control()).paused
    await jobs.decide(paused=True, reason="upgrade")
    await jobs.decide(slots=3)
    known = await jobs_of(world).control()
    assert (known.paused, known.reason, known.slots) == (True, "upgrade", 3)
    await jobs.decide(paused=False)
    known = await jobs.decide(slots=0)
    assert (known.paused, known.reason, known.slots) == (False, "", None)
    with pytest.raises(ValidationFailed):
        await jobs.decide(slots=65)


async def test_priority_is_known_to_workers_when_it_was_changed(world):
    """B15, B43: with the job, and of open jobs only."""
    owner = await world.user()
    _, done = await world.encoding(owner)
    jobs = jobs_of(world)
    await jobs.prioritise(done.job_id, 42)
    assert await jobs.open_jobs([done.job_id, "other"]) == {done.job_id: 42}
    assert (await world.videos.unfinished_jobs())[0].priority == 42
    await world.videos.apply_completed(done)
    assert await jobs.open_jobs([done.job_id]) == {}
    with pytest.raises(ValidationFailed):
        await jobs.prioritise(done.job_id, 101)
    with pytest.raises(Missing):
        await jobs.prioritise("what", 1)


@pytest.mark.parametrize("plays", [False, True])
async def test_silent_job_is_queued_again_once_when_nothing_is_heard_of_it(world, report, plays):
    """B42: then it fails; READY stays."""
    owner = await world.user()
    video, done = await world.encoding(owner)
    jobs = jobs_of(world)
    if plays:
        await world.videos.apply_playable(msgspec.structs.replace(done, outcome="playable"))
    await world.videos.apply_progress(
        report(done.job_id, video.id, "progress", progress=MAX_RUNNING_PROGRESS)
    )
    world.clock.now += 3000
    assert await jobs.rescue(3600.0) == {}, "an hour has not passed"
    world.clock.now += 1000
    assert await jobs.rescue(3600.0) == {done.job_id: True}
    assert await jobs.rescue(3600.0) == {}
    old, new = await sent(world)
    assert (await jobs.wish(old), new.attempt) == (Wish.NOTHING, 1)
    await world.videos.apply_progress(
        report(done.job_id, video.id, "progress", progress=1.0, stage="probing")
    )
    world.clock.now += 4000
    assert await jobs.rescue(3600.0) == {done.job_id: False}
    ended = await world.videos.get(video.id, owner)
    assert ended.status == ("READY" if plays else "FAILED")
    assert (await jobs.find(done.job_id)).job.status == "failed"
    assert await world.videos.unfinished_jobs() == []


async def test_queued_job_is_sent_again_when_no_worker_holds_it_for_a_day(world):
    """B42, B15: never while it is held, nor while the queue is paused; it never fails by waiting."""
    owner = await world.user()
    _, done = await world.encoding(owner)
    jobs = jobs_of(world)
    world.clock.now += LOST_SECONDS - 1
    await jobs.held([done.job_id])
    world.clock.now += LOST_SECONDS - 1
    assert await jobs.rescue(60.0) == {}
    await jobs.decide(paused=True)
    world.clock.now += LOST_SECONDS
    assert await jobs.rescue(60.0) == {}
    await jobs.decide(paused=False)
    for _ in range(3):
        assert await jobs.rescue(60.0) == {done.job_id: True}
        world.clock.now += LOST_SECONDS + 1
    assert (await jobs.find(done.job_id)).job.status == "queued"
