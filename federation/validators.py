"""Would they take it: what each kind of server demands of a video, as checks (Y1). Pure.

Peers drop what they do not like without a word, so each check returns its reasons here instead. The rules
were read in the peers' sources (Mastodon, PeerTube, Loops, Pixelfed, GoToSocial); none of them is stricter
on purpose. A document that passes has no reasons: an empty list.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from federation.vocabulary.terms import PUBLIC, Document

LOOPS_MP4_BYTES = 100 * 1024 * 1024
PIXELFED_PIXELS = 5000
MASTODON_NAME = 2048
_DURATION = re.compile(r"PT\d+S")
_PEERTUBE_USERNAME = re.compile(r"[A-Za-z0-9\-_.:]+")
_FILE_TYPES = {"video/mp4", "video/ogg", "video/webm", "audio/mp4"}
_PICTURE_TYPES = {"image/jpeg", "image/png", "image/webp"}
_COMMENT_POLICIES = {1, 3}  # enabled, with approval; 2 is disabled, and so is a missing one
_HLS = "application/x-mpegURL"


@dataclass(frozen=True, slots=True)
class Parcel:
    """Everything about one video that a peer reads before it decides."""

    person: Document
    channel: Document
    create: Document
    video: Document

    @property
    def note(self) -> Document:
        """The Note inside the Create."""
        note: Document = self.create["object"]
        return note


def mastodon(parcel: Parcel) -> Iterator[str]:
    """Yield why Mastodon would not show a playable post."""
    note = parcel.note
    yield from _actor(parcel.person)
    yield from _owned(parcel)
    if len(parcel.person.get("name", "")) > MASTODON_NAME:
        yield "actor: name over 2048 characters"
    if PUBLIC not in _ids(note.get("to")) + _ids(note.get("cc")):
        yield "note: not addressed to the public"
    if note.get("summary"):
        yield "note: summary is shown as a content warning"
    if not _attachments(note, {"Document", "Video"}):
        yield "note: no video/mp4 attachment"
    if note.get("inReplyTo"):
        yield "note: is a reply"


def gotosocial(parcel: Parcel) -> Iterator[str]:
    """Yield why GoToSocial would not show a playable post."""
    yield from _actor(parcel.person)
    yield from _owned(parcel)
    if not _attachments(parcel.note, {"Document", "Video", "Image", "Audio"}):
        yield "note: no video/mp4 attachment"


def pixelfed(parcel: Parcel) -> Iterator[str]:
    """Yield why Pixelfed would drop the post: all of its attachments have to pass."""
    yield from _actor(parcel.person)
    yield from _owned(parcel)
    if _host(parcel.note["id"]) != _host(parcel.note["attributedTo"]):
        yield "note: id and attributedTo on different hosts"
    attachments = _list(parcel.note.get("attachment"))
    if not attachments:
        yield "note: no attachment"
    for attachment in attachments:
        if attachment.get("type") not in {"Document", "Image", "Video"}:
            yield f"attachment: type {attachment.get('type')}"
        if attachment.get("mediaType") != "video/mp4":
            yield f"attachment: mediaType {attachment.get('mediaType')}"
        if not _is_url(attachment.get("url")):
            yield "attachment: no url"
        if max(attachment.get("width") or 0, attachment.get("height") or 0) > PIXELFED_PIXELS:
            yield "attachment: over 5000 pixels"


def loops(parcel: Parcel) -> Iterator[str]:
    """Yield why Loops would drop the post (beyond its administrators' list of allowed servers)."""
    create, note = parcel.create, parcel.note
    yield from _actor(parcel.person)
    yield from _owned(parcel)
    if parcel.person.get("type") != "Person":
        yield "actor: not a Person"
    if isinstance(parcel.person.get("icon"), list):
        yield "actor: icon is a list"
    if note.get("type") != "Note" or note.get("inReplyTo"):
        yield "note: neither a Note nor free of inReplyTo"
    if parcel.person["followers"] not in _ids(create.get("to")) + _ids(create.get("cc")):
        yield "create: followers not addressed"
    found = _attachments(note, {"Document", "Video"})
    if not found:
        yield "note: no video/mp4 attachment"
    for attachment in found:
        parts = urlsplit(attachment["url"])
        if parts.scheme != "https" or (parts.port or 443) != 443:
            yield "attachment: url is not https on port 443"
        if (attachment.get("size") or 0) > LOOPS_MP4_BYTES:
            yield "attachment: over 100 MB"


def peertube(parcel: Parcel) -> Iterator[str]:
    """Yield why PeerTube would drop the video or close its comments."""
    video = parcel.video
    for actor in (parcel.person, parcel.channel):
        yield from _actor(actor)
        if not _PEERTUBE_USERNAME.fullmatch(actor.get("preferredUsername", "")):
            yield "actor: preferredUsername has other characters"
    yield from _peertube_owners(parcel)
    yield from _peertube_fields(video)
    yield from _peertube_urls(video)
    if video.get("commentsPolicy") not in _COMMENT_POLICIES:
        yield "video: comments are disabled without commentsPolicy"


SERVERS: Mapping[str, Callable[[Parcel], Iterator[str]]] = {
    "mastodon": mastodon,
    "peertube": peertube,
    "loops": loops,
    "pixelfed": pixelfed,
    "gotosocial": gotosocial,
}


def would_take(parcel: Parcel) -> dict[str, list[str]]:
    """Return, for each kind of server, why it would not take the video; an empty list means that it would."""
    return {name: list(check(parcel)) for name, check in SERVERS.items()}


def _actor(actor: Document) -> Iterator[str]:
    for name in ("id", "inbox", "outbox", "followers", "following", "url"):
        if not _is_url(actor.get(name)):
            yield f"actor: {name} is no URL"
    key = actor.get("publicKey") or {}
    if key.get("owner") != actor.get("id"):
        yield "actor: key of another owner"
    pem = key.get("publicKeyPem", "")
    if not pem.startswith("-----BEGIN PUBLIC KEY-----") or not 10 <= len(pem) <= 5000:
        yield "actor: publicKeyPem is not SPKI"


def _owned(parcel: Parcel) -> Iterator[str]:
    """Yield breaks in the chain of actor, activity and object (FEP-fe34)."""
    create, note = parcel.create, parcel.note
    if not create.get("actor") == note.get("attributedTo") == parcel.person.get("id"):
        yield "create: actor, owner of the note and person differ"
    if len({_host(document["id"]) for document in (create, note, parcel.person)}) != 1:
        yield "create: ids on different hosts"


def _peertube_owners(parcel: Parcel) -> Iterator[str]:
    owners = _ids(parcel.video.get("attributedTo"))
    host = _host(parcel.video["id"])
    if parcel.channel["type"] != "Group" or parcel.channel["id"] not in owners:
        yield "video: not attributed to a Group"
    if _host(parcel.channel["id"]) != host or _host(parcel.person["id"]) != host:
        yield "video: owner on another host"
    if parcel.person["id"] not in _ids(parcel.channel.get("attributedTo")):
        yield "channel: not attributed to the Person"


def _peertube_fields(video: Document) -> Iterator[str]:
    if not _is_uuid(video.get("uuid")):
        yield "video: uuid"
    if not 3 <= len(video.get("name") or "") <= 120:
        yield "video: name not 3 to 120 characters"
    if not _DURATION.fullmatch(video.get("duration") or ""):
        yield "video: duration not in whole seconds"
    if type(video.get("views")) is not int:
        yield "video: views"
    for name in ("published", "updated"):
        if not _is_date(video.get(name)):
            yield f"video: {name}"
    if not any(_is_picture(icon) for icon in _list(video.get("icon"))):
        yield "video: no usable icon"
    content = video.get("content")
    if content is not None and not (
        video.get("mediaType") in ("text/markdown", "text/html") and 3 <= len(content) <= 10_000
    ):
        yield "video: content"
    for tag in _list(video.get("tag")):
        if tag.get("type") == "Hashtag" and not 2 <= len(tag.get("name") or "") <= 30:
            yield f"video: tag {tag.get('name')}"


def _peertube_urls(video: Document) -> Iterator[str]:
    links = _list(video.get("url"))
    if not links or links[0].get("mediaType") != "text/html":
        yield "video: the page is not the first url"
    names: list[str] = []
    playable = False
    for link in links:
        for inner in (link, *_list(link.get("tag"))):
            if inner.get("mediaType") in _FILE_TYPES:
                names.append(urlsplit(inner.get("href", "")).path.rpartition("/")[2])
                if type(inner.get("height")) is not int or type(inner.get("size")) is not int:
                    yield f"video: link {inner.get('href')} without height or size"
                else:
                    playable = True
        if link.get("mediaType") == _HLS:
            playable = True
            if not isinstance(link.get("tag"), list):
                yield "video: HLS link without tag list"
    if len(set(names)) != len(names):
        yield "video: file names repeat, and PeerTube's are unique"
    if any(str(video.get("uuid")) not in name for name in names):
        yield "video: file name is not unique over videos"
    if not playable:
        yield "video: nothing to play"


def _attachments(note: Document, types: set[str]) -> list[dict[str, Any]]:
    return [
        attachment
        for attachment in _list(note.get("attachment"))
        if attachment.get("type") in types
        and attachment.get("mediaType") == "video/mp4"
        and _is_url(attachment.get("url"))
    ]


def _list(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _ids(value: Any) -> list[str]:
    return [item if isinstance(item, str) else item["id"] for item in _list(value)]


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://")) and bool(_host(value))


def _is_uuid(value: Any) -> bool:
    try:
        return bool(str(UUID(value)) == value)
    except (ValueError, TypeError, AttributeError):
        return False


def _is_date(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (ValueError, TypeError):
        return False


def _is_picture(icon: Mapping[str, Any]) -> bool:
    return (
        icon.get("type") == "Image"
        and _is_url(icon.get("url"))
        and icon.get("mediaType") in _PICTURE_TYPES
        and type(icon.get("width")) is int
        and type(icon.get("height")) is int
    )
