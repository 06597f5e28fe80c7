"""Seconds of encoding per second of video, beside the best single ffmpeg command in the same run.

    .venv/bin/python tests/bench/bench_media.py [--runs N] [--json PATH]

Clips: 1080p, 720p, portrait of shared/media (or generated ones without it). ``ours`` is the whole job as
users wait for it: probe, sound, four rungs, HLS, DASH, mp4, pictures, verification, storing; ``no dash``
the same without the DASH set. The command writes the four HLS rungs and nothing else. Runs are interleaved,
the best of each is compared by processor time, which other work on the machine changes little.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from media.generate import generate_clip
from media.ladder import renditions
from media.limits import ENCODE_CHILD
from media.pipeline import MediaSettings, run_job
from media.policies import SHORT
from media.probe import SourceInfo, probe_file
from media.stores import FileStore
from tables.records import MediaJob

TARGET_RATIO = 1.15
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


async def ours(source: Path, folder: Path, settings: MediaSettings) -> Cost:
    """Run one whole job."""
    store = FileStore(folder / "store")
    await store.put_file("videos/b/source.mp4", source, content_type="video/mp4")

    async def note(percent: float | None, stage: str) -> None:
        return None

    job = MediaJob(job_id="b", video_id="b", source_key="videos/b/source.mp4", ladder="core")
    begun = used()
    await run_job(job, store, folder / "work", settings, note)
    return since(begun)


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


async def measure(name: str, source: Path, runs: int, preset: str) -> dict[str, Any]:
    """Interleave our runs with the command's and keep the best of each."""
    info = await probe_file(source, SHORT)
    binary = ffmpeg()
    # The command runs at normal priority, so the child must too.
    settings = MediaSettings(preset=preset, limits=replace(ENCODE_CHILD, nice=0))
    times: dict[str, list[Cost]] = {"ours": [], "no dash": [], "ffmpeg": []}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            times["ours"].append(await ours(source, folder / "a", settings))
            times["no dash"].append(await ours(source, folder / "b", replace(settings, dash=False)))
            if binary:
                times["ffmpeg"].append(theirs(binary, source, info, folder / "c", preset))
    length = info.duration_seconds
    best = {
        kind: Cost(min(c.wall for c in found) / length, min(c.cpu for c in found) / length)
        for kind, found in times.items()
        if found
    }
    ratio = best["ours"].cpu / best["ffmpeg"].cpu if "ffmpeg" in best else None
    return {"clip": name, "file": source.name, "seconds": length, "best": best, "ratio": ratio}


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
            results.append(await measure(name, path, arguments.runs, arguments.preset))
            best, ratio = results[-1]["best"], results[-1]["ratio"]
            shown = ", ".join(f"{kind} {cost.wall:.2f} ({cost.cpu:.2f} cpu)" for kind, cost in best.items())
            against = f"cpu ours/ffmpeg {ratio:.2f}, target <= {TARGET_RATIO}" if ratio else "no ffmpeg here"
            tell(f"{name:9} {results[-1]['file']}: s per s of video: {shown}; {against}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--json")
    asyncio.run(main(parser.parse_args()))
