"""Still and moving pictures of a video: poster, thumbnails, timeline, preview, storyboard (B27-B31)."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
from av.codec import CodecContext
from av.filter.context import FilterContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media import layout
from media.ladder import Rendition, fit
from media.layout import AssetType
from media.playlists import Tiles
from media.workers.packaging import Assets, asset

POSTER_SHORT_SIDE = 720
POSTER_AT_SECONDS = 1.0
POSTER_BY_SECONDS = 4.0
POSTER_STEP_SECONDS = 0.5
CONTRAST = 20.0
"""Standard deviation of luma, of 255, above which a picture shows something: black and fades are below."""
JPEG_QUALITY = "3"
JFIF = "out_color_matrix=bt601:out_range=pc"
"""Whatever a JPEG was made from, JFIF readers take BT.601, full range."""
TIMELINE_STEP_SECONDS = 10.0
TIMELINE_MAX = 10
TIMELINE_SHORT_SIDE = 360
PREVIEW_SECONDS = 3
PREVIEW_RATE = 10
PREVIEW_SHORT_SIDE = 180
TILES = 5
TILE = (160, 90)
TILE_SECONDS = 2.0
TILE_AT = 0.5
"""Each picture of a storyboard is from the middle of what it stands for."""
WEBP_QUALITY = "60"


class PosterPicker:
    """Chooses the poster while the video is being encoded, as early as a good picture comes (B30)."""

    def __init__(self, rate: Fraction, total_frames: int) -> None:
        """Take the rate and the number of frames that will come."""
        self._step = max(1, round(POSTER_STEP_SECONDS * rate))
        self._from = min(round(POSTER_AT_SECONDS * rate), total_frames // 2)
        self._by = min(round(POSTER_BY_SECONDS * rate), total_frames - 1)
        self._best: tuple[float, VideoFrame] | None = None
        self._done = False

    def offer(self, number: int, frame: VideoFrame) -> VideoFrame | None:
        """Look at a picture; returns the poster once, when it is decided."""
        due = number >= self._from and (number - self._from) % self._step == 0
        if self._done or not (due or number >= self._by):
            return None
        contrast = _contrast(frame)
        if self._best is None or contrast > self._best[0]:
            self._best = (contrast, frame)
        if contrast < CONTRAST and number < self._by:
            return None
        self._done = True
        return self._best[1]


def _contrast(frame: VideoFrame) -> float:
    plane = frame.planes[0]
    luma = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[
        : frame.height : 4, : frame.width : 4
    ]
    return float(luma.std())


def write_poster(frame: VideoFrame) -> list[str]:
    """Write the poster in the video's own shape and the three padded thumbnails; returns their paths."""
    short = min(POSTER_SHORT_SIDE, frame.width, frame.height)
    sizes = {"poster": fit(short, frame.width, frame.height), **layout.THUMBNAILS}
    paths = []
    for name, (width, height) in sizes.items():
        paths.append(f"thumbs/{name}.jpg")
        write_jpeg(Path(paths[-1]), frame, _padded(width, height))
    return paths


def _padded(width: int, height: int) -> list[str]:
    return [
        f"scale={width}:{height}:force_original_aspect_ratio=decrease:flags=bicubic:{JFIF}",
        f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2",
        "setsar=1",
        "format=yuvj420p",
    ]


def write_jpeg(path: Path, frame: VideoFrame, filters: list[str]) -> None:
    """Filter one picture and write it as JPEG."""
    picture = next(_filtered([frame], filters))
    codec = CodecContext.create("mjpeg", "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, "yuvj420p"
    codec.time_base = Fraction(1, 25)
    codec.options = {"qmin": JPEG_QUALITY, "qmax": JPEG_QUALITY}
    picture.pts, picture.time_base, picture.pict_type = 0, codec.time_base, 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)]))


