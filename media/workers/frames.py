"""The pictures of a source, decoded once, as those of every rung (B20, B37)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeVar

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.ladder import Rendition
from media.limits import SourceLimits
from media.sniff import Container
from media.workers import colour
from media.workers import source as src
from media.workers.graph import CUBE, LadderGraph, Shape
from media.workers.protocol import Refused

CLOCK_SECONDS = Fraction(1, 1000)
"""How much longer than its pictures a video may seem: many containers count in milliseconds."""


@dataclass(frozen=True, slots=True)
class Source:
    """The opened job: where the file is, what probing found, what to make of it."""

    path: Path
    limits: SourceLimits
    info: dict[str, Any]
    renditions: tuple[Rendition, ...]

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
        seconds = Fraction(self.info["duration_seconds"]) - CLOCK_SECONDS
        return max(1, math.ceil(seconds * self.rate - Fraction(1, 100)))

    @property
    def seconds(self) -> float:
        """Length of every rendition."""
        return float(self.frames / self.rate)


class Taker(Protocol):
    """What takes the pictures of one rung and counts them."""

    @property
    def rendition(self) -> Rendition:
        """The rung."""

    @property
    def frames(self) -> int:
        """How many it has taken."""


T = TypeVar("T", bound=Taker)


def for_rungs(source: Source, takers: Sequence[T]) -> Iterator[tuple[T, VideoFrame]]:
    """Yield each rung's pictures as they come out of the graph, exactly as many as the video has.

    Raises:
        Refused: CORRUPTED_FILE when none decodes.
    """
    graph: LadderGraph | None = None
    for frame in decoded(source):
        if graph is None:
            graph = _graph(source, frame, tuple(taker.rendition for taker in takers))
        graph.push(frame)
        yield from _ready(graph, source, takers)
        if all(taker.frames >= source.frames for taker in takers):
            return
    if graph is None:
        raise Refused("CORRUPTED_FILE", "No frame of the video can be decoded.")
    graph.push(None)
    yield from _ready(graph, source, takers)


def _ready(graph: LadderGraph, source: Source, takers: Sequence[T]) -> Iterator[tuple[T, VideoFrame]]:
    """Yield what is ready, a picture of each rung in turn.

    A picture that stands still for a minute becomes thousands; each is made for all rungs when one asks for
    it, and what the others have not taken yet stays in memory.
    """
    ready = list(range(len(takers)))
    while ready:
        for index in tuple(ready):
            taker = takers[index]
            frame = graph.pull(index) if taker.frames < source.frames else None
            if frame is None:
                ready.remove(index)
            else:
                yield taker, frame


class Stamped(Protocol):
    """What has two clocks: when it is shown, and when it was decoded."""

    @property
    def pts(self) -> int | None:
        """When it is shown."""

    @property
    def dts(self) -> int | None:
        """When it was decoded, which pictures that come out of a decoder have in their order."""


@dataclass(slots=True)
class Clock:
    """Says which of its two clocks a picture goes by: the one that went back less often, as in ffmpeg.

    Files of ASF and AVI know one clock only: their pictures, put into order, would go back every other time.
    """

    last_pts: float = -math.inf
    last_dts: float = -math.inf
    faulty_pts: int = 0
    faulty_dts: int = 0

    def read(self, frame: Stamped) -> int | None:
        """Return a picture's stamp, None when it has none."""
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self.faulty_dts += dts <= self.last_dts
            self.last_dts = dts
        if pts is not None:
            self.faulty_pts += pts <= self.last_pts
            self.last_pts = pts
        return dts if pts is None or (self.faulty_pts > self.faulty_dts and dts is not None) else pts


def decoded(source: Source) -> Iterator[VideoFrame]:
    """Yield decoded pictures on the presentation's clock; stamps never go back or jump too far."""
    last, clock = -math.inf, Clock()
    end = source.info["duration_seconds"] + source.limits.max_gap_seconds
    with src.open_source(source.path, source.container, source.limits) as opened:
        stream = opened.streams[source.info["video_index"]]
        assert isinstance(stream, VideoStream)
        stream.codec_context.options = {"max_pixels": str(source.limits.max_pixels)}
        for frame in src.frames(opened, stream, source.limits):
            if not isinstance(frame, VideoFrame):
                continue
            base = frame.time_base or stream.time_base or Fraction(1, 1000)
            stamp = _stamp(clock.read(frame), base, last, source)
            seconds = float(stamp * base)
            if seconds <= last or seconds > end:
                continue
            last, frame.pts, frame.time_base = seconds, stamp, base
            yield frame


def _stamp(known: int | None, base: Fraction, last: float, source: Source) -> int:
    """Return a frame's time in units of ``base``; one without a stamp follows the last by one step."""
    if known is None:
        return round((max(last, 0.0) + float(1 / source.rate)) / float(base))
    start: float = source.info["start"]
    return known - round(start / float(base))


def _graph(source: Source, frame: VideoFrame, renditions: tuple[Rendition, ...]) -> LadderGraph:
    shape = Shape.of(frame)
    if shape.transfer in colour.HDR_TRANSFERS:
        colour.write_cube(Path(CUBE), shape.transfer)
    assert frame.time_base is not None
    return LadderGraph(shape, frame.time_base, source.rate, renditions)
