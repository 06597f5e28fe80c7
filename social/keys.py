"""Keys of people: the identity key under the password, the signing key under the master key (K1-K7, X42).

An account has two keys. The Ed25519 identity key names it for ever as a did:key; only its password opens
it. The RSA-2048 signing key lets the server sign deliveries in the background (X43); the server's master
key wraps it, and the identity key endorses it.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from social.passwords import MEMORY_KIB, PARALLELISM, TIME_COST

T = TypeVar("T")

MASTER_KEY_BYTES = 32
_SALT_BYTES, _NONCE_BYTES = 16, 12
_ED25519_MULTICODEC = b"\xed\x01"  # did:key method, section 3: unsigned varint of ed25519-pub
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class KeyUnavailable(Exception):
    """The ciphertext does not open: a wrong password, a wrong master key, another owner, or damage (K3)."""


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """Everything that a new account stores; both private halves are ciphertexts (K6)."""

    did: str
    identity_public: bytes
    identity_encrypted: bytes
    signing_public_pem: str
    signing_wrapped: bytes
    endorsement: bytes


def did_key(public: bytes) -> str:
    """Return the did:key of a raw Ed25519 public key (K1).

    >>> did_key(bytes(32))[:12]
    'did:key:z6Mk'
    """
    return "did:key:z" + _base58(_ED25519_MULTICODEC + public)


def encrypt_under_password(secret: bytes, password: str, *, owner: str) -> bytes:
    """Encrypt with AES-256-GCM under an argon2id key of the password; bound to the owner's id (K3, K4)."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    return salt + nonce + AESGCM(_derive(password, salt)).encrypt(nonce, secret, owner.encode())


def decrypt_under_password(sealed: bytes, password: str, *, owner: str) -> bytes:
    """Open what :func:`encrypt_under_password` made.

    Raises:
        KeyUnavailable: Another password or owner, or the bytes are damaged.
    """
    salt, rest = sealed[:_SALT_BYTES], sealed[_SALT_BYTES:]
    return _open(_derive(password, salt), rest, owner)


class MasterKey:
    """The server's own key, which wraps signing keys (X42)."""

    def __init__(self, secret: bytes) -> None:
        """Take at least 32 bytes from a secret file."""
        if len(secret) < MASTER_KEY_BYTES:
            raise ValueError(f"the master key needs {MASTER_KEY_BYTES} bytes")
        self._key = HKDF(hashes.SHA256(), MASTER_KEY_BYTES, None, b"freewill actor keys").derive(secret)

    def wrap(self, secret: bytes, *, owner: str) -> bytes:
        """Encrypt with AES-256-GCM, bound to the owner's id."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, secret, owner.encode())

    def unwrap(self, sealed: bytes, *, owner: str) -> bytes:
        """Open what :meth:`wrap` made.

        Raises:
            KeyUnavailable: Another master key or owner, or the bytes are damaged.
        """
        return _open(self._key, sealed, owner)


class KeyMaker:
    """Makes account keys in threads; RSA generation releases the interpreter lock.

    Up to ``spare`` signing keys wait ready, so that a registration rarely waits for one.
    """

    def __init__(self, master: MasterKey, *, spare: int = 4) -> None:
        self._master = master
        # One thread: key generation must not take both cores from those who watch.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._ready: asyncio.Queue[tuple[bytes, str]] = asyncio.Queue(spare)
        self._filling: asyncio.Task[None] | None = None
        self._closed = False

    async def make(self, user_id: str, password: str) -> AccountKeys:
        """Make both keys of a new account."""
        signing = await self._signing_key()
        self._refill()
        return await asyncio.to_thread(self._assemble, user_id, password, signing)

    def close(self) -> None:
        """Stop making spare keys."""
        self._closed = True
        if self._filling is not None:
            self._filling.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _signing_key(self) -> tuple[bytes, str]:
        if not self._ready.empty():
            return self._ready.get_nowait()
        return await self._in_thread(_generate_rsa)

    def _refill(self) -> None:
        if not self._closed and (self._filling is None or self._filling.done()):
            self._filling = asyncio.create_task(self._fill(), name="spare signing keys")

    async def _fill(self) -> None:
        while not self._ready.full():
            # Whoever registers meanwhile is queued at the same single thread, behind one spare at most.
            self._ready.put_nowait(await self._in_thread(_generate_rsa))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _assemble(self, user_id: str, password: str, signing: tuple[bytes, str]) -> AccountKeys:
        private_der, public_pem = signing
        identity = Ed25519PrivateKey.generate()
        public = identity.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        secret = identity.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return AccountKeys(
            did=did_key(public),
            identity_public=public,
            identity_encrypted=encrypt_under_password(secret, password, owner=user_id),
            signing_public_pem=public_pem,
            signing_wrapped=self._master.wrap(private_der, owner=user_id),
            endorsement=identity.sign(public_pem.encode()),
        )


def _generate_rsa() -> tuple[bytes, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private, public.decode()


def _derive(password: str, salt: bytes) -> bytes:
    return hash_secret_raw(
        password.encode(), salt, TIME_COST, MEMORY_KIB, PARALLELISM, MASTER_KEY_BYTES, Type.ID
    )


def _open(key: bytes, sealed: bytes, owner: str) -> bytes:
    nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return AESGCM(key).decrypt(nonce, body, owner.encode())
    except (InvalidTag, ValueError):
        raise KeyUnavailable from None


def _base58(data: bytes) -> str:
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text
