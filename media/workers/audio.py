"""Sound: whatever the source has becomes one AAC track, stereo, 48 kHz, 96 kbit/s, as long as the picture,
and as loud as asked.

It is encoded once into a file beside the job and read again by every output: sources whose sound lies far
from its picture in the file would otherwise have to be buffered whole.
"""

import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.filter
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from media.ladder import AUDIO_BITRATE, AUDIO_RATE
from media.limits import SourceLimits
from media.sniff import Container
from media.workers import loudness
from media.workers import source as src

FRAME_SAMPLES = 1024
LOST = "The sound could not be decoded: the video is silent."
DAMAGED = "Parts of the sound could not be decoded: they are silent."
DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Failures that are not the sound's."""
CODECS = "mp4a.40.2"


@dataclass(frozen=True, slots=True)
class Sound:
    """Which stream of which file is the sound, and on what clock.

    ``start`` is where the presentation starts on the source's clock, ``seconds`` how long it is.
    """

    path: Path
    container: Container
    limits: SourceLimits
    index: int
    start: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Encoded:
    """The finished track, None for silence, and what the owner should know of it."""

    track: Path | None = None
    notes: tuple[str, ...] = ()


def encode_what_there_is(sound: Sound, target: Path, loudness_lufs: float | None) -> Encoded:
    """Encode sound that may be damaged: a video never fails for its sound (B37)."""
    try:
        damage = encode(sound, target, loudness_lufs)
    except src.BROKEN as error:
        if getattr(error, "errno", None) in DISK:
            raise
        target.unlink(missing_ok=True)
        return Encoded(notes=(LOST,))
    return Encoded(target, (DAMAGED,) if damage.packets else ())


def encode(sound: Sound, target: Path, loudness_lufs: float | None) -> src.Damage:
    """Decode the stream and write the AAC track to ``target``, in NUT, which keeps timestamps.

    Returns:
        What of it did not decode and is silent, or left out where the next part follows on.
    """
    louder = []
    if loudness_lufs is not None:
        louder = loudness.filters(loudness.measure(_cut(_decoded(sound), sound.seconds)), loudness_lufs)
    total, damage = math.ceil(sound.seconds * AUDIO_RATE), src.Damage()
    with av.open(str(target), "w", format="nut") as output:
        stream = output.add_stream("aac", rate=AUDIO_RATE, options={"b": str(AUDIO_BITRATE)})
        assert isinstance(stream.codec_context, AudioCodecContext)
        stream.codec_context.layout = "stereo"
        stream.codec_context.bit_rate = AUDIO_BITRATE
        written = 0
        for frame in _steady(_decoded(sound, damage), louder):
            if written >= total:
                break
            frame.pts, frame.time_base = written, Fraction(1, AUDIO_RATE)
            written += frame.samples
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return damage


def _cut(frames: Iterator[AudioFrame], seconds: float) -> Iterator[AudioFrame]:
    """Yield what is within the presentation, on a clock without gaps: only the samples count."""
    written = 0
    for frame in frames:
        if (frame.time or 0.0) >= seconds:
            return
        frame.pts, frame.time_base = written, Fraction(1, AUDIO_RATE)
        written += frame.samples
        yield frame


def _decoded(sound: Sound, damage: src.Damage | None = None) -> Iterator[AudioFrame]:
    """Yield stereo 48 kHz float frames on the presentation's clock, skipping what does not decode."""
    damage = damage or src.Damage()
    resampler, shape = _resampler(), None
    with src.open_source(sound.path, sound.container, sound.limits) as opened:
        stream = opened.streams[sound.index]
        assert isinstance(stream, AudioStream)
        for frame in src.frames(opened, stream, sound.limits, damage):
            if not isinstance(frame, AudioFrame) or not frame.samples or not frame.sample_rate:
                continue
            if shape not in (None, (frame.format.name, frame.layout.name, frame.sample_rate)):
                resampler = _resampler()
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(sound.start / frame.time_base)
            try:
                yield from resampler.resample(frame)
            except src.BROKEN:
                damage.packets += 1
                resampler, shape = _resampler(), None
        yield from resampler.resample(None) if shape else ()


def _resampler() -> AudioResampler:
    return AudioResampler(format="fltp", layout="stereo", rate=AUDIO_RATE)


def _steady(frames: Iterator[AudioFrame], louder: list[tuple[str, str]]) -> Iterator[AudioFrame]:
    """Fill gaps with silence, cut overlaps, and go on with silence for ever after the end."""
    graph = av.filter.Graph()
    source = graph.add("abuffer", loudness.LAYOUT)
    last = source
    for name, arguments in (
        ("aresample", "async=1000:first_pts=0:min_hard_comp=0.05"),
        *louder,
        ("apad", None),
        ("asetnsamples", str(FRAME_SAMPLES)),
        ("abuffersink", None),
    ):
        step = graph.add(name, arguments)
        last.link_to(step)
        last = step
    graph.configure()
    for frame in _ended(frames):
        source.push(frame)
        while True:
            try:
                out = last.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
            assert isinstance(out, AudioFrame)
            yield out


def _ended(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame | None]:
    yield from frames
    yield None


class Feed:
    """Reads the encoded track and gives its packets to one output in step with the picture."""

    def __init__(self, path: Path) -> None:
        """Open the track."""
        self._container = av.open(str(path), format="nut")
        self.template = self._container.streams.audio[0]
        self._packets = (packet for packet in self._container.demux(self.template) if packet.size)
        self._next: Packet[AudioStream] | None = next(self._packets, None)
        # The encoder's first packet holds only its delay and belongs before 0; NUT cannot say so.
        first = self._next.pts or 0 if self._next else 0
        self._shift = -FRAME_SAMPLES - first

    def mux_until(self, output: OutputContainer, stream: Stream, seconds: float, offset: float = 0.0) -> None:
        """Write the packets that start before ``seconds``, all later by ``offset`` seconds."""
        extra = round(offset * AUDIO_RATE)
        while self._next is not None and ((self._next.pts or 0) + self._shift) / AUDIO_RATE < seconds:
            packet: Packet[Any] = self._next
            packet.pts = packet.dts = (packet.pts or 0) + self._shift + extra
            packet.stream = stream
            output.mux(packet)
            self._next = next(self._packets, None)

    def close(self) -> None:
        """Close the track."""
        self._container.close()
