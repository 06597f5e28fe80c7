"""Keys of an instance: made once, kept in files that only their owner can read (N24)."""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from media.key_pairs import generate_key


@dataclass(frozen=True)
class Keyring:
    """The secrets of one instance, as bytes."""

    tokens: bytes
    """Signs access tokens."""
    master: bytes
    """Wraps the private keys of actors in the database, 32 bytes (X42)."""
    media: bytes
    """PEM of the RSA key that signs media URLs (C31)."""
    instance: bytes
    """PEM of the RSA key of the server's own actor in the fediverse."""
    lake: bytes
    """Makes the pseudonyms of people in the lake, 32 bytes (N14, D20)."""
    media_retired: tuple[bytes, ...] = field(default=(), repr=False)
    """PEM of earlier keys of media: ``media.pem`` renamed ``media.NAME.pem``, kept while their links live."""


def open_keyring(folder: Path) -> Keyring:
    """Read the keys in ``folder``, making those that are missing (mode 0600)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Keyring(
        tokens=_read_or_make(folder / "tokens.key", lambda: secrets.token_bytes(32)),
        master=_read_or_make(folder / "master.key", lambda: secrets.token_bytes(32)),
        media=_read_or_make(folder / "media.pem", generate_key),
        instance=_read_or_make(folder / "instance.pem", generate_key),
        lake=_read_or_make(folder / "lake.key", lambda: secrets.token_bytes(32)),
        media_retired=tuple(path.read_bytes() for path in sorted(folder.glob("media.*.pem"))),
    )


def _read_or_make(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the file's bytes; two starts at once agree, since linking the file fails for the second."""
    if not path.exists():
        draft = path.with_suffix(f".{secrets.token_hex(4)}.new")  # containers share process ids
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
