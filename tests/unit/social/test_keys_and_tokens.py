"""Keys of people and access tokens (K1-K7, X42, X43, N3, N4)."""

import asyncio
import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_public_key
from joserfc import jwt
from joserfc.jwk import OctKey

from social.keys import (
    KeyMaker,
    KeyUnavailable,
    MasterKey,
    decrypt_under_password,
    did_key,
    encrypt_under_password,
)
from social.tokens import AccessTokens, fingerprint, new_refresh_token
from social.views import Principal
from tables.errors import InvalidToken, TokenExpired

SECRET = b"s" * 32
WHO = Principal("u1", "ada", "user", "s1")


def test_did_key_equals_the_published_vector_when_derived():
    """K1: the first Ed25519 vector of the did:key method, from its seed of zeros."""
    public = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    assert did_key(public) == "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"


def test_secret_comes_back_only_when_password_and_owner_fit():
    """K3, K4."""
    sealed = encrypt_under_password(b"identity", "correct horse", owner="u1")
    assert b"identity" not in sealed
    assert decrypt_under_password(sealed, "correct horse", owner="u1") == b"identity"
    for password, owner, data in (
        ("wrong", "u1", sealed),
        ("correct horse", "u2", sealed),
        ("correct horse", "u1", sealed[:-1] + bytes([sealed[-1] ^ 1])),
        ("correct horse", "u1", sealed[:20]),
    ):
        with pytest.raises(KeyUnavailable):
            decrypt_under_password(data, password, owner=owner)


def test_master_key_opens_only_when_it_is_the_same():
    """X42."""
    wrapped = MasterKey(SECRET).wrap(b"private", owner="u1")
    assert MasterKey(SECRET).unwrap(wrapped, owner="u1") == b"private"
    for key, owner in ((MasterKey(b"t" * 32), "u1"), (MasterKey(SECRET), "u2")):
        with pytest.raises(KeyUnavailable):
            key.unwrap(wrapped, owner=owner)
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKey(b"short")


async def test_account_gets_both_keys_when_made():
    """K1, X42, X43: RSA-2048 signs, Ed25519 names and endorses; private halves are sealed."""
    master = MasterKey(SECRET)
    maker = KeyMaker(master, spare=1)
    first, second = await asyncio.gather(maker.make("u1", "correct horse"), maker.make("u2", "correct horse"))
    maker.close()
    assert first.did != second.did
    assert first.signing_public_pem != second.signing_public_pem
    private = load_der_private_key(master.unwrap(first.signing_wrapped, owner="u1"), None)
    public = load_pem_public_key(first.signing_public_pem.encode())
    assert isinstance(private, RSAPrivateKey)
    assert isinstance(public, RSAPublicKey)
    assert private.key_size == 2048
    assert private.public_key() == public
    assert first.did == did_key(first.identity_public)
    Ed25519PublicKey.from_public_bytes(first.identity_public).verify(
        first.endorsement, first.signing_public_pem.encode()
    )
    identity = decrypt_under_password(first.identity_encrypted, "correct horse", owner="u1")
    assert (
        Ed25519PrivateKey.from_private_bytes(identity).public_key().public_bytes_raw()
        == first.identity_public
    )


def tokens(clock, **changes):
    return AccessTokens(
        **{"secret": SECRET, "issuer": "http://h", "clock": clock, "access_seconds": 900} | changes
    )


def test_token_names_its_principal_when_verified(clock):
    """N3."""
    assert tokens(clock).verify(tokens(clock).issue(WHO)) == WHO


def test_token_is_expired_when_its_time_is_over(clock):
    """N4: valid to the last moment, then TOKEN_EXPIRED."""
    maker = tokens(clock)
    token = maker.issue(WHO)
    clock.now += 899
    maker.verify(token)
    clock.now += 1
    with pytest.raises(TokenExpired):
        maker.verify(token)


def forged(clock, header=None, key=SECRET, **claims):
    known = {"iss": "http://h", "sub": "u1", "name": "ada", "role": "user", "sid": "s1", "exp": clock() + 9}
    merged = {name: value for name, value in (known | claims).items() if value is not None}
    return jwt.encode({"alg": "HS256", "typ": "at+jwt"} | (header or {}), merged, OctKey.import_key(key))


def unsigned(token: str) -> str:
    def part(value: dict[str, str]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{token.split('.')[1]}."


def test_token_is_refused_when_forged_or_of_another_kind(clock):
    """N4: every one is INVALID_TOKEN, never an error of ours."""
    good = forged(clock)
    tokens(clock).verify(good)
    head, body, mark = good.split(".")
    bad = [
        "",
        "x",
        "a.b.c",
        "....",
        "\ud800.x.y",
        "é.é.é",
        good + "x",
        f"{head}.{body}.",
        f"{head}.{body[:-2]}AA.{mark}",
        unsigned(good),
        "x" * 100_000,
        forged(clock, key=b"t" * 32),
        forged(clock, header={"typ": "JWT"}),
        forged(clock, iss="http://other"),
        forged(clock, exp=None),
        forged(clock, exp="soon"),
        forged(clock, sub=None),
        forged(clock, sub=7),
        forged(clock, role=""),
        forged(clock, sid=None),
    ]
    for token in bad:
        with pytest.raises(InvalidToken):
            tokens(clock).verify(token)


def test_secret_is_refused_when_too_short(clock):
    with pytest.raises(ValueError, match="32 bytes"):
        tokens(clock, secret=b"short")


def test_refresh_tokens_differ_and_are_stored_hashed_when_made():
    """N5."""
    first, second = new_refresh_token(), new_refresh_token()
    assert first != second
    assert fingerprint(first) != fingerprint(second)
    assert first not in fingerprint(first)
    assert fingerprint("\ud800")
