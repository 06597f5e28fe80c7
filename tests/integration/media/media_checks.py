"""What a finished job must look like, checked with PyAV and an independent playlist parser."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import m3u8
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from media.ladder import RUNGS, renditions
from media.layout import THUMBNAILS
from media.pipeline import MediaOutcome, MediaSettings, run_job
from media.stores import FileStore
from tables.records import MediaJob

VIDEO = "v1"
RATE = 30
SOUND = 48_000


@dataclass
class Done:
    """A job that ran: its outcome, its objects, the progress it told."""

    outcome: MediaOutcome
    root: Path
    progress: list[tuple[float | None, str]] = field(default_factory=list)

    def path(self, key: str) -> Path:
        """Return the file of an object of the video."""
        return self.root / "videos" / VIDEO / key


async def process(source: Path, folder: Path, settings: MediaSettings | None = None) -> Done:
    """Store a source and run the job on it."""
    store = FileStore(folder / "store")
    key = f"videos/{VIDEO}/source{source.suffix.lower()}"
    await store.put_file(key, source, content_type="video/mp4")
    told: list[tuple[float | None, str]] = []

    async def note(percent: float | None, stage: str) -> None:
        told.append((percent, stage))

    job = MediaJob(job_id="j1", video_id=VIDEO, source_key=key, ladder="core")
    settings = settings or MediaSettings(preset="superfast")
    outcome = await run_job(job, store, folder / "work", settings, note)
    assert not list((folder / "work").iterdir()), "the scratch folder is always removed"
    return Done(outcome, folder / "store", told)


def make_clip(
    path: Path, *, seconds: float = 7.0, at: float = 1.0, level: float = 0.5, channels: str = "stereo"
) -> None:
    """Write black and quiet with a white second and a tone that begin together, in lossless sound."""
    with av.open(str(path), "w", format="mov") as output:
        video = output.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        audio = output.add_stream("pcm_s16le", rate=SOUND, layout=channels)
        audio.metadata["language"] = "ger"
        step = SOUND // RATE
        for number in range(round(seconds * RATE)):
            t = (number * step + np.arange(step)) / SOUND
            tone = np.where((t >= at) & (t < at + 1), np.sin(2 * np.pi * 1000 * t), 0) * level * 32_000
            interleaved = np.repeat(tone.astype(np.int16), audio.codec_context.channels)[np.newaxis]
            sound = AudioFrame.from_ndarray(interleaved, format="s16", layout=channels)
            sound.sample_rate, sound.pts, sound.time_base = SOUND, number * step, Fraction(1, SOUND)
            output.mux(audio.encode(sound))
            white = 255 if at <= number / RATE < at + 1 else 0
            picture = VideoFrame.from_ndarray(np.full((180, 320, 3), white, np.uint8), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))


@dataclass
class Decoded:
    """What a decoder makes of a file."""

    codec: str
    width: int
    height: int
    frames: int
    keyframes: list[float]
    start: float
    end: float
    rate: Fraction | None
    audio: tuple[str, int, int] | None
    audio_seconds: float


def decode(path: Path) -> Decoded:
    """Decode a whole file."""
    with av.open(str(path)) as opened:
        video = opened.streams.video[0]
        times, keys = [], []
        for frame in opened.decode(video):
            times.append(frame.time)
            if frame.key_frame:
                keys.append(frame.time)
        codec = video.codec_context
        size, rate = (codec.width, codec.height), video.average_rate
        name = codec.name
    audio, seconds = None, 0.0
    with av.open(str(path)) as opened:
        if opened.streams.audio:
            track = opened.streams.audio[0]
            seconds = sum(frame.samples / frame.sample_rate for frame in opened.decode(track))
            audio = (track.codec_context.name, track.codec_context.sample_rate, track.codec_context.channels)
    return Decoded(name, *size, len(times), keys, min(times), max(times), rate, audio, seconds)


def check_hls(done: Done, rate: float) -> dict[str, Decoded]:
    """Check the whole HLS set: B20-B26; returns what each rung decoded to."""
    found = {}
    outcome = done.outcome
    expected = {r.rung.name: r for r in renditions("core", outcome.width, outcome.height)}
    master = m3u8.load(str(done.path("hls/master.m3u8")))
    assert {p.uri.split("/")[0] for p in master.playlists} == set(expected)
    for entry in master.playlists:
        quality = entry.uri.split("/")[0]
        rung, info = expected[quality], entry.stream_info
        assert info.resolution == (rung.width, rung.height)
        assert info.bandwidth == RUNGS[quality].bitrate
        assert info.average_bandwidth <= info.bandwidth
        assert info.codecs.startswith("avc1.64")
        found[quality] = check_rendition(done, quality, (rung.width, rung.height), rate)
    return found


def check_rendition(done: Done, quality: str, size: tuple[int, int], rate: float) -> Decoded:
    """Check one rung by its playlist and by decoding it; returns what it decoded to."""
    seconds = done.outcome.duration_seconds
    playlist = m3u8.load(str(done.path(f"hls/{quality}/playlist.m3u8")))
    assert playlist.is_endlist
    assert sum(s.duration for s in playlist.segments) == pytest_approx(seconds, 2 / rate + 0.05)
    assert all(s.duration <= 6 + 2 / rate for s in playlist.segments)
    assert all(done.path(f"hls/{quality}/{s.uri}").stat().st_size for s in playlist.segments)
    found = decode(done.path(f"hls/{quality}/playlist.m3u8"))
    assert (found.codec, found.width, found.height) == ("h264", *size)
    assert abs(found.frames - seconds * rate) <= 2
    steps = np.diff([*found.keyframes, found.end])
    assert steps.max(initial=0) <= 2 + 1.5 / rate
    if found.audio is not None:
        assert found.audio == ("aac", 48_000, 2)
        assert abs(found.audio_seconds - seconds) <= 0.1 + 1 / rate
    return found


def pytest_approx(value: float, slack: float) -> object:
    """Return a comparison within a slack."""
    import pytest

    return pytest.approx(value, abs=slack)


def check_pictures(done: Done) -> None:
    """Check exact sizes and kinds: B27-B31."""
    for name, size in THUMBNAILS.items():
        assert picture_size(done.path(f"thumbs/{name}.jpg")) == ("mjpeg", *size)
    width, height = done.outcome.width, done.outcome.height
    _, w, h = picture_size(done.path("thumbs/poster.jpg"))
    assert abs(w / h - width / height) < 0.05 * width / height
    assert picture_size(done.path("thumbs/preview.gif"))[0] == "gif"
    assert done.path("thumbs/storyboard.vtt").read_text().startswith("WEBVTT")
    assert done.path("thumbs/timeline_00.jpg").exists()


def picture_size(path: Path) -> tuple[str, int, int]:
    """Return codec, width and height of a picture."""
    with av.open(str(path)) as opened:
        codec = opened.streams.video[0].codec_context
        return codec.name, codec.width, codec.height
