"""Encoding beside the best single ffmpeg command in the same run: time, memory, quality, first rung.

    .venv/bin/python tests/bench/bench_media.py [--runs N] [--clip NAME] [--full] [--json PATH]

Clips: 1080p, 720p, portrait of shared/media (or generated ones without it). ``encode`` is sound (with its two
passes for loudness) and picture of four rungs, muxed to HLS, DASH and mp4; the whole job adds the child's
start, probing, packaging, pictures, verification and storing. The command writes the four HLS rungs and
nothing else. Runs are interleaved; a ratio is the median of those of each run to the command's next to it.
Quality is each rung against the source at its size.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

from media.child import run_child
from media.generate import generate_clip
from media.ladder import Rendition, renditions
from media.limits import ENCODE_CHILD
from media.pipeline import MediaOutcome, MediaSettings, run_job
from media.policies import SHORT
from media.probe import SourceInfo, probe_file
from media.stores import FileStore
from tables.records import MediaJob

TARGET_RATIO = 1.03
TARGET_FIRST = 0.5
BUDGET_MB = {"core": 700, "full": 2600}
"""Resident memory of a job's child by ladder, at preset veryfast."""
MB = 1024 * 1024
Result = dict[str, Any]
CLIPS = {
    "1080p": "sowt-with-video.mov",
    "720p": "internal_emulator_transformer_output.mp4",
    "portrait": "",  # generated: the portrait clips of the set are HDR, shorter than a second, or 8 fps
}


def ffmpeg() -> str | None:
    """Return an ffmpeg: of the PATH, or of imageio-ffmpeg when that is installed."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    return str(imageio_ffmpeg.get_ffmpeg_exe())


class Cost(NamedTuple):
    """Seconds on the clock and seconds of processor of all child processes."""

    wall: float
    cpu: float


def used() -> Cost:
    """Return the clock and what ended children have used so far."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(time.perf_counter(), spent.ru_utime + spent.ru_stime)


def since(begun: Cost) -> Cost:
    """Return what was used since."""
    now = used()
    return Cost(now.wall - begun.wall, now.cpu - begun.cpu)


@dataclass(frozen=True, slots=True)
class Run:
    """One job: its whole cost, when a first rung played, and what its child says of itself."""

    cost: Cost
    first_seconds: float | None
    usage: dict[str, Any]

    def share(self, *stages: str) -> Cost:
        """Return the cost of some stages of the child."""
        found = [self.usage["stages"][stage] for stage in stages if stage in self.usage["stages"]]
        return Cost(sum(f["wall_seconds"] for f in found), sum(f["cpu_seconds"] for f in found))


async def ours(
    source: Path, folder: Path, settings: MediaSettings, *, first: bool = False, ladder: str = "core"
) -> Run:
    """Run one whole job, in one pass or with its first rung apart."""
    store = FileStore(folder / "store")
    await store.put_file("videos/b/source.mp4", source, content_type="video/mp4")
    told: list[dict[str, Any]] = []
    playable: list[float] = []

    async def note(percent: float | None, stage: str) -> None:
        return None

    async def listen(*arguments: Any) -> dict[str, Any]:
        told.append(await run_child(*arguments))
        return told[-1]

    async def plays(outcome: MediaOutcome) -> None:
        playable.append(time.perf_counter())

    job = MediaJob(job_id="b", video_id="b", source_key="videos/b/source.mp4", ladder=ladder)
    begun = used()
    with patch("media.pipeline.run_child", listen):
        await run_job(job, store, folder / "work", settings, note, plays if first else None)
    return Run(since(begun), playable[0] - begun.wall if playable else None, told[-1]["usage"])


