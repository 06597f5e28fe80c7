"""One image through a real server (B38, H15): upload, variants, bytes; a kill in between; deletion."""

import io
from pathlib import Path

import aiohttp
import av
import numpy as np
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


async def test_photo_becomes_variants_that_every_client_decodes(module_server, make_client, shared_dir):
    """The server is killed after its answer, and goes on with the image when it comes back."""
    await module_server.start()
    owner = await make_client(module_server).register()
    data = photo(shared_dir)
    created = await upload(owner, data, alt_text="A street")
    module_server.kill()
    await module_server.start()
    path = f"/api/v1/images/{created['id']}"
    image = await owner.eventually(path, lambda body: body["status"] != "PENDING")
    assert (image["status"], image["fail_reason"], image["alt_text"]) == ("READY", None, "A street")
    expected = Image.open(io.BytesIO(data)).transpose(Image.Transpose.ROTATE_270)
    assert (image["width"], image["height"]) == expected.size
    assert len(image["variants"]) == 8
    for variant in image["variants"]:
        bytes_ = await owner.bytes_of(variant["url"])
        shown = Image.open(io.BytesIO(bytes_))
        assert shown.size == (variant["width"], variant["height"])
        assert not shown.getexif()
        difference = np.asarray(shown.convert("RGB"), int) - np.asarray(expected.resize(shown.size), int)
        assert np.abs(difference).mean() < 8
    stored = module_server.files("objects/images")
    assert stored == {f"{created['id']}/{v['variant']}.{v['mime'][6:].replace('jpeg', 'jpg')}"
                      for v in image["variants"]}  # fmt: skip
    await owner.call("DELETE", path)
    assert owner.status == 204
    assert module_server.files("objects/images") == set()
    async with aiohttp.ClientSession() as nobody, nobody.get(image["variants"][0]["url"]) as answer:
        assert answer.status == 404


async def test_damaged_photo_fails_with_its_reason(module_server, make_client, shared_dir):
    if not module_server.running:
        await module_server.start()
    owner = await make_client(module_server).register()
    data = bytearray(photo(shared_dir))
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    created = await upload(owner, bytes(data))
    path = f"/api/v1/images/{created['id']}"
    image = await owner.eventually(path, lambda body: body["status"] != "PENDING")
    assert (image["status"], image["fail_code"], image["variants"]) == ("FAILED", "CORRUPTED_FILE", [])
    assert image["fail_reason"]
