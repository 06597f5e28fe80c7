"""HEIF grids, as phones store photos: tiles side by side, turned by a property (B38; ISO 23008-12)."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media.image_variants import ImageLimits
from media.workers.images import render
from media.workers.protocol import Refused

SIDE = 64


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, version: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24), *parts)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield kind, body and whole of boxes that follow each other."""
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + length], data[at : at + length]
        at += length


def coded(tile: Image.Image) -> tuple[bytes, list[bytes]]:
    """Return the AV1 bytes of a tile, and what describes them: its size, configuration, colours."""
    out = io.BytesIO()
    tile.save(out, "AVIF", quality=95)
    top = {kind: body for kind, body, _ in boxes(out.getvalue())}
    meta = {kind: body for kind, body, _ in boxes(top[b"meta"][4:])}
    known = {kind: body for kind, body, _ in boxes(meta[b"iprp"])}
    return top[b"mdat"], [w for kind, _, w in boxes(known[b"ipco"]) if kind in (b"ispe", b"av1C", b"colr")]


def grid(picture: Image.Image, turned: int) -> bytes:
    """Return a picture as an AVIF of tiles; ``turned`` counts quarters against the clock."""
    columns, rows = -(-picture.width // SIDE), -(-picture.height // SIDE)
    places = [(x * SIDE, y * SIDE) for y in range(rows) for x in range(columns)]
    tiles = [coded(picture.crop((x, y, x + SIDE, y + SIDE))) for x, y in places]
    ids = range(2, len(tiles) + 2)
    size = full(b"ispe", 0, struct.pack(">II", *picture.size))
    shared = tiles[0][1]
    about = bytes([len(shared), *(number | 0x80 for number in range(1, len(shared) + 1))])
    whole = bytes([2, len(shared) + 1, len(shared) + 2])
    items = b"".join(struct.pack(">H", number) + about for number in ids)
    ipma = full(b"ipma", 0, struct.pack(">I", len(tiles) + 1), struct.pack(">H", 1), whole, items)
    kinds = [(1, b"grid"), *((number, b"av01") for number in ids)]
    entries = [full(b"infe", 2, struct.pack(">HH4s", number, 0, kind), b"\0") for number, kind in kinds]
    iref = full(b"iref", 0, box(b"dimg", struct.pack(f">HH{len(tiles)}H", 1, len(tiles), *ids)))
    ftyp = box(b"ftyp", b"avif", bytes(4), b"mif1avif")

    def meta(at: int) -> bytes:
        places = struct.pack(">HHHHII", 1, 1, 0, 1, 0, 8)
        for number, (data, _) in zip(ids, tiles, strict=True):
            places += struct.pack(">HHHHII", number, 0, 0, 1, at, len(data))
            at += len(data)
        return full(
            b"meta",
            0,
            full(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full(b"pitm", 0, struct.pack(">H", 1)),
            full(b"iloc", 1, struct.pack(">BBH", 0x44, 0, len(tiles) + 1), places),
            full(b"iinf", 0, struct.pack(">H", len(entries)), *entries),
            box(b"iprp", box(b"ipco", *shared, size, box(b"irot", bytes([turned]))), ipma),
            iref,
            box(b"idat", struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *picture.size)),
        )

    return ftyp + meta(len(ftyp) + len(meta(0)) + 8) + box(b"mdat", *(data for data, _ in tiles))


@pytest.fixture
def slope() -> Image.Image:
    y, x = np.mgrid[0:150, 0:200]
    return Image.fromarray(np.stack([x, y, (x + y) // 2], -1).astype(np.uint8))


def made(data: bytes, folder: Path) -> Image.Image:
    (folder / "upload").write_bytes(data)
    render(folder / "upload", folder, ImageLimits())
    return Image.open(io.BytesIO((folder / "original.jpg").read_bytes()))


@pytest.mark.parametrize("turned", range(4))
def test_tiles_become_one_upright_picture(slope: Image.Image, tmp_path: Path, turned: int) -> None:
    expected = np.rot90(np.asarray(slope, int), turned)
    shown = made(grid(slope, turned), tmp_path)
    assert shown.size == expected.shape[1::-1]
    assert np.abs(np.asarray(shown, int) - expected).mean() < 3


def test_grid_is_refused_when_a_tile_is_missing_or_it_says_more_than_it_has(
    slope: Image.Image, tmp_path: Path
) -> None:
    whole = grid(slope, 0)
    names = whole.index(b"dimg")
    lost = bytearray(whole)
    lost[names + 8 : names + 10] = struct.pack(">H", 99)
    larger = whole.replace(struct.pack(">II", *slope.size), struct.pack(">II", 2000, 150))
    for broken in (bytes(lost), larger):
        with pytest.raises(Refused) as refused:
            made(broken, tmp_path)
        assert refused.value.code in {"CORRUPTED_FILE", "INVALID_FORMAT"}
