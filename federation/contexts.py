"""JSON-LD without a network: known contexts from memory, an error for every other (J4).

The two contexts that our documents name are spelled out below as tables of terms. Tests hold them against
the published ones. Expansion is CPU work of milliseconds: never call it on the event loop for every
activity (DESIGN section 5, invariant 6).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from pyld import jsonld

from federation.vocabulary.terms import ACTIVITY_STREAMS, SECURITY, Document

_TYPES = """
Accept Activity IntransitiveActivity Add Announce Application Arrive Article Audio Block Collection
CollectionPage Relationship Create Delete Dislike Document Event Follow Flag Group Ignore Image Invite Join
Leave Like Link Mention Note Object Offer OrderedCollection OrderedCollectionPage Organization Page Person
Place Profile Question Reject Remove Service TentativeAccept TentativeReject Tombstone Undo Update Video
View Listen Read Move Travel IsFollowing IsFollowedBy IsContact IsMember
"""
_TEXTS = "content name hreflang mediaType rel summary units preferredUsername source"
_REFERENCES = """
subject relationship actor attributedTo attachment bcc bto cc context current first generator icon image
inReplyTo items instrument last location next object oneOf anyOf origin prev preview replies result audience
partOf tag target to url href describes formerType outbox following followers streams endpoints uploadMedia
proxyUrl liked oauthAuthorizationEndpoint oauthTokenEndpoint provideClientKey signClientKey sharedInbox
Public likes shares alsoKnownAs
"""
_TIMES = "closed endTime published startTime updated deleted"
_FLOATS = "accuracy altitude latitude longitude radius"
_COUNTS = "height startIndex totalItems width"
_SECURITY_TEXTS = """
EcdsaKoblitzSignature2016 Ed25519Signature2018 EncryptedMessage GraphSignature2012 LinkedDataSignature2015
LinkedDataSignature2016 authenticationTag canonicalizationAlgorithm cipherAlgorithm cipherData cipherKey
digestAlgorithm digestValue domain encryptionKey initializationVector iterationCount nonce
normalizationAlgorithm password privateKeyPem publicKeyBase58 publicKeyPem publicKeyWif salt signature
signatureValue
"""
_SECURITY_REFERENCES = "owner privateKey publicKey publicKeyService"

Loader = Callable[[str, Mapping[str, Any]], dict[str, Any]]


class UnknownContext(LookupError):
    """A document names a context that is not built in; a fetched one would let strangers choose its terms."""


@cache
def built_in() -> Mapping[str, Document]:
    """Return the context documents that are known, by URL."""
    return {ACTIVITY_STREAMS: {"@context": _activity_streams()}, SECURITY: {"@context": _security()}}


def loader(documents: Mapping[str, Document]) -> Loader:
    """Return a PyLD document loader over these documents that raises ``UnknownContext`` for any other URL."""

    def load(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
        if url not in documents:
            raise UnknownContext(url)
        return {
            "contentType": "application/ld+json",
            "contextUrl": None,
            "documentUrl": url,
            "document": documents[url],
        }

    return load


def expand(document: Document, documents: Mapping[str, Document] | None = None) -> list[dict[str, Any]]:
    """Return the expanded form of a document, read with the built-in contexts unless told otherwise.

    Raises:
        UnknownContext: it names a context that is not known.
        jsonld.JsonLdError: it is no JSON-LD.
    """
    with _known_only():
        expanded: list[dict[str, Any]] = jsonld.expand(
            document, {"documentLoader": loader(documents or built_in())}
        )
        return expanded


def compact(document: Document, context: Any) -> Document:
    """Return a document in the terms of ``context``; raises as :func:`expand` does."""
    with _known_only():
        compacted: Document = jsonld.compact(document, context, {"documentLoader": loader(built_in())})
        return compacted


@contextmanager
def _known_only() -> Iterator[None]:
    """Let the loader's own error out of the one that PyLD wraps around it."""
    try:
        yield
    except jsonld.JsonLdError as error:
        if isinstance(error.__cause__, UnknownContext):
            raise error.__cause__ from None
        raise


def undefined_terms(document: Document) -> list[str]:
    """Return the properties and types that no context of the document defines, sorted.

    ActivityStreams turns what it does not know into blank nodes, which receivers drop.

    >>> undefined_terms({"@context": ACTIVITY_STREAMS, "type": "Note", "content": "x", "mood": "y"})
    ['mood']
    """
    found = {name.removeprefix("_:") for name in _names(expand(document)) if ":" not in name[2:]}
    return sorted(found)


def _names(value: Any) -> Iterator[str]:
    """Yield every property and type of expanded JSON-LD that is not a keyword."""
    if isinstance(value, list):
        for item in value:
            yield from _names(item)
    elif isinstance(value, dict):
        if "@value" not in value:
            yield from value.get("@type", [])
        for name, inner in value.items():
            if not name.startswith("@"):
                yield name
            yield from _names(inner)


def _activity_streams() -> dict[str, Any]:
    terms: dict[str, Any] = {
        "@vocab": "_:",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
        "as": "https://www.w3.org/ns/activitystreams#",
        "ldp": "http://www.w3.org/ns/ldp#",
        "vcard": "http://www.w3.org/2006/vcard/ns#",
        "id": "@id",
        "type": "@type",
    }
    terms |= {name: f"as:{name}" for name in f"{_TYPES} {_TEXTS}".split()}
    terms |= _typed("as", _REFERENCES, "@id")
    terms |= _typed("as", _TIMES, "xsd:dateTime") | _typed("as", _FLOATS, "xsd:float")
    terms |= _typed("as", _COUNTS, "xsd:nonNegativeInteger") | _typed("as", "duration", "xsd:duration")
    terms |= {
        f"{name}Map": {"@id": f"as:{name}", "@container": "@language"}
        for name in ("content", "name", "summary")
    }
    terms["orderedItems"] = {"@id": "as:items", "@type": "@id", "@container": "@list"}
    terms["inbox"] = {"@id": "ldp:inbox", "@type": "@id"}
    return terms


def _security() -> dict[str, Any]:
    terms: dict[str, Any] = {
        "id": "@id",
        "type": "@type",
        "dc": "http://purl.org/dc/terms/",
        "sec": "https://w3id.org/security#",
        "xsd": "http://www.w3.org/2001/XMLSchema#",
        "CryptographicKey": "sec:Key",
        "signatureAlgorithm": "sec:signingAlgorithm",
        "created": {"@id": "dc:created", "@type": "xsd:dateTime"},
        "creator": {"@id": "dc:creator", "@type": "@id"},
        "expires": {"@id": "sec:expiration", "@type": "xsd:dateTime"},
    }
    terms |= {name: f"sec:{name}" for name in _SECURITY_TEXTS.split()}
    terms |= _typed("sec", _SECURITY_REFERENCES, "@id") | _typed("sec", "expiration revoked", "xsd:dateTime")
    return terms


def _typed(prefix: str, names: str, kind: str) -> dict[str, Any]:
    return {name: {"@id": f"{prefix}:{name}", "@type": kind} for name in names.split()}
