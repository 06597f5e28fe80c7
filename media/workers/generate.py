"""Child: write one generated clip. Request: ``path``, ``scene``, ``seconds``, ``size``, ``seed``."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.ladder import AUDIO_BITRATE, AUDIO_RATE
from media.workers.protocol import Request, serve
from media.workers.scenes import SCENES, Grid
from media.workers.tones import sound

RATE = 30
DRAWN_SHORT_SIDE = {"noise": 120, "plasma": 160, "mandelbrot": 216, "cellular": 216, "waves": 216}
DRAWN_OTHERWISE = 270
"""Scenes are soft, so they are drawn small and scaled up: many times faster, and nobody sees it."""
AUDIO_CHUNK = 1024


def handle(request: Request) -> dict[str, Any]:
    """Draw and encode a clip."""
    width, height = request["size"]
    kind, seconds = request["scene"], request["seconds"]
    seed = [request["seed"], sorted(SCENES).index(kind)]
    factor = max(1.0, min(width, height) / DRAWN_SHORT_SIDE.get(kind, DRAWN_OTHERWISE))
    grid = Grid.of(round(width / factor), round(height / factor))
    scene = SCENES[kind](grid, np.random.default_rng(seed))
    with av.open(request["path"], "w", format="mp4", options={"movflags": "faststart"}) as output:
        video = _video(output, width, height)
        audio = output.add_stream("aac", rate=AUDIO_RATE)
        assert isinstance(audio.codec_context, AudioCodecContext)
        audio.codec_context.layout = "stereo"
        audio.codec_context.bit_rate = AUDIO_BITRATE
        for chunk in _sound(kind, seconds, seed):
            output.mux(audio.encode(chunk))
        output.mux(audio.encode(None))
        for number in range(round(seconds * RATE)):
            pixels = (scene(number / RATE) * 255).astype(np.uint8)
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame = picture.reformat(
                width, height, "yuv420p", interpolation="BICUBIC", dst_colorspace="ITU709"
            )
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return {}


def _video(output: OutputContainer, width: int, height: int) -> VideoStream:
    stream = output.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "20"})
    assert isinstance(stream, VideoStream)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    codec = stream.codec_context
    codec.color_primaries = codec.color_trc = codec.colorspace = codec.color_range = 1
    codec.thread_type = "FRAME"
    return stream


def _sound(kind: str, seconds: float, seed: list[int]) -> list[AudioFrame]:
    mono = sound(kind, seconds, np.random.default_rng([*seed, 1]))
    frames = []
    for start in range(0, mono.size, AUDIO_CHUNK):
        part = np.stack([mono[start : start + AUDIO_CHUNK]] * 2)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, start, Fraction(1, AUDIO_RATE)
        frames.append(frame)
    return frames


if __name__ == "__main__":
    serve(handle)
