"""Images over HTTP (B38, H15)."""

from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from media.delivery import not_modified
from media.urls import Audience
from social.images import NewImage
from tables import errors
from tables.errors import ContentNotFound
from web.http import deps, no_content, principal, read_json, reply
from web.objects import serve_object
from web.render import moment
from web.routes import Auth, RateClass, Route
from web.schemas.base import uuid_or
from web.schemas.images import ImageAnswer, ImageForm, ImagePatch, ImageVariant
from web.uploads import receive

if TYPE_CHECKING:
    from social.images import Image
    from web.keys import Deps


def image_id_of(request: web.Request) -> str:
    """Return the image id of the path; what is no UUID names no image (CONTENT_NOT_FOUND)."""
    return uuid_or(ContentNotFound, request.match_info["image_id"])


async def upload(request: web.Request) -> web.Response:
    """Take an image; its variants are made afterwards."""
    services = deps(request)
    async with receive(request, services.settings.upload_dir, services.images.limits.max_bytes) as form:
        new = NewImage(form.path, form.one("alt_text"))
        image = await services.images.create(principal(request), new)
        services.metrics.upload_bytes.inc(form.size_bytes)
    headers = {"Location": f"/api/v1/images/{image.id}"}
    return reply(image_answer(image, services), status=202, headers=headers)


async def get(request: web.Request) -> web.Response:
    """Answer an image to its owner, with a validator."""
    image = await deps(request).images.get(image_id_of(request), principal(request))
    return _tagged(request, reply(image_answer(image, deps(request))))


async def patch(request: web.Request) -> web.Response:
    """Change what is said of an image."""
    said = await read_json(request, ImagePatch)
    image = await deps(request).images.describe(image_id_of(request), principal(request), said.alt_text)
    return reply(image_answer(image, deps(request)))


async def delete(request: web.Request) -> web.Response:
    """Delete an image with all its files."""
    await deps(request).images.delete(image_id_of(request), principal(request))
    return no_content()


async def media(request: web.Request) -> web.StreamResponse:
    """Answer a variant behind a signed URL, whole or a range of it."""
    key = f"images/{request.match_info['key']}"
    services = deps(request)
    grant = services.signer.verify(request.match_info["token"], key, services.clock())
    if key.split("/")[2].startswith("source."):
        raise ContentNotFound  # the upload is for processing only: it says where it was taken
    tag = f"image-{grant.video_id}"
    headers = {"Cache-Tag": tag, "Surrogate-Key": tag}
    return await serve_object(request, key, headers, private=grant.audience is not Audience.PUBLIC)


def image_answer(image: "Image", services: "Deps") -> ImageAnswer:
    """Return an image as its owner gets it, with signed links."""
    variants = [
        ImageVariant(
            variant=made.variant,
            mime=made.mime,
            width=made.width,
            height=made.height,
            size_bytes=made.size_bytes,
            url=services.signer.url(made.key, Audience.OWNER),
        )
        for made in image.variants
    ]
    return ImageAnswer(
        id=image.id,
        status=image.status.value,
        alt_text=image.alt_text,
        fail_code=image.fail_code,
        fail_reason=image.fail_reason,
        width=image.width,
        height=image.height,
        placeholder=image.placeholder,
        dominant_color=image.colour,
        variants=variants,
        created_at=moment(image.created_at),
        updated_at=moment(image.updated_at),
    )


def _tagged(request: web.Request, response: web.Response) -> web.Response:
    """Add the entity tag of an answer, or answer 304 when the client has this very one."""
    assert isinstance(response.body, bytes)
    headers = {
        hdrs.ETAG: f'"{blake2b(response.body, digest_size=12).hexdigest()}"',
        hdrs.CACHE_CONTROL: "private, no-cache",
        hdrs.VARY: hdrs.AUTHORIZATION,
    }
    if not_modified(request.headers.get(hdrs.IF_NONE_MATCH), headers[hdrs.ETAG]):
        return web.Response(status=304, headers=headers)
    response.headers.update(headers)
    return response


_own = partial(Route, tag="images", auth=Auth.REQUIRED)
_SEEN = (errors.ContentNotFound, errors.DatabaseFailure)
ROUTES = (
    _own(method="POST", path="/api/v1/images", handler=upload, name="upload_image",
         summary="Upload an image; its variants are made afterwards.", status=202, rate=RateClass.IMAGES,
         form=ImageForm, response=ImageAnswer, idempotent=True,
         errors=(errors.InvalidFormat, errors.CorruptedFile, errors.FileTooLarge, errors.ContentTooLong,
                 errors.UnsupportedMedia, errors.InfectedFile, errors.UserNotFound,
                 errors.StorageFailure, errors.DatabaseFailure)),
    _own(method="GET", path="/api/v1/images/{image_id}", handler=get, name="get_image",
         summary="An image of the caller's, with signed links once it is READY.", rate=RateClass.POLLING,
         response=ImageAnswer, errors=_SEEN),
    _own(method="PATCH", path="/api/v1/images/{image_id}", handler=patch, name="edit_image",
         summary="Change what is said of an image.", request=ImagePatch, response=ImageAnswer,
         errors=(*_SEEN, errors.ContentTooLong)),
    _own(method="DELETE", path="/api/v1/images/{image_id}", handler=delete, name="delete_image",
         summary="Delete an image with all its files.", status=204, errors=_SEEN),
    Route(method="GET", path="/media/{token}/images/{key:.+}", handler=media, name="image_media",
          summary="Bytes of a variant behind a signed URL.", rate=RateClass.FREE,
          media_type="application/octet-stream", tag="media",
          errors=(errors.SignatureRefused, errors.ContentNotFound, errors.ContentArchived,
                  errors.RangeNotSatisfiable, errors.DatabaseFailure, errors.StorageFailure)),
)  # fmt: skip