def command(binary: str, source: Path, info: SourceInfo, folder: Path, preset: str) -> list[str]:
    """Return the one command that decodes once and writes the same four HLS rungs plus the mp4."""
    rungs = renditions("core", info.width, info.height)
    split = f"[0:v:0]fps={info.fps},split={len(rungs)}" + "".join(f"[s{i}]" for i in range(len(rungs)))
    scales = ";".join(f"[s{i}]scale={r.width}:{r.height},format=yuv420p[v{i}]" for i, r in enumerate(rungs))
    line = [binary, "-v", "error", "-y", "-i", str(source), "-filter_complex", f"{split};{scales}"]
    gop = str(round(2 * info.fps))
    for index, rung in enumerate(rungs):
        rate = str(rung.rung.bitrate)
        line += ["-map", f"[v{index}]", *(["-map", "0:a:0"] if info.audio_codec else [])]
        line += [f"-b:v:{index}", rate, f"-maxrate:v:{index}", rate, f"-bufsize:v:{index}", rate]
    line += ["-c:v", "libx264", "-preset", preset, "-profile:v", "high", "-bf", "2", "-g", gop]
    line += [
        "-keyint_min",
        gop,
        "-sc_threshold",
        "0",
        "-c:a",
        "aac",
        "-b:a",
        "96k",
        "-ac",
        "2",
        "-ar",
        "48000",
    ]
    pairs = [f"v:{i},a:{i}" if info.audio_codec else f"v:{i}" for i in range(len(rungs))]
    line += ["-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod", "-master_pl_name", "master.m3u8"]
    line += ["-var_stream_map", " ".join(pairs), "-hls_segment_filename", str(folder / "%v/s_%05d.ts")]
    return [*line, str(folder / "%v/playlist.m3u8")]


def theirs(binary: str, source: Path, info: SourceInfo, folder: Path, preset: str) -> Cost:
    """Run the command."""
    begun = used()
    subprocess.run(command(binary, source, info, folder, preset), check=True)
    return since(begun)


async def measure(name: str, source: Path, runs: int, preset: str, tell: Callable[[str], None]) -> Result:
    """Interleave our runs with the command's, and print."""
    info = await probe_file(source, SHORT)
    binary = ffmpeg()
    # The command runs at normal priority, so the child must too.
    settings = MediaSettings(preset=preset, limits=replace(ENCODE_CHILD, nice=0), first_rung_seconds=0.0)
    made: dict[str, list[Run]] = {"one pass": [], "first rung apart": []}
    command_costs: list[Cost] = []
    result: Result = {"clip": name, "file": source.name, "seconds": info.duration_seconds}
    for number in range(runs):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            made["one pass"].append(await ours(source, folder / "a", settings))
            if binary:
                command_costs.append(theirs(binary, source, info, folder / "c", preset))
            made["first rung apart"].append(await ours(source, folder / "b", settings, first=True))
            if binary and number == 0:
                hls = folder / "a/store/videos/b/hls"
                result["quality"] = [
                    (
                        rung,
                        quality(binary, source, info, hls / rung.rung.name, rung),
                        quality(binary, source, info, folder / "c" / str(index), rung),
                    )
                    for index, rung in enumerate(renditions("core", info.width, info.height))
                ]
    tell(f"{name} {source.name}, {info.duration_seconds:.1f} s, {info.fps:g} fps")
    result["passes"] = _tell_speed(made["one pass"], command_costs, tell)
    result["first"] = _tell_first(made, tell)
    peak = max(run.usage["peak_bytes"] for run in made["one pass"])
    tell(f"  peak memory of core: {peak / MB:.0f} MB, budget {BUDGET_MB['core']}")
    for rung, (our_rate, our_ssim, our_psnr), (rate, ssim, psnr) in result.pop("quality", []):
        tell(
            f"  {rung.rung.name:>5}: SSIM {our_ssim:.4f} of ffmpeg's {ssim:.4f}, PSNR {our_psnr:.2f} of"
            f" {psnr:.2f} dB, {our_rate / 1e6:.2f} of {rate / 1e6:.2f} Mbit/s (target: not below)"
        )
    return result | {"peak_bytes": peak}


def _tell_speed(runs: list[Run], costs: list[Cost], tell: Callable[[str], None]) -> dict[str, Any]:
    """Print what encoding costs alone and with the rest, beside the command."""
    parts = {
        "encode": [run.share("encoding") for run in runs],
        "packaging and pictures": [run.share("packaging", "pictures") for run in runs],
        "whole job": [run.cost for run in runs],
    }
    for what, spent in parts.items():
        cost = _median(spent)
        line = f"  {what}: {cost.wall:.2f} s, {cost.cpu:.2f} s cpu"
        if costs and what != "packaging and pictures":
            ratio = _median([_ratio(*pair) for pair in zip(spent, costs, strict=True)])
            line += f", {ratio.cpu:.3f} of ffmpeg's cpu and {ratio.wall:.3f} of its wall"
            line += f", target <= {TARGET_RATIO}" if what == "encode" else ""
        tell(line)
    if costs:
        tell(f"  ffmpeg: {_median(costs).wall:.2f} s, {_median(costs).cpu:.2f} s cpu")
    return {"parts": parts, "ffmpeg": costs}


