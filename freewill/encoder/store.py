"""The server's store as far as one job may see it: its inputs, and where its outputs go."""

from collections.abc import AsyncIterator
from pathlib import Path

from freewill.encoder.link import Link
from media import layout
from media.remote import SOURCE, Offer
from media.stores import ObjectInfo, run_blocking
from tables.errors import ContentNotFound


class LinkStore:
    """The ``media.pipeline.JobStore`` of a job under a lease."""

    def __init__(self, link: Link, offer: Offer) -> None:
        """Args: the server, and the job."""
        self._link = link
        self._offer = offer
        self._inputs = {_key(offer, found.name): found for found in offer.inputs}

    def local_path(self, key: str) -> Path | None:
        """Return None: all is elsewhere."""
        return None

    async def fetch(self, key: str, path: Path) -> None:
        """Read an input (CONTENT_NOT_FOUND)."""
        if key not in self._inputs:
            raise ContentNotFound
        await self._link.fetch(self._inputs[key], path)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the inputs below a prefix."""
        for key, found in self._inputs.items():
            if key.startswith(prefix):
                yield ObjectInfo(key, found.size_bytes, "", "", 0.0)

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Bring an output; the server knows its type by its name."""
        await self._link.put(self._offer, key.removeprefix(layout.prefix(self._offer.video_id)), path)
        if move:
            await run_blocking(path.unlink)


def source_key(offer: Offer) -> str:
    """Return the key that the source of a job has here; the server's own is not told."""
    return _key(offer, SOURCE)


def _key(offer: Offer, name: str) -> str:
    folder = layout.prefix if name == SOURCE else layout.captions_prefix
    return folder(offer.video_id) + name
