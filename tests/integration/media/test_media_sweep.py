"""Every clip and every hostile file through the whole pipeline (B19-B31, B37, B50, A3-A7).

What is made is verified by decoding all of it, and one picture is held beside another program's.
"""

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import imageio_ffmpeg
import m3u8
import numpy as np
import pytest

from media.ladder import renditions
from media.limits import SourceLimits
from media.pipeline import MediaError, MediaSettings
from media.policies import LONG, SHORT, UploadPolicy
from media.probe import SourceInfo, probe_file
from media.sniff import sniff_file
from media.workers.probe import inspect
from tables.errors import AppError, InvalidFormat
from tests.integration.media.media_checks import Done, check_hls, check_pictures, decode, process
from tests.integration.media.test_media_hostile import EXPECTED, classes

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("FREEWILL_SHARED", Path(__file__).resolve().parents[4] / "shared"))
CLIPS, HOSTILE = (
    sorted(path.name for path in (SHARED / "media" / area).glob("*")) for area in ("clips", "hostile")
)
NO_POLICY = {"sample.mkv"}
HDR = {"dolbyVision-hdr.MOV", "hdr10-av1.mp4", "hdr10-video-with-sdr-container.mp4", "sample_edit_list.mp4"}
SIDE = 48
NEAR_SECONDS = 0.3
FLAT = 1.0
"""Standard deviation, of 255, below which a picture shows nothing."""
SETTINGS = MediaSettings(preset="superfast")
HOSTILE_CPU_SECONDS = 60.0
HOSTILE_BYTES = 1024**3


def policy_of(path: Path) -> UploadPolicy:
    """Return the policy that lists the container and takes the length."""
    short = sniff_file(path) in SHORT.formats and not path.name.startswith("long_")
    return SHORT if short else LONG


def test_all_files_are_there(shared_dir: Path) -> None:
    assert (len(CLIPS), len(HOSTILE)) == (34, 45)


@pytest.mark.parametrize("name", CLIPS)
async def test_clip_becomes_whole(shared_dir: Path, tmp_path: Path, name: str) -> None:
    """A source that decodes ends READY with every promised output, whatever its codec, size or turn."""
    source = shared_dir / "media/clips" / name
    if name in NO_POLICY:
        for policy in (SHORT, LONG):
            with pytest.raises(InvalidFormat):
                await probe_file(source, policy)
        return
    info = await probe_file(source, policy_of(source))
    done = await process(source, tmp_path, SETTINGS)
    check_whole(done, info)
    check_upright(done, source, least=0.6 if name in HDR else 0.9)


def check_whole(done: Done, info: SourceInfo) -> None:
    """Check every output of a job: what it is, by decoding; when it begins and ends; that keyframes align."""
    outcome = done.outcome
    assert (outcome.width, outcome.height) == (info.width, info.height)
    assert outcome.duration_seconds == pytest.approx(info.duration_seconds, abs=0.002)
    rungs = check_hls(done, info.fps)
    check_pictures(done)
    for asset in outcome.assets:
        assert (done.root / asset.key).stat().st_size == asset.size_bytes, asset.key
    made = {each.rung.name: each for each in renditions("core", info.width, info.height)}
    keyframes = []
    for quality, each in made.items():
        hls = rungs[quality]
        keyframes.append([round(time - hls.start, 3) for time in hls.keyframes])
        dash = decode(done.path(f"dash/{quality}.mp4"))
        assert (dash.codec, dash.width, dash.height) == ("h264", each.width, each.height)
        assert dash.frames == hls.frames
        assert (hls.audio is None) == (info.audio_codec is None)
    assert all(found == keyframes[0] for found in keyframes), "keyframes of all rungs are at the same times"
    check_progressive(done, info)
    check_fragments(done, set(made))
    if info.audio_codec is not None:
        with av.open(str(done.path("dash/audio.mp4"))) as opened:
            seconds = sum(frame.samples / frame.sample_rate for frame in opened.decode(audio=0))
        assert abs(seconds - outcome.duration_seconds) <= 0.1 + 1 / info.fps


def check_progressive(done: Done, info: SourceInfo) -> None:
    """Check the one mp4: whole, its index in front, as long as the video."""
    (path,) = done.path("mp4").iterdir()
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    found = decode(path)
    assert found.codec == "h264"
    assert abs(found.frames - done.outcome.duration_seconds * info.fps) <= 2


