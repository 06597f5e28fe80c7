"""Whatever people write and peers ask, documents stay well formed and nothing raises (J13's spirit, Y1)."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from federation.addresses import Addresses
from federation.discovery import MalformedResource, parse_resource
from federation.model import Author, Mp4, Picture, PublicVideo
from federation.multikey import ed25519_multibase
from federation.validators import SERVERS, Parcel, would_take
from federation.vocabulary import channel, create, person, video

AT = Addresses.of("https://video.example")
VIDEO_ID = "0b7c7c1e-3b55-4a4e-9d6d-0a4f3a1c2b3d"
PEM = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
NOW = datetime(2026, 2, 3, tzinfo=UTC)

titles = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(str.strip)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=2000)
tags = st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=50), max_size=10)


class Elements(HTMLParser):
    """Collects the elements of a fragment and checks that they close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@given(
    title=titles,
    description=texts,
    tags=tags,
    seconds=st.floats(0, 36_000),
    title_end=st.sampled_from(["", "<"]),
)
def test_every_server_takes_it_when_people_write_anything(title, description, tags, seconds, title_end):
    clip = PublicVideo(
        video_id=VIDEO_ID,
        author=Author("u", "did:key:" + ed25519_multibase(bytes(32)), "ada", "Ada", PEM, NOW),
        title=title,
        published_at=NOW,
        updated_at=NOW,
        duration_seconds=seconds,
        width=720,
        height=1280,
        description=description,
        tags=tuple(tags),
        files=(Mp4("720p", AT.mp4(VIDEO_ID, "720p"), 720, 1280, 1),),
        pictures=(Picture(AT.media(VIDEO_ID, "thumbs/poster.jpg"), "image/jpeg", 720, 1280),),
    )
    parcel = Parcel(person(AT, clip.author), channel(AT, clip.author), create(AT, clip), video(AT, clip))
    assert would_take(parcel) == {name: [] for name in SERVERS}
    json.dumps([parcel.create, parcel.video])
    elements = Elements()
    elements.feed(parcel.note["content"])
    assert not elements.open
    assert elements.seen <= {"p", "strong", "a", "br", "span"}


@given(st.one_of(st.text(max_size=100), st.text(max_size=60).map("https://video.example/".__add__)))
def test_resource_is_understood_or_refused_when_arbitrary(resource):
    with suppress(MalformedResource):
        parse_resource(AT, resource)
