"""The API description, OpenAPI 3.1, made from the route table and its models (Y13, N10)."""

import re
from collections.abc import Iterable, Mapping
from inspect import getdoc
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tables import errors
from web.routes import Auth, RateClass, Route
from web.schemas.base import ErrorAnswer

REFERENCE = "#/components/schemas/{model}"
ERROR_REFERENCE = {"$ref": "#/components/schemas/ErrorAnswer"}
INTRODUCTION = """\
A federated short-video platform. Errors have one shape and a stable code, listed under `x-error-codes`.
Lists answer `{items, next_cursor}`; `limit` above the maximum is cut to it. Times are RFC 3339 UTC.
A slash at the end of a path makes no difference. POSTs that create honour `Idempotency-Key`."""


def describe(table: Iterable[Route], base_url: str, version: str) -> dict[str, Any]:
    """Return the whole description as JSON data: every route, every error of every route."""
    rows = [row for row in table if not row.hidden]
    schemas, references = _schemas(rows)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(_plain(row.path), {})[row.method.lower()] = _operation(row, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "FreeWill", "version": version, "description": INTRODUCTION},
        "servers": [{"url": base_url}],
        "tags": [{"name": name} for name in dict.fromkeys(row.tag for row in rows)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "encoder": {"type": "http", "scheme": "bearer", "description": "An encoder's own token."},
            },
        },
        "x-error-codes": {
            code: {"status": kind.status, "description": getdoc(kind)}
            for code, kind in sorted(errors.registry().items())
        },
    }


def errors_of(row: Route) -> list[type[errors.AppError]]:
    """Return every error that a route can answer: its own, and those that its other columns imply."""
    found: list[type[errors.AppError]] = list(row.errors)
    if row.auth is Auth.ENCODER:
        found += [errors.InvalidToken, errors.MissingAuthHeader, errors.DatabaseFailure]
    elif row.auth is not Auth.NONE:
        found += [errors.InvalidToken, errors.TokenExpired]
    if row.auth is Auth.REQUIRED:
        found.append(errors.MissingAuthHeader)
    if row.roles:
        found.append(errors.InsufficientRole)
    if row.request is not None:
        found += [errors.ValidationFailed, errors.UnsupportedMedia, errors.PayloadTooLarge]
    if row.query is not None or row.headers is not None or row.form is not None or row.idempotent:
        found.append(errors.ValidationFailed)
    if row.rate is not RateClass.FREE:
        found.append(errors.RateLimitExceeded)
    if not row.before_ready:
        found.append(errors.ServiceUnavailable)
    if row.method != "GET":
        found.append(errors.StorageFull)
    found.append(errors.AppError)
    return list(dict.fromkeys(found))


def _models(row: Route) -> list[tuple[type[BaseModel], str]]:
    found = [(model, "validation") for model in (row.request, row.form) if model is not None]
    return found + ([(row.response, "serialization")] if row.response is not None else [])


def _schemas(rows: list[Route]) -> tuple[dict[str, Any], dict[Any, str]]:
    """Return the component schemas, and the reference of each (model, mode)."""
    wanted: dict[Any, None] = {(ErrorAnswer, "serialization"): None}
    for row in rows:
        wanted.update(dict.fromkeys(_models(row)))
    mapped, definitions = models_json_schema(list(wanted), ref_template=REFERENCE)
    return definitions.get("$defs", {}), {key: schema["$ref"] for key, schema in mapped.items()}


def _operation(row: Route, references: Mapping[Any, str]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "tags": [row.tag],
        "parameters": _parameters(row),
        "responses": _responses(row, references),
        "x-rate-class": row.rate.value,
    }
    if row.auth is Auth.ENCODER:
        operation["security"] = [{"encoder": []}]
    elif row.auth is not Auth.NONE:
        anonymous: list[dict[str, Any]] = [{}] if row.auth is Auth.OPTIONAL else []
        operation["security"] = [{"bearer": []}, *anonymous]
    if row.roles:
        operation["x-roles"] = sorted(row.roles)
    for model, media_type in ((row.request, "application/json"), (row.form, "multipart/form-data")):
        if model is not None:
            schema = {"$ref": references[(model, "validation")]}
            operation["requestBody"] = {"required": True, "content": {media_type: {"schema": schema}}}
    if row.body is not None:
        raw = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {"required": True, "content": {row.body: raw}}
    return operation


def _parameters(row: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)", row.path)
    ]
    for model, place in ((row.query, "query"), (row.headers, "header")):
        schema = model.model_json_schema() if model is not None else {}
        for name, field in schema.get("properties", {}).items():
            required = name in schema.get("required", ())
            found.append({"name": name, "in": place, "required": required, "schema": field})
    if row.idempotent:
        text = {"type": "string", "maxLength": 255}
        found.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": text})
    return found


def _responses(row: Route, references: Mapping[Any, str]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": row.summary}
    if row.response is not None:
        schema: dict[str, Any] = {"$ref": references[(row.response, "serialization")]}
        success["content"] = {row.media_type: {"schema": schema}}
    elif row.status not in {101, 204, 302, 303}:
        success["content"] = {row.media_type: {"schema": {"type": "string"}}}
    answers: dict[str, Any] = {str(row.status): success}
    by_status: dict[int, list[type[errors.AppError]]] = {}
    for kind in errors_of(row):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        answers[str(status)] = {
            "description": "; ".join(f"{kind.code}: {_sentence(kind)}" for kind in kinds),
            "content": {"application/json": {"schema": ERROR_REFERENCE}},
            "x-codes": [kind.code for kind in kinds],
        }
    return answers


def _sentence(kind: type[errors.AppError]) -> str:
    return (getdoc(kind) or "").partition("\n")[0]


def _plain(path: str) -> str:
    """Drop the patterns of path parameters.

    >>> _plain("/media/{token}/{key:.+}")
    '/media/{token}/{key}'
    """
    return re.sub(r"{(\w+):[^}]*}", r"{\1}", path)
