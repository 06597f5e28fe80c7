"""The filter graph: one decoded video in, one upright constant-rate picture per rung out.

Everything per pixel happens in C; Python hands over references.
"""

from dataclasses import dataclass
from fractions import Fraction

import av
import av.filter
from av.filter.context import FilterContext
from av.video.frame import VideoFrame

from media.ladder import Rendition
from media.workers.colour import HDR_TRANSFERS

CUBE = "hdr.cube"
THREADS = 2
HD_LINES = 720
UNSPECIFIED = 2
MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 8, 9, 10})
RANGES = frozenset({0, 1, 2})
UPRIGHT = {
    -90: ["transpose=clock"],
    90: ["transpose=cclock"],
    180: ["hflip", "vflip"],
    -180: ["hflip", "vflip"],
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What the first decoded frame says about all: the graph is built for it."""

    width: int
    height: int
    pixel_format: str
    rotation: int
    transfer: int
    matrix: int
    value_range: int
    interlaced: bool

    @classmethod
    def of(cls, frame: VideoFrame) -> "Shape":
        """Read the shape of a frame."""
        return cls(
            frame.width,
            frame.height,
            frame.format.name,
            frame.rotation,
            int(frame.color_trc),
            _known(int(frame.colorspace), MATRICES, UNSPECIFIED),
            _known(int(frame.color_range), RANGES, 0),
            bool(frame.interlaced_frame),
        )


def _known(value: int, values: frozenset[int], otherwise: int) -> int:
    """Return a tag that libav's filters accept: damaged headers carry any number."""
    return value if value in values else otherwise


class LadderGraph:
    """Push decoded frames, pull pictures of every rung."""

    def __init__(
        self, shape: Shape, time_base: Fraction, rate: Fraction, renditions: tuple[Rendition, ...]
    ) -> None:
        """Build the graph. Frames are expected on a clock that starts at 0."""
        self._graph = av.filter.Graph()
        self._graph.threads = THREADS
        self._shape = shape
        self._source = self._graph.add(
            "buffer",
            f"video_size={shape.width}x{shape.height}:pix_fmt={shape.pixel_format}"
            f":time_base={time_base.numerator}/{time_base.denominator}:pixel_aspect=1/1"
            f":colorspace={shape.matrix}:range={shape.value_range}",
        )
        base = self._chain(self._source, base_filters(shape, rate, renditions))
        split = self._chain(base, [f"split={len(renditions)}"])
        self._sinks = [self._branch(split, index, r) for index, r in enumerate(renditions)]
        self._graph.configure()

    def push(self, frame: VideoFrame | None) -> None:
        """Give one frame, or None at the end; a frame of another shape is brought to the first's."""
        if frame is not None and (
            (frame.width, frame.height, frame.format.name)
            != (self._shape.width, self._shape.height, self._shape.pixel_format)
        ):
            pts, base = frame.pts, frame.time_base
            frame = frame.reformat(self._shape.width, self._shape.height, self._shape.pixel_format)
            frame.pts, frame.time_base = pts, base
        self._source.push(frame)

    def pull(self, index: int) -> VideoFrame | None:
        """Return the next picture of a rung, None when it needs more frames."""
        try:
            frame = self._sinks[index].pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return None
        assert isinstance(frame, VideoFrame)
        return frame

    def _chain(self, start: FilterContext, filters: list[str]) -> FilterContext:
        for text in filters:
            name, _, arguments = text.partition("=")
            step = self._graph.add(name, arguments or None)
            start.link_to(step)
            start = step
        return start

    def _branch(self, split: FilterContext, index: int, rendition: Rendition) -> FilterContext:
        scale = self._graph.add("scale", f"{rendition.width}:{rendition.height}:flags=bicubic")
        split.link_to(scale, index, 0)
        last = self._chain(scale, ["setsar=1", "format=yuv420p"])
        sink = self._graph.add("buffersink")
        last.link_to(sink)
        return sink


def base_filters(shape: Shape, rate: Fraction, renditions: tuple[Rendition, ...]) -> list[str]:
    """Return the filters before the split: rate, colours, size, upright, endless last frame.

    A source larger than the top rung is brought down to it first, and the other rungs come from there;
    a smaller one is scaled up per rung, so that no rung is scaled twice.
    """
    top = max(renditions, key=lambda r: r.width * r.height)
    turned = shape.rotation % 180 != 0
    width, height = (top.height, top.width) if turned else (top.width, top.height)
    larger = shape.width >= width and shape.height >= height
    size = f"{width}:{height}" if larger else f"{shape.width}:{shape.height}"
    rotate = UPRIGHT.get(shape.rotation, [])
    return [
        "sidedata=mode=delete",
        *(["yadif=deint=interlaced"] if shape.interlaced else []),
        f"fps=fps={rate.numerator}/{rate.denominator}:start_time=0",
        *_colours(shape, size),
        *rotate,
        # The caller stops at the length of the presentation: sound may go on after the last picture.
        "tpad=stop=-1:stop_mode=clone",
    ]


def _colours(shape: Shape, size: str) -> list[str]:
    """Return the filters that give 8-bit BT.709, limited range, at a size."""
    out = "out_color_matrix=bt709:out_range=tv"
    done = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    if shape.transfer in HDR_TRANSFERS:
        return [
            f"scale={size}:flags=bicubic:in_color_matrix=bt2020nc",
            "format=gbrp10le",
            f"lut3d=file={CUBE}:interp=tetrahedral",
            f"scale={out}",
            "format=yuv420p",
            done,
        ]
    # Without a tag, players take large pictures as BT.709; swscale would take BT.601.
    guess = shape.matrix == UNSPECIFIED and min(shape.width, shape.height) >= HD_LINES
    source = ":in_color_matrix=bt709" if guess else ""
    return [f"scale={size}:flags=bicubic{source}:{out}", "format=yuv420p", done]
