"""Every URL that federation puts into a document, built and taken apart in one place.

Ids are promises: once a peer has stored one it can never change (X41). Pure.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

CHANNEL_SUFFIX = "_channel"
"""Ends the user name of a channel, as PeerTube advises platforms without channels (Y1)."""

_MEDIA_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Addresses:
    """The public URLs of one server.

    Attributes:
        base: public origin without a trailing slash, such as ``https://video.example``.
    """

    base: str

    @classmethod
    def of(cls, base_url: str) -> "Addresses":
        """Return the addresses under a public origin; a trailing slash is dropped.

        >>> Addresses.of("https://video.example/").actor("did:key:z6Mk")
        'https://video.example/ap/actors/did:key:z6Mk'
        """
        return cls(base_url.rstrip("/"))

    @property
    def host(self) -> str:
        """``host[:port]`` of the origin, lower case: the HOST of ``acct:NAME@HOST``."""
        return urlsplit(self.base).netloc.lower()

    @property
    def shared_inbox(self) -> str:
        """The inbox of everybody here (X44)."""
        return f"{self.base}/api/federation/inbox"

    @property
    def instance_actor(self) -> str:
        """The actor that speaks for the server itself."""
        return f"{self.base}/ap/instance"

    def actor(self, did: str) -> str:
        """Return the id of a person; the DID stands in it with plain colons (X41, K7)."""
        return f"{self.base}/ap/actors/{did}"

    def channel(self, did: str) -> str:
        """Return the id of the channel that belongs to a person (Y1)."""
        return f"{self.base}/ap/channels/{did}"

    def profile(self, username: str) -> str:
        """Return the page of a person or a channel."""
        return f"{self.base}/@{username}"

    def watch(self, video_id: str) -> str:
        """Return the page of a video."""
        return f"{self.base}/v/{video_id}"

    def tag(self, tag: str) -> str:
        """Return the page that lists a tag.

        >>> Addresses("https://video.example").tag("über")
        'https://video.example/search?q=%23%C3%BCber'
        """
        return f"{self.base}/search?q=%23{quote(tag, safe='')}"

    def note(self, video_id: str) -> str:
        """Return the id of the ``Note`` of a video."""
        return f"{self.base}/ap/objects/{video_id}"

    def video(self, video_id: str) -> str:
        """Return the id of the ``Video`` of a video."""
        return f"{self.base}/ap/videos/{video_id}"

    def activity(self, verb: str, video_id: str) -> str:
        """Return the id of the activity ``create`` (of the Note) or ``announce`` (of the Video)."""
        return f"{self.base}/ap/activities/{verb}-{video_id}"

    def media(self, video_id: str, path: str) -> str:
        """Return a lasting URL of a public file, given its path below ``videos/{id}/``.

        Peers keep these URLs for years, so they carry no signature and no expiry.
        """
        return f"{self.base}/ap/media/{video_id}/{path}"

    def mp4(self, video_id: str, quality: str) -> str:
        """Return the lasting URL of a progressive file.

        The last segment repeats the video id: PeerTube stores only that segment as the file's name, in a
        column that is unique over all servers it knows.
        """
        return self.media(video_id, f"{video_id}-{quality}.mp4")

    def did_of(self, url: str) -> str | None:
        """Return the DID in a person's id or any URL below it, None for another URL."""
        path = self._path(url)
        if path is None or not path.startswith("/ap/actors/"):
            return None
        return unquote(path.removeprefix("/ap/actors/").split("/", 1)[0]) or None

    def channel_did_of(self, url: str) -> str | None:
        """Return the DID in a channel's id, None for another URL."""
        path = self._path(url)
        if path is None or not path.startswith("/ap/channels/"):
            return None
        return unquote(path.removeprefix("/ap/channels/").split("/", 1)[0]) or None

    def username_of(self, url: str) -> str | None:
        """Return the name in a profile page's URL, None for another URL."""
        path = self._path(url)
        if path is None or not path.startswith("/@"):
            return None
        return unquote(path.removeprefix("/@").split("/", 1)[0]) or None

    def _path(self, url: str) -> str | None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.netloc.lower() != self.host:
            return None
        return parts.path.rstrip("/")


def channel_name(username: str) -> str:
    """Return the user name of a person's channel.

    >>> channel_name("ada")
    'ada_channel'
    """
    return username + CHANNEL_SUFFIX


def channel_owner(name: str) -> str | None:
    """Return whose channel a user name means, None when it has not the form of a channel's.

    >>> channel_owner("ada_channel"), channel_owner("ada")
    ('ada', None)
    """
    owner = name.removesuffix(CHANNEL_SUFFIX)
    return owner if owner and owner != name else None


def is_media_path(path: str) -> bool:
    """Tell whether a path below ``videos/{id}/`` is made of plain names only.

    >>> is_media_path("hls/720p/segment_000.ts"), is_media_path("hls/../source.mp4")
    (True, False)
    """
    return all(_MEDIA_NAME.fullmatch(part) for part in path.split("/"))
