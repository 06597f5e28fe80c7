"""What is found of a source, and which rungs are made of it (B34, B37, X14)."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from media.ladder import renditions
from media.limits import SourceLimits
from media.policies import LONG, SHORT
from media.probe import probe_file
from media.workers.frames import Source, decoded
from media.workers.probe import inspect
from media.workers.titles import worth_it
from tables.errors import InvalidFormat
from tests.integration.media.media_checks import make_clip


def write_pictures(path: Path, picture: np.ndarray) -> None:
    """Write one second of a picture, nearly lossless."""
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=10, options={"preset": "ultrafast", "crf": "4"})
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        for number in range(10):
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def chosen(path: Path, selection: str = "core") -> list[str]:
    """Return the rungs that are worth it."""
    info = inspect(path, SourceLimits(), None)
    all_rungs = renditions(selection, info["width"], info["height"])
    return [r.rung.name for r in worth_it(Source(path, SourceLimits(), info, all_rungs))]


def test_rungs_are_left_out_when_they_show_nothing_more(tmp_path: Path) -> None:
    """A soft slope is the same at every size, fine noise is not; a source has nothing above its own size."""
    soft = np.linspace(0, 255, 1280, dtype=np.uint8)[np.newaxis, :, np.newaxis].repeat(720, 0).repeat(3, 2)
    write_pictures(tmp_path / "soft.mp4", soft)
    assert chosen(tmp_path / "soft.mp4") == ["360p"]
    noise = np.random.default_rng(1).integers(0, 255, (720, 1280, 1), dtype=np.uint8).repeat(3, 2)
    write_pictures(tmp_path / "noise.mp4", noise)
    assert chosen(tmp_path / "noise.mp4")[:3] == ["360p", "480p", "720p"]


async def test_language_of_the_sound_is_told_when_the_source_says_it(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mov", seconds=1)
    assert (await probe_file(tmp_path / "clip.mov", SHORT)).audio_language == "de"


def write_grey(path: Path, codec: str) -> None:
    """Write a second of grey."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            output.mux(stream.encode(VideoFrame(64, 64, "yuv420p")))
        output.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "known", "unknown", "told"),
    [
        ("clip.mov", "libx264", b"avc1", b"nova", "nova"),
        ("clip.mp4", "libx264", b"avc1", b"no\x01v", "no[1]v"),
        ("clip.avi", "mpeg4", b"FMP4", b"nova", "nova"),
        ("clip.webm", "libvpx-vp9", b"V_VP9", b"V_VPX", "V_VPX"),
    ],
)
async def test_codec_is_named_when_nothing_here_decodes_it(
    tmp_path: Path, name: str, codec: str, known: bytes, unknown: bytes, told: str
) -> None:
    """B13: whoever sent it reads what to convert."""
    path = tmp_path / name
    write_grey(path, codec)
    path.write_bytes(path.read_bytes().replace(known, unknown))
    with pytest.raises(InvalidFormat) as refused:
        await probe_file(path, SHORT if path.suffix == ".webm" else LONG)
    assert refused.value.message == f"The video codec {told} is not supported."
    assert refused.value.details["codec"] == told


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("hdr10-video-with-sdr-container.mp4", "PQ, variable rate"),
        ("sample_edit_list.mp4", "HLG, rotated, edit list"),
        ("bbb_1920x1080_60fps_vp8.webm", "5.1"),
        ("video_with_rectangular_samples.mp4", "sample aspect 3:2"),
        ("bear-vp9-odd-dimensions.webm", "odd size"),
    ],
)
async def test_shape_is_as_displayed_for_every_kind_of_source(shared_dir: Path, name: str, kind: str) -> None:
    """B34, B37: square pixels, upright; the sizes of rungs follow."""
    expected = {
        "hdr10-video-with-sdr-container.mp4": (1920, 1080),
        "sample_edit_list.mp4": (1080, 1920),
        "bbb_1920x1080_60fps_vp8.webm": (1920, 1080),
        "video_with_rectangular_samples.mp4": (1920, 1080),
        "bear-vp9-odd-dimensions.webm": (161, 121),
    }
    policy = replace(LONG, formats=LONG.formats + SHORT.formats)
    info = await probe_file(shared_dir / "media/clips" / name, policy)
    assert (info.width, info.height) == expected[name], kind


def test_no_picture_is_lost_when_a_source_has_no_clock_for_showing(shared_dir: Path) -> None:
    """B37: VC-1 in ASF, 906 pictures; by the stamps of their packets every other one would go back."""
    path = shared_dir / "media/clips/TallShip-medium.wmv"
    source = Source(path, SourceLimits(), inspect(path, SourceLimits(), None), ())
    moments = [float(frame.pts * frame.time_base) for frame in decoded(source)]
    assert len(moments) >= 905
    assert moments == sorted(moments)
