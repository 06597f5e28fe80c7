"""The row type of the route table: what a route is, in one place.

One row says everything that the dispatcher, the middlewares and the API description need, so that they
cannot drift apart (DESIGN section 7, Y13). The rows themselves are in ``web/table.py``; packages of
routes such as ``web/api/fediverse.py`` export a tuple ``ROUTES`` that the table takes in.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web
from pydantic import BaseModel

from tables.errors import AppError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Auth(StrEnum):
    """Who may call a route (N3).

    ``NONE`` ignores credentials, ``OPTIONAL`` knows the caller when a token is sent and refuses a bad
    one, ``REQUIRED`` answers 401 without one. ``ENCODER`` takes tokens of encoders only (Y14).
    """

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"
    ENCODER = "encoder"


class RateClass(StrEnum):
    """Which rate limit a route counts against (N7, N8, X65).

    ``POLLING`` is for what clients watch while a video is processed (C26); ``FREE`` counts against none.
    """

    GENERAL = "general"
    AUTH = "auth"
    UPLOADS = "uploads"
    UPLOAD_PARTS = "upload-parts"
    IMAGES = "images"
    EVENTS = "events"
    POLLING = "polling"
    FEDERATION = "federation"
    FREE = "free"


@dataclass(frozen=True, slots=True)
class Keyed:
    """The row of a stream table that a route reads: the worker that holds it answers (F17, DESIGN section 7).

    Attributes:
        table: name of the table; ``{name}`` is the path's.
        key: returns the row's key; None when this request reads none, as an anonymous feed.
        degrades: while nobody can be asked for the row, the worker that was called answers without it and
            says so, instead of 503 (DESIGN invariant 7).
    """

    table: str
    key: Callable[[web.Request], str | None]
    degrades: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the route table.

    Attributes:
        method: HTTP method in capitals. A GET row answers HEAD too.
        path: aiohttp pattern such as ``/api/v1/videos/{video_id}``, without a trailing slash: a request
            with one is the same request (X5).
        handler: coroutine that takes the request and returns the response; it raises ``AppError``.
        name: unique and stable: the operation id of the API description and the label in metrics.
        summary: one line for the API description.
        tag: section of the API description.
        auth: who may call it.
        roles: when not empty, the caller's role has to be one of them (N11).
        request: model of the JSON body, None for no body.
        form: documentation model of a multipart body (the handler streams it itself).
        body: content type of a raw body that the handler streams itself, such as a part's bytes.
        query: model of the query parameters.
        headers: model of the request headers that it reads, by their names.
        response: model of the JSON answer, None when there is none, or when it is not JSON.
        media_type: content type of a successful answer.
        status: status of success.
        errors: errors of this route beyond those that its other columns imply.
        rate: class of its rate limit.
        idempotent: a POST that creates and honours ``Idempotency-Key``.
        keyed_by: the row of a stream table that it reads, None for none or for any number.
        before_ready: answered while the tables still recover.
        hidden: not part of the API description (pages and static files).
    """

    method: str
    path: str
    handler: Handler
    name: str
    summary: str
    tag: str
    auth: Auth = Auth.NONE
    roles: frozenset[str] = frozenset()
    request: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    body: str | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    media_type: str = "application/json"
    status: int = 200
    errors: tuple[type[AppError], ...] = ()
    rate: RateClass = RateClass.GENERAL
    idempotent: bool = False
    keyed_by: Keyed | None = None
    before_ready: bool = False
    hidden: bool = False
