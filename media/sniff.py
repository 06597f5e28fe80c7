"""The container of a file, from its first bytes and never from its name (A3).

libav reads MP4, MOV and 3GP with one demuxer and WebM and Matroska with another, and it opens pictures
named ``.mp4`` happily; so the answer comes from magic bytes: the ftyp brand (ISO 14496-12 section 4.3),
the EBML DocType (RFC 8794), the RIFF form, the ASF header GUID.
"""

from enum import StrEnum
from pathlib import Path

HEAD_BYTES = 4096
"""Enough for every signature below; an EBML header is well under 100 bytes."""


class Container(StrEnum):
    """What a file is. The first six are on some policy's list, the others are recognised to say so."""

    MP4 = "mp4"
    WEBM = "webm"
    MOV = "mov"
    THREE_GP = "3gp"
    AVI = "avi"
    WMV = "wmv"
    MATROSKA = "matroska"
    MPEG = "mpeg"
    MPEG_TS = "mpegts"
    FLV = "flv"
    OGG = "ogg"
    AUDIO = "audio"
    IMAGE = "image"
    ARCHIVE = "archive"
    TEXT = "text"
    EMPTY = "empty"
    UNKNOWN = "unknown"


DEMUXER = {
    Container.MP4: "mp4",
    Container.MOV: "mov",
    Container.THREE_GP: "3gp",
    Container.WEBM: "webm",
    Container.AVI: "avi",
    Container.WMV: "asf",
}
"""The libav input format to force: a forced one cannot be talked into reading a playlist or a picture."""

MIME = {
    Container.MP4: "video/mp4",
    Container.MOV: "video/quicktime",
    Container.THREE_GP: "video/3gpp",
    Container.WEBM: "video/webm",
    Container.AVI: "video/x-msvideo",
    Container.WMV: "video/x-ms-wmv",
}

EXTENSIONS = {
    Container.MP4: "mp4",
    Container.MOV: "mov",
    Container.THREE_GP: "3gp",
    Container.WEBM: "webm",
    Container.AVI: "avi",
    Container.WMV: "wmv",
}

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_EBML = b"\x1a\x45\xdf\xa3"
_OLD_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
_IMAGE_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")
_OTHER_MAGIC = (
    (b"\xff\xd8\xff", Container.IMAGE),
    (b"\x89PNG\r\n\x1a\n", Container.IMAGE),
    (b"GIF8", Container.IMAGE),
    (b"BM", Container.IMAGE),
    (b"II*\x00", Container.IMAGE),
    (b"MM\x00*", Container.IMAGE),
    (b"FLV\x01", Container.FLV),
    (b"OggS", Container.OGG),
    (b"ID3", Container.AUDIO),
    (b"fLaC", Container.AUDIO),
    (b"\x00\x00\x01\xba", Container.MPEG),
    (b"\x00\x00\x01\xb3", Container.MPEG),
    (b"PK\x03\x04", Container.ARCHIVE),
    (b"\x1f\x8b", Container.ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", Container.ARCHIVE),
    (b"Rar!", Container.ARCHIVE),
    (b"%PDF", Container.ARCHIVE),
    (b"\x7fELF", Container.ARCHIVE),
    (b"MZ", Container.ARCHIVE),
)


def sniff(head: bytes) -> Container:
    """Return the container that the first bytes of a file announce.

    >>> sniff(bytes.fromhex("00000018") + b"ftypqt  ")
    <Container.MOV: 'mov'>
    >>> sniff(b"<!doctype html>")
    <Container.TEXT: 'text'>
    """
    if not head:
        return Container.EMPTY
    if head[4:8] == b"ftyp":
        return _by_brand(head[8:12])
    if head[4:8] in _OLD_QUICKTIME_ATOMS:
        return Container.MOV
    if head.startswith(_EBML):
        return _by_doctype(head)
    if head.startswith(b"RIFF"):
        return {b"AVI ": Container.AVI, b"WEBP": Container.IMAGE}.get(head[8:12], Container.AUDIO)
    if head.startswith(_ASF_HEADER):
        return Container.WMV
    for magic, container in _OTHER_MAGIC:
        if head.startswith(magic):
            return container
    if head[0] == 0x47 and head[188:189] == b"\x47":
        return Container.MPEG_TS
    return Container.TEXT if _is_text(head) else Container.UNKNOWN


def sniff_file(path: Path) -> Container:
    """Read the head of a file and name its container; blocks, for children and threads."""
    with path.open("rb") as file:
        return sniff(file.read(HEAD_BYTES))


def _by_brand(brand: bytes) -> Container:
    """Map the major brand; an unknown one is MP4, as every ISO base media reader treats it."""
    if brand == b"qt  ":
        return Container.MOV
    if brand.startswith((b"3gp", b"3g2")):
        return Container.THREE_GP
    if brand in _AUDIO_BRANDS:
        return Container.AUDIO
    if brand in _IMAGE_BRANDS:
        return Container.IMAGE
    return Container.MP4


def _by_doctype(head: bytes) -> Container:
    """Read DocType (element 0x4282, RFC 8794 section 11.2.7): its size is one byte in practice."""
    at = head.find(b"\x42\x82", 0, 128)
    if at < 0 or at + 3 > len(head):
        return Container.MATROSKA
    size = head[at + 2] & 0x7F
    doctype = head[at + 3 : at + 3 + size].rstrip(b"\x00")
    return Container.WEBM if doctype == b"webm" else Container.MATROSKA


def _is_text(head: bytes) -> bool:
    """Say whether the bytes read as text: markup, playlists and scripts, not damaged media."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return True
    printable = sum(byte in b"\t\n\r\f\x1b" or byte >= 0x20 for byte in head)
    return b"\x00" not in head and printable == len(head) and _decodes(head)


def _decodes(head: bytes) -> bool:
    """Say whether the bytes are UTF-8, allowing a character that the cut went through."""
    for cut in range(4):
        try:
            head[: len(head) - cut].decode()
        except UnicodeDecodeError:
            continue
        return True
    return False
