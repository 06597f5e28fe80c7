"""Sound that is damaged or cannot be decoded: the video plays with what there is, and says so (B37)."""

import errno
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from media.limits import SourceLimits
from media.pipeline import MediaOutcome, MediaSettings, run_job
from media.policies import SHORT
from media.probe import probe_file
from media.sniff import Container
from media.stores import FileStore
from media.workers import audio
from tables.records import MediaJob

SECONDS, RATE, SOUND = 4, 10, 48_000


def write_clip(path: Path, *, sound_late_from: float = SECONDS, late: float = 0.0) -> None:
    """Write grey with noise in AAC; sound from a moment on can be stamped later."""
    with av.open(str(path), "w", format="mp4") as output:
        video = output.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        track = output.add_stream("aac", rate=SOUND, layout="stereo")
        noise = np.random.default_rng(1).uniform(-0.5, 0.5, (2, SECONDS * SOUND)).astype(np.float32)
        packets = []
        for start in range(0, noise.shape[1], 1024):
            part = np.ascontiguousarray(noise[:, start : start + 1024])
            frame = AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = SOUND, start, Fraction(1, SOUND)
            packets += track.encode(frame)
        packets += track.encode(None)
        for number in range(SECONDS * RATE):
            picture = VideoFrame.from_ndarray(np.full((36, 64, 3), number, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            packets += video.encode(picture)
        packets += video.encode(None)
        for packet in packets:
            if packet.stream is track and packet.pts / SOUND >= sound_late_from:
                packet.pts = packet.dts = packet.pts + round(late * SOUND)
            output.mux(packet)


def destroy(path: Path, begin: float, end: float) -> None:
    """Overwrite the bytes of the sound between two moments."""
    with av.open(str(path)) as opened:
        places = [
            (packet.pos, packet.size)
            for packet in opened.demux(audio=0)
            if packet.size and begin <= float((packet.pts or 0) * packet.time_base) < end
        ]
    data = bytearray(path.read_bytes())
    for position, size in places:
        data[position : position + size] = random.Random(position).randbytes(size)
    path.write_bytes(data)


async def process(source: Path, folder: Path) -> MediaOutcome:
    """Probe as an upload, then encode to the lowest rung."""
    await probe_file(source, SHORT)
    store, key = FileStore(folder / "store"), "videos/v/source.mp4"
    await store.put_file(key, source, content_type="video/mp4")

    async def note(percent: float | None, stage: str) -> None:
        return None

    job = MediaJob(job_id="j", video_id="v", source_key=key, ladder="240p")
    settings = MediaSettings(preset="ultrafast", loudness_lufs=-14.0)
    return await run_job(job, store, folder / "work", settings, note)


def heard(folder: Path) -> tuple[int, list[float] | None]:
    """Return how many pictures decode, and how loud each second is; None without a track."""
    path = str(folder / "store/videos/v/hls/master.m3u8")
    with av.open(path) as opened:
        pictures = sum(1 for _ in opened.decode(video=0))
    with av.open(path) as opened:
        if not opened.streams.audio:
            return pictures, None
        samples = np.concatenate([frame.to_ndarray()[0] for frame in opened.decode(audio=0)])
    whole = samples[: len(samples) // SOUND * SOUND].reshape(-1, SOUND)
    return pictures, [float(np.sqrt((second**2).mean())) for second in whole]


async def test_sound_is_whole_and_nothing_is_noted_when_it_is_not_damaged(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4")
    outcome = await process(tmp_path / "clip.mp4", tmp_path)
    pictures, levels = heard(tmp_path)
    assert (outcome.notes, pictures) == ((), SECONDS * RATE)
    assert levels is not None
    assert min(levels) > 0.05


async def test_video_plays_with_what_sound_there_is_when_its_end_is_damaged(tmp_path: Path) -> None:
    """B37: the first half sounds, the length is the picture's, the job says what is missing."""
    write_clip(tmp_path / "clip.mp4")
    destroy(tmp_path / "clip.mp4", SECONDS / 2, SECONDS)
    outcome = await process(tmp_path / "clip.mp4", tmp_path)
    assert outcome.notes == (audio.DAMAGED,)
    assert outcome.duration_seconds == pytest.approx(SECONDS, abs=0.1)
    pictures, levels = heard(tmp_path)
    assert pictures == SECONDS * RATE
    assert levels is not None
    assert levels[0] > 0.05


@pytest.mark.parametrize("damage", ["unknown codec", "zeroed configuration", "a clock that jumps"])
async def test_video_plays_silently_when_none_of_its_sound_can_be_used(tmp_path: Path, damage: str) -> None:
    """B37: and the job says so."""
    source = tmp_path / "clip.mp4"
    jumps = damage == "a clock that jumps"
    write_clip(source, sound_late_from=2.0 if jumps else SECONDS, late=500.0)
    data = source.read_bytes()
    if damage == "unknown codec":
        at = data.index(b"mp4a", data.index(b"stsd"))
        # The descriptor names the codec, too.
        source.write_bytes(data[:at] + b"zzzz" + data[at + 4 :].replace(b"esds", b"free", 1))
    elif damage == "zeroed configuration":
        destroy(source, -1.0, SECONDS + 1.0)
        data = source.read_bytes()
        at = data.index(b"esds")
        source.write_bytes(data[: at + 4] + bytes(36) + data[at + 40 :])
    outcome = await process(source, tmp_path)
    assert outcome.notes == (audio.LOST,)
    assert heard(tmp_path) == (SECONDS * RATE, None)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSPC])
def test_failing_sound_is_left_out_but_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """B14: what is not the sound's fault fails the job, which is tried again; nothing half is left."""

    def fails(sound: object, target: Path, loudness_lufs: object) -> None:
        target.write_bytes(b"half")
        raise av.error.FFmpegError(number, "no")

    monkeypatch.setattr(audio, "encode", fails)
    sound = audio.Sound(tmp_path / "x.mp4", Container.MP4, SourceLimits(), 1, 0.0, 1.0)
    if number == errno.ENOSPC:
        with pytest.raises(av.error.FFmpegError):
            audio.encode_what_there_is(sound, tmp_path / "audio.nut", None)
        return
    assert audio.encode_what_there_is(sound, tmp_path / "audio.nut", None) == audio.Encoded(
        notes=(audio.LOST,)
    )
    assert not (tmp_path / "audio.nut").exists()
