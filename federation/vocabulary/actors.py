"""Actor documents: the person, the person's channel, the server itself (J8, K7, X41-X44, Y1). Pure."""

from federation.addresses import Addresses, channel_name
from federation.model import Author, Picture
from federation.multikey import did_key_multibase
from federation.vocabulary.terms import ACTOR_CONTEXT, Document, timestamp


def person(at: Addresses, author: Author) -> Document:
    """Return the ``Person`` of somebody who publishes here.

    ``publicKey`` is the server-held signing key, ``assertionMethod`` the identity key that only the
    person's password opens (X42, FEP-521a), and ``alsoKnownAs`` the bare DID (X41).
    """
    actor_id = at.actor(author.did)
    document = {
        **_actor(at, actor_id, "Person", author.username, author.public_key_pem),
        "name": author.display_name or author.username,
        "summary": author.summary,
        "url": at.profile(author.username),
        "manuallyApprovesFollowers": False,
        "discoverable": True,
        "indexable": True,
        "published": timestamp(author.created_at),
        "alsoKnownAs": [author.did],
        "assertionMethod": [_identity_key(actor_id, author.did)],
    }
    if author.icon:
        # An object, not a list: Loops reads `icon.url`.
        document["icon"] = image(author.icon)
    return document


def channel(at: Addresses, author: Author) -> Document:
    """Return the ``Group`` through which PeerTube takes the person's videos (Y1).

    It is attributed to the Person on the same host, which PeerTube checks before it stores a video.
    """
    channel_id = at.channel(author.did)
    document = {
        **_actor(at, channel_id, "Group", channel_name(author.username), author.public_key_pem),
        "name": f"{author.display_name or author.username}: videos",
        "summary": author.summary,
        "url": at.profile(author.username),
        "attributedTo": [{"type": "Person", "id": at.actor(author.did)}],
        "manuallyApprovesFollowers": False,
        "discoverable": True,
        "indexable": True,
        "published": timestamp(author.created_at),
    }
    if author.icon:
        document["icon"] = image(author.icon)
    return document


def instance(at: Addresses, public_key_pem: str) -> Document:
    """Return the ``Application`` that speaks for the server, ``acct:HOST@HOST``.

    Peers look it up while they verify fetches that no person asked for.
    """
    return {
        **_actor(at, at.instance_actor, "Application", at.host, public_key_pem),
        "name": at.host,
        "summary": "This server itself. It fetches on behalf of nobody in particular.",
        "url": f"{at.base}/",
        "manuallyApprovesFollowers": True,
        "discoverable": False,
        "indexable": False,
    }


def image(picture: Picture) -> Document:
    """Return an ``Image``; all four of its values are demanded by PeerTube."""
    return {
        "type": "Image",
        "url": picture.url,
        "mediaType": picture.media_type,
        "width": picture.width,
        "height": picture.height,
    }


def _actor(at: Addresses, actor_id: str, kind: str, username: str, public_key_pem: str) -> Document:
    return {
        "@context": ACTOR_CONTEXT,
        "id": actor_id,
        "type": kind,
        "preferredUsername": username,
        "inbox": f"{actor_id}/inbox",
        "outbox": f"{actor_id}/outbox",
        "followers": f"{actor_id}/followers",
        "following": f"{actor_id}/following",
        "endpoints": {"sharedInbox": at.shared_inbox},
        "publicKey": {
            "id": f"{actor_id}#main-key",
            "owner": actor_id,
            "publicKeyPem": public_key_pem,
        },
    }


def _identity_key(actor_id: str, did: str) -> Document:
    return {
        "id": f"{actor_id}#ed25519-key",
        "type": "Multikey",
        "controller": actor_id,
        "publicKeyMultibase": did_key_multibase(did),
    }
