"""A picture that stands still for long, as in recordings of screens and songs with a cover (B37, Z8)."""

import resource
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from media.ladder import Rendition, renditions
from media.limits import SourceLimits
from media.pipeline import MediaSettings
from media.workers import frames
from media.workers.probe import inspect
from tests.integration.media.media_checks import check_hls, process

RATE, SOUND = 30, 48_000
MEMORY_BYTES = 1024**3


def write_clip(path: Path, moments: list[float], sound_seconds: int = 0) -> None:
    """Write a picture at each moment, and quiet sound."""
    with av.open(str(path), "w", format="mp4") as output:
        video = output.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        video.codec_context.time_base = Fraction(1, 90_000)
        audio = output.add_stream("aac", rate=SOUND, layout="mono") if sound_seconds else None
        for number, moment in enumerate(moments):
            picture = VideoFrame.from_ndarray(np.full((36, 64, 3), number * 3, np.uint8), format="rgb24")
            picture.pts, picture.time_base = round(moment * 90_000), Fraction(1, 90_000)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        if audio is None:
            return
        for start in range(0, sound_seconds * SOUND, 1024):
            sound = AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = SOUND, start, Fraction(1, SOUND)
            output.mux(audio.encode(sound))
        output.mux(audio.encode(None))


@dataclass
class Counter:
    """Takes pictures of a rung."""

    rendition: Rendition
    frames: int = 0


@pytest.mark.parametrize(
    ("moments", "sound_seconds"),
    [([n / RATE for n in range(10)] + [20 + n / RATE for n in range(10)], 0), ([0.0, 1 / RATE], 20)],
)
def test_no_rung_waits_for_another_when_a_picture_stands_still(
    tmp_path: Path, moments: list[float], sound_seconds: int
) -> None:
    """What one has taken and the others have not is in memory: a minute of it was five gigabytes."""
    write_clip(tmp_path / "clip.mp4", moments, sound_seconds)
    info = inspect(tmp_path / "clip.mp4", SourceLimits(), None)
    made = renditions("core", info["width"], info["height"])
    source = frames.Source(tmp_path / "clip.mp4", SourceLimits(), info, made)
    takers = [Counter(rendition) for rendition in made]
    apart = 0
    for taker, picture in frames.for_rungs(source, takers):
        assert (picture.width, picture.height) == (taker.rendition.width, taker.rendition.height)
        taker.frames += 1
        counts = [each.frames for each in takers]
        apart = max(apart, max(counts) - min(counts))
    assert apart == 1
    assert [taker.frames for taker in takers] == [source.frames] * 4
    assert source.frames == pytest.approx(20.3 * RATE if not sound_seconds else 20 * RATE, abs=3)


@pytest.mark.slow
async def test_song_with_a_cover_becomes_a_video(tmp_path: Path) -> None:
    """B37: two pictures, a minute of sound, in bounds of memory; every picture is there."""
    write_clip(tmp_path / "clip.mp4", [0.0, 1 / RATE], 60)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = await process(tmp_path / "clip.mp4", tmp_path, MediaSettings(preset="superfast"))
    check_hls(done, RATE)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert done.outcome.duration_seconds == pytest.approx(60, abs=0.1)
    assert peak * 1024 <= MEMORY_BYTES or peak == before
