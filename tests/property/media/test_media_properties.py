"""Properties 8 to 13 of document 000 (T14): one task, four rungs, H.264, three thumbnails, READY, FAILED."""

import asyncio

import av
import m3u8
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.layout import THUMBNAILS
from media.pipeline import MediaError
from streams.agents import encoding
from streams.agents.media import enqueue
from streams.dead_letters import Unrepeatable
from streams.log.slices import Slice
from streams.scheduling import Scheduler
from tables.lifecycle import JobStatus, VideoStatus
from tables.records import Asset, MediaJob, MediaResult, VideoUploaded

hundred = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
RUNGS = {"360p": 360, "480p": 480, "720p": 720, "1080p": 1080}
KINDS = ((64, 36, 2), (36, 64, 0), (162, 34, 1), (1280, 720, 6))
"""Sources that every run encodes: landscape, portrait, wide, large; width, height, channels."""
ASSETS = (
    Asset(type="HLS_MASTER", key="videos/v/hls/master.m3u8", container="m3u8"),
    Asset(type="HLS_RENDITION", key="videos/v/hls/360p/playlist.m3u8", quality="360p", container="ts"),
)


# -- property 8


@hundred
@given(data=st.data(), count=st.integers(1, 2))
async def test_video_puts_exactly_one_task_in_the_queue_when_it_is_created(library, data, count):
    """Property 8, B1, B8: however often, and in which order, its message is delivered."""
    await library.relay()
    videos = [await library.video() for _ in range(count)]
    told = [await library.outbox("video.uploaded", video.id) for video in videos]
    assert [len(rows) for rows in told] == [1] * count
    messages = [msgspec.json.decode(rows[0], type=VideoUploaded) for rows in told]
    again = data.draw(st.lists(st.sampled_from(messages), max_size=2))
    delivered = data.draw(st.permutations([*messages, *again]))
    cut = data.draw(st.integers(0, len(delivered)))
    for part in (delivered[:cut], delivered[cut:]):
        await enqueue(_slice(part), library.videos, "core")
    for video in videos:
        (row,) = await library.outbox("media.jobs", video.id)
        job = msgspec.json.decode(row, type=MediaJob)
        assert (job.video_id, job.source_key, job.ladder) == (video.id, video.source_key, "core")


def _slice(records):
    count = len(records)
    return Slice("video.uploaded", 0, list(records), [""] * count, list(range(count)), [0.0] * count)


# -- properties 9, 10, 11


@pytest.fixture(scope="module")
def made(clip_of, encode_clip, tmp_path_factory):
    """Return what came of every kind of source; each is encoded once for all properties."""
    base = tmp_path_factory.mktemp("encoded")

    async def all_of():
        return [
            await encode_clip(clip_of(width, height, channels=channels), base / f"{width}x{height}")
            for width, height, channels in KINDS
        ]

    return asyncio.run(all_of())


def check_renditions(found):
    """Property 9, B20: 360p, 480p, 720p and 1080p exist in every form, and are of their size."""
    rows = {asset.quality: asset for asset in found.outcome.assets if asset.type == "HLS_RENDITION"}
    assert set(rows) == set(RUNGS)
    for form in ("master", "master-cmaf"):
        listed = m3u8.load(str(found.folder / f"hls/{form}.m3u8")).playlists
        assert {entry.uri.split("/")[0] for entry in listed} == set(RUNGS)
    for quality, asset in rows.items():
        size = shown_size(found.folder / f"hls/{quality}/playlist.m3u8")
        assert size == shown_size(found.folder / f"dash/{quality}.mp4") == (asset.width, asset.height)
        wide = max(found.clip.width, found.clip.height) > 4 * min(found.clip.width, found.clip.height)
        assert min(size) == RUNGS[quality] or (wide and max(size) == 4 * RUNGS[quality])


def check_codecs(found):
    """Property 10, B21: the bitstream of every output that moves is H.264, and its sound AAC."""
    outputs = [
        *(found.folder / f"hls/{quality}/playlist.m3u8" for quality in RUNGS),
        *(found.folder / f"dash/{quality}.mp4" for quality in RUNGS),
        *(found.folder / "mp4").iterdir(),
    ]
    assert len(outputs) == 9
    for path in outputs:
        with av.open(str(path)) as opened:
            assert [stream.codec_context.name for stream in opened.streams.video] == ["h264"]
            assert {stream.codec_context.name for stream in opened.streams.audio} <= {"aac"}
            assert sum(1 for _ in opened.decode(video=0)) == found.clip.pictures


def check_thumbnails(found):
    """Property 11, B27: three, of exactly these sizes, one row each."""
    rows = {asset.quality: asset for asset in found.outcome.assets if asset.type == "THUMBNAIL"}
    assert set(rows) == set(THUMBNAILS) == {"small", "medium", "large"}
    for name, size in (("small", (160, 90)), ("medium", (320, 180)), ("large", (640, 360))):
        assert rows[name].key == f"videos/v/thumbs/{name}.jpg"
        assert (rows[name].width, rows[name].height) == size
        assert shown_size(found.folder / f"thumbs/{name}.jpg") == size


def shown_size(path):
    """Return width and height of the first picture that decodes."""
    with av.open(str(path)) as opened:
        frame = next(opened.decode(video=0))
    return frame.width, frame.height


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_four_renditions_exist_when_a_video_is_processed(made, kind):
    """Property 9."""
    check_renditions(made[kind])


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_every_output_is_h264_when_it_is_inspected(made, kind):
    """Property 10."""
    check_codecs(made[kind])


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_three_thumbnails_have_exact_sizes_when_a_video_is_processed(made, kind):
    """Property 11."""
    check_thumbnails(made[kind])


