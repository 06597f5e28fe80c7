"""Images to variants: upright, exact, in sRGB, transparent where they were, nothing else (B38, H15)."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from media.image_variants import SIDES, ImageLimits, sizes
from media.images import ImageMaker, Rendered
from media.limits import IMAGE_CHILD
from media.pipeline import MediaError
from media.stores import FileStore
from media.workers.images import render
from media.workers.protocol import Refused

SECRET = "Rue de Rivoli 1"
FORMATS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF"}


def quarters(width: int = 160, height: int = 90) -> Image.Image:
    """Return a picture whose four quarters have colours of their own: no turn of it looks like another."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (220, 30, 30)
    pixels[: height // 2, width // 2 :] = (30, 200, 30)
    pixels[height // 2 :, : width // 2] = (30, 30, 220)
    pixels[height // 2 :, width // 2 :] = (230, 220, 40)
    return Image.fromarray(pixels)


def exif(orientation: int) -> Image.Exif:
    said = Image.Exif()
    said[0x0112], said[0x010E] = orientation, SECRET
    said.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 20.0, 19.0)})
    return said


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Return a function that renders a file in this process; it returns the result and opens variants."""

    def run(data: bytes, limits: ImageLimits | None = None) -> tuple[dict[str, Any], Any]:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        (tmp_path / "upload").write_bytes(data)
        found = render(tmp_path / "upload", out, limits or ImageLimits())
        return found, lambda name: Image.open(io.BytesIO((out / name).read_bytes()))

    return run


def saved(picture: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    """Return the mean difference of two pictures of the same size, of 255."""
    assert one.size == other.size
    return float(np.abs(np.asarray(one.convert("RGB"), int) - np.asarray(other.convert("RGB"), int)).mean())


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_variant_is_upright_when_exif_turns_the_picture(
    made: Any, ending: str, orientation: int
) -> None:
    whole = saved(quarters(), FORMATS[ending], exif=exif(orientation), quality=95)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(whole)))
    found, opened = made(whole)
    assert (found["width"], found["height"]) == expected.size
    for about in found["variants"]:
        assert difference(opened(about["file"]), expected) < 4


def test_sizes_are_exact_and_nothing_is_enlarged(made: Any) -> None:
    for width, height in ((2500, 1667), (1000, 333), (17, 5), (1, 400)):
        found, opened = made(saved(quarters(width, height), "PNG"))
        assert [about["variant"] for about in found["variants"]] == [n for n in SIDES for _ in range(2)]
        for about in found["variants"]:
            picture = opened(about["file"])
            assert picture.size == (about["width"], about["height"]) == sizes(width, height)[about["variant"]]
            assert f"image/{picture.format.lower()}" == about["mime"]
            assert max(picture.size) <= max(width, height)


def test_nothing_that_the_upload_said_is_in_a_variant(made: Any, tmp_path: Path) -> None:
    """GPS, descriptions, comments, thumbnails in EXIF, and what was hung on behind."""
    for form in ("JPEG", "PNG", "WEBP"):
        options = {"comment": SECRET} if form == "JPEG" else {}
        whole = saved(quarters(), form, exif=exif(6), **options) + b"<script>" + SECRET.encode()
        assert SECRET.encode() in whole
        found, opened = made(whole)
        for about in found["variants"]:
            data = (tmp_path / "out" / about["file"]).read_bytes()
            assert SECRET.encode() not in data
            assert b"<script>" not in data
            assert not opened(about["file"]).getexif()
            assert b"Exif" not in data
            assert b"Lavc" not in data
            assert not {"comment", "exif", "icc_profile", "xmp"} & opened(about["file"]).info.keys()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF", "GIF"])
def test_transparent_parts_stay_in_webp_and_are_white_in_jpeg(made: Any, form: str) -> None:
    """The transparent half has a colour of its own, which may show nowhere, also not along the edge."""
    picture = quarters(400, 300).convert("RGBA")
    pixels = np.array(picture)
    pixels[:, :200] = (255, 0, 255, 0)
    found, opened = made(saved(Image.fromarray(pixels), form))
    small = np.asarray(opened("small.webp").convert("RGBA"), int)
    assert small.shape == (240, 320, 4)
    assert small[:, :155, 3].max() <= 3
    assert small[:, 165:, 3].min() >= 252
    flat = np.asarray(opened("small.jpg"), int)
    assert flat[:, :155].min() >= 245
    magenta = np.minimum(flat[..., 0], flat[..., 2]) - flat[..., 1]
    assert magenta[:, 150:170].max() < 60
    assert found["colour"] != "#ff00ff"


@pytest.mark.parametrize("form", ["PNG", "WEBP", "AVIF"])
def test_half_transparent_colours_stay_in_webp_and_are_pale_in_jpeg(made: Any, form: str) -> None:
    """Also where the upload is made small before anything else."""
    pixels = np.empty((200, 2600, 4), np.uint8)
    pixels[:] = (220, 30, 30, 128)
    pixels[:, :1301] = (0, 255, 255, 0)
    _, opened = made(saved(Image.fromarray(pixels), form, quality=95))
    seen = np.asarray(opened("original.webp").convert("RGBA"), int)[100, 1500]
    assert np.abs(seen - (220, 30, 30, 128)).max() < 8
    flat = np.asarray(opened("original.jpg"), int)[100]
    assert np.abs(flat[1500] - (237, 142, 142)).max() < 8


def test_colours_are_srgb_when_the_upload_has_a_profile(made: Any) -> None:
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # sRGB with red and blue changed places: what is decoded by it looks the other way round.
    at = {name: lab.index(name, 128) for name in (b"rXYZ", b"bXYZ")}
    turned = bytearray(lab)
    turned[at[b"rXYZ"] : at[b"rXYZ"] + 4], turned[at[b"bXYZ"] : at[b"bXYZ"] + 4] = b"bXYZ", b"rXYZ"
    for form in ("JPEG", "PNG", "WEBP"):
        _, opened = made(saved(quarters(), form, icc_profile=bytes(turned)))
        red, _, blue = opened("original.jpg").convert("RGB").getpixel((20, 20))
        assert blue > 150 > red


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "I;16", "CMYK"])
def test_picture_looks_the_same_when_its_pixels_are_of_another_form(made: Any, mode: str) -> None:
    source = quarters()
    if mode == "P":
        source = source.quantize(16, dither=Image.Dither.NONE)
        expected = source.convert("RGB")
    elif mode == "I;16":
        source = Image.fromarray(np.asarray(source.convert("L"), np.uint16) * 257)
        expected = quarters().convert("L")
    else:
        source = source.convert(mode)
        expected = source.convert("RGB")
    _, opened = made(saved(source, "JPEG" if mode == "CMYK" else "PNG", quality=95))
    assert difference(opened("original.jpg"), expected) < 4


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_first_frame_is_shown_when_a_picture_moves(made: Any, form: str) -> None:
    frames = [quarters(), quarters().rotate(180)]
    whole = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=80)
    found, opened = made(whole)
    assert (found["width"], found["height"]) == (160, 90)
    assert difference(opened("original.jpg"), frames[0]) < 4


def test_photograph_keeps_its_details(made: Any, shared_dir: Path) -> None:
    """The variants of a real frame are as near to it as Pillow's own at the usual quality of 85."""
    import av

    with av.open(str(shared_dir / "media" / "clips" / "car-detection.mp4")) as clip:
        picture = next(clip.decode(video=0)).to_image()
    _, opened = made(saved(picture, "PNG"))
    reference = picture.copy()
    reference.thumbnail((320, 320), Image.Resampling.BICUBIC)
    theirs = Image.open(io.BytesIO(saved(reference, "JPEG", quality=85)))
    assert difference(opened("small.jpg"), reference) <= difference(theirs, reference) + 2.0
    assert difference(opened("small.webp"), reference) < 6


