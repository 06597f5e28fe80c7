"""Wires delivery: which host URLs name, who is told when media changes, what moves to the archive."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import aiohttp
import structlog

from media.archive import archive_idle
from media.cloudfront import PolicySigner
from media.hosts import DeliveryHosts
from media.key_pairs import pair_id, public_pem
from media.regions import region_lookup
from media.urls import MediaSigner
from social.videos.ready import ready_videos
from social.videos.standing import Standings
from tables.definitions import VIDEO_ENGAGEMENT
from tables.reducers.engagement import DAY_SECONDS
from tables.relational.watching import on_availability
from web.bus import STANDINGS
from web.delivery import Delivery

if TYPE_CHECKING:
    from freewill.node import Node
    from freewill.settings import Settings

log = structlog.get_logger(__name__)

PROBE_SECONDS = 5.0
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=3.0)
PURGE_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
PURGE_PAUSES = (0.5, 2.0, 10.0)
"""Before the second, third and fourth try."""
_PURGE = "purge+"


class MediaDelivery:
    """The delivery of one node."""

    def __init__(self, node: "Node") -> None:
        """Args: the node, with its keys, database, store and bus built."""
        settings = node.settings
        self._node = node
        self._purges: set[asyncio.Task[None]] = set()
        self._end: Callable[[], None] | None = None
        self.hosts = DeliveryHosts(settings.media_hosts, settings.media_origin or settings.public_url)
        retired = [public_pem(pem) for pem in node.keyring.media_retired]
        self.signer = MediaSigner(
            node.keyring.media,
            pair_id(public_pem(node.keyring.media)),
            self.hosts.best,
            lifetime_seconds=settings.media_url_seconds,
            clock=node.clock,
            retired_keys={pair_id(pem): pem for pem in retired},
        )
        self.standings = Standings(node.database, node.clock)
        self.tools = Delivery(
            standings=self.standings,
            links=PolicySigner(self.signer.keys, self.hosts.all, node.clock),
            region_of=region_lookup(settings.media_regions),
            purge=self.purge,
            changed=self._changed,
            cdn_secret=settings.media_cdn_secret.get_secret_value(),
        )
        node.shared.bus.listen(STANDINGS, lambda video_id: self.standings.forget(video_id.decode()))

    def start(self) -> list[asyncio.Task[None]]:
        """Begin to hear of changes, and to look whether the hosts answer."""
        self._end = on_availability(self._changed)
        if not self.hosts.circuits:
            return []
        return [asyncio.create_task(self._probe_forever(), name="delivery hosts")]

    async def stop(self) -> None:
        """Hear of nothing any more; a purge under way is given up: what it is for is short-lived."""
        if self._end is not None:
            self._end()
            self._end = None
        for purge in tuple(self._purges):
            purge.cancel()
        await asyncio.gather(*self._purges, return_exceptions=True)

    async def archive_idle(self) -> None:
        """Move to the archive what nobody watched for the configured time (R32)."""
        days = self._node.settings.archive_idle_days
        if not days:
            return
        moved = await archive_idle(
            self._node.store,
            ready_videos(self._node.database),
            self._last_played,
            now=self._node.clock(),
            idle_seconds=days * DAY_SECONDS,
        )
        for video_id in moved:
            log.info("video_archived", video_id=video_id)
            self.tools.archive.forget(video_id)
            await self.purge(video_id, "archived")

    async def _last_played(self, video_id: str) -> float | None:
        """Return the end of the last day on which a view was counted."""
        found = self._node.worker.lookup(VIDEO_ENGAGEMENT.name)(video_id)
        return (max(found.daily) + 1) * float(DAY_SECONDS) if found and found.daily else None

    def _changed(self, video_id: str) -> None:
        """Drop what is remembered of a video here, in other workers, and in the CDN."""
        self.standings.forget(video_id)
        self._node.shared.bus.send(STANDINGS, video_id.encode())
        if self._node.settings.media_purge_url:
            task = asyncio.get_running_loop().create_task(self.purge(video_id, "changed"), name="purge")
            self._purges.add(task)
            task.add_done_callback(self._purges.discard)

    async def purge(self, video_id: str, reason: str) -> None:
        """Tell the CDN to drop what it keeps of a video; tries four times and logs what fails (C33)."""
        settings = self._node.settings
        if not settings.media_purge_url:
            return
        for pause in (*PURGE_PAUSES, None):
            try:
                await _tell(settings, video_id, reason)
                return
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("purge_failed", video_id=video_id, error=repr(error), again=pause is not None)
            if pause is not None:
                await asyncio.sleep(pause)

    async def _probe_forever(self) -> None:
        async with aiohttp.ClientSession(timeout=PROBE_TIMEOUT) as session:
            while True:
                results = await asyncio.gather(*(_answers(session, host) for host in self.hosts.circuits))
                for (host, circuit), worked in zip(self.hosts.circuits.items(), results, strict=True):
                    if circuit.note(worked):
                        log.warning("delivery_host", host=host, works=worked, best=self.hosts.best())
                await asyncio.sleep(PROBE_SECONDS)


async def _answers(session: aiohttp.ClientSession, host: str) -> bool:
    """Say whether a host delivers: it has to reach this origin, too."""
    try:
        async with session.get(f"{host}/media/health", allow_redirects=False) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def _tell(settings: "Settings", video_id: str, reason: str) -> None:
    """Send one purge: to a webhook as JSON, or as a PURGE request for the paths and the tag."""
    url, token = settings.media_purge_url, settings.media_purge_token.get_secret_value()
    tag = f"video-{video_id}"
    headers = {"Surrogate-Key": tag, "Cache-Tag": tag}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    path = f"/media/*/videos/{video_id}/*"
    async with aiohttp.ClientSession(timeout=PURGE_TIMEOUT, raise_for_status=True) as session:
        if url.startswith(_PURGE):
            request = session.request("PURGE", url.removeprefix(_PURGE).rstrip("/") + path, headers=headers)
        else:
            told = {"video_id": video_id, "tag": tag, "path": path, "reason": reason}
            request = session.post(url, json=told, headers=headers)
        async with request:
            pass
