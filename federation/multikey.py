"""Multikey and did:key encodings (FEP-521a, did:key method). Pure."""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ED25519 = b"\xed\x01"  # multicodec ed25519-pub as a varint
_RSA = b"\x85\x24"  # multicodec rsa-pub as a varint


def base58_encode(data: bytes) -> str:
    """Return base58 in Bitcoin's alphabet; leading zero bytes become leading ones.

    >>> base58_encode(b"hello")
    'Cn8eVZg'
    """
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        digits = _ALPHABET[rest] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def base58_decode(text: str) -> bytes:
    """Return the bytes of base58 in Bitcoin's alphabet; ``ValueError`` for any other character.

    >>> base58_decode("Cn8eVZg")
    b'hello'
    """
    number = 0
    for character in text:
        number = number * 58 + _ALPHABET.index(character)
    body = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return b"\0" * (len(text) - len(text.lstrip("1"))) + body


def ed25519_multibase(public_key: bytes) -> str:
    """Return ``z6Mk...`` for a 32-byte Ed25519 public key (FEP-521a)."""
    if len(public_key) != 32:
        raise ValueError("an Ed25519 public key has 32 bytes")
    return "z" + base58_encode(_ED25519 + public_key)


def rsa_multibase(public_key_der: bytes) -> str:
    """Return ``z4MX...`` for the PKCS #1 DER of an RSA public key (FEP-521a)."""
    return "z" + base58_encode(_RSA + public_key_der)


def did_key_multibase(did: str) -> str:
    """Return the Multikey of an Ed25519 ``did:key``, which is the part behind ``did:key:``.

    Raises:
        ValueError: it is no did:key, or not one of an Ed25519 key.
    """
    method, _, multibase = did.rpartition(":")
    if method != "did:key" or not multibase.startswith("z"):
        raise ValueError(f"not a did:key: {did!r}")
    key = base58_decode(multibase[1:])
    if not key.startswith(_ED25519) or len(key) != 34:
        raise ValueError(f"not an Ed25519 did:key: {did!r}")
    return multibase
