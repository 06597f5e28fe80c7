"""The index of a fragmented file: where its header and fragments lie (ISO 14496-12 section 8.16.3)."""

import struct
from dataclasses import dataclass
from pathlib import Path

from media.mpd import Track
from media.playlists import Segment
from media.workers.protocol import Refused
from media.workers.verify import top_boxes


@dataclass(frozen=True, slots=True)
class Index:
    """Byte ranges of header and ``sidx``, both ends included; each fragment's offset, size and seconds."""

    init: tuple[int, int]
    sidx: tuple[int, int]
    start_seconds: float
    fragments: tuple[tuple[int, int, float], ...]

    @property
    def seconds(self) -> float:
        """Length of the file."""
        return sum(seconds for _, _, seconds in self.fragments)

    def segments(self, uri: str, per_segment: int) -> list[Segment]:
        """Return HLS segments of some fragments each, as byte ranges."""
        groups = [self.fragments[at : at + per_segment] for at in range(0, len(self.fragments), per_segment)]
        return [
            Segment(
                uri,
                sum(seconds for _, _, seconds in group),
                (group[0][0], sum(size for _, size, _ in group)),
            )
            for group in groups
        ]

    def header(self, uri: str) -> Segment:
        """Return what players read first."""
        return Segment(uri, 0.0, (self.init[0], self.init[1] - self.init[0] + 1))

    def track(self, uri: str, bandwidth: int, codecs: str, size: tuple[int, int] = (0, 0)) -> Track:
        """Return what the DASH manifest says of the file."""
        return Track(uri, bandwidth, codecs, self.init, self.sidx, *size)


def read_index(path: Path) -> Index:
    """Read the index of a file of ours: ``sidx`` follows ``moov``.

    Raises:
        Refused: TRANSCODE_ERROR, retryable: there is none, or it does not cover the file.
    """
    boxes = {box: (at, size) for box, at, size in top_boxes(path)}
    if b"sidx" not in boxes or b"moov" not in boxes:
        raise Refused("TRANSCODE_ERROR", f"{path} has no index.", retryable=True)
    at, size = boxes[b"sidx"]
    with path.open("rb") as file:
        file.seek(at)
        start, timescale, parts = _references(file.read(size))
    fragments, offset = [], at + size
    for length, duration in parts:
        fragments.append((offset, length, duration / timescale))
        offset += length
    if offset > path.stat().st_size or not fragments:
        raise Refused("TRANSCODE_ERROR", f"{path} has a wrong index.", retryable=True)
    moov_at, moov_size = boxes[b"moov"]
    return Index((0, moov_at + moov_size - 1), (at, at + size - 1), start / timescale, tuple(fragments))


def _references(box: bytes) -> tuple[int, int, list[tuple[int, int]]]:
    """Return start and timescale, and for each fragment its size and duration."""
    (timescale,) = struct.unpack_from(">I", box, 16)
    start, first = struct.unpack_from(">QQ" if box[8] else ">II", box, 20)
    if first:
        raise Refused("TRANSCODE_ERROR", "An index does not begin at its file's first fragment.")
    at = 38 if box[8] else 30
    (count,) = struct.unpack_from(">H", box, at)
    entries = [struct.unpack_from(">III", box, at + 2 + 12 * number) for number in range(count)]
    return start, timescale, [(size & 0x7FFFFFFF, duration) for size, duration, _ in entries]
