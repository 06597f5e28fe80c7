"""Jobs end to end on real clips (B3, B19-B31, B37, B49, B50)."""

import asyncio
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from media.limits import ChildLimits
from media.pipeline import MediaError, MediaSettings, run_job
from media.stores import FileStore
from tables.records import MediaJob
from tests.integration.media.media_checks import Done, check_hls, check_pictures, decode, process

SHORT_CLIPS = [
    ("bear-vp9-odd-dimensions.webm", 29.97),
    ("rotated_video.mp4", 8.797),
    ("dolbyVision-hdr.MOV", 30),
    ("ios9.mov", 30),
    ("sample_12_5fps_720p_1s.mp4", 12.5),
    ("bbb_176x144_128kbps_15fps_h263.3gp", 15),
    ("bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4", 30),
]


@pytest.mark.parametrize(("name", "rate"), SHORT_CLIPS)
async def test_clip_becomes_a_whole_set_of_outputs(
    shared_dir: Path, tmp_path: Path, name: str, rate: float
) -> None:
    """B20, B21, B23-B31, B37: odd sizes, rotation, HDR, no sound, late first timestamps."""
    done = await process(shared_dir / "media/clips" / name, tmp_path)
    check_hls(done, rate)
    check_pictures(done)
    check_dash(done)
    check_progress(done)
    check_assets(done)


def check_dash(done: Done) -> None:
    """B24: the same rungs, in step with the sound."""
    manifest = done.path("dash/manifest.mpd").read_text()
    for quality in ("360p", "480p", "720p", "1080p"):
        assert f"<BaseURL>{quality}.mp4</BaseURL>" in manifest
    hls, dash = decode(done.path("hls/360p/playlist.m3u8")), decode(done.path("dash/360p.mp4"))
    assert (dash.codec, dash.frames, dash.width, dash.height) == ("h264", hls.frames, hls.width, hls.height)
    assert (hls.audio is not None) == done.path("dash/audio.mp4").exists()


def check_progress(done: Done) -> None:
    """B5, B49: measured, never falling, from probing to storing."""
    percents = [percent for percent, _ in done.progress if percent is not None]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] == 100
    stages = [stage for _, stage in done.progress]
    assert [s for s in dict.fromkeys(stages) if s != "packaging"] == [
        "probing",
        "transcoding",
        "pictures",
        "storing",
    ]


def check_assets(done: Done) -> None:
    """B33: every asset is stored under the video's prefix; type, quality and container are unique."""
    assets = done.outcome.assets
    assert len({(a.type, a.quality, a.container) for a in assets}) == len(assets)
    for asset in assets:
        assert asset.key.startswith("videos/v1/")
        assert (done.root / asset.key).stat().st_size == asset.size_bytes
    top = next(a for a in assets if a.type == "HLS_RENDITION" and a.quality == "1080p")
    assert top.bandwidth == 5_000_000
    progressive = [a for a in assets if a.type == "MP4"]
    assert [a.quality for a in progressive] == ["720p"]
    assert decode(done.root / progressive[0].key).codec == "h264"


def flash_and_beep(path: Path, at: float, *, audio_late_in_file: bool) -> None:
    """Write 3 s of black and silence with a white second and a tone that begin together."""
    with av.open(str(path), "w", format="mov") as output:
        video = output.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        audio = output.add_stream("pcm_s16le", rate=44_100, layout="mono")
        sound, pictures = [], []
        for start in range(0, 3 * 44_100, 1050):
            t = (start + np.arange(1050)) / 44_100
            tone = np.where((t >= at) & (t < at + 1), np.sin(2 * np.pi * 1000 * t) * 20_000, 0)
            frame = AudioFrame.from_ndarray(tone.astype(np.int16)[np.newaxis], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44_100, start, Fraction(1, 44_100)
            sound += audio.encode(frame)
        for number in range(90):
            level = 255 if at <= number / 30 < at + 1 else 0
            picture = VideoFrame.from_ndarray(np.full((180, 320, 3), level, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 30)
            pictures += video.encode(picture)
        pictures += video.encode(None)
        for packet in [*pictures, *sound] if audio_late_in_file else [*sound, *pictures]:
            output.mux(packet)


def onset(path: Path, sound: Path | None = None) -> tuple[float, float]:
    """Return when the picture turns white and when the tone begins, in seconds from the first picture."""
    white = tone = -1.0
    start: float | None = None
    with av.open(str(path)) as opened:
        for frame in opened.decode(video=0):
            start = float(frame.time or 0) if start is None else start
            if frame.to_ndarray(format="gray").mean() > 128:
                white = float(frame.time or 0)
                break
    with av.open(str(sound or path)) as opened:
        for frame in opened.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()[0]) > 0.1)
            if loud.size:
                tone = float(frame.time or 0) + loud[0] / frame.sample_rate
                break
    return white - (start or 0.0), tone - (start or 0.0)


async def test_sound_and_picture_stay_in_step_in_every_packaging(tmp_path: Path) -> None:
    """Separate containers shift streams on their own; 10 ms is what encoding may shift them."""
    source = tmp_path / "flash.mov"
    flash_and_beep(source, 1.0, audio_late_in_file=True)
    done = await process(source, tmp_path)
    for path, sound in (
        ("hls/360p/playlist.m3u8", None),
        ("mp4/720p.mp4", None),
        ("dash/360p.mp4", "dash/audio.mp4"),
    ):
        white, tone = onset(done.path(path), done.path(sound) if sound else None)
        assert white == pytest.approx(1.0, abs=0.04)
        assert white - tone == pytest.approx(0.0, abs=0.010)


