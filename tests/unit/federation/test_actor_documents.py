"""Actor documents (J8, K7, X41-X44, Y1)."""

from dataclasses import replace

import pytest

from federation.model import Picture
from federation.vocabulary import channel, instance, person


def test_actor_id_embeds_did_when_person_is_described(at, ada):
    """X41, K7: the id is a URL with the DID in plain colons, alsoKnownAs lists the bare DID."""
    document = person(at, ada)
    assert document["id"] == f"https://video.example/ap/actors/{ada.did}"
    assert document["type"] == "Person"
    assert document["alsoKnownAs"] == [ada.did]
    assert document["preferredUsername"] == "ada"
    assert document["url"] == "https://video.example/@ada"


def test_endpoints_hang_below_the_id_when_person_is_described(at, ada):
    """J8, X44: inbox, outbox, followers, following, and one shared inbox."""
    document = person(at, ada)
    for name in ("inbox", "outbox", "followers", "following"):
        assert document[name] == f"{document['id']}/{name}"
    assert document["endpoints"] == {"sharedInbox": "https://video.example/api/federation/inbox"}


def test_both_keys_are_published_when_person_is_described(at, ada):
    """X42, FEP-521a: the RSA signing key as publicKey, the identity key as Multikey."""
    document = person(at, ada)
    assert document["publicKey"] == {
        "id": f"{document['id']}#main-key",
        "owner": document["id"],
        "publicKeyPem": ada.public_key_pem,
    }
    (identity,) = document["assertionMethod"]
    assert identity["controller"] == document["id"]
    assert f"did:key:{identity['publicKeyMultibase']}" == ada.did


def test_icon_is_an_object_when_person_has_one(at, ada):
    """Loops reads icon.url; a list would be lost on it."""
    picture = Picture("https://video.example/a.png", "image/png", 64, 64)
    assert person(at, replace(ada, icon=picture))["icon"]["url"] == picture.url
    assert "icon" not in person(at, ada)


def test_identity_key_is_refused_when_did_is_not_ed25519(at, ada):
    with pytest.raises(ValueError, match="did:key"):
        person(at, replace(ada, did="did:web:video.example"))


def test_channel_is_a_group_of_the_person_when_described(at, ada):
    """Y1: PeerTube wants a Group attributed to a Person on the same host."""
    document = channel(at, ada)
    assert document["type"] == "Group"
    assert document["preferredUsername"] == "ada_channel"
    assert document["attributedTo"] == [{"type": "Person", "id": at.actor(ada.did)}]
    assert document["publicKey"]["owner"] == document["id"] == at.channel(ada.did)


def test_instance_actor_is_named_like_the_host_when_described(at, pem):
    document = instance(at, pem)
    assert document["type"] == "Application"
    assert document["preferredUsername"] == "video.example"
    assert document["publicKey"]["id"] == "https://video.example/ap/instance#main-key"
