"""Sound is encoded beside the pictures: what is written does not depend on which of them is first (B37)."""

from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from media.ladder import renditions
from media.limits import SourceLimits
from media.sniff import Container
from media.workers import audio
from media.workers.outputs import Plan, RungEncoder
from tests.integration.media.media_checks import RATE, make_clip

SECONDS = 2
FRAMES = SECONDS * RATE


@pytest.fixture(scope="module")
def track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two seconds of encoded sound."""
    folder = tmp_path_factory.mktemp("sound")
    make_clip(folder / "clip.mov", seconds=SECONDS)
    sound = audio.Sound(folder / "clip.mov", Container.MOV, SourceLimits(), 1, 0.0, SECONDS)
    audio.encode(sound, folder / "audio.nut", None)
    return folder / "audio.nut"


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RungEncoder:
    """Return the encoder of one rung whose sound is still to come."""
    monkeypatch.chdir(tmp_path)
    return one_rung()


def one_rung() -> RungEncoder:
    """Open the encoder of the smallest rung below the working folder."""
    plan = Plan(Fraction(RATE), "ultrafast", False, Future(), True)
    return RungEncoder(renditions("240p", 320, 180)[0], plan, progressive=True)


def picture(encoder: RungEncoder, number: int) -> VideoFrame:
    size = encoder.rendition.height, encoder.rendition.width, 3
    return VideoFrame.from_ndarray(np.full(size, number % 256, np.uint8), format="rgb24")


def written(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def encoded(folder: Path, track: Path, at: int) -> dict[str, bytes]:
    """Return the files of a rung whose sound is ready when so many pictures have been encoded."""
    encoder = one_rung()
    for number in range(FRAMES):
        if number == at:
            assert written(folder) == {}, "a container names all of its streams when it begins"
            encoder._plan.sound.set_result(audio.Encoded(track))
        encoder.encode(picture(encoder, number))
    if at == FRAMES:
        encoder._plan.sound.set_result(audio.Encoded(track))
    encoder.close()
    return written(folder)


def test_files_are_the_same_whenever_the_sound_is_ready(
    track: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first picture, while packets are held, or after the last picture."""
    found = {}
    for at in (0, 1, 25, FRAMES):
        folder = tmp_path / str(at)
        folder.mkdir()
        monkeypatch.chdir(folder)
        found[at] = encoded(folder, track, at)
    assert set(found[0]) == {
        "dash/240p.mp4",
        "hls/240p/playlist.m3u8",
        "hls/240p/segment_00000.ts",
        "mp4/240p.mp4",
    }
    assert all(files == found[0] for files in found.values())


def test_rung_fails_with_the_sound_when_the_disk_of_the_sound_is_full(encoder: RungEncoder) -> None:
    """Sound that does not decode is silence; a full disk is nobody's sound."""
    encoder.encode(picture(encoder, 0))
    encoder._plan.sound.set_exception(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        encoder.encode(picture(encoder, 1))


def test_packets_are_held_for_a_segment_and_no_longer(encoder: RungEncoder, track: Path) -> None:
    """Memory stays bounded while the sound of an hour is encoded: then the pictures wait for it."""
    held = encoder._plan.gop * encoder._plan.gops_per_segment
    for number in range(held - 1):
        encoder.encode(picture(encoder, number))
    assert encoder.codecs == "", "no container is open"
    encoder._plan.sound.set_result(audio.Encoded(track))
    encoder.encode(picture(encoder, held - 1))
    assert encoder.codecs.startswith("avc1.")
    assert encoder._held == []
    encoder.close()
