"""Opening a file that somebody sent, and measuring it without trusting its header.

libav runs with the demuxer that the magic bytes name, only the ``file`` protocol, and bounds on streams,
pixels, timestamps and errors. Lengths come from demuxing every packet: headers lie, and a cut file often
raises no error at all.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

import av
import av.logging
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from media.limits import SourceLimits
from media.sniff import DEMUXER, Container, sniff_file
from media.workers.protocol import Refused

OPEN_SECONDS = 10.0
PROBE_BYTES = 5_000_000
KEPT_STEPS = 20_000
MAX_RATE = Fraction(60)
STEADY_TOLERANCE = 0.005
# A single step of WebM or AVI is rounded to milliseconds: 33 ms reads as 30.3 frames per second.
TYPICAL_TOLERANCE = 0.012
STANDARD_RATES = (
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(48),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
)

# The id of a WebM, or a four-character code, of which libav writes what is not printable as [1].
CODEC_SAID = re.compile(r"AVCodecID ([!-~]{1,40})\.\n|Video: none \(([ -~]{4,20}?) / 0x")

# PyAV reports a broken file in all of these ways: its own tree, text that is not UTF-8, counts that do
# not fit, a header that asks for more memory than there is.
BROKEN = (av.error.FFmpegError, UnicodeDecodeError, ValueError, MemoryError, OSError, OverflowError)


@dataclass(slots=True)
class Track:
    """What demuxing showed of one stream: seconds, packets, and the steps between timestamps."""

    start: float | None = None
    end: float = 0.0
    packets: int = 0
    largest_gap: float = 0.0
    last: float | None = None
    usable: bool = True
    stamps: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length from the first timestamp to the end of the last packet."""
        return 0.0 if self.start is None else max(0.0, self.end - self.start)

    def add(self, at: float, length: float) -> None:
        """Count one packet at ``at`` seconds lasting ``length`` seconds."""
        self.packets += 1
        self.start = at if self.start is None else min(self.start, at)
        self.end = max(self.end, at + length) if self.packets > 1 else at + length
        if self.last is not None:
            self.largest_gap = max(self.largest_gap, abs(at - self.last))
        self.last = at
        if len(self.stamps) < KEPT_STEPS:
            self.stamps.append(at)


@dataclass(slots=True)
class Damage:
    """How many packets of a stream did not decode."""

    packets: int = 0


def open_source(path: Path, container: Container, limits: SourceLimits) -> InputContainer:
    """Open a source with bounds.

    Raises:
        Refused: CORRUPTED_FILE when libav cannot open it.
    """
    try:
        return av.open(
            str(path),
            format=DEMUXER[container],
            metadata_errors="replace",
            timeout=OPEN_SECONDS,
            options={
                "protocol_whitelist": "file",
                "max_streams": str(limits.max_streams),
                "probesize": str(PROBE_BYTES),
                "analyzeduration": str(PROBE_BYTES),
            },
        )
    except BROKEN as error:
        raise Refused("CORRUPTED_FILE", f"The file cannot be opened: {_text(error)}.") from error


def recognise(path: Path) -> Container:
    """Return the container of a stored source; one that no demuxer of ours reads is refused."""
    container = sniff_file(path)
    if container not in DEMUXER:
        raise Refused("INVALID_FORMAT", "This file format is not supported.", {"found": container.value})
    return container


def video_streams(source: InputContainer, limits: SourceLimits) -> list[VideoStream]:
    """Return the decodable video streams, without cover pictures.

    Raises:
        Refused: CORRUPTED_FILE without video, INVALID_FORMAT for an unknown codec, which it names, or a
            frame size that is out of bounds.
    """
    streams = [s for s in source.streams.video if "attached_pic" not in str(s.disposition)]
    if not streams:
        raise Refused("CORRUPTED_FILE", "The file holds no video stream.")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        codec = _unknown_codec(Path(source.name), limits)
        raise Refused("INVALID_FORMAT", f"The video codec {codec} is not supported.", {"codec": codec})
    for stream in known:
        check_size(stream.codec_context.width, stream.codec_context.height, limits)
        stream.codec_context.options = {"max_pixels": str(limits.max_pixels)}
    return known


def _unknown_codec(path: Path, limits: SourceLimits) -> str:
    """Return what a file calls the codec of its video (B13); without a decoder only libav's log says it."""
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as said, open_source(path, recognise(path), limits):
            named = CODEC_SAID.search("".join(text for _, _, text in said))
    finally:
        av.logging.set_level(None)
    return (named[1] or named[2]).strip() if named else "unknown"


