"""WebFinger, NodeInfo and host-meta documents (J9, RFC 7033, RFC 6415, NodeInfo 2.1). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from federation.addresses import Addresses, channel_name
from federation.model import Author
from federation.negotiation import ACTIVITY_JSON
from federation.vocabulary.terms import Document

SOFTWARE = "freewill"
"""For good: administrators of Loops allow videos by this name."""

JRD = "application/jrd+json; charset=utf-8"
XRD = "application/xrd+xml; charset=utf-8"
NODEINFO_VERSIONS = ("2.0", "2.1")
_SCHEMA = "http://nodeinfo.diaspora.software/ns/schema/"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a WebFinger resource asks for; exactly one of the fields is set.

    ``username`` may be a channel's. ``instance`` is the server itself.
    """

    username: str | None = None
    did: str | None = None
    channel_did: str | None = None
    instance: bool = False


class MalformedResource(ValueError):
    """A WebFinger resource is no ``acct:``, no URL and no DID."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a server is used, for NodeInfo. People, not sessions."""

    users: int
    active_month: int
    active_half_year: int
    posts: int
    comments: int


def parse_resource(at: Addresses, resource: str) -> Subject | None:
    """Return whom a resource means, None when it is well formed but not of this server.

    Takes ``acct:NAME@HOST`` (also without ``acct:``, and with a leading ``@``), the URL of an actor or
    channel, the URL of a profile, and the bare DID.

    Raises:
        MalformedResource: it has none of these forms.
    """
    if resource.startswith("did:"):
        return Subject(did=resource)
    if resource.startswith(("http://", "https://")):
        return _parse_url(at, resource)
    name, separator, host = resource.removeprefix("acct:").removeprefix("@").rpartition("@")
    if not separator or not name or not host or any(character.isspace() for character in resource):
        raise MalformedResource(resource)
    if host.lower() != at.host:
        return None
    return Subject(instance=True) if name.lower() == at.host else Subject(username=unquote(name))


def _parse_url(at: Addresses, url: str) -> Subject | None:
    try:
        urlsplit(url)
    except ValueError:
        raise MalformedResource(url) from None
    if url.rstrip("/") in (at.base, at.instance_actor):
        return Subject(instance=True)
    if did := at.did_of(url):
        return Subject(did=did)
    if did := at.channel_did_of(url):
        return Subject(channel_did=did)
    if username := at.username_of(url):
        return Subject(username=username)
    return None


def person_jrd(at: Addresses, author: Author) -> Document:
    """Return the WebFinger answer of a person; its actor maps back to the same ``acct:``."""
    return _jrd(at, author.username, at.actor(author.did), at.profile(author.username))


def channel_jrd(at: Addresses, author: Author) -> Document:
    """Return the WebFinger answer of a person's channel."""
    name = channel_name(author.username)
    return _jrd(at, name, at.channel(author.did), at.profile(author.username))


def instance_jrd(at: Addresses) -> Document:
    """Return the WebFinger answer of the server's own actor, ``acct:HOST@HOST``."""
    return {
        "subject": f"acct:{at.host}@{at.host}",
        "aliases": [at.instance_actor],
        "links": [{"rel": "self", "type": ACTIVITY_JSON, "href": at.instance_actor}],
    }


def only_relations(jrd: Document, relations: Sequence[str]) -> Document:
    """Return the answer with only the asked link relations, all of them when none is asked (RFC 7033 4.3)."""
    if not relations:
        return jrd
    return {**jrd, "links": [link for link in jrd["links"] if link["rel"] in relations]}


def host_meta(at: Addresses) -> str:
    """Return the XRD that points to WebFinger (RFC 6415)."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0">\n'
        f'  <Link rel="lrdd" type="application/jrd+json"'
        f' template="{at.base}/.well-known/webfinger?resource={{uri}}"/>\n'
        "</XRD>\n"
    )


def nodeinfo_links(at: Addresses) -> Document:
    """Return the document at ``/.well-known/nodeinfo``."""
    return {
        "links": [
            {"rel": _SCHEMA + version, "href": f"{at.base}/nodeinfo/{version}"}
            for version in NODEINFO_VERSIONS
        ]
    }


def nodeinfo_type(version: str) -> str:
    """Return the exact content type of a NodeInfo document, with the profile of its schema."""
    return f'application/json; profile="{_SCHEMA}{version}#"'


def nodeinfo(version: str, software_version: str, usage: Usage) -> Document:
    """Return the NodeInfo document of a schema version, ``2.0`` or ``2.1``."""
    software = {"name": SOFTWARE, "version": software_version}
    return {
        "version": version,
        "software": software,
        "protocols": ["activitypub"],
        "services": {"inbound": [], "outbound": []},
        "openRegistrations": True,
        "usage": {
            "users": {
                "total": usage.users,
                "activeMonth": usage.active_month,
                "activeHalfyear": usage.active_half_year,
            },
            "localPosts": usage.posts,
            "localComments": usage.comments,
        },
        "metadata": {},
    }


def _jrd(at: Addresses, username: str, actor_id: str, page: str) -> Document:
    return {
        "subject": f"acct:{username}@{at.host}",
        "aliases": [at.profile(username), actor_id],
        "links": [
            {"rel": "self", "type": ACTIVITY_JSON, "href": actor_id},
            {"rel": "http://webfinger.net/rel/profile-page", "type": "text/html", "href": page},
        ],
    }
