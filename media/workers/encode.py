"""Child: one stored source becomes renditions, playlists, pictures (B3, B19-B31, B50).

Request: ``path``, ``out`` (an empty folder), ``ladder``, ``preset``, ``upscale``, ``exact_bitrate``,
``dash``, ``min_free_bytes``, ``source`` (fields of ``SourceLimits``). Messages: ``progress`` with percent
and stage, ``early`` with paths of pictures that are ready. Result: length, size, and assets with keys
relative to the video.
"""

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media import ladder
from media.layout import THUMBNAILS, AssetType
from media.limits import SourceLimits
from media.playlists import Segment, Track, Variant, manifest, master_playlist, media_playlist
from media.sniff import Container
from media.workers import audio, colour, pictures, verify
from media.workers import source as src
from media.workers.graph import CUBE, LadderGraph, Shape
from media.workers.outputs import DASH_OFFSET_FRAMES, Plan, RungEncoder, write_dash_audio
from media.workers.probe import inspect
from media.workers.protocol import Refused, Request, emit, serve

AUDIO_AT, VIDEO_AT, PACKAGE_AT, PICTURES_AT, VERIFY_AT = 1.0, 3.0, 88.0, 89.0, 94.0
COPIES = 2.5
Assets = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """The opened job: where the file is, what probing found, what to make of it."""

    path: Path
    limits: SourceLimits
    info: dict[str, Any]
    renditions: tuple[ladder.Rendition, ...]

    @property
    def container(self) -> Container:
        """The container to force on libav."""
        return Container(self.info["container"])

    @property
    def rate(self) -> Fraction:
        """Frames per second of every rendition."""
        return Fraction(*self.info["rate"])

    @property
    def frames(self) -> int:
        """Pictures of every rendition: the length of the longest stream, in frames."""
        seconds = Fraction(self.info["duration_seconds"])
        return max(1, math.ceil(seconds * self.rate - Fraction(1, 100)))


def handle(request: Request) -> dict[str, Any]:
    """Do one job. The working folder is the output folder, so that no path needs escaping for libav."""
    os.chdir(request["out"])
    source = _open(request)
    track = _sound(source)
    plan = Plan(source.rate, request["preset"], request["exact_bitrate"], track, request["dash"])
    encoders = _encode(source, plan)
    emit("progress", percent=PACKAGE_AT, stage="packaging")
    seconds = float(source.frames / source.rate)
    assets = _package(encoders, plan)
    emit("progress", percent=PICTURES_AT, stage="pictures")
    best = ladder.poster_rung(source.renditions)
    assets += _pictures(best, seconds)
    emit("progress", percent=VERIFY_AT, stage="packaging")
    verify.check_mp4(Path(f"mp4/{best.rung.name}.mp4"), seconds, plan.segment_seconds)
    Path(CUBE).unlink(missing_ok=True)
    info = source.info
    for asset in assets:
        asset["size_bytes"] = Path(asset["key"]).stat().st_size
    return {name: info[name] for name in ("duration_seconds", "width", "height")} | {"assets": assets}


def _open(request: Request) -> Source:
    path, limits = Path(request["path"]), SourceLimits(**request["source"])
    emit("progress", percent=0.0, stage="probing")
    info = inspect(path, limits, None)
    size = info["width"], info["height"]
    renditions = ladder.renditions(request["ladder"], *size, upscale=request["upscale"])
    _check_space(renditions, info["duration_seconds"], request["min_free_bytes"])
    return Source(path, limits, info, renditions)


def _check_space(renditions: tuple[ladder.Rendition, ...], seconds: float, min_free_bytes: int) -> None:
    """Refuse to start what would fill the disk (B14): every rung exists as HLS and DASH, one as mp4."""
    rates = sum(r.rung.bitrate + ladder.AUDIO_BITRATE for r in renditions)
    needed = COPIES * seconds * rates / 8
    if shutil.disk_usage(Path.cwd()).free < needed + min_free_bytes:
        reason = "There is not enough disk space to process this."
        raise Refused("STORAGE_ERROR", reason, {"needed_bytes": round(needed)}, retryable=True)


def _sound(source: Source) -> Path | None:
    """Encode the sound beside the output folder; None for a silent video."""
    index = source.info["audio_index"]
    if index is None:
        return None
    emit("progress", percent=AUDIO_AT, stage="transcoding")
    target = Path.cwd().parent / "audio.nut"
    clock = audio.Clock(source.info["start"], float(source.frames / source.rate))
    audio.encode(source.path, source.container, source.limits, index, target, clock)
    return target


