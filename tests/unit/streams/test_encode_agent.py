"""A job always comes to an end that its owner hears of (B9, C7, DESIGN invariant 5)."""

import asyncio

import msgspec
import pytest

from media.pipeline import MediaError, MediaOutcome
from streams.agents import media
from streams.log import LogWriteFailed
from tables.errors import DatabaseFailure
from tables.records import MediaJob, MediaResult

JOB = MediaJob(job_id="j", video_id="v", source_key="videos/v/source.mp4", ladder="core")


class World:
    """What an encode works with: a job that does what the test says, a log, and a queue."""

    def __init__(self, monkeypatch, does):
        self.results = []
        self.requeued = []
        self.queue_takes_it = False
        self.wanted = True

        async def run_job(job, store, workdir, settings, progress):
            return does()

        async def wants_encode(database, job):
            return self.wanted

        monkeypatch.setattr(media, "run_job", run_job)
        monkeypatch.setattr(media, "wants_encode", wants_encode)
        monkeypatch.setattr(media, "RETRY_SECONDS", (0.0, 0.0, 0.0))
        self.tools = media.EncodeTools(
            store=None, workdir=None, settings=None, writer=self, database=None, videos=self,
            slots=asyncio.Semaphore(1), clock=lambda: 1.0, observed=lambda outcome, seconds: None,
        )  # fmt: skip

    async def publish(self, outputs):
        self.results += [msgspec.json.decode(output.value, type=MediaResult) for output in outputs]

    async def requeue_job(self, job_id, code, reason):
        self.requeued.append((job_id, code))
        return self.queue_takes_it


def raising(error):
    def does():
        raise error

    return does


async def test_outcome_is_sent_once_when_the_job_succeeds(monkeypatch):
    """The assets and the measured size go with it."""
    world = World(monkeypatch, lambda: MediaOutcome(2.0, 640, 360, ()))
    await media.encode(JOB, world.tools)
    (result,) = world.results
    assert (result.outcome, result.duration_seconds, result.width) == ("completed", 2.0, 640)


async def test_job_fails_with_a_code_when_something_unforeseen_breaks(monkeypatch):
    """Tried again first; the reason shows nothing of the inside."""
    world = World(monkeypatch, raising(KeyError("secret path")))
    world.queue_takes_it = True
    await media.encode(JOB, world.tools)
    assert (world.requeued, world.results) == ([("j", "INTERNAL_ERROR")], [])
    world.queue_takes_it = False
    await media.encode(JOB, world.tools)
    (result,) = world.results
    assert (result.outcome, result.fail_code) == ("failed", "INTERNAL_ERROR")
    assert "secret" not in result.fail_reason


async def test_job_fails_at_once_when_trying_again_cannot_help(monkeypatch):
    """A damaged source stays damaged."""
    world = World(monkeypatch, raising(MediaError("CORRUPTED_FILE", "It is cut.", retryable=False)))
    world.queue_takes_it = True
    await media.encode(JOB, world.tools)
    assert world.requeued == []
    assert world.results[0].fail_code == "CORRUPTED_FILE"


@pytest.mark.parametrize("error", [LogWriteFailed("disk"), asyncio.CancelledError()])
async def test_job_stays_with_its_agent_when_the_log_is_down_or_the_server_stops(monkeypatch, error):
    """It is delivered again: nothing is said of the job."""
    world = World(monkeypatch, raising(error))
    with pytest.raises(type(error)):
        await media.encode(JOB, world.tools)
    assert (world.results, world.requeued) == ([], [])


async def test_job_is_passed_over_when_nobody_wants_it(monkeypatch):
    """A repeated delivery of what is done does nothing (B8)."""
    world = World(monkeypatch, raising(AssertionError("it must not run")))
    world.wanted = False
    await media.encode(JOB, world.tools)
    assert world.results == []


async def test_running_job_ends_when_its_video_is_deleted(monkeypatch):
    """C24, C25: its child ends with it, nothing is reported; a database that is down ends nothing."""
    world = World(monkeypatch, lambda: None)
    asked, ended = [], asyncio.Event()

    async def wants_encode(database, job):
        asked.append(job)
        if len(asked) == 2:
            raise DatabaseFailure
        return len(asked) < 4

    async def run_job(*arguments):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    monkeypatch.setattr(media, "wants_encode", wants_encode)
    monkeypatch.setattr(media, "run_job", run_job)
    monkeypatch.setattr(media, "WANTED_SECONDS", 0.0)
    await media.encode(JOB, world.tools)
    assert (ended.is_set(), len(asked), world.results, world.requeued) == (True, 4, [], [])
