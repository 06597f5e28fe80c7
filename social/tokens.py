"""Access tokens: short-lived signed JWTs that carry the principal (N3, N4), and opaque refresh tokens."""

import hashlib
import secrets
from collections.abc import Callable

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from social.views import Principal
from tables.errors import InvalidToken, TokenExpired

ALGORITHM = "HS256"  # issuer and verifier are the same server: a shared secret is enough
TYPE = "at+jwt"  # RFC 9068 section 2.1: keeps other JWTs of ours from being taken for access tokens
SECRET_BYTES = 32
MAX_TOKEN_CHARS = 2_048


class AccessTokens:
    """Issues and checks access tokens without the database."""

    def __init__(
        self, secret: bytes, *, issuer: str, clock: Callable[[], float], access_seconds: int = 900
    ) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"the token secret needs {SECRET_BYTES} bytes")
        self._key = OctKey.import_key(secret)
        self._issuer = issuer
        self._clock = clock
        self.access_seconds = access_seconds

    def issue(self, principal: Principal) -> str:
        """Sign a token for the principal that expires ``access_seconds`` from now."""
        now = int(self._clock())
        claims = {
            "iss": self._issuer,
            "sub": principal.user_id,
            "name": principal.username,
            "role": principal.role,
            "sid": principal.session_id,
            "jti": secrets.token_urlsafe(12),
            "iat": now,
            "exp": now + self.access_seconds,
        }
        return jwt.encode({"alg": ALGORITHM, "typ": TYPE}, claims, self._key)

    def verify(self, token: str) -> Principal:
        """Return whom the token names.

        Raises:
            InvalidToken: INVALID_TOKEN when it is malformed, forged, of another kind or issuer.
            TokenExpired: TOKEN_EXPIRED.
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise InvalidToken
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
        except (JoseError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise InvalidToken from None
        claims = decoded.claims
        if decoded.header.get("typ") != TYPE or claims.get("iss") != self._issuer:
            raise InvalidToken
        expires = claims.get("exp")
        if not isinstance(expires, int | float):
            raise InvalidToken
        if self._clock() >= expires:
            raise TokenExpired
        return Principal(
            user_id=_text(claims.get("sub")),
            username=_text(claims.get("name")),
            role=_text(claims.get("role")),
            session_id=_text(claims.get("sid")),
        )


def new_refresh_token() -> str:
    """Return 256 random bits as text."""
    return secrets.token_urlsafe(32)


def fingerprint(refresh_token: str) -> str:
    """Return what is stored of a refresh token. It is random, so a plain SHA-256 is enough."""
    return hashlib.sha256(refresh_token.encode("utf-8", "surrogatepass")).hexdigest()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidToken
    return value
