"""One image through a real server (B38, H15): upload, variants, bytes; a kill in between; deletion."""

import io
from pathlib import Path

import aiohttp
import av
import numpy as np
import pytest
from PIL import Image

TOWN = (48.0, 51.0, 29.0)


def photo(shared_dir: Path) -> bytes:
    """Return a frame of a real clip as a phone would store it: lying on its side, with its place."""
    with av.open(str(shared_dir / "media" / "clips" / "car-detection.mp4")) as clip:
        picture = next(clip.decode(video=0)).to_image()
    said = Image.Exif()
    said[0x0112] = 6
    said.get_ifd(0x8825)[2] = TOWN
    out = io.BytesIO()
    picture.transpose(Image.Transpose.ROTATE_90).save(out, "JPEG", exif=said, quality=95)
    return out.getvalue()


async def upload(client, data, **fields):
    form = aiohttp.FormData()
    for name, value in fields.items():
        form.add_field(name, value)
    form.add_field("file", io.BytesIO(data), filename="photo.jpg", content_type="image/jpeg")
    body = await client.call("POST", "/api/v1/images", data=form)
    assert client.status == 202, body
    return body


async def assert_shown(owner, image, expected):
    """Fetch every variant and hold it to the picture as it should look."""
    assert (image["status"], image["fail_reason"]) == ("READY", None)
    assert (image["width"], image["height"]) == expected.size
    assert len(image["variants"]) == 8
    for variant in image["variants"]:
        shown = Image.open(io.BytesIO(await owner.bytes_of(variant["url"])))
        assert shown.size == (variant["width"], variant["height"])
        assert not shown.getexif()
        difference = np.asarray(shown.convert("RGB"), int) - np.asarray(expected.resize(shown.size), int)
        assert np.abs(difference).mean() < 8


def upright(data):
    return Image.open(io.BytesIO(data)).transpose(Image.Transpose.ROTATE_270)


def files(server, image):
    """Return the names of what the store has of an image."""
    return {path.rpartition("/")[2] for path in server.files("objects/images") if image["id"] in path}


def finished(image):
    return image["status"] != "PENDING"


async def test_photo_becomes_variants_that_every_client_decodes(alice, shared_server, shared_dir):
    data = photo(shared_dir)
    created = await upload(alice, data, alt_text="A street")
    path = f"/api/v1/images/{created['id']}"
    image = await alice.eventually(path, finished)
    assert image["alt_text"] == "A street"
    await assert_shown(alice, image, upright(data))
    names = {f"{v['variant']}.{'jpg' if v['mime'] == 'image/jpeg' else 'webp'}" for v in image["variants"]}
    assert files(shared_server, image) == names
    await alice.call("DELETE", path)
    assert (alice.status, files(shared_server, image)) == (204, set())
    async with aiohttp.ClientSession() as nobody, nobody.get(image["variants"][0]["url"]) as answer:
        assert answer.status == 404


@pytest.mark.slow
async def test_photo_becomes_variants_when_the_server_is_killed_after_its_answer(
    make_server, make_client, shared_dir
):
    server = make_server()
    await server.start()
    owner, data = await make_client(server).register(), photo(shared_dir)
    created = [await upload(owner, data) for _ in range(3)]
    server.kill()
    await server.start()
    for image in created:
        shown = await owner.eventually(f"/api/v1/images/{image['id']}", finished)
        await assert_shown(owner, shown, upright(data))
        assert len(files(server, image)) == 8


async def test_damaged_photo_fails_with_its_reason(alice, shared_dir):
    data = bytearray(photo(shared_dir))
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    created = await upload(alice, bytes(data))
    image = await alice.eventually(f"/api/v1/images/{created['id']}", finished)
    assert (image["status"], image["fail_code"], image["variants"]) == ("FAILED", "CORRUPTED_FILE", [])
    assert image["fail_reason"]