def test_damaged_picture_is_refused(made: Any) -> None:
    """A picture of which a part is lost: refused with a code and a reason, not shown with grey stripes."""
    noise = Image.effect_noise((300, 200), 80).convert("RGB")
    for form in ("JPEG", "PNG", "WEBP", "AVIF"):
        whole = saved(noise, form)
        middle = len(whole) // 2
        for broken in (whole[:middle], whole[:middle] + bytes(middle // 2) + b"\xff\xd9"):
            with pytest.raises(Refused) as refused:
                made(broken)
            assert refused.value.code in {"CORRUPTED_FILE", "INVALID_FORMAT"}
            assert refused.value.reason


def test_header_that_lies_is_refused(made: Any) -> None:
    """The canvas of a WebP says a size that its picture does not have."""
    whole = bytearray(saved(quarters().convert("RGBA"), "WEBP", exif=exif(1), lossless=True))
    at = whole.index(b"VP8X")
    whole[at + 12 : at + 15] = (1000).to_bytes(3, "little")
    with pytest.raises(Refused) as refused:
        made(bytes(whole))
    assert refused.value.code == "CORRUPTED_FILE"


class Makes:
    """Renders in real children."""

    def __init__(self, folder: Path) -> None:
        self.store = FileStore(folder / "objects")
        (folder / "work").mkdir()
        self.make = ImageMaker(self.store, folder / "work")
        self.work = folder / "work"

    async def __call__(self, data: bytes) -> Rendered:
        await self.store.put_bytes("images/1/source.bin", data, content_type="")
        return await self.make("1", "images/1/source.bin")


@pytest.fixture
def makes(tmp_path: Path) -> Makes:
    return Makes(tmp_path)


async def test_variants_are_stored_and_scratch_is_gone(makes: Makes) -> None:
    rendered = await makes(saved(quarters(700, 500), exif=exif(8)))
    assert (rendered.width, rendered.height) == (500, 700)
    stored = {info.key: info.size_bytes async for info in makes.store.list("images/")}
    del stored["images/1/source.bin"]
    assert stored == {variant.key: variant.size_bytes for variant in rendered.variants}
    assert set(stored) == {f"images/1/{name}.{e}" for name in SIDES for e in ("jpg", "webp")}
    assert list(makes.work.iterdir()) == []


async def test_memory_stays_within_bounds_when_a_picture_is_large(makes: Makes) -> None:
    """25 million transparent pixels from half a megabyte, in a child that may have 500 MiB in all."""
    side = 5000
    rows = zlib.compressobj(1)
    packed = b"".join(rows.compress(bytes(1 + side * 4)) for _ in range(side)) + rows.flush()
    head = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    )
    makes.make = replace(makes.make, child=replace(IMAGE_CHILD, address_space_bytes=500 * 1024 * 1024))
    assert (await makes(whole)).variants[-1].width == 2048


async def test_failure_has_code_and_reason_when_limits_are_met(makes: Makes) -> None:
    photo = saved(Image.effect_noise((3000, 3000), 80).convert("RGB"))
    for changes, code, retryable in (
        ({"address_space_bytes": 330 * 1024 * 1024}, "CORRUPTED_FILE", False),
        ({"wall_seconds": 0.05}, "TRANSCODE_ERROR", True),
    ):
        makes.make = replace(makes.make, child=replace(IMAGE_CHILD, **changes))
        with pytest.raises(MediaError) as failed:
            await makes(photo)
        assert (failed.value.code, failed.value.retryable) == (code, retryable)
        assert list(makes.work.iterdir()) == []


async def test_failure_is_final_when_the_upload_is_no_picture(makes: Makes) -> None:
    for data, code in ((b"<svg/>", "INVALID_FORMAT"), (saved(quarters())[:900], "CORRUPTED_FILE")):
        with pytest.raises(MediaError) as failed:
            await makes(data)
        assert (failed.value.code, failed.value.retryable) == (code, False)
        assert failed.value.reason
