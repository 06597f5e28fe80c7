"""Signed, expiring media URLs (C31, N18, X19).

``{base}/media/{token}/videos/{id}/hls/master.m3u8``: the token stands before the path, so that the
relative URLs inside playlists keep it. It covers the prefix ``videos/{id}/`` and the expiry, with RSA
(PKCS #1 v1.5, SHA-256): deterministic, so that every replica gives the same URL in the same time window
and a CDN can cache it.
"""

import base64
import binascii
import math
import time
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tables.errors import SignatureRefused

KEY_BITS = 2048
MAX_TOKEN_LENGTH = 1024
_CACHE_ENTRIES = 20_000


def generate_key() -> bytes:
    """Return a new RSA-2048 private key as PEM (PKCS #8); takes about 0.1 s of CPU, so not on a loop."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class MediaSigner:
    """Makes and checks media URLs.

    A URL lives between one and one and a half lifetimes' halves: its expiry is aligned to windows of half
    the lifetime, so that it stays the same, and cacheable, within a window.
    """

    def __init__(
        self,
        private_key_pem: bytes,
        key_pair_id: str,
        base_url: str,
        lifetime_seconds: float = 6 * 3600.0,
        *,
        clock: Callable[[], float] = time.time,
        retired_keys: Mapping[str, bytes] | None = None,
    ) -> None:
        """Take the key in use, and public keys (PEM) of earlier pairs whose URLs may still be around."""
        key = serialization.load_pem_private_key(private_key_pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("media URLs are signed with RSA")
        if not key_pair_id.isalnum():
            raise ValueError("a key pair id has letters and digits only")
        self._key = key
        self._key_pair_id = key_pair_id
        self._base_url = base_url.rstrip("/")
        self._window = lifetime_seconds / 2
        self._clock = clock
        self._public = {name: _public(pem) for name, pem in (retired_keys or {}).items()}
        self._public[key_pair_id] = key.public_key()
        self._tokens: dict[str, tuple[int, str]] = {}

    def prefix_url(self, video_id: str) -> str:
        """Return the signed URL of ``videos/{id}/``, ending in ``/``."""
        return f"{self._base_url}/media/{self.token(video_id)}/videos/{video_id}/"

    def url(self, key: str) -> str:
        """Return the signed URL of an object ``videos/{id}/...``."""
        return f"{self._base_url}/media/{self.token(_video_id(key))}/{key}"

    def token(self, video_id: str) -> str:
        """Return the token of a video: signed once per window, then from the cache."""
        expiry = self._expiry()
        known = self._tokens.get(video_id)
        if known is not None and known[0] == expiry:
            return known[1]
        signature = self._key.sign(_signed(video_id, expiry), padding.PKCS1v15(), hashes.SHA256())
        token = _encode(f"{expiry}.{self._key_pair_id}.".encode() + signature)
        if len(self._tokens) >= _CACHE_ENTRIES:
            self._tokens.clear()
        self._tokens[video_id] = (expiry, token)
        return token

    def verify(self, token: str, key: str, now: float | None = None) -> float:
        """Check that a token opens an object, and return when it expires (seconds since the epoch).

        Raises:
            SignatureRefused: SIGNATURE_REFUSED: altered, expired, of an unknown key, or for another video.
        """
        expiry, key_pair_id, signature = _parse(token)
        public = self._public.get(key_pair_id)
        if public is None:
            raise SignatureRefused
        try:
            public.verify(signature, _signed(_video_id(key), expiry), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise SignatureRefused from None
        if (self._clock() if now is None else now) >= expiry:
            raise SignatureRefused("This link has expired.")
        return float(expiry)

    def _expiry(self) -> int:
        return math.ceil((math.floor(self._clock() / self._window) + 2) * self._window)


def _signed(video_id: str, expiry: int) -> bytes:
    """Return what is signed; the slash ends the id, so that no other id shares the prefix."""
    return f"freewill-media\nvideos/{video_id}/\n{expiry}".encode()


def _video_id(key: str) -> str:
    parts = key.split("/", 2)
    if len(parts) < 3 or parts[0] != "videos" or not parts[1] or ".." in key.split("/"):
        raise SignatureRefused
    return parts[1]


def _parse(token: str) -> tuple[int, str, bytes]:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        expiry, key_pair_id, signature = raw.split(b".", 2)
        parsed = int(expiry), key_pair_id.decode("ascii"), signature
    except (ValueError, binascii.Error):
        raise SignatureRefused from None
    # base64 has spare bits in its last letter: only the one canonical spelling is ours.
    if len(token) > MAX_TOKEN_LENGTH or _encode(raw) != token or str(parsed[0]).encode() != expiry:
        raise SignatureRefused
    return parsed


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _public(pem: bytes) -> rsa.RSAPublicKey:
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("media URLs are signed with RSA")
    return key