def _encode(source: Source, plan: Plan) -> list[RungEncoder]:
    """Decode once and feed every rung; reports the share of the pictures that are through (B49)."""
    best = ladder.poster_rung(source.renditions)
    encoders = [RungEncoder(r, plan, progressive=r is best) for r in source.renditions]
    poster = encoders[source.renditions.index(best)]
    picker = pictures.PosterPicker(source.rate, source.frames)
    for encoder, frame in _ladder_frames(source, encoders):
        if encoder is poster and (chosen := picker.offer(encoder.frames, frame)) is not None:
            emit("early", folder=Path.cwd().name, paths=pictures.write_poster(chosen))
        encoder.encode(frame)
        if encoder is poster and encoder.frames % 8 == 0:
            done = encoder.frames / source.frames
            emit("progress", percent=VIDEO_AT + (PACKAGE_AT - VIDEO_AT) * done, stage="transcoding")
    for encoder in encoders:
        encoder.close()
    return encoders


def _ladder_frames(source: Source, encoders: list[RungEncoder]) -> Iterator[tuple[RungEncoder, VideoFrame]]:
    """Yield each rung's pictures as they come out of the graph, exactly as many as the video has."""
    graph: LadderGraph | None = None
    for frame in _decoded(source):
        if graph is None:
            graph = _graph(source, frame)
        graph.push(frame)
        yield from _ready(graph, source, encoders)
        if all(encoder.frames >= source.frames for encoder in encoders):
            return
    if graph is None:
        raise Refused("CORRUPTED_FILE", "No frame of the video can be decoded.")
    graph.push(None)
    yield from _ready(graph, source, encoders)


def _ready(
    graph: LadderGraph, source: Source, encoders: list[RungEncoder]
) -> Iterator[tuple[RungEncoder, VideoFrame]]:
    for index, encoder in enumerate(encoders):
        if encoder.frames >= source.frames:
            continue
        for frame in graph.pull(index):
            yield encoder, frame
            if encoder.frames >= source.frames:
                break


def _decoded(source: Source) -> Iterator[VideoFrame]:
    """Yield decoded pictures on the presentation's clock; stamps never go back or jump too far."""
    last = -math.inf
    end = source.info["duration_seconds"] + source.limits.max_gap_seconds
    with src.open_source(source.path, source.container, source.limits) as opened:
        stream = opened.streams[source.info["video_index"]]
        assert isinstance(stream, VideoStream)
        stream.codec_context.options = {"max_pixels": str(source.limits.max_pixels)}
        for frame in src.frames(opened, stream, source.limits):
            if not isinstance(frame, VideoFrame):
                continue
            base = frame.time_base or stream.time_base or Fraction(1, 1000)
            stamp = _stamp(frame, base, last, source)
            seconds = float(stamp * base)
            if seconds <= last or seconds > end:
                continue
            last, frame.pts, frame.time_base = seconds, stamp, base
            yield frame


def _stamp(frame: VideoFrame, base: Fraction, last: float, source: Source) -> int:
    """Return a frame's time in units of ``base``; one without a stamp follows the last by one step."""
    known = frame.pts if frame.pts is not None else frame.dts
    if known is None:
        return round((max(last, 0.0) + float(1 / source.rate)) / float(base))
    start: float = source.info["start"]
    return known - round(start / float(base))


def _graph(source: Source, frame: VideoFrame) -> LadderGraph:
    shape = Shape.of(frame)
    if shape.transfer in colour.HDR_TRANSFERS:
        colour.write_cube(Path(CUBE), shape.transfer)
    assert frame.time_base is not None
    return LadderGraph(shape, frame.time_base, source.rate, source.renditions)


def _package(encoders: list[RungEncoder], plan: Plan) -> Assets:
    """Write the playlists over libav's own, the master, the DASH manifest; describe the assets."""
    codecs = f",{audio.CODECS}" if plan.audio else ""
    variants, assets = [], Assets()
    for encoder in encoders:
        rendition, quality = encoder.rendition, encoder.rendition.rung.name
        playlist = Path(f"hls/{quality}/playlist.m3u8")
        seconds = float(encoder.frames / plan.rate)
        segments = verify.check_rendition(playlist, seconds, plan.segment_seconds)
        playlist.write_text(media_playlist(segments))
        variants.append(_variant(encoder, plan.rate, segments, encoder.codecs + codecs))
        shape = {"width": rendition.width, "height": rendition.height, "quality": quality}
        shape |= {"bandwidth": rendition.rung.bitrate, "codec": encoder.codecs + codecs}
        assets.append(_asset(AssetType.HLS_RENDITION, str(playlist), "ts", **shape))
        mp4 = f"mp4/{quality}.mp4"
        if Path(mp4).exists():
            assets.append(_asset(AssetType.MP4, mp4, "mp4", **shape))
    Path("hls/master.m3u8").write_text(master_playlist(variants))
    assets.insert(0, _asset(AssetType.HLS_MASTER, "hls/master.m3u8", "m3u8"))
    return assets + (_dash(encoders, plan) if plan.dash else [])


