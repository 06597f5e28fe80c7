"""What an image file says of itself, before anything decodes it (B38). Pure.

Magic bytes decide the kind, and headers are walked to the end of the picture: a size that lies outside the
limits, a file that breaks off and a picture that is none are refused here, in microseconds. Read are JPEG
(ITU-T T.81 annex B), PNG (W3C, third edition), GIF89a, WebP (RFC 9649), and HEIF (``media.heif``).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from media import heif
from tables.errors import CorruptedFile, InvalidFormat

MAX_CHUNKS: Final = 100_000
MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_EXIF: Final = b"Exif\x00\x00"
_ICC: Final = b"ICC_PROFILE\x00"
_NO_SIZE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers that stand alone: TEM, RST0 to RST7, SOI."""
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN: Final = 0xDA
_BESIDE: Final = frozenset({0xFE, *range(0xE0, 0xF0)}) - {0xEE}
"""Comments and APP0 to APP15, without Adobe's, which says what the components are."""
_PNG_PICTURE: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


class ImageKind(StrEnum):
    """What an image file is; the value is the ending of its key."""

    JPEG = "jpg"
    PNG = "png"
    WEBP = "webp"
    GIF = "gif"
    AVIF = "avif"
    HEIC = "heic"


MIME: Final = {
    ImageKind.JPEG: "image/jpeg",
    ImageKind.PNG: "image/png",
    ImageKind.WEBP: "image/webp",
    ImageKind.GIF: "image/gif",
    ImageKind.AVIF: "image/avif",
    ImageKind.HEIC: "image/heic",
}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a header says.

    Attributes:
        kind: of the file.
        width: in pixels, as stored.
        height: as stored.
        orientation: 1 to 8 as in EXIF: how the stored picture is to be turned.
        profile: the ICC profile, empty for none.
        picture: the file to decode: without what stands beside the picture, and of a WebP that moves the
            first frame, which is all that libav reads.
        items: where the pictures of a HEIF file are.
    """

    kind: ImageKind
    width: int
    height: int
    orientation: int = 1
    profile: bytes = b""
    picture: bytes = field(default=b"", repr=False)
    items: heif.Items | None = None

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as shown.

        >>> ImageHeader(ImageKind.JPEG, 4032, 3024, orientation=6).upright
        (3024, 4032)
        """
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_header(data: bytes) -> ImageHeader:
    """Read the header of a whole image file.

    Raises:
        InvalidFormat: INVALID_FORMAT: not an image of a kind that is read.
        CorruptedFile: CORRUPTED_FILE: empty, cut off, or a header that makes no sense.
    """
    if not data:
        raise CorruptedFile("The file is empty.")
    try:
        header = _read(data)
    except (struct.error, IndexError, ValueError, zlib.error) as error:
        raise CorruptedFile("The image is damaged, or not all of it is there.") from error
    if header.width <= 0 or header.height <= 0:
        raise CorruptedFile("The image has no size.")
    return header