class Board:
    """Sees the pictures of one rung on their way to its encoder, and makes of them all that B27-B31 asks.

    Nothing is decoded again: what is small is kept, what is not is written at once.
    """

    def __init__(
        self, rendition: Rendition, rate: Fraction, total_frames: int, *, stills_only: bool = False
    ) -> None:
        """Take the rung, its rate, and the number of frames that will come."""
        self._rendition = rendition
        self._stills_only = stills_only
        self._rate = rate
        self._total = total_frames
        self._picker = PosterPicker(rate, total_frames)
        self._timeline: list[str] = []
        self._moving: list[VideoFrame] = []
        self._tiles: list[VideoFrame] = []
        seconds = float(total_frames / rate)
        self._tile_step = seconds / min(TILES * TILES, max(1, math.ceil(seconds / TILE_SECONDS)))
        self.tiles: Tiles | None = None

    def offer(self, number: int, frame: VideoFrame) -> list[str]:
        """Look at picture ``number``; returns the paths of poster and thumbnails once they are written."""
        if not self._stills_only:
            self._keep(number, frame)
        chosen = self._picker.offer(number, frame)
        return [] if chosen is None else write_poster(chosen)

    def _keep(self, number: int, frame: VideoFrame) -> None:
        """Keep or write what timeline, previews and storyboard want of a picture."""
        at = float(number / self._rate)
        width, height = self._rendition.width, self._rendition.height
        if len(self._timeline) < TIMELINE_MAX and at >= len(self._timeline) * TIMELINE_STEP_SECONDS:
            self._timeline.append(f"thumbs/timeline_{len(self._timeline):02d}.jpg")
            short = min(TIMELINE_SHORT_SIDE, width, height)
            write_jpeg(Path(self._timeline[-1]), frame, _padded(*fit(short, width, height)))
        if at < PREVIEW_SECONDS and at * PREVIEW_RATE >= len(self._moving):
            self._moving.append(_small(frame, PREVIEW_SHORT_SIDE))
        last = number + 1 == self._total and not self._tiles
        if last or at >= (len(self._tiles) + TILE_AT) * self._tile_step:
            self._tiles.append(_small(frame, TILE[1]))

    def stills(self) -> Assets:
        """Describe poster and thumbnails, which exist already."""
        width, height = self._rendition.width, self._rendition.height
        sizes = {"poster": fit(min(POSTER_SHORT_SIDE, width, height), width, height), **layout.THUMBNAILS}
        return [
            asset(
                AssetType.POSTER if name == "poster" else AssetType.THUMBNAIL,
                f"thumbs/{name}.jpg",
                "jpg",
                quality=None if name == "poster" else name,
                width=size[0],
                height=size[1],
            )
            for name, size in sizes.items()
        ]

    def write(self) -> Assets:
        """Write what needs all pictures, and describe everything."""
        made = self.stills()
        made += [
            asset(AssetType.TIMELINE, path, "jpg", quality=f"{number:02d}")
            for number, path in enumerate(self._timeline)
        ]
        width, height = write_previews(self._moving)
        shape = {"width": width, "height": height}
        made.append(asset(AssetType.PREVIEW, "thumbs/preview.gif", "gif", **shape))
        made.append(asset(AssetType.PREVIEW, "thumbs/preview.webp", "webp", **shape))
        self.tiles = write_storyboard(self._tiles, self._tile_step)
        shape = {"width": self.tiles.columns * TILE[0], "height": self.tiles.rows * TILE[1]}
        made.append(asset(AssetType.STORYBOARD, "thumbs/storyboard.vtt", "vtt"))
        made.append(asset(AssetType.STORYBOARD, "thumbs/storyboard.jpg", "jpg", **shape))
        return made


def _small(frame: VideoFrame, short_side: int) -> VideoFrame:
    """Return a small copy, which is cheap to keep."""
    size = fit(min(short_side, frame.width, frame.height), frame.width, frame.height)
    return frame.reformat(*size, format="yuv420p", interpolation="AREA")


