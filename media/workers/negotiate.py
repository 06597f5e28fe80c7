"""Child: find out which encoders open on this machine and keep to what is promised (B21, B22, B48).

Request: ``candidates``, names of libav. A message ``tried`` for each, with ``encoder`` and ``why``, what is
wrong with it, or null. A driver that crashes ends this child, and nothing else.
"""

from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.codec import CodecContext
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from media.h264 import Coding, codec_name, options, pixel_format
from media.workers.looking import codecs_of
from media.workers.outputs import DASH_OFFSET_FRAMES
from media.workers.protocol import Request, emit, serve

RATE = 30
WANTED = Coding(bitrate=800_000, gop=RATE, preset="veryfast")
PICTURES = 2 * RATE + RATE // 2
WIDTH, HEIGHT = 640, 360
BITS_AT_MOST = 1.5 * WANTED.bitrate * (PICTURES / RATE + 1)
"""The rate, and the second of buffer that may be used on top."""


def handle(request: Request) -> dict[str, Any]:
    """Try every candidate."""
    for name in request["candidates"]:
        emit("tried", encoder=name, why=problem(name))
    return {}


def problem(name: str) -> str | None:
    """Return what is wrong with an encoder, None when it works."""
    try:
        check(name)
    except (av.error.FFmpegError, ValueError, LookupError, RuntimeError) as error:
        return str(error).partition("'avcodec")[0][:200]
    return None


def check(name: str) -> None:
    """Encode some noise and look at what comes out.

    Raises:
        ValueError: it does not keep to B21 or B22.
        FFmpegError: it does not open, or fails.
    """
    codec, packets = _encoded(name)
    if len(packets) != PICTURES:
        raise ValueError(f"{len(packets)} of {PICTURES} pictures came out")
    shown = sorted(packet.pts or 0 for packet in packets)
    if shown != list(range(PICTURES)):
        raise ValueError("pictures have other times than they should")
    keys = sorted(packet.pts or 0 for packet in packets if packet.is_keyframe)
    if keys != list(range(0, PICTURES, WANTED.gop)):
        raise ValueError(f"keyframes are at {keys}")
    late = max((packet.pts or 0) - (packet.dts or 0) for packet in packets[: WANTED.gop])
    early = -min(packet.dts or 0 for packet in packets)
    if early > DASH_OFFSET_FRAMES or late > 2 * DASH_OFFSET_FRAMES + 1:
        raise ValueError(f"decoding begins {early} pictures early")
    if sum(packet.size for packet in packets) * 8 > BITS_AT_MOST:
        raise ValueError("it does not keep to the bitrate")
    parameters = bytes(codec.extradata or b"")
    codecs_of(parameters)
    _decode(parameters, packets)


def _encoded(name: str) -> "tuple[VideoCodecContext, list[Packet[Any]]]":
    codec = CodecContext.create(codec_name(name), "w")
    assert isinstance(codec, VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, pixel_format(name)
    codec.framerate, codec.time_base = Fraction(RATE), Fraction(1, RATE)
    codec.options = options(name, WANTED)
    codec.flags |= 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: parameter sets come apart, as for mp4
    codec.open()
    packets: list[Packet[Any]] = []
    noise = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for number in range(PICTURES):
        frame = VideoFrame.from_ndarray(np.roll(noise, number, axis=1), format="rgb24")
        frame = frame.reformat(format=pixel_format(name))
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        frame.pict_type = PictureType.I if number % WANTED.gop == 0 else PictureType.NONE
        packets += codec.encode(frame)
    return codec, packets + codec.encode(None)


def _decode(parameters: bytes, packets: "list[Packet[Any]]") -> None:
    decoder = CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata, decoder.thread_type = parameters, "NONE"
    count = sum(len(decoder.decode(packet)) for packet in [*packets, None])
    if count != len(packets):
        raise ValueError(f"{count} of {len(packets)} pictures can be decoded")


if __name__ == "__main__":
    serve(handle)
