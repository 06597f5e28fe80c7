"""Look into a file of pictures that somebody else has made: codec, size, keyframes (B21, B22, B50)."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from media.workers.outputs import GOP_SECONDS, avc_codecs
from media.workers.verify import top_boxes

GOP_SLACK_SECONDS = 0.1
"""Beside two frames: keyframe distances are whole frames, and times are rounded."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in a file.

    Size in pixels, the RFC 6381 string of its pictures, whether it has sound, how many pictures, and from the
    first one's start to the last one's end, in seconds.
    """

    width: int
    height: int
    codecs: str
    sound: bool
    pictures: int
    seconds: float


def look_at_segment(path: Path) -> Seen:
    """Look at a transport stream segment: its first picture decodes, keyframes are two seconds apart.

    Raises:
        ValueError: it is no H.264, or its keyframes are too far apart.
        av.error.FFmpegError: it cannot be read.
    """
    with av.open(str(path), format="mpegts") as opened:
        stream = _pictures(opened)
        packets = _packets(opened, stream)
        _check_keyframes(stream, packets)
        _decode_first(stream, packets[0])
        return _seen(opened, stream, packets)


def look_at_file(path: Path) -> Seen:
    """Look at an mp4, fragmented or not: it is all there, its first picture decodes.

    Errors as ``look_at_segment``.
    """
    *_, (_, at, size) = top_boxes(path)
    if at + size != path.stat().st_size:
        raise ValueError("it is cut off")
    with av.open(str(path), format="mp4") as opened:
        stream = _pictures(opened)
        packets = _packets(opened, stream)
        _decode_first(stream, packets[0])
        return _seen(opened, stream, packets)


def _pictures(opened: InputContainer) -> VideoStream:
    video, sound = opened.streams.video, opened.streams.audio
    if len(video) != 1 or len(sound) > 1 or len(opened.streams) != len(video) + len(sound):
        raise ValueError("it has other streams than pictures and sound")
    stream = video[0]
    if stream.codec_context.name != "h264" or any(s.codec_context.name != "aac" for s in sound):
        raise ValueError(f"it is {stream.codec_context.name}")
    stream.thread_type = "NONE"
    return stream


def _packets(opened: InputContainer, stream: VideoStream) -> "list[Packet[VideoStream]]":
    """Return the pictures, encoded, in the order of the file."""
    packets = [packet for packet in opened.demux(stream) if packet.size and packet.pts is not None]
    if not packets:
        raise ValueError("it has no pictures")
    return packets


def _times(stream: VideoStream, packets: "list[Packet[VideoStream]]") -> tuple[list[float], float]:
    """Return when pictures are shown, in order, and for how long one is, in seconds."""
    times = sorted(float((packet.pts or 0) * (stream.time_base or 0)) for packet in packets)
    return times, (times[-1] - times[0]) / max(1, len(times) - 1)


def _check_keyframes(stream: VideoStream, packets: "list[Packet[VideoStream]]") -> None:
    times, frame = _times(stream, packets)
    keys, _ = _times(stream, [packet for packet in packets if packet.is_keyframe] or packets[-1:])
    if keys[0] > times[0]:
        raise ValueError("it does not start with a keyframe")
    ends = [*keys[1:], times[-1] + frame]
    widest = max(end - start for start, end in zip(keys, ends, strict=True))
    if widest > max(GOP_SECONDS, frame) + 2 * frame + GOP_SLACK_SECONDS:
        raise ValueError(f"keyframes are {widest:.2f} s apart")


def _decode_first(stream: VideoStream, packet: "Packet[VideoStream]") -> None:
    frames = [*stream.codec_context.decode(packet), *stream.codec_context.decode(None)]
    if not frames or frames[0].is_corrupt or frames[0].format.name != "yuv420p":
        raise ValueError("its first picture cannot be shown")


def _seen(opened: InputContainer, stream: VideoStream, packets: "list[Packet[VideoStream]]") -> Seen:
    codec = stream.codec_context
    times, frame = _times(stream, packets)
    return Seen(
        width=codec.width,
        height=codec.height,
        codecs=codecs_of(bytes(codec.extradata or b"")),
        sound=bool(opened.streams.audio),
        pictures=len(packets),
        seconds=times[-1] - times[0] + frame,
    )


def codecs_of(extradata: bytes) -> str:
    """Return the codecs string from Annex B parameter sets, or from an ``avcC`` box (ISO 14496-15)."""
    if extradata[:1] == b"\x01" and len(extradata) > 3:
        return f"avc1.{extradata[1:4].hex()}"
    return avc_codecs(extradata)
