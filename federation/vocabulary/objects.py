"""The ``Note`` of a video and the activities around it (J2, J46, X47, Y1). Pure."""

from datetime import datetime

from federation.addresses import Addresses
from federation.model import Mp4, PublicVideo
from federation.vocabulary.actors import image
from federation.vocabulary.markup import content
from federation.vocabulary.terms import NOTE_CONTEXT, PUBLIC, Document, duration, timestamp


def note(at: Addresses, video: PublicVideo) -> Document:
    """Return the ``Note`` that Mastodon, Loops, Pixelfed and GoToSocial play (Y1).

    It carries one mp4 attachment when a progressive file exists, and none otherwise. ``summary`` is left
    out because it would be shown as a content warning, ``updated`` because it would mark an edit.
    """
    note_id = at.note(video.video_id)
    return {
        "@context": NOTE_CONTEXT,
        "id": note_id,
        "type": "Note",
        "attributedTo": at.actor(video.author.did),
        "name": video.title,
        "content": content(at, video),
        "mediaType": "text/html",
        "url": at.watch(video.video_id),
        "published": timestamp(video.published_at),
        "duration": duration(video.duration_seconds),
        "sensitive": False,
        **audience(at, video),
        "attachment": [_attachment(video, file) for file in video.files[:1]],
        "tag": [_hashtag(at, tag) for tag in video.tags],
        "likes": _count(f"{note_id}/likes", video.counts.likes),
        "shares": _count(f"{note_id}/shares", video.counts.shares),
        "replies": _count(f"{note_id}/replies", video.counts.comments),
    }


def create(at: Addresses, video: PublicVideo) -> Document:
    """Return the ``Create`` of the Note, with the Note in it, by the person."""
    return {
        "@context": NOTE_CONTEXT,
        "id": at.activity("create", video.video_id),
        "type": "Create",
        "actor": at.actor(video.author.did),
        "published": timestamp(video.published_at),
        **audience(at, video),
        "object": without_context(note(at, video)),
    }


def announce(at: Addresses, video: PublicVideo) -> Document:
    """Return the channel's ``Announce`` of the Video, which is how PeerTube learns of one."""
    channel_id = at.channel(video.author.did)
    return {
        "@context": NOTE_CONTEXT,
        "id": at.activity("announce", video.video_id),
        "type": "Announce",
        "actor": channel_id,
        "published": timestamp(video.published_at),
        "to": [PUBLIC],
        "cc": [f"{channel_id}/followers", at.actor(video.author.did)],
        "object": at.video(video.video_id),
    }


def tombstone(object_id: str, former_type: str, deleted_at: datetime | None) -> Document:
    """Return what is left of a deleted object, to be served with 410."""
    document = {
        "@context": NOTE_CONTEXT,
        "id": object_id,
        "type": "Tombstone",
        "formerType": former_type,
    }
    if deleted_at:
        document["deleted"] = timestamp(deleted_at)
    return document


def audience(at: Addresses, video: PublicVideo) -> Document:
    """Return ``to`` and ``cc`` of a public video (X47).

    The followers stand there by the URL that the actor names: Loops drops what reaches its shared inbox
    addressed to the public only.
    """
    return {"to": [PUBLIC], "cc": [f"{at.actor(video.author.did)}/followers"]}


def without_context(document: Document) -> Document:
    """Return the document as it stands inside another one."""
    return {name: value for name, value in document.items() if name != "@context"}


def _attachment(video: PublicVideo, file: Mp4) -> Document:
    attachment = {
        "type": "Document",
        "mediaType": "video/mp4",
        "url": file.url,
        "name": video.title,
        "duration": duration(video.duration_seconds),
        "width": file.width,
        "height": file.height,
        "size": file.size_bytes,
    }
    if video.pictures:
        attachment["icon"] = image(video.pictures[0])  # Mastodon's poster
    return attachment


def _hashtag(at: Addresses, tag: str) -> Document:
    return {"type": "Hashtag", "name": f"#{tag}", "href": at.tag(tag)}


def _count(collection_id: str, total: int) -> Document:
    return {"id": collection_id, "type": "Collection", "totalItems": total}
