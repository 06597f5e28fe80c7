"""A job always comes to an end that its owner hears of (B9, C7, DESIGN invariant 5)."""

import asyncio

import msgspec
import pytest

from media.pipeline import DiskTooFull, MediaError, MediaOutcome, MediaSettings
from social.videos.jobs import QueueControl, Wish
from streams.agents import encoding
from streams.agents.handling import attempt
from streams.dead_letters import Unrepeatable
from streams.log import LogWriteFailed
from streams.scheduling import Scheduler
from tables.errors import DatabaseFailure
from tables.records import Asset, MediaJob, MediaResult

JOB = MediaJob(job_id="j", video_id="v", source_key="videos/v/source.mp4", ladder="core", owner_id="o")
MADE = MediaOutcome(2.0, 640, 360, (Asset(type="HLS_MASTER", key="videos/v/hls/master.m3u8"),))


class World:
    """What an encode works with: a job that does what the test says, a log, rows, a disk."""

    def __init__(self, monkeypatch, does):
        self.results, self.requeued, self.kept, self.dropped = [], [], {}, []
        self.queue_takes_it = False
        self.wishes = [Wish.PLAYABLE]
        self.control_said = QueueControl()
        self.room = True
        self.given_hook = None

        async def run_job(job, store, workdir, settings, progress, on_playable):
            self.given_hook, self.given_settings = on_playable, settings
            outcome = does()
            return await outcome if asyncio.iscoroutine(outcome) else outcome

        monkeypatch.setattr(encoding, "run_job", run_job)
        monkeypatch.setattr(encoding, "RETRY_SECONDS", (0.0, 0.0, 0.0))
        self.scheduler = Scheduler(1, lambda: 1.0)
        self.tools = encoding.EncodeTools(
            store=None, workdir=None, settings=MediaSettings(), writer=self, videos=self, clock=lambda: 1.0,
            queue=encoding.EncoderQueue(self.scheduler, self, self, self),
            observed=lambda outcome, seconds: None,
        )  # fmt: skip

    async def publish(self, outputs):
        self.results += [msgspec.json.decode(output.value, type=MediaResult) for output in outputs]

    async def requeue_job(self, job_id, code, reason):
        self.requeued.append((job_id, code))
        return self.queue_takes_it

    async def drop_outputs(self, video_id):
        self.dropped.append(video_id)

    async def wish(self, job):
        wish = self.wishes.pop(0) if len(self.wishes) > 1 else self.wishes[0]
        if isinstance(wish, Exception):
            raise wish
        return wish

    async def control(self):
        return self.control_said

    async def open_jobs(self, asked):
        return {job_id: 0 for job_id in asked if self.wishes[0] is not Wish.NOTHING}

    async def held(self, asked):
        self.kept["held"] = list(asked)

    async def keep(self, job_id, partial):
        self.kept[job_id] = partial

    async def want(self, needed_bytes):
        return self.room

    async def look(self):
        pass


def raising(*errors):
    """Return work that raises each error once, then succeeds."""
    left = list(errors)

    def does():
        if left:
            raise left.pop(0)
        return MADE

    return does


async def test_outcome_is_sent_once_when_the_job_succeeds(monkeypatch):
    """The assets and the measured size go with it."""
    world = World(monkeypatch, lambda: MADE)
    await encoding.encode(JOB, world.tools)
    (result,) = world.results
    assert (result.outcome, result.duration_seconds, result.width) == ("completed", 2.0, 640)
    assert world.scheduler.known() == []


async def test_first_rung_is_reported_only_when_nothing_plays_yet(monkeypatch):
    """Y5: its assets come as ``playable``; a video that is READY is not given a smaller master again.

    Nor the source's captions, which its owner may have taken back (Y6).
    """

    async def with_first_rung():
        await world.given_hook(MADE)
        return MADE

    world = World(monkeypatch, with_first_rung)
    await encoding.encode(JOB, world.tools)
    assert [(result.outcome, len(result.assets)) for result in world.results] == [
        ("playable", 1),
        ("completed", 1),
    ]
    assert world.given_settings.source_captions
    world = World(monkeypatch, lambda: MADE)
    world.wishes = [Wish.MORE]
    await encoding.encode(JOB, world.tools)
    assert world.given_hook is None
    assert not world.given_settings.source_captions


async def test_job_fails_with_a_code_when_something_unforeseen_breaks(monkeypatch):
    """Tried again first; the reason shows nothing of the inside."""
    world = World(monkeypatch, raising(*[KeyError("secret path")] * 2))
    world.queue_takes_it = True
    await encoding.encode(JOB, world.tools)
    assert (world.requeued, world.results) == ([("j", "INTERNAL_ERROR")], [])
    world.queue_takes_it = False
    with pytest.raises(Unrepeatable):
        await encoding.encode(JOB, world.tools)
    (result,) = world.results
    assert (result.outcome, result.fail_code) == ("failed", "INTERNAL_ERROR")
    assert "secret" not in result.fail_reason


async def test_job_goes_to_the_dead_letters_at_once_when_trying_again_cannot_help(monkeypatch):
    """B9: a damaged source stays damaged; the owner is told first, the agent does not try again."""
    world = World(monkeypatch, raising(MediaError("CORRUPTED_FILE", "It is cut.", retryable=False)))
    world.queue_takes_it = True
    error = await attempt("media.encode", lambda: encoding.encode(JOB, world.tools))
    assert (type(error), error.code) == (Unrepeatable, "CORRUPTED_FILE")
    assert world.requeued == []
    assert [result.fail_code for result in world.results] == ["CORRUPTED_FILE"]


