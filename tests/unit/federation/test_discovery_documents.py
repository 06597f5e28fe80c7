"""WebFinger subjects and answers, NodeInfo, host-meta (J9, RFC 7033, RFC 6415)."""

from xml.etree import ElementTree

import pytest

from federation.addresses import Addresses
from federation.discovery import (
    MalformedResource,
    Subject,
    Usage,
    channel_jrd,
    host_meta,
    instance_jrd,
    nodeinfo,
    nodeinfo_links,
    nodeinfo_type,
    only_relations,
    parse_resource,
    person_jrd,
)

DID = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"


@pytest.mark.parametrize(
    ("resource", "subject"),
    [
        ("acct:ada@video.example", Subject(username="ada")),
        ("acct:ada@VIDEO.example", Subject(username="ada")),
        ("ada@video.example", Subject(username="ada")),
        ("@ada@video.example", Subject(username="ada")),
        ("acct:video.example@video.example", Subject(instance=True)),
        ("https://video.example/@ada", Subject(username="ada")),
        ("https://video.example/@ada/", Subject(username="ada")),
        (f"https://video.example/ap/actors/{DID}", Subject(did=DID)),
        (f"https://video.example/ap/actors/{DID.replace(':', '%3A')}", Subject(did=DID)),
        (f"https://video.example/ap/channels/{DID}", Subject(channel_did=DID)),
        (DID, Subject(did=DID)),
        ("https://video.example/", Subject(instance=True)),
        ("https://video.example/ap/instance", Subject(instance=True)),
        ("acct:ada@other.example", None),
        ("acct:ada@video.example:8080", None),
        ("https://other.example/@ada", None),
        ("https://video.example/nothing", None),
    ],
)
def test_subject_is_found_when_resource_is_well_formed(at, resource, subject):
    assert parse_resource(at, resource) == subject


@pytest.mark.parametrize(
    "resource",
    ["ada", "acct:ada", "acct:@video.example", "mailto:", "https://[/@ada", "acct:a b@video.example"],
)
def test_resource_is_refused_when_malformed(at, resource):
    with pytest.raises(MalformedResource):
        parse_resource(at, resource)


def test_port_belongs_to_host_when_base_url_has_one():
    """INTERFACE Fediverse: HOST is the full host[:port] of the base URL."""
    at = Addresses.of("http://127.0.0.1:8080")
    assert parse_resource(at, "acct:ada@127.0.0.1:8080") == Subject(username="ada")
    assert parse_resource(at, "acct:ada@127.0.0.1") is None
    assert instance_jrd(at)["subject"] == "acct:127.0.0.1:8080@127.0.0.1:8080"


def test_self_link_leads_to_the_actor_when_answered(at, ada):
    jrd = person_jrd(at, ada)
    assert jrd["subject"] == "acct:ada@video.example"
    assert {"rel": "self", "type": "application/activity+json", "href": at.actor(ada.did)} in jrd["links"]
    assert jrd["aliases"] == ["https://video.example/@ada", at.actor(ada.did)]
    assert channel_jrd(at, ada)["subject"] == "acct:ada_channel@video.example"


def test_links_are_filtered_when_relations_are_asked(at, ada):
    """RFC 7033 section 4.3."""
    jrd = person_jrd(at, ada)
    assert [link["rel"] for link in only_relations(jrd, ["self"])["links"]] == ["self"]
    assert only_relations(jrd, ["nope"])["links"] == []
    assert only_relations(jrd, []) == jrd


def test_nodeinfo_meets_its_schema_when_answered(at):
    usage = Usage(users=3, active_month=2, active_half_year=3, posts=5, comments=8)
    document = nodeinfo("2.1", "0.1.0", usage)
    assert document["software"] == {"name": "freewill", "version": "0.1.0"}
    assert document["usage"] == {
        "users": {"total": 3, "activeMonth": 2, "activeHalfyear": 3},
        "localPosts": 5,
        "localComments": 8,
    }
    assert set(document) == {
        "version", "software", "protocols", "services", "openRegistrations", "usage", "metadata",
    }  # fmt: skip
    assert (
        nodeinfo_type("2.0") == 'application/json; profile="http://nodeinfo.diaspora.software/ns/schema/2.0#"'
    )
    assert [link["href"] for link in nodeinfo_links(at)["links"]] == [
        "https://video.example/nodeinfo/2.0",
        "https://video.example/nodeinfo/2.1",
    ]


def test_host_meta_is_xml_when_parsed(at):
    (link,) = ElementTree.fromstring(host_meta(at))
    assert link.attrib["rel"] == "lrdd"
    assert link.attrib["template"] == "https://video.example/.well-known/webfinger?resource={uri}"
