"""What the front is given to deliver media: who may have it, where it is, who is told of changes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from media.archive import ArchiveStates
from media.regions import RegionOf, nowhere

if TYPE_CHECKING:
    from media.cloudfront import PolicySigner
    from social.videos.standing import Standings
    from social.views import Principal, Video

Licence = Mapping[str, str]


class Licences(Protocol):
    """A system for the rights to protected content (C35)."""

    async def __call__(self, video: "Video", viewer: "Principal | None") -> Licence | None:
        """Return what a player needs for a licence, such as its server; None for content without protection.

        Raises:
            Forbidden: the viewer has no right to it (FORBIDDEN).
        """


async def unprotected(video: "Video", viewer: "Principal | None") -> Licence | None:
    """Be the ``Licences`` of a server without protected content."""
    return None


async def nobody_to_tell(video_id: str, reason: str) -> None:
    """Be the purge of a server without a CDN: its own cache is told in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivery of media; the composition root builds it.

    ``purge`` tells a CDN to drop what it keeps of a video, and why; it never raises. ``changed`` tells the
    other workers that a video is for others than before; it returns at once. Requests that carry
    ``cdn_secret`` come from a CDN that has checked the signature itself.
    """

    standings: "Standings"
    links: "PolicySigner"
    region_of: RegionOf = nowhere
    licences: Licences = unprotected
    purge: Callable[[str, str], Awaitable[None]] = nobody_to_tell
    changed: Callable[[str], object] = lambda video_id: None
    cdn_secret: str = ""
    archive: ArchiveStates = field(default_factory=ArchiveStates)
