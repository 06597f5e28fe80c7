"""Where the pictures of a HEIF file are: AVIF and HEIC (ISO 23008-12, ISO 14496-12 section 8.11). Pure.

A file holds items: the primary one is a coded picture, or a grid of tiles that are; others are its alpha
plane, or thumbnails. libav gives each coded item a stream of the item's number, and knows nothing of grids
in the interface that is used here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_TILES: Final = 1024
MAX_BOXES: Final = 20_000
_CODED: Final = (b"av01", b"hvc1")
_TURNED: Final = {0: 1, 1: 8, 2: 3, 3: 6}
"""EXIF's orientation of ``irot``, which counts quarters against the clock."""
_MIRRORED: Final = ({1: 4, 8: 5, 3: 2, 6: 7}, {1: 2, 8: 7, 3: 4, 6: 5})
"""The same, mirrored afterwards: top with bottom, or left with right (``imir``)."""


@dataclass(frozen=True, slots=True)
class Items:
    """The primary picture.

    Attributes:
        codec: ``av01`` or ``hvc1``.
        size: width and height as stored.
        tiles: numbers of the coded items, row by row; one unless the picture is a grid.
        alpha: number of the item with its alpha plane, None for none.
        orientation: as in EXIF.
        profile: the ICC profile, empty for none.
    """

    codec: bytes
    size: tuple[int, int]
    tiles: tuple[int, ...]
    alpha: int | None = None
    orientation: int = 1
    profile: bytes = b""


def read(data: bytes) -> Items | None:
    """Read the item table of a file; None when it is none, or its primary picture is of another codec.

    Raises:
        ValueError, IndexError, struct.error: it is damaged.
    """
    top = {kind: body for kind, body in _boxes(data) if kind in (b"meta", b"ftyp")}
    if b"meta" not in top:
        return None
    meta = dict(_boxes(top[b"meta"][4:]))
    if not {b"pitm", b"iinf", b"iprp"} <= meta.keys():
        return None
    primary = _number(meta[b"pitm"], 4, wide=meta[b"pitm"][0] > 0)
    kinds = dict(_items(meta[b"iinf"]))
    references = list(_references(meta.get(b"iref", b"")))
    tiles: tuple[int, ...] = (primary,)
    if kinds.get(primary) == b"grid":
        tiles = next((to for kind, item, to in references if kind == b"dimg" and item == primary), ())
    codec = kinds.get(tiles[0], b"") if 0 < len(tiles) <= MAX_TILES else b""
    if codec not in _CODED:
        return None
    planes = (item for kind, item, to in references if kind == b"auxl" and primary in to)
    alpha = next(planes, None) if len(tiles) == 1 else None
    return _described(codec, tiles, alpha, _properties(meta[b"iprp"], primary))


def _described(
    codec: bytes, tiles: tuple[int, ...], alpha: int | None, properties: list[tuple[bytes, bytes]]
) -> Items:
    size, turned, mirrored, profile = (0, 0), 0, None, b""
    for kind, body in properties:
        if kind == b"ispe":
            size = struct.unpack_from(">II", body, 4)
        elif kind == b"irot":
            turned = body[0] & 3
        elif kind == b"imir":
            mirrored = body[0] & 1
        elif kind == b"colr" and body[:4] in (b"prof", b"rICC"):
            profile = bytes(body[4:])
    orientation = _TURNED[turned]
    if mirrored is not None:
        orientation = _MIRRORED[mirrored][orientation]
    return Items(codec, size, tiles, alpha, orientation, profile)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and body of the boxes that follow each other."""
    at = 0
    for _ in range(MAX_BOXES):
        if at >= len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, at + 8), 16
        end = at + length if length else len(data)
        if (length and length < head) or end > len(data):
            raise ValueError("a box that breaks off")
        yield kind, data[at + head : end]
        at = end
    raise ValueError("too many boxes")


def _number(data: bytes, at: int, *, wide: bool) -> int:
    return int(struct.unpack_from(">I" if wide else ">H", data, at)[0])


def _items(iinf: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and type of the items (section 8.11.6): entries before version 2 have none."""
    for kind, body in _boxes(iinf[6 if iinf[0] == 0 else 8 :]):
        if kind == b"infe" and body[0] >= 2:
            wide = body[0] > 2
            yield _number(body, 4, wide=wide), body[10 if wide else 8 :][:4]


def _references(iref: bytes) -> Iterator[tuple[bytes, int, tuple[int, ...]]]:
    """Yield kind, source and targets of the references between items (section 8.11.12)."""
    wide = bool(iref) and iref[0] > 0
    step = 4 if wide else 2
    for kind, body in _boxes(iref[4:]):
        (count,) = struct.unpack_from(">H", body, step)
        targets = (_number(body, 2 + step * (number + 1), wide=wide) for number in range(count))
        yield kind, _number(body, 0, wide=wide), tuple(targets)


def _properties(iprp: bytes, wanted: int) -> list[tuple[bytes, bytes]]:
    """Return the properties of an item in their order (ISO 23008-12 section 9.3)."""
    found = list(_boxes(iprp))
    known = list(_boxes(next((body for kind, body in found if kind == b"ipco"), b"")))
    for ipma in (body for kind, body in found if kind == b"ipma"):
        wide, long = ipma[0] > 0, bool(ipma[3] & 1)
        at = 8
        for _ in range(_number(ipma, 4, wide=True)):
            item = _number(ipma, at, wide=wide)
            at += 4 if wide else 2
            count, at = ipma[at], at + 1
            step = 2 if long else 1
            places = [_number(ipma, at + 2 * n, wide=False) & 0x7FFF if long else ipma[at + n] & 0x7F
                      for n in range(count)]  # fmt: skip
            at += count * step
            if item == wanted:
                return [known[place - 1] for place in places if 0 < place <= len(known)]
    return []
