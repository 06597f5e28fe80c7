"""Still and moving pictures of a video: poster, thumbnails, timeline, preview, storyboard (B27-B31)."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
from av.codec import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from media import layout
from media.ladder import fit

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
PREVIEW_SECONDS = 3
PREVIEW_RATE = 10
PREVIEW_SHORT_SIDE = 180
TILES = 5
TILE = (160, 90)


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


def write_timeline(video: Path) -> list[str]:
    """Write one keyframe every ten seconds, at most ten; returns their paths (B28)."""
    paths: list[str] = []
    for frame in _keyframes(video):
        at = (frame.time or 0.0) + 0.1
        if len(paths) < TIMELINE_MAX and at >= len(paths) * TIMELINE_STEP_SECONDS:
            paths.append(f"thumbs/timeline_{len(paths):02d}.jpg")
            short = min(360, frame.width, frame.height)
            write_jpeg(Path(paths[-1]), frame, _padded(*fit(short, frame.width, frame.height)))
    return paths


def write_storyboard(video: Path, seconds: float) -> tuple[int, int]:
    """Write a sheet of up to 25 pictures and the WebVTT that says when each shows; returns its size.

    Players of the web read such a sheet as ``storyboard.jpg#xywh=x,y,w,h`` (Media Fragments 1.0).
    """
    frames = _spread([frame.reformat(format="yuv420p") for frame in _keyframes(video, small=True)])
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
    write_jpeg(Path("thumbs/storyboard.jpg"), sheet, ["format=yuvj420p"])
    step = seconds / len(frames)
    cues = ["WEBVTT", ""]
    for number in range(len(frames)):
        x, y = number % columns * width, number // columns * height
        cues.append(f"{_stamp(number * step)} --> {_stamp((number + 1) * step)}")
        cues += [f"storyboard.jpg#xywh={x},{y},{width},{height}", ""]
    Path("thumbs/storyboard.vtt").write_text("\n".join(cues))
    return columns * width, rows * height


def _spread(frames: list[VideoFrame]) -> list[VideoFrame]:
    """Return at most 25 frames, evenly apart."""
    most = TILES * TILES
    if len(frames) <= most:
        return frames
    return [frames[number * len(frames) // most] for number in range(most)]


def _stamp(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}:{minutes:02d}:{rest:06.3f}"


def write_preview(video: Path, width: int, height: int) -> tuple[int, int]:
    """Write the first three seconds as an endless GIF with a palette of its own; returns its size (B29)."""
    size = fit(min(PREVIEW_SHORT_SIDE, width, height), width, height)
    graph = av.filter.Graph()
    with av.open(str(video)) as opened, av.open("thumbs/preview.gif", "w") as output:
        stream = opened.streams.video[0]
        stream.thread_type = "AUTO"
        stream_out = output.add_stream("gif", rate=PREVIEW_RATE)
        stream_out.width, stream_out.height, stream_out.pix_fmt = *size, "pal8"
        source = graph.add_buffer(template=stream)
        rate = graph.add("fps", str(PREVIEW_RATE))
        scale = graph.add("scale", f"{size[0]}:{size[1]}:flags=bicubic")
        split, make = graph.add("split"), graph.add("palettegen", "stats_mode=diff")
        use, sink = graph.add("paletteuse", "dither=bayer:bayer_scale=4"), graph.add("buffersink")
        source.link_to(rate)
        rate.link_to(scale)
        scale.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(make, 1, 0)
        make.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        for frame in opened.decode(stream):
            if (frame.time or 0.0) >= PREVIEW_SECONDS:
                break
            source.push(frame)
        source.push(None)
        for frame in _pulled(sink):
            output.mux(stream_out.encode(frame))
        output.mux(stream_out.encode(None))
    return size


def _keyframes(video: Path, *, small: bool = False) -> Iterator[VideoFrame]:
    """Yield the keyframes of an encode of ours; ``small`` ones are cheap to keep."""
    with av.open(str(video)) as opened:
        stream = opened.streams.video[0]
        stream.codec_context.skip_frame = "NONKEY"
        for frame in opened.decode(stream):
            yield frame.reformat(*fit(TILE[1] * 2, frame.width, frame.height)) if small else frame


def _filtered(frames: list[VideoFrame], filters: list[str]) -> Iterator[VideoFrame]:
    """Run pictures of one shape through a chain of filters."""
    first = frames[0]
    graph = av.filter.Graph()
    last = graph.add(
        "buffer",
        f"video_size={first.width}x{first.height}:pix_fmt={first.format.name}:time_base=1/25"
        f":colorspace={int(first.colorspace)}:range={int(first.color_range)}",
    )
    source = last
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


def _pulled(sink: av.filter.context.FilterContext) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = sink.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, VideoFrame)
        yield frame
