"""The encoder itself: some jobs at a time, until it is told to stop."""

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from freewill.client.errors import RequestFailed
from freewill.client.retrying import wait_seconds
from freewill.encoder.lease import Lease
from freewill.encoder.link import JobLost, Link
from media.pipeline import STORAGE_ERROR, TRANSCODE_ERROR, MediaError, MediaOutcome, MediaSettings, run_job
from media.remote import Capabilities, Failure, Offer
from tables.records import MediaJob

log = structlog.get_logger(__name__)
T = TypeVar("T")
LONGEST_BEAT_SECONDS: Final = 4.0
"""How often it shows that it lives, without news: a small part of a lease, and soon after a cancel (B43)."""
BEAT_SECONDS: Final = 1.0
"""How often progress is told at most: each report becomes a record and a push to a socket."""
GOODBYE_SECONDS: Final = 5.0
UNKNOWN: Final = frozenset({401, 403, 404})
"""The server does not know this encoder, or the protocol: asking again does not help."""
SETTINGS: Final = frozenset(field.name for field in fields(MediaSettings))


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where and how this machine encodes: folder, jobs at once, what it says of itself, its H.264 encoder."""

    folder: Path
    slots: int
    able: Capabilities
    encoder: str


class Refused(Exception):
    """The server does not want this encoder, or wants what only a newer one can do."""


class RemoteEncoder:
    """Takes jobs from one server, does them, and brings what they make."""

    def __init__(self, link: Link, place: Workplace) -> None:
        """Args: the open connection, and where to work."""
        self._link = link
        self._place = place

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop``; what is at work then is given back.

        Raises:
            Refused: the server does not know the token, or asks for what this version does not know.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._place.slots):
                    group.create_task(self._work(stop))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    async def _work(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                offer = await _until(stop, self._link.take(self._place.able))
                failures = 0
            except RequestFailed as error:
                if error.status in UNKNOWN:
                    raise Refused(str(error)) from error
                failures += 1
                pause = wait_seconds(failures, random.random(), error.retry_after)  # noqa: S311 (no secret)
                log.warning("no_answer", error=str(error), again_in_seconds=round(pause, 1))
                await _until(stop, asyncio.sleep(pause))
                continue
            if offer is not None:
                await self._take(offer, stop)

    async def _take(self, offer: Offer, stop: asyncio.Event) -> None:
        attempt = Try(self._link, offer, self._place)
        if strange := sorted(offer.settings.keys() - SETTINGS):
            # Without them the outputs would not be what was asked for; somebody else may know them.
            with suppress(JobLost, RequestFailed):
                await attempt.give_back()
            raise Refused(f"The server asks for {', '.join(strange)}: this encoder is older, update it.")
        await attempt.run(stop)


class Try:
    """One job under one lease."""

    def __init__(self, link: Link, offer: Offer, place: Workplace) -> None:
        """Args: the server, the job, and where to work."""
        self._offer = offer
        self._place = place
        self._lease = Lease(link, offer, place.able, place.folder / f"kept-{offer.lease_id}")
        self._reached: tuple[float | None, str] = (0.0, "probing")
        self._news = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Do the job, tell how it goes and how it ends; nothing is raised."""
        told = log.bind(job_id=self._offer.job_id, video_id=self._offer.video_id)
        told.info("job_begun")
        try:
            ended = await self._ended(stop)
            if ended is None:
                await self.give_back()
            elif isinstance(ended, MediaOutcome):
                # From here on the server itself keeps the lease.
                await _until(stop, self._lease.tell("finish", {"notes": ended.notes}), more=True)
                told.info("job_done")
            else:
                told.warning("job_failed", code=ended.code, reason=ended.reason)
                await _until(stop, self._lease.tell("fail", msgspec.to_builtins(ended)), more=True)
        except JobLost as error:
            told.warning("job_lost", why=str(error))
        except RequestFailed as error:
            told.error("job_given_up", error=str(error))
        finally:
            await asyncio.to_thread(self._lease.drop)

    async def give_back(self) -> None:
        """Let somebody else have the job at once."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._lease.tell("give-back"), GOODBYE_SECONDS)
        log.info("job_given_back", job_id=self._offer.job_id, video_id=self._offer.video_id)

    async def _ended(self, stop: asyncio.Event) -> MediaOutcome | Failure | None:
        """Run the job and show that it lives; None when it was stopped (JobLost)."""
        working = asyncio.create_task(self._encoded())
        beating, stopping = asyncio.create_task(self._beat()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({beating, working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if beating.done():
                beating.result()
            return None
        finally:
            for task in (beating, working, stopping):
                task.cancel()
            await asyncio.gather(beating, working, stopping, return_exceptions=True)

    async def _encoded(self) -> MediaOutcome | Failure:
        """Run the job; when it returns an outcome all outputs are with the server."""
        offer = self._offer
        job = MediaJob(
            job_id=offer.job_id,
            video_id=offer.video_id,
            source_key=self._lease.source_key,
            ladder=offer.ladder,
            preset=offer.preset,
            attempt=offer.attempt,
        )
        settings = MediaSettings(encoder=self._place.encoder, **offer.settings)
        playable = self._playable if offer.playable else None
        try:
            return await run_job(job, self._lease, self._place.folder, settings, self._progress, playable)
        except MediaError as error:
            return Failure(error.code, error.reason, error.retryable, error.said[-4_000:])
        except RequestFailed as error:
            return Failure(STORAGE_ERROR, "An output could not be stored.", True, str(error))
        except (JobLost, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("job_broke", job_id=offer.job_id)
            return Failure(TRANSCODE_ERROR, "The video could not be processed.", True, repr(error))

    async def _progress(self, percent: float | None, stage: str) -> None:
        self._reached = percent, stage
        self._news.set()

    async def _playable(self, made: MediaOutcome) -> None:
        await self._lease.tell("playable", {"notes": made.notes})

    async def _beat(self) -> None:
        """Tell how far it is when there is news, and that it lives when there is none, until it is lost."""
        while True:
            self._news.clear()
            await self._lease.progress(*self._reached)
            await asyncio.sleep(BEAT_SECONDS)
            with suppress(TimeoutError):
                pause = min(LONGEST_BEAT_SECONDS, self._offer.lease_seconds / 5)
                await asyncio.wait_for(self._news.wait(), pause)


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, T], *, more: bool = False) -> T | None:
    """Wait for something, but not longer than for the stop, or a moment more; None then."""
    doing, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if more and not doing.done():
            await asyncio.wait({doing}, timeout=GOODBYE_SECONDS)
        return doing.result() if doing.done() else None
    finally:
        for task in (doing, stopping):
            task.cancel()
        await asyncio.gather(doing, stopping, return_exceptions=True)
