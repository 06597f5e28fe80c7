"""Public halves of signing keys in the form that peers read."""

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key


def public_pem(private_pem: bytes) -> str:
    """Return the SPKI PEM (``-----BEGIN PUBLIC KEY-----``) of an unencrypted private key in PEM.

    Raises:
        ValueError: it is no private key.
    """
    key = load_pem_private_key(private_pem, password=None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
