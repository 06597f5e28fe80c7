"""Look at what was made before anybody calls it READY (B50)."""

from collections.abc import Iterator
from pathlib import Path

import av
import av.error

from media.playlists import Segment, parse_media_playlist
from media.workers.protocol import Refused


def check_rendition(playlist: Path, seconds: float, segment_seconds: float) -> list[Segment]:
    """Check that a playlist parses, its segments exist and decode from a keyframe, and the lengths agree.

    Raises:
        Refused: TRANSCODE_ERROR, retryable: our own output is wrong.
    """
    try:
        segments = parse_media_playlist(playlist.read_text())
    except ValueError as error:
        raise _broken(f"{playlist}: {error}") from error
    total = sum(segment.seconds for segment in segments)
    if not segments or abs(total - seconds) > segment_seconds:
        raise _broken(f"{playlist} lasts {total:.2f} of {seconds:.2f} s")
    for segment in segments:
        path = playlist.parent / segment.name
        if not path.is_file() or not path.stat().st_size:
            raise _broken(f"{path} is missing")
        _check_start(path)
    return segments


def _check_start(path: Path) -> None:
    """Check that the first picture of a segment is a keyframe, so that a player can start there."""
    try:
        with av.open(str(path), format="mpegts") as opened:
            first = next(packet for packet in opened.demux(video=0) if packet.size)
            if not first.is_keyframe:
                raise _broken(f"{path} does not start with a keyframe")
    except (av.error.FFmpegError, StopIteration, IndexError) as error:
        raise _broken(f"{path} cannot be read") from error


def start_of(path: Path) -> float:
    """Return when the picture of a first segment starts on the clock of its container, in seconds."""
    with av.open(str(path), format="mpegts") as opened:
        stamps = [packet.pts * packet.time_base for packet in opened.demux(video=0) if packet.pts is not None]
    return float(min(stamps))


def check_mp4(path: Path, seconds: float, slack_seconds: float) -> None:
    """Check that an mp4 opens, has its index in front, and is as long as it should be.

    Raises:
        Refused: TRANSCODE_ERROR, retryable.
    """
    boxes = [name for name, _, _ in top_boxes(path)]
    if boxes.index(b"moov") > boxes.index(b"mdat"):
        raise _broken(f"{path} has its index at the end")
    with av.open(str(path), format="mp4") as opened:
        if abs((opened.duration or 0) / 1e6 - seconds) > slack_seconds:
            raise _broken(f"{path} has the wrong length")


def top_boxes(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of each box at the top of an ISO base media file."""
    with path.open("rb") as file:
        at, end = 0, path.stat().st_size
        while at + 8 <= end:
            file.seek(at)
            head = file.read(16)
            size = int.from_bytes(head[:4], "big")
            if size == 1:
                size = int.from_bytes(head[8:16], "big")
            size = size or end - at
            yield head[4:8], at, size
            at += max(size, 8)


def _broken(reason: str) -> Refused:
    return Refused("TRANSCODE_ERROR", f"An output is not right: {reason}.", retryable=True)
