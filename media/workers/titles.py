"""Which rungs are worth their bytes for one video (an option; B19, X14).

A rung adds something when it shows what the rung below it cannot: sampled pictures are scaled to the lower
rung's size and back, and compared with the same pictures at the rung's own size.
"""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from media.ladder import Rendition
from media.workers import source as src
from media.workers.frames import Source

SAMPLES = 5
SAME_DB = 45.0
"""PSNR of luma above which nobody sees a difference."""


def worth_it(source: Source) -> tuple[Rendition, ...]:
    """Return the lowest rendition and those that show more than the one kept below them."""
    samples = list(_samples(source))
    kept = [source.renditions[0]]
    for rendition in source.renditions[1:]:
        if not samples or min(_likeness(frame, kept[-1], rendition) for frame in samples) < SAME_DB:
            kept.append(rendition)
    return tuple(kept)


def _samples(source: Source) -> Iterator[VideoFrame]:
    """Yield a few pictures, evenly apart over the video, each from the keyframe before its place."""
    for number in range(SAMPLES):
        at = source.info["start"] + source.seconds * (number + 0.5) / SAMPLES
        with src.open_source(source.path, source.container, source.limits) as opened:
            stream = opened.streams[source.info["video_index"]]
            assert isinstance(stream, VideoStream)
            yield from islice(_from(opened, stream, at, source), 1)


def _from(opened: InputContainer, stream: VideoStream, at: float, source: Source) -> Iterator[VideoFrame]:
    try:
        opened.seek(round(at / (stream.time_base or 1)), stream=stream)
    except src.BROKEN:
        return
    for frame in src.frames(opened, stream, source.limits):
        if isinstance(frame, VideoFrame):
            yield frame


def _likeness(frame: VideoFrame, low: Rendition, high: Rendition) -> float:
    """Return the PSNR in dB between a picture at a size and the same after the smaller size."""
    turned = frame.rotation % 180 != 0
    own = _sized(frame, high, turned)
    through = _sized(_sized(frame, low, turned), high, turned)
    error = float(np.mean((_luma(own) - _luma(through)) ** 2))
    return float("inf") if not error else float(10 * np.log10(255**2 / error))


def _sized(frame: VideoFrame, rendition: Rendition, turned: bool) -> VideoFrame:
    size = (rendition.height, rendition.width) if turned else (rendition.width, rendition.height)
    return frame.reformat(*size, format="gray", interpolation="BICUBIC")


def _luma(frame: VideoFrame) -> NDArray[np.float32]:
    return frame.to_ndarray().astype(np.float32)