async def test_colours_survive_in_video_and_pictures(tmp_path: Path) -> None:
    """Untagged small sources are BT.601, our outputs BT.709, JPEG BT.601 again: none may shift."""
    source = tmp_path / "patches.avi"
    with av.open(str(source), "w", format="avi") as output:
        stream = output.add_stream("mpeg4", rate=10, options={"qmin": "1", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        pixels = np.zeros((180, 320, 3), np.uint8)
        pixels[:, :160], pixels[:, 160:] = (230, 50, 30), (30, 190, 80)
        for number in range(10):
            picture = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    done = await process(source, tmp_path)
    for name, space in (("mp4/720p.mp4", "ITU709"), ("thumbs/large.jpg", "ITU601")):
        with av.open(str(done.path(name))) as opened:
            shown = next(opened.decode(video=0)).reformat(format="rgb24", src_colorspace=space).to_ndarray()
        row = shown[shown.shape[0] // 2].astype(int)
        assert np.abs(row[row.shape[0] // 4] - (230, 50, 30)).max() <= 8, name
        assert np.abs(row[3 * row.shape[0] // 4] - (30, 190, 80)).max() <= 8, name


async def test_rerun_overwrites_only_its_own_outputs(shared_dir: Path, tmp_path: Path) -> None:
    """B41, C50: same keys, the source untouched."""
    source = shared_dir / "media/clips/dolbyVision-hdr.MOV"
    first = await process(source, tmp_path)
    before = {p.relative_to(first.root) for p in first.root.rglob("*") if p.is_file()}
    again = await process(source, tmp_path)
    after = {p.relative_to(again.root) for p in again.root.rglob("*") if p.is_file()}
    assert before == after
    assert first.path("source.mov").read_bytes() == source.read_bytes()


async def test_poster_is_stored_while_the_video_is_still_being_encoded(
    shared_dir: Path, tmp_path: Path
) -> None:
    """B30."""
    store = FileStore(tmp_path / "store")
    key = "videos/v1/source.mp4"
    await store.put_file(key, shared_dir / "media/clips/rotated_video.mp4", content_type="video/mp4")
    seen: list[bool] = []

    async def note(percent: float | None, stage: str) -> None:
        if stage == "transcoding":
            seen.append(store.local_path("videos/v1/thumbs/poster.jpg") is not None)

    job = MediaJob(job_id="j", video_id="v1", source_key=key, ladder="reels")
    await run_job(job, store, tmp_path / "work", MediaSettings(preset="superfast"), note)
    assert True in seen


async def _fail(store: FileStore, folder: Path, settings: MediaSettings, key: str, ladder: str) -> MediaError:
    async def note(percent: float | None, stage: str) -> None:
        return None

    job = MediaJob(job_id="j", video_id="v1", source_key=key, ladder=ladder)
    with pytest.raises(MediaError) as failed:
        await run_job(job, store, folder / "work", settings, note)
    assert not list((folder / "work").glob("*"))
    return failed.value


async def test_job_fails_with_its_code_and_says_whether_to_retry(shared_dir: Path, tmp_path: Path) -> None:
    """B9, B12, B14: permanent and transient failures are told apart."""
    store = FileStore(tmp_path / "store")
    key = "videos/v1/source.mp4"
    none = await _fail(store, tmp_path, MediaSettings(), key, "core")
    assert (none.code, none.retryable) == ("CORRUPTED_FILE", False)
    await store.put_file(key, shared_dir / "media/hostile/trunc_fmp4_10.mp4", content_type="video/mp4")
    broken = await _fail(store, tmp_path, MediaSettings(), key, "core")
    assert (broken.code, broken.retryable) == ("CORRUPTED_FILE", False)
    full = await _fail(store, tmp_path, MediaSettings(min_free_bytes=2**60), key, "core")
    assert (full.code, full.retryable) == ("STORAGE_ERROR", True)
    ladder = await _fail(store, tmp_path, MediaSettings(), key, "none-such")
    assert (ladder.code, ladder.retryable) == ("TRANSCODE_ERROR", False)
    await store.put_file(key, shared_dir / "media/clips/friday.mp4", content_type="video/mp4")
    slow = MediaSettings(limits=ChildLimits(wall_seconds=0.5, address_space_bytes=8 * 2**30))
    late = await _fail(store, tmp_path, slow, key, "core")
    assert (late.code, late.retryable) == ("TRANSCODE_ERROR", False)


async def test_scratch_is_removed_when_a_job_is_cancelled(shared_dir: Path, tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    key = "videos/v1/source.mp4"
    await store.put_file(key, shared_dir / "media/clips/friday.mp4", content_type="video/mp4")
    begun = asyncio.Event()

    async def note(percent: float | None, stage: str) -> None:
        if stage == "transcoding" and (percent or 0) > 4:
            begun.set()

    job = MediaJob(job_id="j", video_id="v1", source_key=key, ladder="core")
    task = asyncio.create_task(run_job(job, store, tmp_path / "work", MediaSettings(), note))
    await asyncio.wait_for(begun.wait(), 120)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list((tmp_path / "work").iterdir())


async def test_hostile_sources_that_pass_probing_still_end_well(shared_dir: Path, tmp_path: Path) -> None:
    """Damaged and misnamed sources become whole sets, or fail with a code."""
    for name in ("fuzz_mp4_moov_last_2.mp4", "mp4_named.webm", "real_sample_missing_stsd.mp4"):
        folder = tmp_path / name
        folder.mkdir()
        done = await process(shared_dir / "media/hostile" / name, folder)
        assert done.path("hls/master.m3u8").exists()
