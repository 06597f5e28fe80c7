"""``freewill encoder`` against a real front, with a job that brings what was made before (Y14, B48)."""

import asyncio
from contextlib import suppress

import pytest
from aiohttp import web

from freewill.client.errors import NETWORK, RequestFailed
from freewill.encoder import link as linking
from freewill.encoder import worker
from freewill.encoder.command import LOCK, own_folder
from freewill.encoder.link import Link
from freewill.encoder.worker import Refused, RemoteEncoder, Workplace
from media import layout
from media.pipeline import MediaError, MediaOutcome
from media.remote import Capabilities
from streams.agents import encoding
from streams.remote import LEASE_SECONDS


@pytest.fixture
def job(monkeypatch, made, tmp_path):
    """Stand for the encode itself: a test says what it does; by default it brings what was made before."""

    class Job:
        read = b""
        captions = ()
        begun = 0
        going: asyncio.Event | None = None
        pausing: asyncio.Event | None = None
        error: Exception | None = None

        async def run(self, job, store, folder, settings, progress, playable):
            self.begun += 1
            copy = folder / f"{job.job_id}-source"
            await store.fetch(job.source_key, copy)
            self.read = copy.read_bytes()
            copy.unlink()
            prefix = layout.captions_prefix(job.video_id)
            self.captions = [found.key.removeprefix(prefix) async for found in store.list(prefix)]
            await progress(50.0, "transcoding")
            if self.going is not None:
                await self.going.wait()
            if self.error is not None:
                raise self.error
            for number, (name, data) in enumerate(made.files.items()):
                if number == 3 and self.pausing is not None:
                    await self.pausing.wait()
                file = folder / f"{job.job_id}-output"
                file.write_bytes(data)
                await store.put_file(layout.prefix(job.video_id) + name, file, content_type="", move=True)
            return MediaOutcome(2.0, 640, 360, (), ("A note.",))

    fake = Job()
    monkeypatch.setattr(worker, "run_job", fake.run)
    monkeypatch.setattr(linking, "wait_seconds", lambda attempt, dice, retry_after: 0.01)
    monkeypatch.setattr(worker, "wait_seconds", lambda attempt, dice, retry_after: 0.01)
    monkeypatch.setattr(worker, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(encoding, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    return fake


@pytest.fixture
async def running(front, tmp_path):
    """Return a function that starts an encoder process in this one; it is stopped at the end."""
    stop, tasks, links = asyncio.Event(), [], []

    async def start(slots=1, token=None):
        token = token or (await front.deps.encoders.issue("gpu"))[1]
        link = Link(str(front.client.make_url("/")), token=token)
        links.append(await link.__aenter__())
        place = Workplace(tmp_path / "work", slots, Capabilities(), "libx264")
        place.folder.mkdir(exist_ok=True)
        tasks.append(asyncio.create_task(RemoteEncoder(link, place).run(stop)))
        return tasks[-1], stop

    yield start
    stop.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    for link in links:
        await link.__aexit__(None, None, None)


async def until(condition):
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


def losing(monkeypatch):
    """Let the first answer of each kind be lost behind what was asked; returns the kinds."""
    lost, send, read = set(), Link.send, Link._read

    def lose(kind):
        if kind not in lost:
            lost.add(kind)
            raise RequestFailed(NETWORK, "the line broke")

    async def sending(self, method, path, token=None, **options):
        answer = await send(self, method, path, token, **options)
        if "/leases/" in path:
            lose(path.split("/")[6])
        return answer

    async def reading(self, wanted, file):
        await read(self, wanted, file)
        lose("inputs")

    monkeypatch.setattr(Link, "send", sending)
    monkeypatch.setattr(Link, "_read", reading)
    return lost


async def test_job_is_done_whole_when_an_encoder_takes_it(front, ada, desk, job, running, made):
    """Source and captions are read, everything is brought, the owner is told what the encoder noted."""
    video = await front.upload(ada)
    key = layout.caption_key(video["id"], "de")
    await front.deps.store.put_bytes(key, b"WEBVTT\n", content_type="text/vtt")
    await front.deps.videos.enqueue_encoding(video["id"], "240p+360p")
    (record,) = await front.deps.videos.unfinished_jobs()
    desk.deliver(record)
    await running()
    await desk.handled()
    assert (job.read, job.captions) == (b"video bytes", ["de.vtt"])
    (told,) = desk.outcomes
    assert (told.outcome, told.notes) == ("completed", ("A note.",))
    assert await desk.outputs_of(video["id"]) == {*made.files, "captions/de.vtt"}
    assert any(result.progress == 50.0 for result in desk.results)


async def test_job_is_done_when_every_answer_is_lost_once(front, ada, desk, job, running, monkeypatch, made):
    """X68: each request is made again until it is answered; none of them does harm twice."""
    lost = losing(monkeypatch)
    video_id = await desk.video(ada)
    await running()
    await desk.handled()
    assert [told.outcome for told in desk.outcomes] == ["completed"]
    assert await desk.outputs_of(video_id) == set(made.files)
    await until(lambda: lost == {"inputs", "progress", "files", "finish"})


async def test_work_goes_on_when_the_lease_was_lost_in_the_middle(front, ada, desk, job, running, made):
    """Nothing is encoded again, and what was brought under the old lease is brought again."""
    job.pausing = asyncio.Event()
    video_id = await desk.video(ada)
    await running()
    await until(lambda: len(desk.staged()) >= 3)
    front.clock.ahead += LEASE_SECONDS + 1
    await desk.remote.tidy()
    assert desk.staged() == []
    job.pausing.set()
    await desk.handled()
    assert ([told.outcome for told in desk.outcomes], job.begun) == (["completed"], 1)
    assert await desk.outputs_of(video_id) == set(made.files)


async def test_several_jobs_are_done_side_by_side_when_there_are_slots(ada, desk, job, running):
    job.going = asyncio.Event()
    for _ in range(3):
        await desk.video(ada)
    await running(slots=2)
    await until(lambda: job.begun == 2)
    await asyncio.sleep(0.1)
    assert (job.begun, desk.scheduler.state.waiting) == (2, 1)
    job.going.set()
    await desk.handled()
    assert len(desk.outcomes) == 3


async def test_job_is_given_back_when_the_encoder_is_told_to_stop(ada, desk, job, running):
    """Nobody waits for its lease to run out."""
    job.going = asyncio.Event()
    await desk.video(ada)
    task, stop = await running()
    await until(lambda: job.begun)
    stop.set()
    await asyncio.wait_for(task, 120)
    assert (desk.scheduler.state.waiting, desk.scheduler.state.running) == (1, 0)
    assert desk.staged() == []


async def test_work_ends_when_the_job_is_canceled(ada, desk, job, running, monkeypatch):
    """B43: at its next sign of life; then it is free for others."""
    monkeypatch.setattr("streams.remote.WANTED_SECONDS", 0.0)
    job.going = asyncio.Event()
    await desk.video(ada)
    await running()
    await until(lambda: job.begun == 1)
    (listed,) = (await desk.jobs.list()).items
    await desk.jobs.cancel(listed.job.id)
    await desk.handled()
    await desk.video(ada)
    await until(lambda: job.begun == 2)


async def test_failure_reaches_operators_when_a_job_fails(ada, desk, job, running):
    """B9, B10: with what the child said; a bug of the encoder is one, too."""
    for error, code, said in (
        (MediaError("CORRUPTED_FILE", "It is cut.", retryable=False, said="moov"), "CORRUPTED_FILE", "moov"),
        (KeyError("oops"), "TRANSCODE_ERROR", "KeyError('oops')"),
    ):
        job.error = error
        await desk.video(ada)
        if job.begun == 0:
            await running()
        await desk.handled()
        (listed,) = (await desk.jobs.list(limit=1)).items
        assert listed.job.error_code == code
        assert (await desk.partials.find(listed.job.id))["said"] == said


async def test_encoder_ends_with_a_reason_when_its_token_is_nobodys(front, desk, running):
    task, _ = await running(token="fwe_nobody")
    with pytest.raises(Refused, match="INVALID_TOKEN"):
        await asyncio.wait_for(task, 120)


async def test_older_encoder_ends_with_a_reason_when_a_newer_server_asks_for_more(
    ada, desk, job, running, monkeypatch
):
    """Y14: what it would make is not what was asked for; the job is there for others at once, untouched."""
    monkeypatch.setattr(worker, "SETTINGS", worker.SETTINGS - {"loudness_lufs"})
    await desk.video(ada)
    task, _ = await running()
    with pytest.raises(Refused, match="loudness_lufs: this encoder is older"):
        await asyncio.wait_for(task, 120)
    assert (desk.scheduler.state.waiting, desk.scheduler.state.running, job.begun) == (1, 0, 0)
    assert desk.outcomes == []
    assert desk.staged() == []


async def test_encoder_waits_when_the_server_is_away(front, ada, desk, job, running, monkeypatch):
    """It asks again until the server is back."""
    asked, refusing, take = [], True, Link.take

    async def taking(self, able):
        asked.append(able)
        if refusing:
            raise RequestFailed(NETWORK, "nobody there")
        return await take(self, able)

    monkeypatch.setattr(Link, "take", taking)
    await running()
    await until(lambda: len(asked) > 3)
    refusing = False
    await desk.video(ada)
    await desk.handled()
    assert len(desk.outcomes) == 1


async def test_lease_is_given_back_when_who_asked_has_gone(front, ada, desk, monkeypatch):
    """A request that waits for a job outlives its sender's patience: the job is not lost for a minute."""
    _, token = await front.deps.encoders.issue("gpu")
    async with Link(str(front.client.make_url("/")), token=token) as link:
        asking = asyncio.create_task(link.take(Capabilities()))
        await asyncio.sleep(0.1)
        asking.cancel()
        with suppress(asyncio.CancelledError, RequestFailed):
            await asking
    await asyncio.sleep(0.1)
    await desk.video(ada)
    await until(lambda: desk.results == [] and desk.scheduler.state.waiting == 1)
    await asyncio.sleep(0.1)
    assert (desk.scheduler.state.waiting, desk.scheduler.state.running) == (1, 0)


async def test_source_is_whole_when_the_line_breaks_in_the_middle(tmp_path, monkeypatch):
    """What has come is kept: the rest is asked for as a range."""
    from media.remote import Input

    monkeypatch.setattr(linking, "wait_seconds", lambda attempt, dice, retry_after: 0.01)
    data, ranges = bytes(range(256)) * 4_000, []

    async def source(request):
        start = request.http_range.start or 0
        ranges.append(start)
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(data) - start
        await response.prepare(request)
        await response.write(data[start : start + 400_000])
        if start + 400_000 < len(data):
            request.transport.close()
            return response
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_get("/source", source)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with Link(f"http://127.0.0.1:{port}", token="x") as link:
        wanted = Input(name="source", size_bytes=len(data), url="/source")
        await asyncio.wait_for(link.fetch(wanted, tmp_path / "source"), 120)
    await runner.cleanup()
    assert (tmp_path / "source").read_bytes() == data
    assert len(ranges) > 1
    assert ranges == sorted(ranges)
    assert ranges[1] > 0


def test_scratch_of_killed_encoders_is_removed_and_that_of_others_is_not(tmp_path):
    """Each locks its folder for as long as it lives."""
    left = tmp_path / "freewill-encoder-left"
    left.mkdir()
    (left / "source").write_bytes(b"x")
    with own_folder(tmp_path) as first:
        assert not left.exists()
        with own_folder(tmp_path) as second:
            assert {path.name for path in tmp_path.iterdir()} == {first.name, second.name}
            assert (first / LOCK).exists()
        assert first.exists()
    assert list(tmp_path.iterdir()) == []