def _read(data: bytes) -> ImageHeader:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(_PNG):
        return _png(data)
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return _gif(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[4:8] == b"ftyp":
        return _heif(data)
    raise InvalidFormat("This is not an image of a supported kind.", details={"supported": list(ImageKind)})


def _jpeg(data: bytes) -> ImageHeader:
    at, size, orientation = 2, (0, 0), 1
    profile: dict[int, bytes] = {}
    kept = [data[:2]]
    while (marker := data[at + 1]) != _SCAN:
        if data[at] != 0xFF:
            raise ValueError("no marker")
        if marker == 0xFF or marker in _NO_SIZE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise ValueError("a segment that breaks off")
        if marker in _FRAMES:
            size = struct.unpack(">HH", body[1:5])
        elif marker == 0xE1 and body.startswith(_EXIF):
            orientation = exif_orientation(body[len(_EXIF) :])
        elif marker == 0xE2 and body.startswith(_ICC):
            profile[body[12]] = body[14:]  # a profile over 64 kB is cut into numbered segments
        if marker not in _BESIDE:
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    # Inside a scan FF is never followed by D9: the first pair is the end, the rest is no picture.
    if data.find(b"\xff\xd9", at) < 0:
        raise ValueError("no end of image")
    kept.append(data[at:])
    whole = b"".join(profile[number] for number in sorted(profile))
    return ImageHeader(ImageKind.JPEG, size[1], size[0], orientation, whole, b"".join(kept))


def _png(data: bytes) -> ImageHeader:
    size, orientation, profile = (0, 0), 1, b""
    kept = [_PNG]
    for kind, body, chunk in _chunks(data, 8, ">I4s", check=4):
        if kind in _PNG_PICTURE:
            kept.append(chunk)
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        elif kind == b"eXIf":
            orientation = exif_orientation(body)
        elif kind == b"iCCP":
            packed = body.partition(b"\x00")[2]
            profile = zlib.decompressobj().decompress(packed[1:], MAX_PROFILE_BYTES)
        elif kind == b"IEND":
            return ImageHeader(ImageKind.PNG, *size, orientation, profile, b"".join(kept))
    raise ValueError("no end of image")


def _gif(data: bytes) -> ImageHeader:
    """Walk to the end of the first frame (GIF89a, sections 17 to 26)."""
    size = struct.unpack_from("<HH", data, 6)
    at = 13 + _palette(data[10])
    while (block := data[at]) == 0x21:
        at = _sub_blocks(data, at + 2)
    if block != 0x2C:
        raise ValueError("no picture")
    end = _sub_blocks(data, at + 11 + _palette(data[at + 9]))
    return ImageHeader(ImageKind.GIF, size[0], size[1], picture=data[:end] + b"\x3b")


def _palette(flags: int) -> int:
    """Return the bytes of the colour table that flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _sub_blocks(data: bytes, at: int) -> int:
    """Return where a series of blocks with their length before them ends."""
    while length := data[at]:
        at += length + 1
    return at + 1


def _webp(data: bytes) -> ImageHeader:
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise ValueError("the file breaks off")
    size, orientation, profile = (0, 0), 1, b""
    picture = data[: length + 8]
    moves = False
    for kind, body, _ in _chunks(picture, 12, "<4sI", check=0):
        if kind == b"VP8X":
            size = _u24(body, 4) + 1, _u24(body, 7) + 1
        elif kind in (b"VP8 ", b"VP8L") and size == (0, 0):
            size = _webp_size(kind, body)
        elif kind == b"ANMF" and not moves:
            size, moves = (_u24(body, 6) + 1, _u24(body, 9) + 1), True
            picture = _still(body, *size)
        elif kind == b"EXIF":
            orientation = exif_orientation(body.removeprefix(_EXIF))
        elif kind == b"ICCP":
            profile = bytes(body)
    return ImageHeader(ImageKind.WEBP, *size, orientation, profile, picture)


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Read the frame header: VP8 (RFC 6386 section 9.1) or VP8L (RFC 9649 section 3.4)."""
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    (bits,) = struct.unpack_from("<I", body, 1)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _still(frame: bytes, width: int, height: int) -> bytes:
    """Return a WebP file of one frame of an animation (RFC 9649 section 2.7.1.1)."""
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    has_alpha = frame[16:20] == b"ALPH"
    head = b"VP8X" + struct.pack("<IB3x", 10, 0x10) + canvas if has_alpha else b""
    body = b"WEBP" + head + frame[16:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _heif(data: bytes) -> ImageHeader:
    items = heif.read(data)
    if items is None:
        raise InvalidFormat(
            "This is not an image of a supported kind.", details={"supported": list(ImageKind)}
        )
    kind = ImageKind.AVIF if items.codec == b"av01" else ImageKind.HEIC
    return ImageHeader(kind, *items.size, items.orientation, items.profile, items=items)


def _chunks(data: bytes, at: int, head: str, *, check: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield type, body and whole of the chunks of a RIFF or PNG file; ``head`` is of length and type."""
    for _ in range(MAX_CHUNKS):
        if at == len(data):
            return
        first, second = struct.unpack_from(head, data, at)
        kind, length = (first, second) if isinstance(first, bytes) else (second, first)
        end = at + 8 + length + check
        if end > len(data):
            raise ValueError("a chunk that breaks off")
        yield kind, data[at + 8 : end - check], data[at:end]
        # RFC 9649 section 2.3: RIFF chunks start at even places; PNG's are followed by a checksum.
        at = end if check else min(end + length % 2, len(data))
    raise ValueError("too many chunks")


def exif_orientation(tiff: bytes) -> int:
    """Return the orientation of EXIF data, 1 when it says none that makes sense (EXIF 3.0, 4.6.5).

    >>> exif_orientation(bytes.fromhex("49492a0008000000010012010300010000000600000000000000"))
    6
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]))
    try:
        if order is None:
            return 1
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for number in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * number)
            if tag == 0x0112:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # a picture is not refused for what stands beside it
    return 1


def _u24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")