@pytest.mark.slow
@hundred
@given(
    sides=st.tuples(st.integers(16, 400), st.integers(16, 400)),
    rate=st.integers(5, 60),
    pictures=st.integers(1, 12),
    channels=st.sampled_from([0, 1, 2, 6]),
)
async def test_outputs_are_whole_when_the_source_is_any(
    clip_of, encode_clip, tmp_path_factory, sides, rate, pictures, channels
):
    """Properties 9, 10 and 11 on a hundred sources, odd sides too."""
    folder = tmp_path_factory.mktemp("any") / "clip"
    found = await encode_clip(clip_of(*sides, rate, pictures, channels), folder)
    for check in (check_renditions, check_codecs, check_thumbnails):
        check(found)


# -- properties 12, 13

reports = st.lists(
    st.one_of(
        st.tuples(st.just("progress"), st.floats(-5, 200)),
        st.tuples(st.sampled_from(["playable", "late"]), st.just(0.0)),
    ),
    max_size=2,
)
texts = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=300
)


async def tell(library, job, told):
    """Apply reports that come before the last one; ``late`` are those of a job that is not known."""
    for kind, percent in told:
        if kind == "progress":
            await library.videos.apply_progress(library.report(job, "progress", progress=percent))
        elif kind == "playable":
            await library.videos.apply_playable(library.report(job, "playable", assets=ASSETS))
        else:
            unknown = msgspec.structs.replace(job, job_id="00000000-0000-0000-0000-000000000000")
            await library.videos.apply_progress(library.report(unknown, "progress", progress=1.0))


@hundred
@given(before=reports, after=st.lists(st.sampled_from(["completed", "failed", "progress"]), max_size=2))
async def test_video_is_ready_when_its_processing_succeeds(library, before, after):
    """Property 12, C6, C10: whatever was reported before, and whatever comes after."""
    job = await library.queued()
    await tell(library, job, before)
    done = library.report(job, "completed", assets=ASSETS, duration_seconds=2.0, width=64, height=36)
    assert await library.videos.apply_completed(done)
    for outcome in after:
        late = library.report(job, outcome, assets=ASSETS, progress=3.0, fail_code="X", fail_reason="x")
        apply = {
            "completed": library.videos.apply_completed,
            "failed": library.videos.apply_failed,
            "progress": library.videos.apply_progress,
        }[outcome]
        assert not await apply(late)
    video = await library.videos.get(job.video_id, library.owner)
    assert (video.status, video.progress, video.fail_code) == (VideoStatus.READY, 100.0, None)
    assert (video.duration_seconds, len(video.assets)) == (2.0, len(ASSETS))
    found = await library.videos.encoding_job(job.video_id, library.owner)
    assert found.status == JobStatus.COMPLETED
    statuses = [data["status"] for event, data in await library.frames(job) if event == "video_status"]
    assert statuses[-1] == "READY"
    assert "FAILED" not in statuses


class Applied:
    """The log's writer, with the agent behind it that applies what was reported."""

    def __init__(self, library):
        self.library = library

    async def publish(self, outputs):
        for output in outputs:
            result = msgspec.json.decode(output.value, type=MediaResult)
            assert result.outcome == "failed"
            await self.library.videos.apply_failed(result)


class NoPartials:
    async def keep(self, job_id, partial):
        self.kept = partial


@hundred
@given(code=st.sampled_from(["CORRUPTED_FILE", "TRANSCODE_ERROR", "STORAGE_ERROR"]), reason=texts,
       retryable=st.booleans(), before=st.lists(st.floats(0, 99), max_size=1))  # fmt: skip
async def test_video_is_failed_with_its_message_and_its_owner_told_when_processing_fails(
    library, monkeypatch, code, reason, retryable, before
):
    """Property 13, B9, B12, C7: at once for good, or when three more tries have failed; the error is kept."""
    tries = []

    async def run_job(job, *ignored):
        tries.append(job.attempt)
        raise MediaError(code, reason, retryable=retryable, said="what the encoder said")

    monkeypatch.setattr(encoding, "run_job", run_job)
    monkeypatch.setattr(encoding, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    job, partials = await library.queued(), NoPartials()
    await tell(library, job, [("progress", percent) for percent in before])
    tools = encoding.EncodeTools(
        store=library.store, workdir=library.folder, settings=None, writer=Applied(library),
        videos=library.videos, clock=library.clock, observed=lambda outcome, seconds: None,
        queue=encoding.EncoderQueue(Scheduler(1, library.clock), library.jobs, None, partials),
    )  # fmt: skip
    with pytest.raises(Unrepeatable) as dead:
        await every_delivery(library, job, tools)
    assert dead.value.code == code
    assert tries == ([0, 1, 2, 3] if retryable else [0])
    video = await library.videos.get(job.video_id, library.owner)
    assert (video.status, video.fail_code, video.fail_reason) == (VideoStatus.FAILED, code, reason)
    assert video.assets == ()
    frames = [(event, data["status"]) for event, data in await library.frames(job)]
    assert ("video_status", "FAILED") in frames
    assert ("job_completed", "failed") in frames
    assert partials.kept["said"] == "what the encoder said"


async def every_delivery(library, job, tools):
    """Encode what the queue has of a video, and again what that puts there."""
    while True:
        newest = (await library.outbox("media.jobs", job.video_id))[-1]
        await encoding.encode(msgspec.json.decode(newest, type=MediaJob), tools)
