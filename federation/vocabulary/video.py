"""The ``Video`` of a video, as PeerTube demands it (J3, J46, Y1). Pure."""

from federation.addresses import Addresses
from federation.model import Mp4, PublicVideo, Rung
from federation.vocabulary.actors import image
from federation.vocabulary.terms import PUBLIC, VIDEO_CONTEXT, Document, duration, timestamp

COMMENTS_ENABLED = 1  # PeerTube's VideoCommentPolicy.ENABLED; a missing policy means disabled
PUBLISHED = 1  # PeerTube's VideoState.PUBLISHED
HLS = "application/x-mpegURL"
NAME_LENGTH = range(3, 121)
TAG_LENGTH = range(2, 31)
CONTENT_MINIMUM = 3


def video(at: Addresses, item: PublicVideo) -> Document:
    """Return the ``Video`` with every progressive file and every rung of the ladder.

    The HTML page comes first among the URLs, where Mastodon looks for its link card.
    """
    video_id, person_id = at.video(item.video_id), at.actor(item.author.did)
    document = {
        "@context": VIDEO_CONTEXT,
        "id": video_id,
        "type": "Video",
        "name": _name(item),
        "uuid": item.video_id,
        "duration": duration(item.duration_seconds),
        "views": item.counts.views,
        "state": PUBLISHED,
        "sensitive": False,
        "waitTranscoding": True,
        "downloadEnabled": True,
        "commentsEnabled": True,
        "commentsPolicy": COMMENTS_ENABLED,
        "canReply": PUBLIC,
        "published": timestamp(item.published_at),
        "updated": timestamp(item.updated_at),
        "tag": [_hashtag(at, tag) for tag in item.tags if len(tag) in TAG_LENGTH],
        "icon": [image(picture) for picture in item.pictures],
        "url": _urls(at, item),
        "attachment": [_rendition(item, rung) for rung in item.rungs],
        "attributedTo": [
            {"type": "Person", "id": person_id},
            {"type": "Group", "id": at.channel(item.author.did)},
        ],
        "to": [PUBLIC],
        "cc": [f"{person_id}/followers", f"{at.channel(item.author.did)}/followers"],
        **{name: f"{video_id}/{name}" for name in ("likes", "dislikes", "shares", "comments")},
    }
    if item.subtitles:
        document["subtitleLanguage"] = [
            {"identifier": text.language, "name": text.name, "url": text.url} for text in item.subtitles
        ]
    if item.width and item.height:
        document["aspectRatio"] = round(item.width / item.height, 4)
    if len(item.description) >= CONTENT_MINIMUM:
        document |= {"mediaType": "text/markdown", "content": item.description}
    return document


def _name(item: PublicVideo) -> str:
    """Return a title that PeerTube takes: 3 to 120 characters."""
    name = item.title if len(item.title) >= NAME_LENGTH.start else f"{item.title} (@{item.author.username})"
    return name if len(name) in NAME_LENGTH else name[: NAME_LENGTH.stop - 2].rstrip() + "…"


def _urls(at: Addresses, item: PublicVideo) -> list[Document]:
    links = [_link("text/html", at.watch(item.video_id)), *(_file(file) for file in item.files)]
    if item.hls_url:
        # Not the mp4 Links again: PeerTube's file names are unique, it would fail on the second.
        links.append({**_link(HLS, item.hls_url), "tag": [_rung(rung) for rung in item.rungs]})
    return links


def _link(media_type: str, href: str) -> Document:
    return {"type": "Link", "mediaType": media_type, "href": href}


def _file(file: Mp4) -> Document:
    return {
        **_link("video/mp4", file.url),
        "height": file.height,
        "width": file.width,
        "size": file.size_bytes,
        "name": file.quality,
    }


def _rung(rung: Rung) -> Document:
    return {
        **_link(HLS, rung.playlist_url),
        "height": rung.height,
        "width": rung.width,
        "bandwidth": rung.bandwidth,
        "name": rung.quality,
    }


def _rendition(item: PublicVideo, rung: Rung) -> Document:
    """Return the attachment of one transcoded resolution (J3)."""
    return {
        "type": "Document",
        "mediaType": HLS,
        "url": rung.playlist_url,
        "name": rung.quality,
        "duration": duration(item.duration_seconds),
        "width": rung.width,
        "height": rung.height,
        "bandwidth": rung.bandwidth,
    }


def _hashtag(at: Addresses, tag: str) -> Document:
    """Return a tag by its bare name: PeerTube keeps the name as it comes, with ``#`` if there is one."""
    return {"type": "Hashtag", "name": tag, "href": at.tag(tag)}
