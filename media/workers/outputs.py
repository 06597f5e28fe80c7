"""One rung: encode its pictures once, write the packets to every container that wants them."""

from concurrent.futures import Future
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from media.h264 import SOFTWARE, Coding, codec_name, options, pixel_format
from media.ladder import Rendition
from media.workers.audio import Encoded, Feed

GOP_SECONDS = 2
SEGMENT_SECONDS = 6
DASH_OFFSET_FRAMES = 2
"""B-frames make the first decode times negative; fragments cannot hold that, so DASH starts later."""
DASH_FLAGS = "frag_keyframe+empty_moov+default_base_moof+frag_discont+global_sidx+skip_trailer"
# A threshold a hair below the exact length: keyframe times are rounded to the clock of the container.
SPLIT_SLACK = 1 - 1e-5


@dataclass(frozen=True, slots=True)
class Plan:
    """What all rungs share: rate, keyframe distance in frames, x264 preset, exact padding, the sound.

    ``sound`` is encoded beside the pictures; ``encoder`` is one of ``media.h264``.
    """

    rate: Fraction
    preset: str
    exact_bitrate: bool
    sound: Future[Encoded]
    dash: bool
    encoder: str = SOFTWARE

    @property
    def audio(self) -> Path | None:
        """The encoded track, None for a silent video; waits for it, and raises what it failed with."""
        return self.sound.result().track

    @property
    def gop(self) -> int:
        """Frames from keyframe to keyframe: two seconds, to the nearest frame (B22)."""
        return max(1, round(GOP_SECONDS * self.rate))

    @property
    def gops_per_segment(self) -> int:
        """GOPs in a segment: as many whole ones as make six seconds (B23)."""
        return max(1, round(SEGMENT_SECONDS * self.rate / self.gop))

    @property
    def segment_seconds(self) -> float:
        """Length of a segment."""
        return float(self.gops_per_segment * self.gop / self.rate)


class Output:
    """One container that takes the rung's packets and, in step, the sound."""

    def __init__(self, container: OutputContainer, video: Stream, audio: Feed | None) -> None:
        """Take an open container with its video stream; the sound gets a stream of its own."""
        self.container = container
        self._video = video
        self._feed = audio
        self._audio = container.add_stream_from_template(audio.template) if audio else None

    def mux(self, packet: "Packet[Stream]", offset_frames: int = 0) -> None:
        """Write one encoded picture after the sound that belongs before it."""
        seconds = float((packet.dts or 0) * (packet.time_base or 0))
        if self._feed is not None and self._audio is not None:
            self._feed.mux_until(self.container, self._audio, seconds)
        packet.stream = self._video
        self.container.mux(packet)

    def close(self, seconds: float) -> None:
        """Write the rest of the sound and the trailer."""
        if self._feed is not None and self._audio is not None:
            self._feed.mux_until(self.container, self._audio, seconds)
            self._feed.close()
        self.container.close()


class RungEncoder:
    """Encodes the pictures of one rung into HLS, and into a progressive mp4 and a DASH file if asked."""

    def __init__(self, rendition: Rendition, plan: Plan, *, progressive: bool) -> None:
        """Open the encoder; the containers come below the working folder: ``hls/``, ``mp4/``, ``dash/``."""
        self.rendition = rendition
        self.progressive = progressive
        self.frames = 0
        self.codecs = ""
        self._plan = plan
        self._hls = _open_hls(rendition.rung.name, plan)
        self._stream = _add_encoder(self._hls, rendition, plan)
        self._outputs: list[Output] = []
        self._dash: Output | None = None
        self._held: list[Packet[Stream]] = []

    def encode(self, frame: VideoFrame) -> None:
        """Encode the next picture; the first of each GOP is a keyframe, whatever the source had."""
        frame = frame.reformat(format=pixel_format(self._plan.encoder))
        frame.pts, frame.time_base = self.frames, 1 / self._plan.rate
        first = self.frames % self._plan.gop == 0
        frame.pict_type = PictureType.I if first else PictureType.NONE
        self.frames += 1
        self._held += self._stream.encode(frame)
        # A container names its streams when it begins: packets wait for the sound, a segment's worth of them.
        if self._plan.sound.done() or self.frames >= self._plan.gop * self._plan.gops_per_segment:
            self._write()

    def close(self) -> None:
        """Flush the encoder and finish the files."""
        self._held += self._stream.encode(None)
        self._write()
        seconds = float(self.frames / self._plan.rate)
        for output in self._outputs:
            output.close(seconds)
        if self._dash is not None:
            self._dash.close(seconds)

    def _write(self) -> None:
        """Write what was held, once the sound is known."""
        if not self._outputs:
            self._open()
        packets, self._held = self._held, []
        for packet in packets:
            for output in self._outputs:
                output.mux(packet)
            if self._dash is not None:
                _delay(packet, DASH_OFFSET_FRAMES / self._plan.rate)
                self._dash.mux(packet)

    def _open(self) -> None:
        quality = self.rendition.rung.name
        self._outputs.append(Output(self._hls, self._stream, self._feed()))
        # Copies of the stream need its parameter sets.
        self._hls.start_encoding()
        self.codecs = avc_codecs(bytes(self._stream.codec_context.extradata or b""))
        if self.progressive:
            self._outputs.append(self._copy(f"mp4/{quality}.mp4", {"movflags": "faststart"}, sound=True))
        if self._plan.dash:
            self._dash = self._open_dash(quality)

    def _feed(self) -> Feed | None:
        track = self._plan.audio
        return Feed(track) if track else None

    def _copy(self, path: str, options: dict[str, str], *, sound: bool) -> Output:
        container = _open(path, "mp4", options)
        video = container.add_stream_from_template(self._stream)
        return Output(container, video, self._feed() if sound else None)

    def _open_dash(self, quality: str) -> Output:
        options = {"movflags": DASH_FLAGS, "use_editlist": "0", "avoid_negative_ts": "disabled"}
        return self._copy(f"dash/{quality}.mp4", options, sound=False)