def _variant(encoder: RungEncoder, rate: Fraction, segments: list[Segment], codecs: str) -> Variant:
    """Describe a rung: the declared bandwidth is the ladder's (B25), the average is measured."""
    rendition, folder = encoder.rendition, Path(f"hls/{encoder.rendition.rung.name}")
    size = sum((folder / segment.name).stat().st_size for segment in segments)
    average = round(size * 8 / sum(segment.seconds for segment in segments))
    return Variant(
        uri=f"{rendition.rung.name}/playlist.m3u8",
        bandwidth=rendition.rung.bitrate,
        # A short clip may use its second of buffer on top; the average is never above the peak.
        average_bandwidth=min(average, rendition.rung.bitrate),
        width=rendition.width,
        height=rendition.height,
        codecs=codecs,
        frame_rate=rate,
        upscaled=rendition.upscaled,
    )


def _dash(encoders: list[RungEncoder], plan: Plan) -> Assets:
    """Write the manifest over the indexed files; one audio file serves all rungs (B24)."""
    offset = float(DASH_OFFSET_FRAMES / plan.rate)
    sound = None
    if plan.audio is not None:
        write_dash_audio(plan.audio, offset)
        sound = _track("audio.mp4", ladder.AUDIO_BITRATE, audio.CODECS)
    tracks = []
    for encoder in encoders:
        rendition = encoder.rendition
        name, bitrate = f"{rendition.rung.name}.mp4", rendition.rung.bitrate
        tracks.append(_track(name, bitrate, encoder.codecs, rendition.width, rendition.height))
    seconds = float(encoders[0].frames / plan.rate)
    text = manifest(tracks, sound, seconds=seconds, rate=plan.rate, offset=offset)
    Path("dash/manifest.mpd").write_text(text)
    return [_asset(AssetType.DASH_MANIFEST, "dash/manifest.mpd", "mpd")]


def _track(name: str, bandwidth: int, codecs: str, width: int = 0, height: int = 0) -> Track:
    """Find header and index of a fragmented file: ``sidx`` follows ``moov``."""
    boxes = {box: (at, at + size - 1) for box, at, size in verify.top_boxes(Path("dash") / name)}
    if b"sidx" not in boxes or b"moov" not in boxes:
        raise Refused("TRANSCODE_ERROR", f"dash/{name} has no index.", retryable=True)
    return Track(name, bandwidth, codecs, (0, boxes[b"moov"][1]), boxes[b"sidx"], width, height)


def _pictures(best: ladder.Rendition, seconds: float) -> Assets:
    """Make what needs the finished video; poster and thumbnails exist already."""
    video = Path(f"mp4/{best.rung.name}.mp4")
    short = min(pictures.POSTER_SHORT_SIDE, best.width, best.height)
    sizes = {"poster": ladder.fit(short, best.width, best.height), **THUMBNAILS}
    assets = []
    for name, (width, height) in sizes.items():
        kind = AssetType.POSTER if name == "poster" else AssetType.THUMBNAIL
        quality = None if name == "poster" else name
        assets.append(_asset(kind, f"thumbs/{name}.jpg", "jpg", quality=quality, width=width, height=height))
    for number, path in enumerate(pictures.write_timeline(video)):
        assets.append(_asset(AssetType.TIMELINE, path, "jpg", quality=f"{number:02d}"))
    width, height = pictures.write_preview(video, best.width, best.height)
    assets.append(_asset(AssetType.PREVIEW, "thumbs/preview.gif", "gif", width=width, height=height))
    width, height = pictures.write_storyboard(video, seconds)
    assets.append(_asset(AssetType.STORYBOARD, "thumbs/storyboard.vtt", "vtt"))
    assets.append(_asset(AssetType.STORYBOARD, "thumbs/storyboard.jpg", "jpg", width=width, height=height))
    return assets


def _asset(kind: AssetType, key: str, container: str, **shape: Any) -> dict[str, Any]:
    return {"type": kind.value, "key": key, "container": container, **shape}


if __name__ == "__main__":
    serve(handle)
