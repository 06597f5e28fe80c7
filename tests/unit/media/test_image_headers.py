"""Headers of images: kind, size, orientation, and refusals before anything is decoded (B38)."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from media.image_headers import ImageKind, read_header
from media.image_variants import SIDES, ImageLimits, sizes
from tables.errors import CorruptedFile, FileTooLarge, InvalidFormat

PICTURE = Image.new("RGB", (40, 30), (200, 60, 20))
FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "AVIF": "avif"}


def saved(picture=PICTURE, form="JPEG", **options):
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


SAMPLES = {form: saved(form=form) for form in FORMATS}


def exif(orientation):
    said = Image.Exif()
    said[0x0112] = orientation
    said.get_ifd(0x8825)[2] = (48.0, 51.0, 29.0)  # GPS latitude
    return said


def png(width, height, *chunks):
    """Return a PNG whose header says a size, and further chunks."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), *chunks, (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("form", FORMATS)
def test_kind_and_size_come_from_the_bytes_when_the_name_says_nothing(form):
    header = read_header(SAMPLES[form])
    assert (header.kind, header.width, header.height) == (ImageKind(FORMATS[form]), 40, 30)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_when_a_picture_is_turned(form, orientation):
    header = read_header(saved(form=form, exif=exif(orientation)))
    assert header.orientation == orientation
    assert header.upright == ((30, 40) if orientation >= 5 else (40, 30))


@pytest.mark.parametrize("form", FORMATS)
def test_cut_file_is_refused_wherever_it_ends(form):
    whole = SAMPLES[form]
    last = {"GIF": 1, "AVIF": len(whole) // 2}.get(form, 0)  # of a GIF the trailer; of AVIF what libav reads
    for end in range(0, len(whole) - last, 7):
        with pytest.raises((CorruptedFile, InvalidFormat)):
            read_header(whole[:end])


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"GIF8Xa" + bytes(40),
        b"BM" + bytes(60),
        b"\x00\x00\x00\x18ftypisom" + bytes(40),
        b"#!/bin/sh\n",
    ],
)
def test_other_files_are_refused_with_the_kinds_that_are_taken(data):
    with pytest.raises(InvalidFormat) as refused:
        read_header(data)
    assert refused.value.details["supported"] == list(ImageKind)


def test_gif_that_is_a_script_too_is_refused():
    """A polyglot: the size it says is made of the script's first letters, and there is no picture."""
    with pytest.raises(CorruptedFile):
        read_header(b"GIF89a/*" + b"x" * 60 + b"*/=1;alert(1)")


def test_bomb_is_refused_by_its_header():
    limits = ImageLimits()
    for width, height in ((65_000, 65_000), (16_385, 1), (8_001, 8_000)):
        with pytest.raises(InvalidFormat) as refused:
            limits.check(read_header(png(width, height)))
        assert refused.value.details["width"] == width
    limits.check(read_header(png(8_000, 8_000)))
    with pytest.raises(FileTooLarge):
        limits.check_size(limits.max_bytes + 1)


def test_profile_that_unpacks_to_more_than_allowed_is_cut():
    packed = zlib.compress(bytes(8 * 1024 * 1024), 9)
    header = read_header(png(4, 4, (b"iCCP", b"x\x00\x00" + packed)))
    assert len(header.profile) == 4 * 1024 * 1024


def test_what_is_decoded_has_no_metadata():
    """GPS and comments are gone before libav sees anything."""
    for form in ("JPEG", "PNG"):
        whole = saved(form=form, exif=exif(6), comment=b"where I live")
        assert b"Exif" not in read_header(whole).picture
        assert b"where I live" not in read_header(whole).picture


def test_first_frame_is_taken_when_a_picture_moves():
    other = Image.new("RGB", (40, 30), (0, 0, 255))
    for form in ("WEBP", "GIF"):
        whole = saved(form=form, save_all=True, append_images=[other], duration=100)
        still = Image.open(io.BytesIO(read_header(whole).picture))
        assert getattr(still, "n_frames", 1) == 1
        red, _, blue = still.convert("RGB").getpixel((5, 5))
        assert red > 150 > blue


@given(st.sampled_from(list(SAMPLES)), st.data())
def test_changed_bytes_are_read_or_refused(form, data):
    """Whatever a header is made of, the answer is a header or a refusal with a code."""
    changed = bytearray(SAMPLES[form])
    for _ in range(data.draw(st.integers(1, 8))):
        changed[data.draw(st.integers(0, min(len(changed), 600) - 1))] = data.draw(st.integers(0, 255))
    try:
        width = read_header(bytes(changed)).width
    except (CorruptedFile, InvalidFormat):
        width = 1
    assert width > 0


@given(st.integers(1, 16_384), st.integers(1, 16_384))
def test_sizes_keep_the_shape_and_enlarge_nothing(width, height):
    for name, (w, h) in sizes(width, height).items():
        assert max(w, h) == min(SIDES[name], max(width, height))
        assert min(w, h) >= 1
        assert abs(w * height - h * width) <= max(width, height) / 2 + max(width, height) * (min(w, h) == 1)