@pytest.mark.parametrize(("attempts", "goes_on"), [(0, True), (1, False)])
async def test_job_is_repeated_once_when_its_child_stood_still(monkeypatch, attempts, goes_on):
    """B42: one retry, whatever others get; what was left is kept for operators (B10)."""
    stood = MediaError("TRANSCODE_ERROR", "It stood still.", retryable=True, tries=1, said="tail")
    stood.made = [("out/hls/360p/segment_00000.ts", 7)]
    world = World(monkeypatch, raising(stood))
    world.queue_takes_it = True
    job = msgspec.structs.replace(JOB, attempt=attempts)
    error = await attempt("media.encode", lambda: encoding.encode(job, world.tools))
    assert ((error is None), len(world.requeued)) == (goes_on, int(goes_on))
    left = world.kept["j"]
    assert (left["said"], left["attempt"], left["files"][0]["size_bytes"]) == ("tail", attempts, 7)


@pytest.mark.parametrize("error", [LogWriteFailed("disk"), asyncio.CancelledError()])
async def test_job_stays_with_its_agent_when_the_log_is_down_or_the_server_stops(monkeypatch, error):
    """It is delivered again: nothing is said of the job."""
    world = World(monkeypatch, raising(error))
    with pytest.raises(type(error)):
        await encoding.encode(JOB, world.tools)
    assert (world.results, world.requeued, world.scheduler.known()) == ([], [], [])


async def test_job_is_passed_over_when_nobody_wants_it(monkeypatch):
    """A repeated delivery of what is done does nothing (B8)."""
    world = World(monkeypatch, raising(AssertionError("it must not run")))
    world.wishes = [Wish.NOTHING]
    await encoding.encode(JOB, world.tools)
    assert world.results == []


async def test_running_job_ends_when_its_video_is_deleted(monkeypatch):
    """C24, C25, B43: its child ends with it, nothing is reported; a database that is down ends nothing."""
    ended = asyncio.Event()

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    world = World(monkeypatch, endless)
    world.wishes = [*[Wish.PLAYABLE] * 3, DatabaseFailure(), Wish.MORE, Wish.NOTHING]
    monkeypatch.setattr(encoding, "WANTED_SECONDS", 0.0)
    await encoding.encode(JOB, world.tools)
    assert (ended.is_set(), world.results, world.requeued, world.dropped) == (True, [], [], ["v"])


async def test_job_waits_on_without_losing_a_try_when_the_disk_is_full(monkeypatch):
    """B14: it takes its turn again; a job that no disk of this size can hold fails."""
    world = World(monkeypatch, raising(DiskTooFull(10), DiskTooFull(10)))
    await encoding.encode(JOB, world.tools)
    assert (world.requeued, [result.outcome for result in world.results]) == ([], ["completed"])
    world = World(monkeypatch, raising(DiskTooFull(10)))
    world.room, world.queue_takes_it = False, True
    with pytest.raises(Unrepeatable):
        await encoding.encode(JOB, world.tools)
    assert (world.requeued, world.results[0].fail_code) == ([], "STORAGE_ERROR")


async def test_queue_follows_what_operators_decide_when_it_changes(monkeypatch):
    """B15: pause and throttle reach a worker while it runs, nothing queued is lost; so do ends of jobs."""
    monkeypatch.setattr(encoding, "FOLLOW_SECONDS", 0.0)
    world = World(monkeypatch, lambda: MADE)
    world.control_said = QueueControl(paused=True, slots=3)
    world.scheduler.hold(encoding.STARTING)
    following = asyncio.create_task(encoding.follow(world.tools.queue, 1))
    jobs = [
        asyncio.create_task(encoding.encode(msgspec.structs.replace(JOB, job_id=str(number)), world.tools))
        for number in range(4)
    ]
    await asyncio.sleep(0.05)
    state = world.scheduler.state
    assert (state.waiting, state.running, state.slots, state.holds) == (4, 0, 3, (encoding.PAUSED,))
    assert set(world.kept["held"]) == {"0", "1", "2", "3"}
    world.control_said = QueueControl()
    await asyncio.gather(*jobs)
    assert (len(world.results), world.scheduler.state.slots) == (4, 1)

    world.control_said = QueueControl(paused=True)
    await asyncio.sleep(0.02)
    waiting = asyncio.create_task(encoding.encode(JOB, world.tools))
    await asyncio.sleep(0.02)
    world.wishes = [Wish.NOTHING]
    await waiting
    following.cancel()
    assert len(world.results) == 4


async def test_queue_is_held_while_the_disk_is_full(tmp_path, monkeypatch):
    """B14: for as long as there is too little room, and not for what no disk of its size can hold."""
    free = [100]
    usage = type("Usage", (), {"total": 1000, "free": property(lambda self: free[0])})
    monkeypatch.setattr(encoding.shutil, "disk_usage", lambda path: usage())
    queue = Scheduler(1, lambda: 1.0)
    space = encoding.Space(queue, tmp_path, 200)
    await space.look()
    assert queue.state.holds == (encoding.DISK,)
    free[0] = 300
    await space.look()
    assert queue.state.holds == ()
    assert await space.want(400)
    assert queue.state.holds == (encoding.DISK,)
    free[0] = 399
    await space.look()
    assert queue.state.holds == (encoding.DISK,)
    free[0] = 400
    await space.look()
    free[0] = 250
    await space.look()
    assert queue.state.holds == (), "what it had waited for has been forgotten"
    assert not await space.want(1001)
