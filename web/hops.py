"""The mark that one worker puts on a request that it passes to another (F17, RFC 9110 section 7.6).

It carries what the first worker has settled: the client's address, and that the request was counted against
its limits. Only workers can sign it, because only they have the key; a mark that does not fit its request is
none.
"""

import hashlib
import hmac
from dataclasses import dataclass

from aiohttp import web

HEADER = "X-FreeWill-Hop"
# Clocks of workers differ; a mark is good for as long as a request may take to arrive.
LIFETIME_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Hop:
    """A request that another worker passed on; ``address`` is the client's."""

    address: str


def secret_from(tokens_key: bytes) -> bytes:
    """Derive the key of hops from the one that signs access tokens: workers that share one share both."""
    return hmac.digest(tokens_key, b"freewill worker hop", "sha256")


def mark(secret: bytes, method: str, target: str, request_id: str, address: str, now: float) -> str:
    """Return the header's value for a request to another worker; ``target`` is its path with its query."""
    at = f"{now:.3f}"
    return f"{at} {address} {_signature(secret, (method, target, request_id, address, at))}"


def read(secret: bytes, request: web.BaseRequest, request_id: str, now: float) -> Hop | None:
    """Return what a request's mark says; None without one, or when it is forged, stale or for another."""
    parts = request.headers.get(HEADER, "").split(" ")
    if len(parts) != 3:
        return None
    at, address, signature = parts
    said = (request.method, request.rel_url.raw_path_qs, request_id, address, at)
    expected = _signature(secret, said)
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
        return None
    return Hop(address) if abs(now - float(at)) <= LIFETIME_SECONDS else None


def _signature(secret: bytes, said: tuple[str, ...]) -> str:
    return hmac.new(secret, "\n".join(said).encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
