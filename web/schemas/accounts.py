"""Accounts (INTERFACE Accounts, N1-N6)."""

from typing import Literal

from pydantic import Field

from web.schemas.base import Answer, Body, Time


class RegisterRequest(Body):
    """A new account; the rules of each field are the account service's."""

    username: str = Field(max_length=200)
    email: str = Field(max_length=400)
    password: str = Field(max_length=1000)


class LoginRequest(Body):
    """Credentials; ``username`` takes the e-mail address too."""

    username: str = Field(max_length=400)
    password: str = Field(max_length=1000)


class RefreshRequest(Body):
    """A refresh token, good once."""

    refresh_token: str = Field(max_length=4096)


class PublicUser(Answer):
    """A person as everybody sees them."""

    id: str
    username: str
    display_name: str | None = None
    created_at: Time
    url: str = Field(description="Profile page.")
    actor_url: str = Field(description="ActivityPub actor.")


class OwnUser(PublicUser):
    """A person as they see themselves."""

    email: str
    role: str


class SessionAnswer(Answer):
    """A session: the access token lives ``expires_in`` seconds, the refresh token is good once."""

    user: OwnUser
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 (a scheme, not a secret)
    expires_in: int
