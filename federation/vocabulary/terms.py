"""JSON-LD contexts and the small pieces that every document is made of. Pure.

Documents name only two contexts by URL, which every server has built in; all other terms are defined
inside the document, so nobody has to fetch anything to read it.
"""

from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]

ACTIVITY_STREAMS = "https://www.w3.org/ns/activitystreams"
SECURITY = "https://w3id.org/security/v1"
PUBLIC = "https://www.w3.org/ns/activitystreams#Public"

ACTOR_CONTEXT = [
    ACTIVITY_STREAMS,
    SECURITY,
    {
        "toot": "http://joinmastodon.org/ns#",
        "manuallyApprovesFollowers": "as:manuallyApprovesFollowers",
        "discoverable": "toot:discoverable",
        "indexable": "toot:indexable",
        "Multikey": "https://w3id.org/security#Multikey",
        "assertionMethod": {
            "@id": "https://w3id.org/security#assertionMethod",
            "@type": "@id",
            "@container": "@set",
        },
        "controller": {"@id": "https://w3id.org/security#controller", "@type": "@id"},
        "publicKeyMultibase": {
            "@id": "https://w3id.org/security#publicKeyMultibase",
            "@type": "https://w3id.org/security#multibase",
        },
    },
]
"""Of actors; the key terms are those of the multikey context (FEP-521a)."""

NOTE_CONTEXT = [
    ACTIVITY_STREAMS,
    {
        "Hashtag": "as:Hashtag",
        "sensitive": "as:sensitive",
        "pt": "https://joinpeertube.org/ns#",
        "size": {"@id": "pt:size", "@type": "http://www.w3.org/2001/XMLSchema#nonNegativeInteger"},
    },
]
"""Of a Note, its Create, and pages of them."""

_NUMBER = "http://www.w3.org/2001/XMLSchema#nonNegativeInteger"

VIDEO_CONTEXT = [
    ACTIVITY_STREAMS,
    {
        "pt": "https://joinpeertube.org/ns#",
        "sc": "http://schema.org/",
        "Hashtag": "as:Hashtag",
        "sensitive": "as:sensitive",
        "uuid": "sc:identifier",
        "identifier": "sc:identifier",
        "subtitleLanguage": {"@id": "sc:subtitleLanguage", "@container": "@set"},
        "views": {"@id": "pt:views", "@type": _NUMBER},
        "state": {"@id": "pt:state", "@type": _NUMBER},
        "size": {"@id": "pt:size", "@type": _NUMBER},
        "fps": {"@id": "pt:fps", "@type": _NUMBER},
        "bandwidth": {"@id": "sc:bitrate", "@type": _NUMBER},
        "aspectRatio": {"@id": "pt:aspectRatio", "@type": "http://www.w3.org/2001/XMLSchema#float"},
        "commentsPolicy": {"@id": "pt:commentsPolicy", "@type": _NUMBER},
        "canReply": {"@id": "pt:canReply", "@type": "@id"},
        "commentsEnabled": "pt:commentsEnabled",
        "downloadEnabled": "pt:downloadEnabled",
        "waitTranscoding": "pt:waitTranscoding",
        "comments": {"@id": "pt:comments", "@type": "@id"},
        "dislikes": {"@id": "as:dislikes", "@type": "@id"},
    },
]
"""Of a Video: the terms of PeerTube that it reads."""


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 in UTC with milliseconds and ``Z``.

    >>> timestamp(datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC))
    '2026-01-02T03:04:05.678Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def duration(seconds: float) -> str:
    """Return an ISO 8601 duration in whole seconds, at least one.

    Never minutes: PeerTube drops every non-digit and reads ``PT1M30S`` as 1 second.

    >>> duration(90.4), duration(0.2)
    ('PT90S', 'PT1S')
    """
    return f"PT{max(1, round(seconds))}S"
