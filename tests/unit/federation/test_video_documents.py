"""Note, Video, activities and collections of one clip (J2, J3, J46, X47, Y1)."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from federation.model import Subtitle
from federation.vocabulary import (
    announce,
    collection,
    collection_page,
    counted,
    create,
    note,
    tombstone,
    video,
)
from federation.vocabulary.terms import PUBLIC


def test_note_carries_one_mp4_when_a_file_exists(at, clip):
    """INTERFACE Fediverse: one mp4 attachment with name, mediaType and duration."""
    (attachment,) = note(at, clip)["attachment"]
    assert attachment["mediaType"] == "video/mp4"
    assert attachment["name"] == clip.title
    assert attachment["duration"] == "PT90S"
    assert (attachment["width"], attachment["height"], attachment["size"]) == (720, 1280, 4_000_000)
    assert attachment["url"].endswith(f"/{clip.video_id}-720p.mp4")


def test_create_tells_everything_when_video_is_ready(at, clip):
    """J2: name, content, published, url, media type, duration."""
    activity = create(at, clip)
    inner = activity["object"]
    assert activity["type"] == "Create"
    assert activity["id"] == f"https://video.example/ap/activities/create-{clip.video_id}"
    assert activity["actor"] == inner["attributedTo"] == at.actor(clip.author.did)
    assert activity["published"] == inner["published"] == "2026-02-03T04:05:06.789Z"
    assert inner["name"] == clip.title
    assert inner["url"] == f"https://video.example/v/{clip.video_id}"
    assert inner["duration"] == "PT90S"
    assert "@context" not in inner


def test_followers_are_addressed_when_video_is_public(at, clip):
    """X47; and Loops drops what is addressed to the public only."""
    for document in (note(at, clip), create(at, clip)):
        assert document["to"] == [PUBLIC]
        assert document["cc"] == [f"{at.actor(clip.author.did)}/followers"]


def test_text_is_escaped_when_it_has_markup(at, clip):
    content = note(at, clip)["content"]
    assert "<runs>" not in content
    assert "&lt;runs&gt;" in content
    assert '<a href="https://engine.example/a?b=1&amp;c=2" rel="nofollow noopener">' in content
    assert 'class="mention hashtag" rel="tag">#<span>steam</span>' in content


def test_every_rung_is_listed_when_video_is_described(at, clip):
    """J3: one attachment per transcoded resolution."""
    document = video(at, clip)
    assert [rung["name"] for rung in document["attachment"]] == ["1080p", "360p"]
    (playlist,) = [link for link in document["url"] if link["mediaType"] == "application/x-mpegURL"]
    assert [rung["height"] for rung in playlist["tag"]] == [1920, 640]


def test_page_is_the_first_url_when_video_is_described(at, clip):
    page, file, *_ = video(at, clip)["url"]
    assert (page["mediaType"], page["href"]) == ("text/html", at.watch(clip.video_id))
    assert (file["mediaType"], file["height"], file["size"]) == ("video/mp4", 1280, 4_000_000)


def test_names_fit_peertube_when_title_is_short_or_long(at, clip, pack):
    assert pack(title="Hi").video["name"] == "Hi (@ada)"
    long = pack(title="x" * 200).video["name"]
    assert len(long) == 120
    assert pack(title="x" * 120).video["name"] == "x" * 120


def test_content_is_left_out_when_too_short_for_peertube(pack):
    assert "content" not in pack(description="ab").video
    assert pack(description="abc").video["mediaType"] == "text/markdown"


def test_tags_are_hashtags_when_given(at, clip):
    """J46. PeerTube wants bare names of 2 to 30 characters, Mastodon the sign."""
    assert [tag["name"] for tag in note(at, clip)["tag"]] == ["#steam", "#x"]
    assert [tag["name"] for tag in video(at, clip)["tag"]] == ["steam"]


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, "PT1S"), (59.6, "PT60S"), (3725.0, "PT3725S")])
def test_duration_has_seconds_only_when_long(pack, seconds, expected):
    """PeerTube reads PT1M30S as one second."""
    parcel = pack(duration_seconds=seconds)
    assert parcel.video["duration"] == parcel.note["duration"] == expected


def test_channel_announces_the_video_when_published(at, clip):
    activity = announce(at, clip)
    assert activity["actor"] == at.channel(clip.author.did)
    assert activity["object"] == at.video(clip.video_id)


def test_attachment_is_missing_when_no_file_exists(pack):
    assert pack(files=()).note["attachment"] == []


def test_pages_link_on_when_more_follow(at, clip):
    """J9: head, first page, next page."""
    outbox = f"{at.actor(clip.author.did)}/outbox"
    head = collection(outbox, 21)
    assert (head["totalItems"], head["first"]) == (21, f"{outbox}?page=true")
    page = collection_page(outbox, 21, [create(at, clip)], None, "17-x")
    assert page["id"] == head["first"]
    assert page["next"] == f"{outbox}?page=true&cursor=17-x"
    last = collection_page(outbox, 21, [], "17-x", None)
    assert last["id"] == page["next"]
    assert "next" not in last


def test_collection_has_no_pages_when_empty(at):
    assert "first" not in collection("https://video.example/x", 0)
    assert counted("https://video.example/x", 5)["totalItems"] == 5


def test_tombstone_names_what_it_was_when_deleted(at):
    stone = tombstone("https://video.example/ap/objects/1", "Note", datetime(2026, 1, 1, tzinfo=UTC))
    assert (stone["type"], stone["formerType"]) == ("Tombstone", "Note")
    assert stone["deleted"] == "2026-01-01T00:00:00.000Z"


def test_captions_are_told_by_language_when_there_are_some(at, clip):
    """Y6: as PeerTube reads them; a video without any does not speak of them."""
    assert "subtitleLanguage" not in video(at, clip)
    url = at.media(clip.video_id, "captions/pt-BR.vtt")
    told = video(at, replace(clip, subtitles=(Subtitle("pt-BR", "Português (Brasil)", url),)))
    assert told["subtitleLanguage"] == [
        {"identifier": "pt-BR", "name": "Português (Brasil)", "url": url},
    ]
    assert "subtitleLanguage" in told["@context"][1]
