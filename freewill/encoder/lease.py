"""A job under a lease, as long as it can be kept: one that ran out is taken up again if nobody else has it.

A server that starts anew knows no leases, and a network that is away for minutes lets them run out. What was
encoded is not lost for that: what was brought already is kept here until the end, and brought again.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog

from freewill.encoder.link import JobLost, LeaseGone, Link
from media import layout
from media.remote import SOURCE, Capabilities, Input, Offer
from media.stores import ObjectInfo, run_blocking
from tables.errors import ContentNotFound

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Lease:
    """What is asked and told of one job; it is the ``media.storing.JobStore`` of the job, too.

    Every call raises JobLost when the job is not this encoder's any more.
    """

    def __init__(self, link: Link, offer: Offer, able: Capabilities, folder: Path) -> None:
        """Args: the server, the job, what this encoder is able to do, a folder for what is kept."""
        self.offer = offer
        self._link = link
        self._able = able
        self._folder = folder
        self._kept: dict[str, Path] = {}
        self._resuming = asyncio.Lock()

    async def progress(self, percent: float | None, stage: str) -> None:
        """Show that the job is alive, and how far it is."""
        await self._held(lambda: self._link.progress(self.offer, percent, stage))

    async def tell(self, what: str, said: object = None) -> None:
        """Say ``playable``, ``finish``, ``fail`` or ``give-back``."""
        await self._held(lambda: self._link.tell(self.offer, what, said))

    def drop(self) -> None:
        """Remove what was kept."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- as the store of the job

    @property
    def source_key(self) -> str:
        """The key that the source has here; the server's own is not told."""
        return self._key(SOURCE)

    def local_path(self, key: str) -> Path | None:
        """Return None: all is elsewhere."""
        return None

    async def fetch(self, key: str, path: Path) -> None:
        """Read an input (CONTENT_NOT_FOUND)."""
        while (found := self._input(key)) is not None:
            try:
                return await self._link.fetch(found, path)
            except ContentNotFound:
                lease_id = self.offer.lease_id
                await self.progress(None, "probing")
                if lease_id == self.offer.lease_id:
                    raise
        raise ContentNotFound

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the inputs below a prefix."""
        for found in self.offer.inputs:
            if self._key(found.name).startswith(prefix):
                yield ObjectInfo(self._key(found.name), found.size_bytes, "", "", 0.0)

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Bring an output; the server knows its type by its name."""
        name = key.removeprefix(layout.prefix(self.offer.video_id))
        await self._held(lambda: self._link.put(self.offer, name, path))
        if move:
            await run_blocking(_keep, path, self._folder / name)
            self._kept[name] = self._folder / name

    # -- keeping it

    async def _held(self, call: Callable[[], Awaitable[T]]) -> T:
        """Do something, and again when the lease had to be taken up again for it."""
        while True:
            lease_id = self.offer.lease_id
            try:
                return await call()
            except LeaseGone:
                await self._resume(lease_id)

    async def _resume(self, lease_id: str) -> None:
        """Take the job up again under a new lease, and bring what was brought under the old one.

        Raises:
            JobLost: somebody else has it, or nobody wants it.
        """
        async with self._resuming:
            if self.offer.lease_id != lease_id:
                return  # done meanwhile
            offer = await self._link.resume(self._able, self.offer.resume)
            if offer is None:
                raise JobLost("its lease ran out, and it cannot be had again")
            log.warning("job_taken_up_again", job_id=offer.job_id, brought_again=len(self._kept))
            self.offer = offer
            for name, path in list(self._kept.items()):
                await self._link.put(offer, name, path)

    def _input(self, key: str) -> Input | None:
        return next((found for found in self.offer.inputs if self._key(found.name) == key), None)

    def _key(self, name: str) -> str:
        folder = layout.prefix if name == SOURCE else layout.captions_prefix
        return folder(self.offer.video_id) + name


def _keep(path: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    path.replace(kept)
