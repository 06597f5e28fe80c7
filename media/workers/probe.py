"""Child: what is in this file, and can it be decoded (A3-A7, B34).

Request: ``path``, ``max_seconds`` or null, ``source`` (fields of ``SourceLimits``). Result: the fields of
``media.probe.SourceInfo``.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media.languages import language
from media.limits import SourceLimits
from media.sniff import MIME
from media.workers import source as src
from media.workers.protocol import Refused, Request, serve

TEXT_CODECS = frozenset({"mov_text", "subrip", "srt", "webvtt", "text", "ass", "ssa"})
SAMPLE_FRAMES = 5
SAMPLE_PACKETS = 400
# A cut file that still holds half of itself is worth showing; less is an upload that broke off.
SHORT_OF_DECLARED = 0.5


def inspect(path: Path, limits: SourceLimits, max_seconds: float | None) -> dict[str, Any]:
    """Open, demux whole, decode a few frames, and describe; raises Refused with an O3 code."""
    container = src.recognise(path)
    with src.open_source(path, container, limits) as opened:
        streams = src.video_streams(opened, limits)
        declared = opened.duration / 1_000_000 if opened.duration else None
        tracks = src.measure(opened, limits, max_seconds)
        # A motion photo carries a second, larger track of a few frames: the longest one is the video.
        stream = max(streams, key=lambda s: (tracks[s.index].seconds, -s.index))
        video = tracks[stream.index]
        if not video.packets:
            raise Refused("CORRUPTED_FILE", "The video stream is empty.")
        rate = src.frame_rate(stream, video)
        index, codec = stream.index, _codec(stream)
        aspect = sample_aspect(stream)
        texts = _texts(opened)
        sounds = any(s.index in tracks and tracks[s.index].packets for s in opened.streams.audio)
    with src.open_source(path, container, limits) as opened:
        frame = first_frame(opened, opened.streams[index], limits)
    audio_index, audio_codec, spoken = _audible(path, container, limits, tracks) or (None, None, None)
    shown = [video] if audio_index is None else [video, tracks[audio_index]]
    _check_whole(declared, max(track.end for track in tracks.values()))
    start, seconds = _span(video, shown, rate)
    width, height = display_size(frame, aspect)
    return {
        "video_index": index,
        "video_codec": codec,
        "container": container.value,
        "mime": MIME[container],
        "duration_seconds": round(seconds, 3),
        "start": start,
        "width": width,
        "height": height,
        "rotation": frame.rotation,
        "fps": float(rate),
        "rate": [rate.numerator, rate.denominator],
        "audio_index": audio_index,
        "audio_codec": audio_codec,
        "audio_language": spoken,
        "audio_lost": sounds and audio_index is None,
        "subtitles": texts,
        "transfer": int(frame.color_trc),
        "size_bytes": path.stat().st_size,
    }


def _codec(stream: VideoStream) -> str:
    """Return the codec's own name (``av1``), not the decoder's (``libdav1d``)."""
    codec = stream.codec_context.codec
    return str(codec.canonical_name if codec else stream.codec_context.name)


def first_frame(opened: InputContainer, stream: Any, limits: SourceLimits) -> VideoFrame:
    """Decode until a few frames came out, and return the first.

    Raises:
        Refused: CORRUPTED_FILE when nothing decodes, INVALID_FORMAT for a size that is out of bounds.
    """
    frames: list[VideoFrame] = []
    errors = 0
    for count, packet in enumerate(src.packets(opened, stream)):
        try:
            frames += [frame for frame in packet.decode() if isinstance(frame, VideoFrame)]
        except src.BROKEN:
            errors += 1
        if len(frames) >= SAMPLE_FRAMES or count >= SAMPLE_PACKETS or errors > limits.max_decode_errors:
            break
    if not frames:
        frames = _flushed(stream)
    if not frames:
        raise Refused("CORRUPTED_FILE", "No frame of the video can be decoded.", {"decode_errors": errors})
    src.check_size(frames[0].width, frames[0].height, limits)
    return frames[0]


def _flushed(stream: VideoStream) -> list[VideoFrame]:
    """Return what the decoder still holds: a one-frame clip comes out only here."""
    try:
        return [frame for frame in stream.decode(None) if isinstance(frame, VideoFrame)]
    except src.BROKEN:
        return []


def display_size(frame: VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Return width and height as shown: square pixels, upright."""
    width, height = frame.width, frame.height
    if aspect > 1:
        width = round(width * aspect)
    elif aspect < 1:
        height = round(height / aspect)
    return (height, width) if frame.rotation % 180 else (width, height)


def sample_aspect(stream: VideoStream) -> Fraction:
    """Return the sample aspect ratio of a stream, 1 when unset or absurd."""
    value = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    if not value or not Fraction(1, 8) <= value <= 8:
        return Fraction(1)
    return Fraction(value)


def _texts(opened: InputContainer) -> list[dict[str, Any]]:
    """Return index, codec and language of each subtitle track that is text."""
    found = [(stream, stream.codec_context) for stream in opened.streams.subtitles]
    return [
        {"index": stream.index, "codec": codec.name, "language": _language(stream)}
        for stream, codec in found
        if codec is not None and codec.name in TEXT_CODECS
    ]


def _language(stream: Stream) -> str | None:
    """Return the BCP 47 tag of a stream, None when it says none."""
    found = language(stream.metadata.get("language"))
    return None if found == "und" else found


def _audible(
    path: Path, container: Any, limits: SourceLimits, tracks: Any
) -> tuple[int, str, str | None] | None:
    """Return index, codec and language of the first audio stream that really decodes, None without one."""
    with src.open_source(path, container, limits) as opened:
        candidates = [
            (stream.index, stream.codec_context.name, _language(stream))
            for stream in opened.streams.audio
            if stream.codec_context is not None and _is_heard(tracks.get(stream.index))
        ]
    return next((found for found in candidates if _decodes(path, container, limits, found[0])), None)


def _is_heard(track: src.Track | None) -> bool:
    return track is not None and track.usable and track.packets > 0


def _decodes(path: Path, container: Any, limits: SourceLimits, index: int) -> bool:
    with src.open_source(path, container, limits) as opened:
        for count, packet in enumerate(src.packets(opened, opened.streams[index])):
            try:
                if packet.decode():
                    return True
            except src.BROKEN:
                pass
            if count >= SAMPLE_PACKETS:
                break
    return False


def _span(video: src.Track, shown: list[src.Track], rate: Fraction) -> tuple[float, float]:
    """Return where the presentation starts on the source's clock, and how long it is, in seconds."""
    start = min(track.start or 0.0 for track in shown)
    # A packet without a duration (WMV) still shows for one frame.
    end = max(*(track.end for track in shown), max(video.stamps) + float(1 / rate))
    return start, end - start


def _check_whole(declared: float | None, end: float) -> None:
    """Refuse a file that ends well before its own header says: an interrupted copy."""
    if declared and end < declared * SHORT_OF_DECLARED and declared - end > 1.0:
        raise Refused(
            "CORRUPTED_FILE",
            f"The file ends after {end:.1f} of {declared:.1f} seconds.",
            {"declared_seconds": round(declared, 3), "found_seconds": round(end, 3)},
        )


def handle(request: Request) -> dict[str, Any]:
    """Answer one probe request."""
    return inspect(Path(request["path"]), SourceLimits(**request["source"]), request["max_seconds"])


if __name__ == "__main__":
    serve(handle)