def write_dash_audio(track: Path, offset_seconds: float) -> None:
    """Write the shared sound of the DASH set, in fragments of two seconds."""
    options = {
        "movflags": DASH_FLAGS.replace("frag_keyframe+", ""),
        "frag_duration": str(GOP_SECONDS * 1_000_000),
        "use_editlist": "0",
        "avoid_negative_ts": "disabled",
    }
    feed = Feed(track)
    with _open("dash/audio.mp4", "mp4", options) as container:
        feed.mux_until(
            container, container.add_stream_from_template(feed.template), float("inf"), offset_seconds
        )
    feed.close()


def avc_codecs(extradata: bytes) -> str:
    """Return the RFC 6381 string of an H.264 stream from its SPS: profile, constraints, level (B23).

    >>> avc_codecs(bytes.fromhex("00000001674d401e"))
    'avc1.4d401e'
    """
    at = extradata.find(b"\x00\x00\x01")
    while at >= 0:
        if extradata[at + 3] & 0x1F == 7:
            return f"avc1.{extradata[at + 4 : at + 7].hex()}"
        at = extradata.find(b"\x00\x00\x01", at + 3)
    raise ValueError("no sequence parameter set")


def _delay(packet: "Packet[Stream]", seconds: Fraction) -> None:
    shift = round(seconds / packet.time_base) if packet.time_base else 0
    packet.pts = (packet.pts or 0) + shift
    packet.dts = (packet.dts or 0) + shift


def _open(path: str, format_name: str, options: dict[str, str]) -> OutputContainer:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return av.open(path, "w", format=format_name, options=options)


def _open_hls(quality: str, plan: Plan) -> OutputContainer:
    return _open(
        f"hls/{quality}/playlist.m3u8",
        "hls",
        {
            # Lets several frames of sound share a packet: without it, 40 kbit/s of every rung are headers.
            "max_delay": "700000",
            "hls_time": f"{plan.segment_seconds * SPLIT_SLACK:.6f}",
            "hls_playlist_type": "vod",
            "hls_list_size": "0",
            "hls_flags": "independent_segments",
            "hls_segment_filename": f"hls/{quality}/segment_%05d.ts",
        },
    )


def _add_encoder(container: OutputContainer, rendition: Rendition, plan: Plan) -> VideoStream:
    wanted = Coding(rendition.rung.bitrate, plan.gop, plan.preset, plan.exact_bitrate)
    stream = container.add_stream(
        codec_name(plan.encoder), rate=plan.rate, options=options(plan.encoder, wanted)
    )
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = rendition.width, rendition.height
    stream.pix_fmt = pixel_format(plan.encoder)
    codec = stream.codec_context
    codec.time_base = 1 / plan.rate
    codec.color_primaries = codec.color_trc = codec.colorspace = 1
    codec.color_range = 1
    # PyAV's default of slices makes x264 encode in slices, 13 % slower and a little worse.
    codec.thread_type = "FRAME"
    return stream
