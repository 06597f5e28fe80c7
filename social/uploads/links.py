"""Signatures of part URLs of the local store (A50) and of the store's reports (A42)."""

import hashlib
import hmac
from collections.abc import Callable

from tables.errors import SignatureRefused

REPORT_SCHEME = "sha256="


class UploadLinks:
    """Makes and checks URLs that take one part of one size until a moment, as an object store's do.

    It also knows who may report on uploads: whoever has the shared secret.
    """

    def __init__(
        self, key: bytes, base_url: str, clock: Callable[[], float], report_secret: bytes = b""
    ) -> None:
        """Take the key of URLs, the public origin, the clock, and the secret of reports."""
        self._key = key
        self._report_secret = report_secret
        self._base_url = base_url
        self._clock = clock

    def url(self, session_id: str, number: int, size_bytes: int, expires_at: int) -> str:
        """Return the URL of a part; ``expires_at`` in whole seconds since the epoch."""
        signature = self._sign(session_id, number, size_bytes, expires_at)
        return (
            f"{self._base_url}/api/v1/uploads/{session_id}/parts/{number}"
            f"?size={size_bytes}&expires={expires_at}&signature={signature}"
        )

    def check(self, session_id: str, number: int, size_bytes: int, expires_at: int, signature: str) -> None:
        """Refuse what was not signed, or is over.

        Raises:
            SignatureRefused: SIGNATURE_REFUSED: altered in session, part, size or expiry, or expired.
        """
        expected = self._sign(session_id, number, size_bytes, expires_at)
        if not hmac.compare_digest(expected.encode(), signature.encode()):
            raise SignatureRefused
        if self._clock() >= expires_at:
            raise SignatureRefused("This link has expired.")

    def is_report(self, body: bytes, signature: str | None) -> bool:
        """Tell whether a report is signed with the secret; nobody's is when there is none (A42)."""
        if not self._report_secret or signature is None:
            return False
        expected = sign_report(self._report_secret, body)
        return hmac.compare_digest(expected.encode(), signature.encode())

    def _sign(self, session_id: str, number: int, size_bytes: int, expires_at: int) -> str:
        text = f"freewill-part\n{session_id}\n{number}\n{size_bytes}\n{expires_at}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def sign_report(secret: bytes, body: bytes) -> str:
    """Return the signature of a report's body: ``sha256=`` and the HMAC in hex.

    >>> sign_report(b"key", b"{}")[:15]
    'sha256=a777724d'
    """
    return REPORT_SCHEME + hmac.new(secret, body, hashlib.sha256).hexdigest()
