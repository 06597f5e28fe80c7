"""Look into a file of pictures that somebody else has made: codec, size, keyframes (B21, B22, B50)."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from media.workers.outputs import GOP_SECONDS, avc_codecs

GOP_SLACK_SECONDS = 0.1
"""Beside two frames: keyframe distances are whole frames, and times are rounded."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in a file: size in pixels, the RFC 6381 string of its pictures, whether it has sound."""

    width: int
    height: int
    codecs: str
    sound: bool


def look_at_segment(path: Path) -> Seen:
    """Look at a transport stream segment: its first picture decodes, keyframes are two seconds apart.

    Raises:
        ValueError: it is no H.264, or its keyframes are too far apart.
        av.error.FFmpegError: it cannot be read.
    """
    with av.open(str(path), format="mpegts") as opened:
        stream = _pictures(opened)
        packets = [packet for packet in opened.demux(stream) if packet.size and packet.pts is not None]
        _check_keyframes(stream, packets)
        _decode_first(stream, packets[0])
        return _seen(opened, stream)


def look_at_file(path: Path) -> Seen:
    """Look at an mp4, fragmented or not: its first picture decodes (errors as ``look_at_segment``)."""
    with av.open(str(path), format="mp4") as opened:
        stream = _pictures(opened)
        _decode_first(stream, next(packet for packet in opened.demux(stream) if packet.size))
        return _seen(opened, stream)


def _pictures(opened: InputContainer) -> VideoStream:
    video, sound = opened.streams.video, opened.streams.audio
    if len(video) != 1 or len(sound) > 1 or len(opened.streams) != len(video) + len(sound):
        raise ValueError("it has other streams than pictures and sound")
    stream = video[0]
    if stream.codec_context.name != "h264" or any(s.codec_context.name != "aac" for s in sound):
        raise ValueError(f"it is {stream.codec_context.name}")
    stream.thread_type = "NONE"
    return stream


def _check_keyframes(stream: VideoStream, packets: "list[Packet[VideoStream]]") -> None:
    times = sorted(float((packet.pts or 0) * stream.time_base) for packet in packets)  # type: ignore[operator]
    keys = sorted(float(p.pts * stream.time_base) for p in packets if p.is_keyframe)  # type: ignore[operator]
    frame = (times[-1] - times[0]) / max(1, len(times) - 1)
    ends = [*keys[1:], times[-1] + frame]
    widest = max(end - start for start, end in zip(keys, ends, strict=True))
    if widest > max(GOP_SECONDS, frame) + 2 * frame + GOP_SLACK_SECONDS:
        raise ValueError(f"keyframes are {widest:.2f} s apart")


def _decode_first(stream: VideoStream, packet: "Packet[VideoStream]") -> None:
    frames = [*stream.codec_context.decode(packet), *stream.codec_context.decode(None)]
    if not frames or frames[0].is_corrupt or frames[0].format.name != "yuv420p":
        raise ValueError("its first picture cannot be shown")


def _seen(opened: InputContainer, stream: VideoStream) -> Seen:
    codec = stream.codec_context
    extradata = bytes(codec.extradata or b"")
    return Seen(codec.width, codec.height, _codecs(extradata), bool(opened.streams.audio))


def _codecs(extradata: bytes) -> str:
    """Return the codecs string from Annex B parameter sets, or from an ``avcC`` box (ISO 14496-15)."""
    if extradata[:1] == b"\x01" and len(extradata) > 3:
        return f"avc1.{extradata[1:4].hex()}"
    return avc_codecs(extradata)
