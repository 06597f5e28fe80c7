"""The RSA key pairs that sign media: one in use, and earlier ones whose signatures are still around (C31)."""

from collections.abc import Mapping
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tables.errors import SignatureRefused

KEY_BITS = 2048
_ID_DIGITS = 13
"""As many as the ids that CloudFront gives to public keys have behind their K."""


def generate_key() -> bytes:
    """Return a new RSA-2048 private key as PEM (PKCS #8); takes about 0.1 s of CPU, so not on a loop."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(private_key_pem: bytes) -> bytes:
    """Return the public half of a key pair as PEM, which a CDN is given."""
    return (
        _private(private_key_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def pair_id(public_key_pem: bytes) -> str:
    """Return the id of a key pair, made of its public key: every worker that has the key agrees."""
    return "K" + sha256(public_key_pem.strip()).hexdigest()[:_ID_DIGITS].upper()


class KeyPairs:
    """Signs with the pair in use, and checks signatures of it and of retired pairs (PKCS #1 v1.5)."""

    def __init__(
        self, private_key_pem: bytes, key_pair_id: str, retired: Mapping[str, bytes] | None = None
    ) -> None:
        """Take the key in use, and public keys (PEM) of earlier pairs by their id."""
        if not key_pair_id.isalnum():
            raise ValueError("a key pair id has letters and digits only")
        self._key = _private(private_key_pem)
        self.key_pair_id = key_pair_id
        self._public = {name: _public(pem) for name, pem in (retired or {}).items()}
        self._public[key_pair_id] = self._key.public_key()

    def sign(self, message: bytes) -> bytes:
        """Sign with SHA-256; deterministic."""
        return self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def check(
        self,
        key_pair_id: str,
        signature: bytes,
        message: bytes,
        algorithm: hashes.HashAlgorithm | None = None,
    ) -> None:
        """Check a signature, by default with SHA-256.

        Raises:
            SignatureRefused: SIGNATURE_REFUSED: it is another message's, or there is no such pair.
        """
        public = self._public.get(key_pair_id)
        if public is None:
            raise SignatureRefused
        try:
            public.verify(signature, message, padding.PKCS1v15(), algorithm or hashes.SHA256())
        except InvalidSignature:
            raise SignatureRefused from None


def _private(pem: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("media URLs are signed with RSA")
    return key


def _public(pem: bytes) -> rsa.RSAPublicKey:
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, rsa.RSAPublicKey):
        raise TypeError("media URLs are signed with RSA")
    return key
