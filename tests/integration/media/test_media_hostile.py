"""Every hostile file gets its expected class, in bounds (A3-A7; shared/media/README.md)."""

import re
from pathlib import Path

import pytest

from media.policies import LONG, SHORT
from media.probe import SourceInfo, probe_file
from media.sniff import sniff_file
from tables.errors import AppError, CorruptedFile, DurationExceeded, FileTooLarge, InvalidFormat

EXPECTED: dict[str, tuple[type[object], ...]] = {
    "F": (InvalidFormat,),
    "C": (CorruptedFile,),
    "N": (CorruptedFile,),
    "U": (InvalidFormat,),
    "T": (CorruptedFile, DurationExceeded),
    "D": (InvalidFormat,),
    "P": (CorruptedFile, SourceInfo),
    "W": (SourceInfo,),
}


def classes(readme: Path) -> dict[str, str]:
    """Return file name -> class from the table of the README."""
    rows = re.findall(r"^\| (\S+) \| [\d.]+ \| .*? \| ([A-Z]) \|", readme.read_text(), re.MULTILINE)
    return dict(rows)


async def verdict(path: Path) -> object:
    """Probe under the policy that lists the container, as its owner would upload it."""
    policy = SHORT if sniff_file(path) in SHORT.formats else LONG
    try:
        return await probe_file(path, policy)
    except AppError as error:
        return error


async def test_every_hostile_file_is_judged_as_expected(shared_dir: Path) -> None:
    expected = classes(shared_dir / "media/README.md")
    files = sorted((shared_dir / "media/hostile").iterdir())
    assert len(files) == 45
    wrong = []
    for path in files:
        found = await verdict(path)
        if not isinstance(found, EXPECTED[expected[path.name]]):
            wrong.append((path.name, expected[path.name], found))
    assert not wrong


@pytest.mark.parametrize(
    ("filename", "refusal"),
    [("", CorruptedFile), ("film.mov", CorruptedFile), ("film", CorruptedFile), ("film.iso", InvalidFormat)],
)
async def test_noise_is_damage_unless_its_name_says_that_it_is_no_video(
    tmp_path: Path, filename: str, refusal: type[AppError]
) -> None:
    """A3, A7: parts at signed URLs have no name, and get the verdict of the other ways."""
    path = tmp_path / "whatever.part"
    path.write_bytes(bytes(range(128, 256)) * 500)
    with pytest.raises(refusal):
        await probe_file(path, SHORT, filename=filename)


async def test_refused_format_lists_what_is_supported(shared_dir: Path, tmp_path: Path) -> None:
    """A3, A11: a renamed text file, and Matroska that is not WebM."""
    text = tmp_path / "video.mp4"
    text.write_text("I am a video, honestly.\n")
    for path in (text, shared_dir / "media/clips/sample.mkv"):
        with pytest.raises(InvalidFormat) as refused:
            await probe_file(path, SHORT)
        assert refused.value.details["supported"] == ["mp4", "webm", "mov"]


@pytest.mark.parametrize("name", ["sample.avi", "glass.wmv", "bbb_176x144_128kbps_15fps_h263.3gp"])
async def test_format_of_the_long_policy_is_refused_under_short(shared_dir: Path, name: str) -> None:
    """X2, property 1."""
    path = shared_dir / "media/clips" / name
    assert isinstance(await probe_file(path, LONG), SourceInfo)
    with pytest.raises(InvalidFormat):
        await probe_file(path, SHORT)


async def test_duration_is_measured_and_refused_when_over_the_limit(shared_dir: Path) -> None:
    """A5: 363 s under short is refused, under long it passes."""
    path = shared_dir / "media/clips/long_1080p_lowbitrate.mp4"
    with pytest.raises(DurationExceeded) as refused:
        await probe_file(path, SHORT)
    assert refused.value.details["limit_seconds"] == 180
    assert (await probe_file(path, LONG)).duration_seconds == pytest.approx(362.767, abs=0.1)


async def test_empty_file_is_corrupted(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(CorruptedFile):
        await probe_file(path, SHORT)


async def test_size_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    with path.open("wb") as file:
        file.truncate(SHORT.max_bytes + 1)
    with pytest.raises(FileTooLarge):
        await probe_file(path, SHORT)


@pytest.mark.parametrize(
    ("name", "size", "seconds", "fps", "audio"),
    [
        ("rotated_video.mp4", (480, 640), 5.228, 8.797, "aac"),
        ("video_with_rectangular_samples.mp4", (1920, 1080), 5.229, 8.797, "aac"),
        ("bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4", (1137, 640), 4.0, 30, None),
        ("no_duration.webm", (1280, 720), 4.94, 14.98, "opus"),
        ("pixel-motion-photo-2-hevc-tracks.mp4", (768, 1024), 2.13, 30, None),
        ("portrait_4k60.mp4", (2160, 3840), 0.313, 60, "aac"),
        ("sample_12_5fps_720p_1s.mp4", (1280, 720), 1.045, 12.5, "aac"),
    ],
)
async def test_source_is_described_as_shown(
    shared_dir: Path, name: str, size: tuple[int, int], seconds: float, fps: float, audio: str | None
) -> None:
    """B34: size upright with square pixels, length of the longest stream, constant rate."""
    found = await probe_file(shared_dir / "media/clips" / name, LONG if name.endswith("wmv") else SHORT)
    assert (found.width, found.height) == size
    assert found.duration_seconds == pytest.approx(seconds, abs=0.05)
    assert found.fps == pytest.approx(fps, abs=0.05)
    assert found.audio_codec == audio
