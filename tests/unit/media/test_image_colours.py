"""Colours and placeholders of images, against the programs that define them (B38)."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from media.workers.icc import to_srgb
from media.workers.placeholder import blurhash, dominant

ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))


def fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def profile(primaries, curve):
    """Return a matrix profile of primaries in D50 and one curve (ICC.1:2022 section 8.3)."""
    tags = [(b"desc", b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(79))]
    tags += [(b"wtpt", b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)), (b"cprt", b"text\0\0\0\0x\0")]
    for letter, primary in zip(b"rgb", primaries, strict=True):
        tags += [
            (bytes([letter]) + b"XYZ", b"XYZ \0\0\0\0" + fixed(*primary)),
            (bytes([letter]) + b"TRC", curve),
        ]
    table, data, at = b"", b"", 132 + 12 * len(tags)
    for name, body in tags:
        table += name + struct.pack(">II", at + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    body = struct.pack(">I", len(tags)) + table + data
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    return (head + bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)).ljust(128, b"\0") + body


GAMMA = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.19921875 * 256)) + b"\0\0"
PARAMETRIC = b"para\0\0\0\0\0\x03\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
SAMPLED = (
    b"curv\0\0\0\0"
    + struct.pack(">I", 256)
    + (np.rint((np.arange(256) / 255) ** 1.8 * 65535).astype(">u2").tobytes())
)


@pytest.mark.parametrize("primaries", [ADOBE, P3])
@pytest.mark.parametrize("curve", [GAMMA, PARAMETRIC, SAMPLED])
def test_colours_equal_littlecms_when_a_profile_is_a_matrix(primaries, curve):
    made = profile(primaries, curve)
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    reference = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        ImageCms.ImageCmsProfile(io.BytesIO(made)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    assert np.abs(to_srgb(pixels, made).astype(int) - np.asarray(reference)).max() <= 2
    assert np.abs(pixels.astype(int) - np.asarray(reference)).max() > 20  # it does make a difference


def test_pixels_stay_when_the_profile_is_srgb_or_damaged():
    pixels = np.random.default_rng(2).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    whole = profile(ADOBE, GAMMA)
    endless = profile(ADOBE, b"para\0\0\0\0\0\x00\0\0" + fixed(-3.0))
    for given in (b"", own, whole[:200], bytes(4096), b"x" * 300, endless):
        assert to_srgb(pixels, given) is pixels


def test_blurhash_equals_the_reference():
    """Texts made by the ``blurhash`` package 1.1.5 with 4 x 3 components."""
    y, x = np.mgrid[0:48, 0:64]
    slope = np.stack([x * 4, y * 5, 255 - x * 4], -1).astype(np.uint8)
    assert blurhash(slope) == "L,HLGH2gw%SjmHa#juf8gJfjfQfj"
    assert blurhash(np.full((4, 4, 3), 100, np.uint8)) == "LABg3u~qfQ~q~qxufQxufQfQfQfQ"


def test_dominant_colour_is_that_of_most_pixels():
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:7] = (200, 30, 40)
    assert dominant(pixels) == "#c81e28"
