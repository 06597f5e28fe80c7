"""Signed, expiring media URLs (C31, C37, N18, X19).

``{base}/media/{token}/videos/{id}/hls/master.m3u8``: the token stands before the path, so that the
relative URLs inside playlists keep it. It covers the prefix ``videos/{id}/`` or ``images/{id}/``, the expiry
and whom it was made for, with RSA (PKCS #1 v1.5, SHA-256): deterministic, so that every replica gives the
same URL in the same time window and a CDN can cache it. ``media.cloudfront`` has the forms for a CDN that
checks itself.
"""

import base64
import binascii
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from media.key_pairs import KeyPairs, generate_key
from tables.errors import SignatureRefused

__all__ = ["Audience", "Grant", "MediaSigner", "generate_key", "video_of"]

MAX_TOKEN_LENGTH = 1024
_CACHE_ENTRIES = 20_000
_AREAS = frozenset({"videos", "images"})


class Audience(StrEnum):
    """Whom a link was made for: it opens while the video is still for them (C37, C38)."""

    PUBLIC = "public"
    FOLLOWERS = "followers"
    OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a signature opens: a video or an image, for whom, and until when (seconds since the epoch)."""

    video_id: str
    audience: Audience
    expires_at: float


class MediaSigner:
    """Makes and checks media URLs.

    A URL lives between one and one and a half lifetimes' halves: its expiry is aligned to windows of half
    the lifetime, so that it stays the same, and cacheable, within a window.
    """

    def __init__(
        self,
        private_key_pem: bytes,
        key_pair_id: str,
        base_url: str | Callable[[], str],
        lifetime_seconds: float = 6 * 3600.0,
        *,
        clock: Callable[[], float] = time.time,
        retired_keys: Mapping[str, bytes] | None = None,
    ) -> None:
        """Take the key in use, and public keys (PEM) of earlier pairs whose URLs may still be around.

        ``base_url`` is the delivery host without a path, or asked for one whenever a URL is made (C32).
        """
        self.keys = KeyPairs(private_key_pem, key_pair_id, retired_keys)
        self._base_url = base_url if callable(base_url) else lambda: base_url
        self._window = lifetime_seconds / 2
        self._clock = clock
        self._tokens: dict[tuple[str, Audience], tuple[int, str]] = {}
        self._verified: dict[tuple[str, str], Grant] = {}

    @property
    def base_url(self) -> str:
        """The delivery host in use, without a slash at its end."""
        return self._base_url().rstrip("/")

    def prefix_url(self, video_id: str, audience: Audience = Audience.PUBLIC) -> str:
        """Return the signed URL of ``videos/{id}/``, ending in ``/``."""
        return f"{self.base_url}/media/{self.token(video_id, audience)}/videos/{video_id}/"

    def url(self, key: str, audience: Audience = Audience.PUBLIC) -> str:
        """Return the signed URL of an object ``videos/{id}/...`` or ``images/{id}/...``."""
        return f"{self.base_url}/media/{self._token(_subject(key), audience)}/{key}"

    def token(self, video_id: str, audience: Audience = Audience.PUBLIC) -> str:
        """Return the token of a video: signed once per window, then from the cache."""
        return self._token(f"videos/{video_id}", audience)

    def _token(self, subject: str, audience: Audience) -> str:
        expiry = self.expiry()
        known = self._tokens.get((subject, audience))
        if known is not None and known[0] == expiry:
            return known[1]
        signature = self.keys.sign(_signed(subject, audience, expiry))
        token = _encode(f"{expiry}.{self.keys.key_pair_id}.{audience}.".encode() + signature)
        if len(self._tokens) >= _CACHE_ENTRIES:
            self._tokens.clear()
        self._tokens[subject, audience] = (expiry, token)
        return token

    def verify(self, token: str, key: str, now: float | None = None) -> Grant:
        """Check that a token opens an object, and return what else it says.

        Raises:
            SignatureRefused: SIGNATURE_REFUSED: altered, expired, of an unknown key, or for another video.
        """
        subject = _subject(key)
        grant = self._verified.get((token, subject)) or self._checked(token, subject)
        if (self._clock() if now is None else now) >= grant.expires_at:
            raise SignatureRefused("This link has expired.")
        return grant

    def _checked(self, token: str, subject: str) -> Grant:
        """Check a signature that was not seen before: a player sends the same one with every file."""
        expiry, key_pair_id, audience, signature = _parse(token)
        self.keys.check(key_pair_id, signature, _signed(subject, audience, expiry))
        if len(self._verified) >= _CACHE_ENTRIES:
            self._verified.clear()
        grant = Grant(subject.partition("/")[2], audience, float(expiry))
        self._verified[token, subject] = grant
        return grant

    def expiry(self) -> int:
        """Return when what is signed now expires, in seconds since the epoch."""
        return math.ceil((math.floor(self._clock() / self._window) + 2) * self._window)


def video_of(key: str) -> str:
    """Return the video of an object ``videos/{id}/...``.

    >>> video_of("videos/7/hls/master.m3u8")
    '7'

    Raises:
        SignatureRefused: SIGNATURE_REFUSED: no such object is ever signed.
    """
    area, _, video_id = _subject(key).partition("/")
    if area != "videos":
        raise SignatureRefused
    return video_id


def _subject(key: str) -> str:
    """Return what a signature is for: ``videos/{id}`` or ``images/{id}`` (SIGNATURE_REFUSED for others)."""
    parts = key.split("/", 2)
    if len(parts) < 3 or parts[0] not in _AREAS or not parts[1] or ".." in key.split("/"):
        raise SignatureRefused
    return f"{parts[0]}/{parts[1]}"


def _signed(subject: str, audience: Audience, expiry: int) -> bytes:
    """Return what is signed; the slash ends the id, so that no other id shares the prefix."""
    return f"freewill-media\n{audience}\n{subject}/\n{expiry}".encode()


def _parse(token: str) -> tuple[int, str, Audience, bytes]:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        expiry, key_pair_id, audience, signature = raw.split(b".", 3)
        parsed = int(expiry), key_pair_id.decode("ascii"), Audience(audience.decode("ascii")), signature
    except (ValueError, binascii.Error):
        raise SignatureRefused from None
    # base64 has spare bits in its last letter: only the one canonical spelling is ours.
    if len(token) > MAX_TOKEN_LENGTH or _encode(raw) != token or str(parsed[0]).encode() != expiry:
        raise SignatureRefused
    return parsed


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
