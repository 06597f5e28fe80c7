"""Multikey and did:key against published vectors (FEP-521a, K1)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.multikey import (
    base58_decode,
    base58_encode,
    did_key_multibase,
    ed25519_multibase,
    rsa_multibase,
)


def test_multikey_matches_when_vector_is_published(shared_dir):
    vectors = json.loads((shared_dir / "federation/vectors/fep-521a/vectors.json").read_text())
    for vector in vectors:
        encode = ed25519_multibase if vector["algorithm"] == "Ed25519" else rsa_multibase
        assert encode(bytes.fromhex(vector["public_key_hex"])) == vector["multikey"]["publicKeyMultibase"]


def test_did_keys_are_read_when_vector_is_published(shared_dir):
    folder = shared_dir / "federation/vectors/did-key"
    for did in json.loads((folder / "ed25519-x25519.json").read_text()):
        assert did == f"did:key:{did_key_multibase(did)}"
    for name in ("rsa.json", "secp256k1.json", "nist-curves.json"):
        for did in json.loads((folder / name).read_text()):
            with pytest.raises(ValueError, match="did:key"):
                did_key_multibase(did)


@given(st.binary(max_size=64))
def test_base58_returns_the_bytes_when_decoded(data):
    assert base58_decode(base58_encode(data)) == data


def test_ed25519_key_is_refused_when_of_another_length():
    with pytest.raises(ValueError, match="32 bytes"):
        ed25519_multibase(b"short")
