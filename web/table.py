"""The route table: every route of the front, one row each.

The rows of a section stand together and a row reads: method, path, handler, name, summary. What follows
by keyword is who may call it, what it takes, what it answers and which errors it adds (``web/routes.py``).
"""

from functools import partial

from tables import errors
from web.api import accounts, description, health
from web.routes import Auth, RateClass, Route
from web.schemas import accounts as people
from web.schemas import tables as reading
from web.schemas.base import Document

FREE = RateClass.FREE

_system = partial(Route, method="GET", tag="system", rate=FREE, before_ready=True)
SYSTEM = (
    _system(path="/healthz", handler=health.healthz, name="healthz", summary="Whether the process answers.",
            response=reading.HealthAnswer),
    _system(path="/readyz", handler=health.readyz, name="readyz", summary="Whether the server can work.",
            response=reading.ReadinessAnswer, errors=(errors.ServiceUnavailable,)),
    _system(path="/metrics", handler=health.metrics, name="metrics", summary="Prometheus metrics.",
            media_type="text/plain"),
    _system(path="/api/openapi.json", handler=description.openapi, name="openapi",
            summary="This description.", response=Document),
    _system(path="/api/docs", handler=description.docs, name="docs", summary="A page of it.", hidden=True),
    _system(path="/api/docs/style.css", handler=description.docs_style, name="docs_style",
            summary="Its style.", hidden=True),
    _system(path="/api/docs/script.js", handler=description.docs_script, name="docs_script",
            summary="Its script.", hidden=True),
)  # fmt: skip

_auth = partial(Route, method="POST", tag="accounts", rate=RateClass.AUTH)
_user = partial(Route, method="GET", tag="accounts")
ACCOUNTS = (
    _auth(path="/api/v1/auth/register", handler=accounts.register, name="register",
          summary="Open an account and sign in.", status=201,
          request=people.RegisterRequest, response=people.SessionAnswer,
          errors=(errors.InvalidUsername, errors.InvalidEmail, errors.UsernameTaken, errors.EmailTaken,
                  errors.DatabaseFailure)),
    _auth(path="/api/v1/auth/login", handler=accounts.login, name="login",
          summary="Sign in by user name or e-mail.",
          request=people.LoginRequest, response=people.SessionAnswer,
          errors=(errors.InvalidCredentials, errors.DatabaseFailure)),
    _auth(path="/api/v1/auth/refresh", handler=accounts.refresh, name="refresh",
          summary="Trade a refresh token for new tokens; it is good once.",
          request=people.RefreshRequest, response=people.SessionAnswer,
          errors=(errors.InvalidToken, errors.TokenExpired, errors.DatabaseFailure)),
    _auth(path="/api/v1/auth/logout", handler=accounts.logout, name="logout", summary="End the session.",
          auth=Auth.REQUIRED, status=204, errors=(errors.DatabaseFailure,)),
    _user(path="/api/v1/users/me", handler=accounts.me, name="me", summary="The caller's own account.",
          auth=Auth.REQUIRED, response=people.OwnUser, errors=(errors.UserNotFound, errors.DatabaseFailure)),
    _user(path="/api/v1/users/{user_id}", handler=accounts.get_user, name="get_user",
          summary="An account, by id or `@name`.", response=people.PublicUser,
          errors=(errors.UserNotFound, errors.DatabaseFailure)),
)  # fmt: skip

TABLE: tuple[Route, ...] = (*SYSTEM, *ACCOUNTS)
