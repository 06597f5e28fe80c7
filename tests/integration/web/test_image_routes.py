"""Images over HTTP (B38, H15): the surface, its refusals, who may see what."""

import io

import pytest
from aiohttp import FormData
from PIL import Image

from media.image_variants import ImageLimits
from media.images import ImageMaker
from media.scanner import NoScanner
from social.images import ImageService, ImageTools


def picture(form="JPEG", size=(60, 40)):
    out = io.BytesIO()
    Image.new("RGB", size, (10, 160, 90)).save(out, form)
    return out.getvalue()


async def post(front, who, data=None, headers=None, **fields):
    """Upload; returns the answer and its body."""
    form = FormData()
    for name, value in fields.items():
        form.add_field(name, value)
    if data is not None:
        form.add_field("file", data, filename="x.bin", content_type="application/octet-stream")
    answer = await front.client.post("/api/v1/images", data=form, headers={**who.headers, **(headers or {})})
    return answer, await answer.json()


async def finish(front, image_id):
    """Make the variants, as the agent does."""
    images = front.deps.images
    make = ImageMaker(front.deps.store, front.folder)
    await images.finish(image_id, await make(image_id, await images.upload_of(image_id)))


async def test_image_is_pending_then_ready_with_links_that_open_without_a_session(build):
    front = await build()
    ada = await front.person("ada")
    answer, body = await post(front, ada, picture(), alt_text="  A green wall ")
    assert answer.status == 202
    assert answer.headers["Location"] == f"/api/v1/images/{body['id']}"
    assert (body["status"], body["alt_text"], body["variants"]) == ("PENDING", "A green wall", [])
    await finish(front, body["id"])
    answer = await front.client.get(f"/api/v1/images/{body['id']}", headers=ada.headers)
    ready = await answer.json()
    assert (ready["status"], ready["width"], ready["height"]) == ("READY", 60, 40)
    assert ready["dominant_color"].startswith("#")
    assert len(ready["placeholder"]) == 28
    assert {(v["variant"], v["mime"]) for v in ready["variants"]} == {
        (name, mime)
        for name in ("small", "medium", "large", "original")
        for mime in ("image/jpeg", "image/webp")
    }
    for variant in ready["variants"]:
        served = await front.client.get(variant["url"].removeprefix("http://front.test"))
        data = await served.read()
        assert (served.status, served.headers["Content-Type"]) == (200, variant["mime"])
        assert len(data) == variant["size_bytes"]
        assert Image.open(io.BytesIO(data)).size == (variant["width"], variant["height"])
        assert served.headers["X-Content-Type-Options"] == "nosniff"
        assert served.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert "private" in served.headers["Cache-Control"]
    same = await front.client.get(
        f"/api/v1/images/{body['id']}", headers={**ada.headers, "If-None-Match": answer.headers["ETag"]}
    )
    assert same.status == 304


async def test_link_opens_nothing_but_its_own_image(build):
    front = await build()
    ada = await front.person("ada")
    first, second = [(await post(front, ada, picture()))[1]["id"] for _ in range(2)]
    await finish(front, first)
    await finish(front, second)
    url = front.deps.signer.url(f"images/{first}/small.jpg").removeprefix("http://front.test")
    assert (await front.client.get(url)).status == 200
    for other in (
        url.replace(first, second),
        url.replace("/images/", "/videos/"),
        url.replace("small", "no"),
    ):
        assert (await front.client.get(other)).status in {403, 404}
    video = front.deps.signer.url(f"videos/{first}/small.jpg").removeprefix("http://front.test")
    assert (await front.client.get(video.replace("/videos/", "/images/"))).status == 403
    assert (await front.client.get(url.replace("small.jpg", "source.jpg"))).status == 404
    await front.client.delete(f"/api/v1/images/{first}", headers=ada.headers)
    assert (await front.client.get(url)).status == 404


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 400, "INVALID_FORMAT"),
        (b"", 400, "CORRUPTED_FILE"),
        (picture()[:-200], 400, "CORRUPTED_FILE"),
        (picture("BMP"), 400, "INVALID_FORMAT"),
        (
            b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452") + b"\0\0\xff\xff" * 2 + bytes(9),
            400,
            None,
        ),
        (None, 400, "VALIDATION_ERROR"),
    ],
)
async def test_upload_is_refused_at_once_when_its_header_is_no_images(build, data, status, code):
    front = await build()
    ada = await front.person("ada")
    answer, body = await post(front, ada, data)
    assert answer.status == status
    assert body["error"]["code"] == (code or body["error"]["code"])
    assert [info async for info in front.deps.store.list("images/")] == []


