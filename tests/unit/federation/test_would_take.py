"""Would they take it: our own documents, and what each server refuses (Y1)."""

import copy
import json

import pytest

from federation.validators import SERVERS, Parcel, peertube, would_take


def test_every_server_takes_it_when_video_is_ours(parcel):
    assert would_take(parcel) == {name: [] for name in SERVERS}


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "a"},
        {"title": "t" * 200},
        {"description": ""},
        {"tags": ()},
        {"tags": ("x" * 50,)},
        {"duration_seconds": 0.1},
        {"hls_url": None, "rungs": ()},
    ],
)
def test_every_server_takes_it_when_values_are_at_their_edges(pack, changes):
    assert would_take(pack(**changes)) == {name: [] for name in SERVERS}


def test_note_servers_refuse_when_there_is_no_mp4(pack):
    reasons = would_take(pack(files=()))
    for name in ("mastodon", "loops", "pixelfed", "gotosocial"):
        assert reasons[name]
    assert reasons["peertube"] == []  # it still has the playlist


def test_peertube_refuses_when_there_is_no_picture(pack):
    assert would_take(pack(pictures=()))["peertube"] == ["video: no usable icon"]


def _broken(parcel: Parcel, part: str, **changes) -> Parcel:
    documents = {
        name: copy.deepcopy(getattr(parcel, name)) for name in ("person", "channel", "create", "video")
    }
    target = documents["create"]["object"] if part == "note" else documents[part]
    target |= changes
    return Parcel(**documents)


@pytest.mark.parametrize(
    ("part", "changes", "server", "reason"),
    [
        ("video", {"uuid": "17"}, "peertube", "uuid"),
        ("video", {"duration": "PT1M30S"}, "peertube", "duration"),
        ("video", {"commentsPolicy": None}, "peertube", "comments"),
        ("video", {"attributedTo": "https://video.example/ap/actors/x"}, "peertube", "Group"),
        ("video", {"published": "yesterday"}, "peertube", "published"),
        ("video", {"views": "7"}, "peertube", "views"),
        ("channel", {"attributedTo": []}, "peertube", "channel"),
        ("person", {"preferredUsername": "a b"}, "peertube", "preferredUsername"),
        ("person", {"icon": [{"url": "https://video.example/i.png"}]}, "loops", "icon"),
        ("create", {"to": ["https://www.w3.org/ns/activitystreams#Public"], "cc": []}, "loops", "followers"),
        ("note", {"inReplyTo": "https://a.example/1"}, "loops", "inReplyTo"),
        ("note", {"summary": "cw"}, "mastodon", "summary"),
        ("note", {"to": [], "cc": []}, "mastodon", "public"),
        ("note", {"attributedTo": "https://evil.example/x"}, "pixelfed", "owner"),
        ("create", {"actor": "https://video.example/ap/actors/y"}, "gotosocial", "differ"),
        ("person", {"publicKey": {}}, "gotosocial", "key"),
    ],
)
def test_reason_is_given_when_document_breaks_a_demand(parcel, part, changes, server, reason):
    reasons = would_take(_broken(parcel, part, **changes))[server]
    assert any(reason in line for line in reasons), reasons


def test_repeated_file_names_are_refused_when_peertube_stores_them_unique(parcel):
    links = copy.deepcopy(parcel.video["url"])
    links[-1]["tag"] = [links[1]]
    assert any("repeat" in line for line in peertube(_broken(parcel, "video", url=links)))


def test_real_peertube_video_passes_when_judged(shared_dir, parcel):
    """The rules are not stricter than the real thing: a captured PeerTube video meets them."""
    path = shared_dir / "federation/captured/mobilizon-fixtures/peertube/peertube-video.json"
    captured = json.loads(path.read_text())
    owners = captured["attributedTo"]
    person = {**parcel.person, "id": next(o["id"] for o in owners if o["type"] == "Person")}
    person["publicKey"] = {**person["publicKey"], "owner": person["id"]}
    group = next(o["id"] for o in owners if o["type"] == "Group")
    channel = {**parcel.channel, "id": group, "attributedTo": [person["id"]]}
    channel["publicKey"] = {**channel["publicKey"], "owner": group}
    judged = Parcel(person=person, channel=channel, create=parcel.create, video=captured)
    # The capture is of 2020: comments had another property then.
    assert [line for line in peertube(judged) if "comments" not in line] == []