def check_size(width: int, height: int, limits: SourceLimits) -> None:
    """Refuse frames too large to decode in bounds, or too small to be a picture.

    Raises:
        Refused: CORRUPTED_FILE without any size, INVALID_FORMAT out of bounds.
    """
    if not width or not height:
        raise Refused("CORRUPTED_FILE", "The video stream has no frame size.")
    small = min(width, height) < limits.min_side
    large = max(width, height) > limits.max_side or width * height > limits.max_pixels
    if small or large:
        raise Refused(
            "INVALID_FORMAT",
            f"A frame of {width}x{height} pixels is outside what can be processed.",
            {
                "width": width,
                "height": height,
                "min_side": limits.min_side,
                "max_side": limits.max_side,
                "max_pixels": limits.max_pixels,
            },
        )


def measure(source: InputContainer, limits: SourceLimits, max_seconds: float | None) -> dict[int, Track]:
    """Demux every packet and return one track per stream index; stops when the limit is passed.

    Raises:
        Refused: DURATION_EXCEEDED past ``max_seconds``; CORRUPTED_FILE for a jump of a picture's timestamps.
    """
    tracks = {stream.index: Track() for stream in source.streams if stream.type in {"video", "audio"}}
    heard = {stream.index for stream in source.streams.audio}
    for packet in packets(source):
        track = tracks.get(packet.stream_index)
        stamp = packet.pts if packet.pts is not None else packet.dts
        if track is None or stamp is None or packet.time_base is None or packet.is_discard:
            continue
        base = float(packet.time_base)
        length = (packet.duration or 0) * base
        track.add(stamp * base, length)
        if packet.stream_index in heard:
            track.largest_gap = max(track.largest_gap, length)  # no packet of sound is so long
        _check_length(track, limits, max_seconds)
    for index, track in tracks.items():
        if index in heard:
            # Sound whose clock jumps is damaged sound: the picture is shown without it.
            track.usable = track.largest_gap <= limits.max_gap_seconds
        else:
            _check_gap(track, limits)
    return tracks


def packets(source: InputContainer, *streams: Stream) -> "Iterator[Packet[Stream]]":
    """Yield packets to the end of the file, or to where it cannot be read any more."""
    try:
        yield from (packet for packet in source.demux(*streams) if packet.size)
    except BROKEN:
        return


def _check_length(track: Track, limits: SourceLimits, max_seconds: float | None) -> None:
    limit = limits.max_seconds if max_seconds is None else max_seconds
    # A millisecond of slack: 180 s passes, and containers round their clocks (A5).
    if track.seconds > limit + 0.001 and track.largest_gap <= limits.max_gap_seconds:
        raise Refused(
            "DURATION_EXCEEDED",
            f"The video is longer than {limit:g} seconds.",
            {"limit_seconds": limit},
        )


def _check_gap(track: Track, limits: SourceLimits) -> None:
    if track.largest_gap > limits.max_gap_seconds:
        raise Refused(
            "CORRUPTED_FILE",
            f"The timestamps jump by {track.largest_gap:.0f} seconds.",
            {"gap_seconds": round(track.largest_gap, 3)},
        )


def frame_rate(stream: VideoStream, track: Track) -> Fraction:
    """Return the constant rate to encode at, at most 60 frames per second.

    A variable source gives the rate of its typical step, so that its dense parts lose no frame; a steady
    one its mean. A rate close to a broadcast rate becomes that rate.
    """
    stamps = sorted(track.stamps)
    steps = [late - early for early, late in pairwise(stamps) if late - early > 1e-6]
    if not steps:
        return min(stream.average_rate or Fraction(25), MAX_RATE)
    typical = median(steps)
    mean = (stamps[-1] - stamps[0]) / len(steps)
    if abs(mean - typical) <= 0.02 * typical:
        return _standard(mean, STEADY_TOLERANCE)
    return _standard(typical, TYPICAL_TOLERANCE)


def _standard(step: float, tolerance: float) -> Fraction:
    rate = Fraction(1 / step).limit_denominator(1001)
    nearest = min(STANDARD_RATES, key=lambda known: abs(known - rate))
    if abs(nearest - rate) <= nearest * tolerance:
        return nearest
    return max(Fraction(1, 10), min(rate, MAX_RATE))


def _text(error: BaseException) -> str:
    """Return libav's own words without the path of the file."""
    strerror = getattr(error, "strerror", None)
    return str(strerror or type(error).__name__)


def frames(
    source: InputContainer,
    stream: VideoStream | AudioStream,
    limits: SourceLimits,
    damage: Damage | None = None,
) -> Iterator[object]:
    """Yield what decodes, with frame threads; errors are counted and skipped until there are too many."""
    stream.codec_context.thread_type = "AUTO"
    damage = damage or Damage()
    for packet in packets(source, stream):
        try:
            yield from packet.decode()
        except BROKEN:
            damage.packets += 1
            if damage.packets > limits.max_decode_errors:
                break
    try:
        yield from stream.decode(None)
    except BROKEN:
        return
