"""Reading requests into typed models and writing answers: what every handler needs and nothing more."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from tables.errors import PayloadTooLarge, UnsupportedMedia, ValidationFailed
from web import errors
from web.hops import Hop
from web.keys import DEPS, HOP, PRINCIPAL, ROUTES, Deps
from web.routes import Route

if TYPE_CHECKING:
    from social.views import Principal

Model = TypeVar("Model", bound=BaseModel)
JSON = "application/json"


def deps(request: web.Request) -> Deps:
    """Return the services that the front was built with."""
    return request.app[DEPS]


def caller(request: web.Request) -> "Principal | None":
    """Return who calls, None for an anonymous request."""
    return request.get(PRINCIPAL)


def principal(request: web.Request) -> "Principal":
    """Return who calls, on a route whose row says ``Auth.REQUIRED``."""
    return request[PRINCIPAL]


def route_of(request: web.Request) -> Route | None:
    """Return the row of the route that was matched, None when there is no such route."""
    return request.app[ROUTES].get(request.match_info.route)


def address_of(request: web.Request) -> str:
    """Return the client's address, as the worker that was called saw it.

    Forwarded entries count only behind a trusted proxy.
    """
    passed_on: Hop | None = request.get(HOP)
    if passed_on is not None:
        return passed_on.address
    trusted = deps(request).settings.trusted_proxies
    if trusted:
        hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
        if len(hops) >= trusted:
            return hops[-trusted]
    return request.remote or "unknown"


async def read_any(request: web.Request) -> Any:
    """Read a JSON body of any shape.

    Raises:
        UnsupportedMedia: another content type was declared (UNSUPPORTED_MEDIA).
        PayloadTooLarge: over the limit of JSON bodies (PAYLOAD_TOO_LARGE).
        ValidationFailed: not JSON (VALIDATION_ERROR, field ``body``).
    """
    declared = request.content_type
    if request.can_read_body and declared not in {JSON, "application/octet-stream", "text/plain"}:
        raise UnsupportedMedia(details={"content_type": declared, "supported": [JSON]})
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        limit = deps(request).settings.max_json_bytes
        raise PayloadTooLarge(details={"limit": limit, "unit": "bytes"}) from None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValidationFailed(f"The body is not JSON: {error.msg}", details={"field": "body"}) from None


async def read_json(request: web.Request, model: type[Model]) -> Model:
    """Read a JSON body into a model; strict types, errors name the field (VALIDATION_ERROR)."""
    data = await read_any(request)
    if not isinstance(data, dict):
        raise ValidationFailed("The body has to be a JSON object.", details={"field": "body"})
    return parse(model, data)


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Read the query parameters into a model (VALIDATION_ERROR)."""
    return parse(model, dict(request.query))


def read_headers(request: web.Request, model: type[Model]) -> Model:
    """Read request headers into a model whose fields have their names (VALIDATION_ERROR)."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    return parse(model, {name: request.headers[name] for name in names if name in request.headers})


def parse(model: type[Model], data: Mapping[str, Any]) -> Model:
    """Validate plain data (VALIDATION_ERROR, ``details.field``)."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise errors.from_validation(error) from None


def reply(model: BaseModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with a model as JSON."""
    return raw_json(model.model_dump_json(by_alias=True).encode(), status=status, headers=headers)


def raw_json(data: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with JSON that is encoded already."""
    return web.Response(body=data, status=status, headers=headers, content_type=JSON)


def no_content() -> web.Response:
    """Answer 204."""
    return web.Response(status=204)
