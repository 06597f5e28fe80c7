"""Accounts over HTTP (INTERFACE Accounts)."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from tables.errors import UserNotFound
from web.http import address_of, deps, no_content, principal, read_json, reply
from web.schemas.accounts import (
    LoginRequest,
    OwnUser,
    PublicUser,
    RefreshRequest,
    RegisterRequest,
    SessionAnswer,
)
from web.schemas.base import uuid_or

if TYPE_CHECKING:
    from social.views import Session, User


async def register(request: web.Request) -> web.Response:
    """Open an account and sign it in."""
    asked = await read_json(request, RegisterRequest)
    session = await deps(request).accounts.register(asked.username, asked.email, asked.password)
    return _signed_in(request, session, 201)


async def login(request: web.Request) -> web.Response:
    """Sign in by user name or e-mail address."""
    asked = await read_json(request, LoginRequest)
    address = address_of(request)
    session = await deps(request).accounts.login(asked.username, asked.password, address=address)
    return _signed_in(request, session, 200)


async def refresh(request: web.Request) -> web.Response:
    """Trade a refresh token for a new pair."""
    asked = await read_json(request, RefreshRequest)
    return _signed_in(request, await deps(request).accounts.refresh(asked.refresh_token), 200)


async def logout(request: web.Request) -> web.Response:
    """End the session, and what it has open."""
    services, known = deps(request), principal(request)
    await services.accounts.logout(known)
    services.hub.close_session(known.session_id)
    return no_content()


async def me(request: web.Request) -> web.Response:
    """Answer the caller's own account."""
    user = await deps(request).accounts.get_user(principal(request).user_id)
    return reply(own_user(request, user), headers={"Cache-Control": "no-store"})


async def get_user(request: web.Request) -> web.Response:
    """Answer an account as everybody sees it; a user name with ``@`` before it works too."""
    accounts, asked = deps(request).accounts, request.match_info["user_id"]
    if asked.startswith("@"):
        user = await accounts.find_by_username(asked[1:])
        if user is None:
            raise UserNotFound
    else:
        user = await accounts.get_user(uuid_or(UserNotFound, asked))
    return reply(PublicUser(**_public(request, user)))


def own_user(request: web.Request, user: "User") -> OwnUser:
    """Return a person as they see themselves."""
    return OwnUser(email=user.email, role=user.role, **_public(request, user))


def _public(request: web.Request, user: "User") -> dict[str, object]:
    base = deps(request).settings.base_url
    return {
        "id": user.id,
        "username": user.username,
        "display_name": user.display_name or None,
        "created_at": datetime.fromtimestamp(user.created_at, UTC),
        "url": f"{base}/@{user.username}",
        "actor_url": f"{base}/ap/actors/{user.did}",
    }


def _signed_in(request: web.Request, session: "Session", status: int) -> web.Response:
    answer = SessionAnswer(
        user=own_user(request, session.user),
        access_token=session.access_token,
        refresh_token=session.refresh_token,
        expires_in=session.expires_in,
    )
    return reply(answer, status=status, headers={"Cache-Control": "no-store"})
