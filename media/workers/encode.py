"""Child: one stored source becomes renditions, playlists, pictures (B3, B19-B31, B50, Y5-Y7).

Request: ``path``, ``out`` (an empty folder), ``first`` (another, or null), ``captions`` (a folder of WebVTT
files), ``source_captions``, ``first_rung_seconds``, ``ladder``, ``encoder``, ``preset``, ``upscale``,
``exact_bitrate``, ``dash``, ``loudness_lufs``, ``per_title``, ``min_free_bytes``, ``source`` (fields of
``SourceLimits``). Messages: ``progress`` with percent and stage; ``early`` with folder and paths of pictures
that are ready; ``rung``, when the set of the lowest rung is whole in ``first``, which is the parent's from
then on. Result, and ``rung``: length, size, and assets with keys relative to the video; the result has
``notes``, texts for the owner, and ``usage``, too.
"""

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media import ladder
from media.limits import SourceLimits
from media.workers import audio, frames, pictures, subtitles, titles
from media.workers.frames import Source
from media.workers.graph import CUBE
from media.workers.outputs import Plan, RungEncoder
from media.workers.packaging import Assets, Package
from media.workers.probe import inspect
from media.workers.protocol import Refused, Request, emit, serve
from media.workers.usage import Usage

AUDIO_AT, VIDEO_AT, PACKAGE_AT, PICTURES_AT = 1.0, 3.0, 88.0, 89.0
COPIES = 2.5
DECODE_WEIGHT = 0.25
"""Decoding a picture costs as much as encoding a quarter of its pixels (at preset veryfast)."""
UNIT_WORK = 30 * (DECODE_WEIGHT * 1920 * 1080 + 640 * 360 + 854 * 480 + 1280 * 720 + 1920 * 1080)
"""The work of one second of 1080p30 on the core ladder, in pixels encoded."""


@dataclass(frozen=True, slots=True)
class Span:
    """Part of the progress, in percent."""

    start: float
    end: float

    def at(self, share: float) -> float:
        """Return the percent when a share of this part is done."""
        return self.start + (self.end - self.start) * share


def handle(request: Request) -> dict[str, Any]:
    """Do one job. The working folder is the output folder, so that no path needs escaping for libav."""
    os.chdir(request["out"])
    usage = Usage()
    source = _open(request)
    usage.lap("probing")
    sound = _sound(source, request["loudness_lufs"])
    exact, encoder = request["exact_bitrate"], request["encoder"]
    plan = Plan(source.rate, request["preset"], exact, sound, request["dash"], encoder)
    texts = subtitles.collect(source, Path(request["captions"]), embedded=request["source_captions"])
    package = Package(plan, source.seconds, texts.cues, source.info["audio_language"])
    assets: Assets = []
    span, rest = Span(VIDEO_AT, PACKAGE_AT), source.renditions
    if _in_two_steps(request, source):
        lowest, rest = rest[:1], rest[1:]
        share = _work(source, lowest) / (_work(source, lowest) + _work(source, rest))
        os.chdir(request["first"])
        span, following = Span(VIDEO_AT, span.at(share)), Span(span.at(share), PACKAGE_AT)
        made, board = _encode(source, package, lowest, span, usage)
        # Pictures, masters and manifest come again under the same keys, larger and with all rungs; captions
        # do not: from now on they are their owner's to change and to take back.
        emit("rung", **_described(source, [*package.finish(), *texts.write(), *made, *board.stills()]))
        assets += made
        os.chdir(request["out"])
        span = following
        usage.lap("packaging")
    else:
        assets += texts.write()
    made, board = _encode(source, package, rest, span, usage)
    emit("progress", percent=PICTURES_AT, stage="pictures")
    assets += [*made, *board.write()]
    usage.lap("pictures")
    emit("progress", percent=PICTURES_AT, stage="packaging")
    assets = [*package.finish(board.tiles), *assets]
    usage.lap("packaging")
    return _described(source, assets) | {"notes": sound.result().notes, "usage": usage.told()}