def _median(costs: list[Cost]) -> Cost:
    return Cost(median(cost.wall for cost in costs), median(cost.cpu for cost in costs))


def _ratio(ours: Cost, theirs: Cost) -> Cost:
    return Cost(ours.wall / theirs.wall, ours.cpu / theirs.cpu)


def _tell_first(made: dict[str, list[Run]], tell: Callable[[str], None]) -> dict[str, float]:
    """Print how soon a first rung plays."""
    best = min(made["first rung apart"], key=lambda run: run.cost.wall)
    assert best.first_seconds is not None
    share = best.first_seconds / best.cost.wall
    more = best.cost.cpu / min(run.cost.cpu for run in made["one pass"])
    tell(
        f"  first rung plays after {best.first_seconds:.2f} of {best.cost.wall:.2f} s: {share:.2f},"
        f" target <= {TARGET_FIRST}; {more:.2f} of the cpu of one pass"
    )
    return {"share": share, "more_cpu": more}


def quality(
    binary: str, source: Path, info: SourceInfo, folder: Path, rung: Rendition
) -> tuple[float, float, float]:
    """Return bit/s, SSIM and PSNR of a rung against the source at its size, by ffmpeg's own filters."""
    size = sum(path.stat().st_size for path in folder.glob("*.ts"))
    graph = (
        f"[1:v]fps={info.fps},scale={rung.width}:{rung.height}:flags=bicubic,format=yuv420p,"
        "setpts=PTS-STARTPTS,split[r1][r2];[0:v]setpts=PTS-STARTPTS,split[a][b];"
        "[a][r1]ssim[x];[b][r2]psnr[y]"
    )
    line = [
        binary,
        "-hide_banner",
        "-nostats",
        "-i",
        str(folder / "playlist.m3u8"),
        "-i",
        str(source),
        "-filter_complex",
        graph,
    ]
    line += ["-map", "[x]", "-map", "[y]", "-f", "null", "-"]
    told = subprocess.run(line, check=True, capture_output=True, text=True).stderr
    ssim, psnr = re.search(r"SSIM .*All:([\d.]+)", told), re.search(r"PSNR .*average:([\d.]+|inf)", told)
    assert ssim is not None
    assert psnr is not None
    return size * 8 / info.duration_seconds, float(ssim[1]), float(psnr[1])


async def large(shared: Path, preset: str, tell: Callable[[str], None]) -> None:
    """Print the memory of the whole ladder up to 2160p."""
    source = shared / "media/clips/portrait_4k60.mp4"
    if not source.is_file():
        return
    with tempfile.TemporaryDirectory() as scratch:
        run = await ours(source, Path(scratch), MediaSettings(preset=preset), ladder="full")
    peak = run.usage["peak_bytes"] / MB
    tell(f"peak memory of full, {source.name}: {peak:.0f} MB, budget {BUDGET_MB['full']}")


async def clips(shared: Path, folder: Path) -> dict[str, Path]:
    """Return the three clips, generated ones where the real material is absent."""
    found: dict[str, Path] = {}
    for name, file in CLIPS.items():
        path = shared / "media/clips" / file
        if not file or not path.is_file():
            path = folder / f"{name}.mp4"
            size = {"1080p": (1920, 1080), "720p": (1280, 720)}.get(name, (720, 1280))
            await generate_clip(path, "cellular", 3.0, size, 1)
        found[name] = path
    return found


async def main(arguments: argparse.Namespace, tell: Callable[[str], None] = print) -> None:
    """Measure and print."""
    root = Path(__file__).resolve().parents[2]
    shared = Path(os.environ.get("FREEWILL_SHARED", root.parent / "shared"))
    tell(f"machine: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, path in (await clips(shared, Path(scratch))).items():
            if arguments.clip in (None, name):
                results.append(await measure(name, path, arguments.runs, arguments.preset, tell))
    if arguments.full:
        await large(shared, arguments.preset, tell)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2, default=str))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--clip", choices=CLIPS)
    parser.add_argument("--full", action="store_true", help="the ladder up to 2160p, too")
    parser.add_argument("--json")
    asyncio.run(main(parser.parse_args()))
