"""The cursor of a ranked feed: which ranking, where in it, and what was shown so far (X29, E53).

Base64url JSON. While the ranking is alive its id and offset are enough; after its end, or a restart, the
shortened hashes of what was shown keep a fresh ranking from repeating it. They get shorter as they grow in
number, so that a cursor stays under 1.6 kB: 4 bytes up to 190 items, 2 bytes up to 400.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from tables.errors import ValidationFailed

MAX_SHOWN: Final = 400
_BUDGET_BYTES: Final = 800
_MAX_LENGTH: Final = 4_096
_TYPES: Final = {4: "<u4", 2: "<u2"}


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    p: str
    s: str
    o: int
    w: int
    h: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """``shown`` are the hashes shown so far cut to their low ``width`` bytes, oldest first."""

    profile: str
    ranking_id: str
    offset: int
    width: int
    shown: NDArray[np.uint64]

    def was_shown(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell which videos, by full hash, were shown before this cursor."""
        return np.isin(shorten(hashes, self.width), self.shown)


def shorten(hashes: NDArray[np.uint64], width: int) -> NDArray[np.uint64]:
    """Return the low ``width`` bytes of each hash, as uint64."""
    return hashes & np.uint64((1 << (8 * width)) - 1)


def encode(profile: str, ranking_id: str, offset: int, shown: NDArray[np.uint64], width: int = 8) -> str:
    """Return the cursor of a position; ``shown`` has ``width`` bytes that mean something each."""
    shown = shown[-MAX_SHOWN:]
    width = min(width, 4 if 4 * len(shown) <= _BUDGET_BYTES - 40 else 2)
    packed = shorten(shown, width).astype(_TYPES[width]).tobytes()
    wire = _Wire(1, profile, ranking_id, offset, width, urlsafe_b64encode(packed).decode().rstrip("="))
    return urlsafe_b64encode(msgspec.json.encode(wire)).decode().rstrip("=")


def decode(text: str) -> Cursor:
    """Read a cursor.

    Raises:
        ValidationFailed: It is none of ours; ``details.field`` is ``cursor``.
    """
    try:
        if len(text) > _MAX_LENGTH:
            raise ValueError("too long")
        wire = msgspec.json.decode(_bytes(text), type=_Wire)
        if wire.v != 1 or wire.w not in _TYPES or not 0 <= wire.o <= 100_000:
            raise ValueError("out of range")
        shown = np.frombuffer(_bytes(wire.h), _TYPES[wire.w]).astype(np.uint64)
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise ValidationFailed("This cursor is not valid.", details={"field": "cursor"}) from error
    return Cursor(wire.p, wire.s, wire.o, wire.w, shown[-MAX_SHOWN:])


def _bytes(text: str) -> bytes:
    raw = text.encode("ascii")
    return urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