def _described(source: Source, assets: Assets) -> dict[str, Any]:
    return {name: source.info[name] for name in ("duration_seconds", "width", "height")} | {"assets": assets}


def _open(request: Request) -> Source:
    path, limits = Path(request["path"]), SourceLimits(**request["source"])
    emit("progress", percent=0.0, stage="probing")
    info = inspect(path, limits, None)
    size = info["width"], info["height"]
    renditions = ladder.renditions(request["ladder"], *size, upscale=request["upscale"])
    if request["per_title"]:
        renditions = titles.worth_it(Source(path, limits, info, renditions))
    _check_space(renditions, info["duration_seconds"], request["min_free_bytes"])
    return Source(path, limits, info, renditions)


def _check_space(renditions: tuple[ladder.Rendition, ...], seconds: float, min_free_bytes: int) -> None:
    """Refuse to start what would fill the disk (B14): every rung exists as HLS and DASH, one as mp4."""
    rates = sum(r.rung.bitrate + ladder.AUDIO_BITRATE for r in renditions)
    needed = COPIES * seconds * rates / 8
    if shutil.disk_usage(Path.cwd()).free < needed + min_free_bytes:
        reason = "There is not enough disk space to process this."
        raise Refused("STORAGE_ERROR", reason, {"needed_bytes": round(needed)}, retryable=True)


def _sound(source: Source, loudness_lufs: float | None) -> Future[audio.Encoded]:
    """Begin to encode the sound, into a file beside the output folder."""
    index, encoded = source.info["audio_index"], Future[audio.Encoded]()
    if index is None:
        encoded.set_result(audio.Encoded(notes=(audio.LOST,) if source.info["audio_lost"] else ()))
        return encoded
    emit("progress", percent=AUDIO_AT, stage="transcoding")
    sound = audio.Sound(
        source.path, source.container, source.limits, index, source.info["start"], source.seconds
    )
    target = Path.cwd().parent / "audio.nut"
    return ThreadPoolExecutor(1).submit(audio.encode_what_there_is, sound, target, loudness_lufs)


def _in_two_steps(request: Request, source: Source) -> bool:
    """Say whether the lowest rung comes first: it is asked for, and the wait for all would be long (Y5)."""
    enough: float | None = request["first_rung_seconds"]
    if request["first"] is None or enough is None or len(source.renditions) < 2:
        return False
    return _work(source, source.renditions) >= enough * UNIT_WORK


def _work(source: Source, renditions: tuple[ladder.Rendition, ...]) -> float:
    """Estimate one pass: pictures times pixels decoded and encoded."""
    decoded: float = DECODE_WEIGHT * source.info["width"] * source.info["height"]
    return float(source.frames * (decoded + sum(r.width * r.height for r in renditions)))


def _encode(
    source: Source, package: Package, renditions: tuple[ladder.Rendition, ...], span: Span, usage: Usage
) -> tuple[Assets, pictures.Board]:
    """Decode once and feed these rungs; reports the share of the pictures that are through (B49).

    Returns the assets of the rungs, and the pictures that were seen on the way, to be written.
    """
    best = ladder.poster_rung(renditions)
    encoders = [RungEncoder(r, package.plan, progressive=r is best) for r in renditions]
    seen_by = encoders[renditions.index(best)]
    early = renditions[-1] is not source.renditions[-1]
    board = pictures.Board(best, source.rate, source.frames, stills_only=early)
    for encoder, frame in frames.for_rungs(source, encoders):
        if encoder is seen_by:
            if paths := board.offer(encoder.frames, frame):
                emit("early", folder=Path.cwd().name, paths=paths)
            if encoder.frames % 8 == 0:
                emit("progress", percent=span.at(encoder.frames / source.frames), stage="transcoding")
        encoder.encode(frame)
    for encoder in encoders:
        encoder.close()
    Path(CUBE).unlink(missing_ok=True)
    usage.lap("encoding")
    emit("progress", percent=span.end, stage="packaging")
    made = package.add(encoders)
    usage.lap("packaging")
    return made, board


if __name__ == "__main__":
    serve(handle)
