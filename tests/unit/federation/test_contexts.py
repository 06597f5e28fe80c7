"""JSON-LD read offline: our contexts against the published ones, and no undefined term (J4)."""

import json

import pytest
from pyld import jsonld

from federation.contexts import UnknownContext, built_in, compact, expand, undefined_terms
from federation.vocabulary import announce, collection_page, counted, create, instance, note, tombstone, video
from federation.vocabulary.terms import ACTIVITY_STREAMS, SECURITY

FILES = {
    ACTIVITY_STREAMS: "www.w3.org__ns__activitystreams.json",
    SECURITY: "w3id.org__security__v1.json",
}


@pytest.fixture
def documents(at, clip, parcel, pem):
    return [
        parcel.person,
        parcel.channel,
        instance(at, pem),
        note(at, clip),
        video(at, clip),
        create(at, clip),
        announce(at, clip),
        counted("https://video.example/c", 1),
        collection_page("https://video.example/c", 1, [create(at, clip)], None, "1-x"),
        tombstone("https://video.example/o", "Note", None),
    ]


def test_every_term_is_defined_when_documents_are_ours(documents):
    for document in documents:
        assert undefined_terms(document) == [], document["type"]


def test_undefined_term_is_named_when_a_document_has_one(at, clip):
    assert undefined_terms({**note(at, clip), "smell": "coal"}) == ["smell"]


def test_meaning_is_the_same_when_read_with_published_contexts(shared_dir, documents):
    published = {
        url: json.loads((shared_dir / "federation/contexts" / name).read_text())
        for url, name in FILES.items()
    }
    for document in documents:
        assert expand(document) == expand(document, published)


def test_built_in_contexts_define_the_same_terms_when_held_against_published_ones(shared_dir):
    for url, name in FILES.items():
        published = json.loads((shared_dir / "federation/contexts" / name).read_text())
        assert built_in()[url]["@context"] == published["@context"]


def test_document_survives_when_expanded_and_compacted(at, clip):
    """J4: round trip with the local loader."""
    original = note(at, clip)
    again = compact(original, original["@context"])
    for name in ("id", "type", "url", "name", "content", "published", "duration"):
        assert again[name] == original[name]


def test_unknown_context_is_refused_when_named():
    with pytest.raises(UnknownContext, match="evil"):
        expand({"@context": "https://evil.example/context", "type": "Note"})


def test_error_is_json_ld_s_own_when_document_is_malformed():
    with pytest.raises(jsonld.JsonLdError):
        expand({"@context": [17], "type": "Note"})