def check_fragments(done: Done, qualities: set[str]) -> None:
    """Check that the playlists of fragmented files cover each file to its last byte."""
    master = m3u8.load(str(done.path("hls/master-cmaf.m3u8")))
    assert {entry.uri.split("/")[0] for entry in master.playlists} == qualities
    for uri in [entry.uri for entry in (*master.playlists, *master.media)]:
        if "captions" in uri:
            continue
        listed = m3u8.load(str(done.path("hls") / uri))
        size, start = map(int, listed.segments[-1].byterange.split("@"))
        file = (done.path("hls") / uri).parent / listed.segments[-1].uri
        assert start + size == file.stat().st_size, uri


def check_upright(done: Done, source: Path, least: float) -> None:
    """Check one picture: of its eight turns and mirror images, the one that is shown is like ffmpeg's own."""
    middle = done.outcome.duration_seconds / 2
    wanted = reference(source, middle)
    if wanted.std() < FLAT:  # of one colour: nothing tells which way it lies
        assert all(np.abs(picture - wanted).max() <= 8 for picture in pictures_near(done.path("mp4"), middle))
        return
    alike: dict[str, float] = {}
    for picture in pictures_near(done.path("mp4"), middle):
        for name, turned in turns(picture):
            alike[name] = max(alike.get(name, -1.0), likeness(wanted, turned))
    assert max(alike, key=lambda name: alike[name]) == "upright", alike
    assert alike["upright"] >= least, alike


def reference(source: Path, at: float) -> np.ndarray:
    """Return a picture of the source as ffmpeg shows it, grey and small."""
    # Of several streams ffmpeg takes the largest, which may be one still.
    stream = inspect(source, SourceLimits(), None)["video_index"]
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(source), "-map", f"0:{stream}", "-vf",
        f"select=gte(t-start_t\\,{at:.3f}),scale={SIDE}:{SIDE}:flags=area,format=gray",
        "-frames:v", "1", "-f", "rawvideo", "-",
    ]  # fmt: skip
    raw = subprocess.run(command, check=True, capture_output=True, timeout=300).stdout
    return np.frombuffer(raw, np.uint8).reshape(SIDE, SIDE).astype(float)


def pictures_near(folder: Path, at: float) -> Iterator[np.ndarray]:
    """Yield the pictures of the mp4 around a moment, grey and small: sources may begin late."""
    (path,) = folder.iterdir()
    with av.open(str(path)) as opened:
        for frame in opened.decode(video=0):
            if abs(float(frame.time or 0) - at) <= NEAR_SECONDS:
                small = frame.reformat(SIDE, SIDE, "gray", interpolation="AREA")
                yield small.to_ndarray().astype(float)


def turns(picture: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a picture in all eight ways that it can lie."""
    for quarter in range(4):
        turned = np.rot90(picture, quarter)
        yield ("upright" if not quarter else f"turned {quarter}"), turned
        yield f"mirrored {quarter}", turned[:, ::-1]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two pictures."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_file_ends_as_its_class_says(shared_dir: Path, tmp_path: Path, name: str) -> None:
    """Refused with its code, or whole outputs; in bounds of processor time and memory of the children."""
    source = shared_dir / "media/hostile" / name
    expected = EXPECTED[classes(shared_dir / "media/README.md")[name]]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    verdict: object
    try:
        verdict = await probe_file(source, policy_of(source))
    except AppError as error:
        verdict = error
    assert isinstance(verdict, expected), verdict
    if isinstance(verdict, SourceInfo):
        await check_processed(source, tmp_path, verdict, name)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime
    assert seconds <= HOSTILE_CPU_SECONDS
    # Of all children so far, in kB: nothing else in this file is larger.
    assert spent.ru_maxrss * 1024 <= HOSTILE_BYTES or before.ru_maxrss == spent.ru_maxrss


async def check_processed(source: Path, folder: Path, info: SourceInfo, name: str) -> None:
    """Check that a source that passed probing becomes whole, or fails with its code."""
    try:
        done = await process(source, folder, SETTINGS)
    except MediaError as error:
        if error.code != "CORRUPTED_FILE":
            pytest.fail(f"{name}: {error}")
        return
    check_whole(done, info)
