"""Signed URLs and cookies as CloudFront reads them: canned and custom policies (C31, X19).

The path says whom a link is for: ``/media/{audience}/videos/{id}/...``, with ``Expires`` or ``Policy``,
``Signature`` and ``Key-Pair-Id`` in the query, or in cookies named ``CloudFront-*`` for a whole playlist.
So a CDN that knows our public key decides alone, and the origin route decides by the same rules. We sign
with SHA-256, said by ``Hash-Algorithm``; without it a signature is read as SHA-1, as all older signers make.
"""

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import parse_qsl, urlencode

from cryptography.hazmat.primitives import hashes

from media.key_pairs import KeyPairs
from media.urls import Audience, Grant, video_of
from tables.errors import SignatureRefused

COOKIE_PREFIX = "CloudFront-"
PARAMETERS = ("Policy", "Expires", "Signature", "Key-Pair-Id", "Hash-Algorithm")
AUDIENCES = frozenset(Audience)
MAX_POLICY_BYTES = 2048
# CloudFront's base64 has no letters that mean something in a query.
_SAFE, _PLAIN = str.maketrans("+=/", "-_~"), str.maketrans("-_~", "+=/")
_ALGORITHMS: Mapping[str, type[hashes.HashAlgorithm]] = {"SHA1": hashes.SHA1, "SHA256": hashes.SHA256}