def allow(front, **changes):
    """Give the front an image service with other limits."""
    tools = ImageTools(front.database, front.deps.store, NoScanner(), front.clock, **changes)
    object.__setattr__(front.deps, "images", ImageService(tools))


async def test_upload_is_refused_when_it_is_over_a_limit(build):
    front = await build()
    allow(front, limits=ImageLimits(max_bytes=2_000, max_side=100))
    ada = await front.person("ada")
    for data, status, code in (
        (picture() + bytes(2_000), 413, "FILE_TOO_LARGE"),
        (picture(size=(101, 1)), 400, "INVALID_FORMAT"),
    ):
        answer, body = await post(front, ada, data)
        assert (answer.status, body["error"]["code"]) == (status, code)
    answer, body = await post(front, ada, picture(), alt_text="x" * 1501)
    assert (answer.status, body["error"]["code"]) == (400, "CONTENT_TOO_LONG")
    assert body["error"]["details"]["field"] == "alt_text"


async def test_upload_waits_its_turn_when_many_are_pending(build):
    front = await build()
    allow(front, waiting=2)
    ada, bob = await front.person("ada"), await front.person("bob")
    for _ in range(2):
        assert (await post(front, ada, picture()))[0].status == 202
    answer, body = await post(front, ada, picture())
    assert (answer.status, body["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await post(front, bob, picture()))[0].status == 202


async def test_upload_makes_one_image_when_its_key_is_repeated(build):
    front = await build()
    ada = await front.person("ada")
    first = await post(front, ada, picture(), headers={"Idempotency-Key": "k1"})
    again = await post(front, ada, picture(), headers={"Idempotency-Key": "k1"})
    assert (first[1]["id"], again[0].status) == (again[1]["id"], 202)


async def test_image_is_its_owners_and_nobody_elses(build):
    front = await build()
    ada, bob = await front.person("ada"), await front.person("bob")
    operator = await front.person("olga", role="operator")
    image_id = (await post(front, ada, picture()))[1]["id"]
    path = f"/api/v1/images/{image_id}"
    for method, options in (("GET", {}), ("PATCH", {"json": {"alt_text": "mine"}}), ("DELETE", {})):
        answer = await front.client.request(method, path, headers=bob.headers, **options)
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "CONTENT_NOT_FOUND")
        assert (await front.client.request(method, path, **options)).status == 401
    assert (await front.client.get(path, headers=operator.headers)).status == 200
    assert (await front.client.get("/api/v1/images/nothing", headers=ada.headers)).status == 404


async def test_text_changes_and_the_image_goes_when_its_owner_says_so(build):
    front = await build()
    ada = await front.person("ada")
    image_id = (await post(front, ada, picture(), alt_text="one"))[1]["id"]
    path = f"/api/v1/images/{image_id}"
    answer = await front.client.patch(path, json={"alt_text": "two"}, headers=ada.headers)
    assert (answer.status, (await answer.json())["alt_text"]) == (200, "two")
    for bad in ({"alt_text": "x" * 1501}, {"alt_text": "\0"}, {"alt": "x"}, {}):
        assert (await front.client.patch(path, json=bad, headers=ada.headers)).status == 400
    assert (await front.client.delete(path, headers=ada.headers)).status == 204
    assert (await front.client.delete(path, headers=ada.headers)).status == 404
    assert [info async for info in front.deps.store.list("images/")] == []