def write_storyboard(frames: list[VideoFrame], step_seconds: float) -> Tiles:
    """Write a sheet of up to 25 pictures and the WebVTT that says when each shows (Y7).

    Players of the web read such a sheet as ``storyboard.jpg#xywh=x,y,w,h`` (Media Fragments 1.0).
    """
    columns = min(TILES, len(frames))
    rows = -(-len(frames) // columns)
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number, Fraction(1)
    width, height = TILE
    sheet = next(
        _filtered(
            frames,
            [
                f"scale={width}:{height}:force_original_aspect_ratio=decrease:{JFIF}",
                f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2",
                "setsar=1",
                f"tile={columns}x{rows}",
                "format=yuvj420p",
            ],
        )
    )
    path = Path("thumbs/storyboard.jpg")
    write_jpeg(path, sheet, ["format=yuvj420p"])
    cues = ["WEBVTT", ""]
    for number in range(len(frames)):
        x, y = number % columns * width, number // columns * height
        cues.append(f"{_stamp(number * step_seconds)} --> {_stamp((number + 1) * step_seconds)}")
        cues += [f"storyboard.jpg#xywh={x},{y},{width},{height}", ""]
    Path("thumbs/storyboard.vtt").write_text("\n".join(cues))
    return Tiles("storyboard.m3u8", width, height, columns, rows, step_seconds, path.stat().st_size)


def _stamp(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}:{minutes:02d}:{rest:06.3f}"


def write_previews(frames: list[VideoFrame]) -> tuple[int, int]:
    """Write the first three seconds as an endless GIF and as a smaller WebP; returns their size (B29)."""
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number, Fraction(1, PREVIEW_RATE)
    size = frames[0].width, frames[0].height
    for name, codec, pixels, options in (
        ("gif", "gif", "pal8", {}),
        ("webp", "libwebp_anim", "yuv420p", {"quality": WEBP_QUALITY, "compression_level": "4", "loop": "0"}),
    ):
        with av.open(f"thumbs/preview.{name}", "w", format=name, options={"loop": "0"}) as output:
            stream = output.add_stream(codec, rate=PREVIEW_RATE, options=options)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = *size, pixels
            for frame in _paletted(frames) if pixels == "pal8" else frames:
                frame.pict_type = 0
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    return size


def _paletted(frames: list[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield pictures in the 256 colours that suit all of them best."""
    graph = av.filter.Graph()
    source = _buffer(graph, frames[0], Fraction(1, PREVIEW_RATE))
    split, make = graph.add("split"), graph.add("palettegen", "stats_mode=diff")
    use, sink = graph.add("paletteuse", "dither=bayer:bayer_scale=4"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(make, 1, 0)
    make.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    for frame in frames:
        source.push(frame)
    source.push(None)
    yield from _pulled(sink)


def _buffer(graph: av.filter.Graph, first: VideoFrame, base: Fraction) -> FilterContext:
    return graph.add(
        "buffer",
        f"video_size={first.width}x{first.height}:pix_fmt={first.format.name}"
        f":time_base={base.numerator}/{base.denominator}"
        f":colorspace={int(first.colorspace)}:range={int(first.color_range)}",
    )


def _filtered(frames: list[VideoFrame], filters: list[str]) -> Iterator[VideoFrame]:
    """Run pictures of one shape through a chain of filters."""
    graph = av.filter.Graph()
    source = last = _buffer(graph, frames[0], Fraction(1, 25))
    for text in [*filters, "buffersink"]:
        name, _, arguments = text.partition("=")
        step = graph.add(name, arguments or None)
        last.link_to(step)
        last = step
    graph.configure()
    for frame in frames:
        source.push(frame)
    source.push(None)
    # Not ``return``: a filter only knows its graph weakly, so this frame must stay alive.
    yield from _pulled(last)


def _pulled(sink: FilterContext) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = sink.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, VideoFrame)
        yield frame