@dataclass(frozen=True, slots=True)
class Policy:
    """What a signature allows; times in seconds since the epoch, ``network`` in CIDR form."""

    resource: str
    before: int
    after: int | None = None
    network: str | None = None

    def document(self) -> bytes:
        """Return the bytes that are signed; the canned form when nothing but the end is given.

        >>> Policy("http://a/b", 7).document()
        b'{"Statement":[{"Resource":"http://a/b","Condition":{"DateLessThan":{"AWS:EpochTime":7}}}]}'
        """
        condition: dict[str, object] = {"DateLessThan": {"AWS:EpochTime": self.before}}
        if self.after is not None:
            condition["DateGreaterThan"] = {"AWS:EpochTime": self.after}
        if self.network is not None:
            condition["IpAddress"] = {"AWS:SourceIp": self.network}
        statement = {"Resource": self.resource, "Condition": condition}
        return json.dumps({"Statement": [statement]}, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for media: path with query as the client sent it, its cookies, and the client's address."""

    path_qs: str
    cookies: Mapping[str, str]
    address: str


class PolicySigner:
    """Makes and checks signed URLs and cookies for every host that delivers."""

    def __init__(
        self, keys: KeyPairs, bases: Callable[[], Sequence[str]], clock: Callable[[], float] = time.time
    ) -> None:
        """Take the keys, and what gives the origins of all delivery hosts, the one in use first."""
        self._keys = keys
        self._bases = bases
        self._clock = clock

    def url(self, key: str, audience: Audience, expires_at: int) -> str:
        """Return the URL of one object with a canned policy."""
        url = f"{self._bases()[0]}/media/{audience}/{key}"
        signature = encode(self._keys.sign(Policy(url, expires_at).document()))
        return f"{url}?" + urlencode(
            {
                "Expires": expires_at,
                "Signature": signature,
                "Key-Pair-Id": self._keys.key_pair_id,
                "Hash-Algorithm": "SHA256",
            }
        )

    def cookies(self, video_id: str, audience: Audience, expires_at: int) -> dict[str, str]:
        """Return the cookies that open everything of a video, by a custom policy with a wildcard."""
        resource = f"{self._bases()[0]}/media/{audience}/videos/{video_id}/*"
        document = Policy(resource, expires_at).document()
        return {
            "CloudFront-Policy": encode(document),
            "CloudFront-Signature": encode(self._keys.sign(document)),
            "CloudFront-Key-Pair-Id": self._keys.key_pair_id,
            "CloudFront-Hash-Algorithm": "SHA256",
        }

    def verify(self, audience: str, key: str, asked: Asked) -> Grant:
        """Check that the query, or else the cookies, of a request open an object.

        Raises:
            SignatureRefused: SIGNATURE_REFUSED: none, altered, expired, too early, of an unknown key pair,
                for another address or for another object.
        """
        if audience not in AUDIENCES:
            raise SignatureRefused
        video_id = video_of(key)
        plain, given = _split(asked)
        policy = self._policy(plain, given)
        now = self._clock()
        if now >= policy.before:
            raise SignatureRefused("This link has expired.")
        if policy.after is not None and now <= policy.after:
            raise SignatureRefused("This link is not valid yet.")
        if policy.network is not None and not _inside(asked.address, policy.network):
            raise SignatureRefused
        if not any(_matches(policy.resource, base + plain) for base in self._bases()):
            raise SignatureRefused
        return Grant(video_id, Audience(audience), float(policy.before))

    def _policy(self, plain: str, given: Mapping[str, str]) -> Policy:
        """Return the policy in force once its signature is checked."""
        try:
            signature, key_pair_id = decode(given["Signature"]), given["Key-Pair-Id"]
            algorithm = _ALGORITHMS[given.get("Hash-Algorithm", "SHA1")]()
        except KeyError:
            raise SignatureRefused from None
        if "Policy" in given:
            document = decode(given["Policy"])
            self._keys.check(key_pair_id, signature, document, algorithm)
            return parse(document)
        expires = given.get("Expires", "")
        if not re.fullmatch(r"[1-9]\d{0,15}", expires, re.ASCII):
            raise SignatureRefused
        # A canned policy is not sent: it is for this very URL, on the host that it was made for.
        for base in self._bases():
            policy = Policy(base + plain, int(expires))
            try:
                self._keys.check(key_pair_id, signature, policy.document(), algorithm)
            except SignatureRefused:
                continue
            return policy
        raise SignatureRefused


def parse(document: bytes) -> Policy:
    """Read a policy that is signed; what it asks for and we do not know refuses.

    Raises:
        SignatureRefused: SIGNATURE_REFUSED.
    """
    try:
        if len(document) > MAX_POLICY_BYTES:
            raise ValueError("a policy is short")
        (statement,) = json.loads(document)["Statement"]
        condition = dict(statement["Condition"])
        before = _epoch(condition.pop("DateLessThan"))
        after = _epoch(condition.pop("DateGreaterThan")) if "DateGreaterThan" in condition else None
        network = condition.pop("IpAddress")["AWS:SourceIp"] if "IpAddress" in condition else None
        if condition or statement.keys() - {"Resource", "Condition"}:
            raise ValueError("unknown conditions are not met")
        return Policy(str(statement["Resource"]), before, after, None if network is None else str(network))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SignatureRefused from None


def encode(data: bytes) -> str:
    """Return bytes in CloudFront's base64.

    >>> encode(b"?>~"), decode(encode(b"?>"))
    ('Pz5-', b'?>')
    """
    return base64.b64encode(data).decode().translate(_SAFE)


def decode(text: str) -> bytes:
    """Return the bytes of CloudFront's base64.

    Raises:
        SignatureRefused: SIGNATURE_REFUSED: it is none, or not its one canonical spelling.
    """
    try:
        raw = base64.b64decode(text.translate(_PLAIN), validate=True)
    except (ValueError, binascii.Error):
        raise SignatureRefused from None
    if encode(raw) != text:
        raise SignatureRefused
    return raw


def _split(asked: Asked) -> tuple[str, dict[str, str]]:
    """Return the URL's path and query without the signature, and the signature from query or cookies."""
    path, _, query = asked.path_qs.partition("?")
    found: dict[str, str] = {}
    kept = []
    for part in query.split("&") if query else ():
        name = part.partition("=")[0]
        if name not in PARAMETERS:
            kept.append(part)
        elif name in found:
            raise SignatureRefused  # two of one: which of them would the CDN have read?
        else:
            found[name] = dict(parse_qsl(part, keep_blank_values=True))[name]
    if not found:
        names = ((name, COOKIE_PREFIX + name) for name in PARAMETERS)
        found = {name: asked.cookies[cookie] for name, cookie in names if cookie in asked.cookies}
    return path + ("?" + "&".join(kept) if kept else ""), found


def _epoch(condition: Any) -> int:
    value = condition["AWS:EpochTime"]
    if type(value) is not int:
        raise ValueError("not seconds")
    return value


def _matches(resource: str, url: str) -> bool:
    """Say whether a resource with the wildcards ``*`` and ``?`` names a URL; only signed ones are asked for.

    >>> _matches("http://a/v/7/*", "http://a/v/7/x.ts"), _matches("http://a/v/7/*", "http://a/v/71/x.ts")
    (True, False)
    """
    pattern = re.escape(resource).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(pattern, url, re.DOTALL) is not None


def _inside(address: str, network: str) -> bool:
    try:
        return ip_address(address) in ip_network(network, strict=False)
    except ValueError:
        return False
