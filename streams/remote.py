"""Jobs for encoders on other machines: given out under leases, taken back verified (Y14, B48).

They come from the queue that the encoder of this process takes from, too, so priorities, fairness, pauses and
cancels are the same. Whoever holds a lease shows life; a lease that runs out puts the job back, and what its
holder had brought is dropped. What is finished is verified, stored and on its topic before the job is
acknowledged: a crash in between delivers it again.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from media import layout
from media.pipeline import MANY_TRIES, TRANSCODE_ERROR, MediaError
from media.remote import Capabilities, Failure, Offer, Upload
from media.staging import KnownSource, Reviewed, Staging, bounds_of
from social.encoders import Encoder, Encoders, InputLinks
from social.videos.jobs import Wish
from streams.agents.encoding import WANTED_SECONDS, EncodeTools, NotWanted, Reporter, is_wanted, settings_for
from streams.log.errors import LogError
from streams.offering import Inputs, inputs_of, offer_of, problem_of
from streams.rests import Rests
from streams.scheduling import Lease
from tables.errors import LeaseLost, OutputRefused, PublishFailure, SignatureRefused, StorageFailure
from tables.lifecycle import JobStatus
from tables.records import MediaJob

log = structlog.get_logger(__name__)
LEASE_SECONDS: Final = 60.0
"""How long nothing may be heard of a holder: long enough for a short break of the network."""
LONGEST_WAIT_SECONDS: Final = 25.0
"""Below what proxies let a request wait."""
REVIEWS_AT_ONCE: Final = 2
"""Many encoders may finish at once, and the server may be small."""
RESUMED_SECONDS: Final = 40.0
"""After a start: how long jobs that were at work wait for whoever had them, longer than its pauses are."""
TIDY_SECONDS: Final = 2.0
SEEN_SECONDS: Final = 30.0
FINISHED_REMEMBERED: Final = 1_000


@dataclass(slots=True)
class _Held:
    """A job that an encoder elsewhere holds."""

    lease: Lease
    encoder: Encoder
    wish: Wish
    staging: Staging
    report: Reporter
    inputs: Inputs
    started_at: float
    asked_at: float
    published: bool = False
    ending: "asyncio.Task[None] | None" = None

    @property
    def job(self) -> MediaJob:
        return self.lease.job


class RemoteEncoding:
    """The ``EncodingDesk`` of a worker's queue, in its event loop; what it promises stands there."""

    def __init__(
        self,
        tools: EncodeTools,
        encoders: Encoders,
        links: InputLinks,
        folder: Path,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """Args: what encoding needs, who encoders are, signed addresses, a folder for what comes, a lease."""
        self._tools = tools
        self._queue = tools.queue.scheduler
        self._encoders = encoders
        self._links = links
        self._folder = folder
        self.lease_seconds = lease_seconds
        self._held: dict[str, _Held] = {}
        self._finished: OrderedDict[str, str] = OrderedDict()
        self._lost: Counter[str] = Counter()
        self._rests = Rests()
        self._seen: dict[str, tuple[float, Capabilities]] = {}
        self._waiting: set[asyncio.Task[Lease | None]] = set()
        self._reviews = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._resumed_until = 0.0
        self._kept: set[str] = set()
        self._given: set[str] = set()
        self._stopping = False

    def holding(self, encoder: Encoder) -> tuple[str, ...]:
        """Return the jobs that an encoder holds."""
        return tuple(held.job.job_id for held in self._held.values() if held.encoder.id == encoder.id)

    # -- taking

    async def take(
        self, encoder: Encoder, able: Capabilities, wait_seconds: float, resume: str = ""
    ) -> Offer | None:
        """Give out the next job that the encoder is able to do, or the one that it had."""
        claimed = self._links.claimed(encoder.id, resume) if resume else None
        self._rests.check(encoder.id, self._tools.clock())
        await self._note(encoder, able)
        now = self._tools.clock()
        self._resumed_until = self._resumed_until or now + RESUMED_SECONDS
        until = now + min(wait_seconds, LONGEST_WAIT_SECONDS)

        def fits(job: MediaJob) -> bool:
            if claimed is not None:
                return (job.job_id, job.attempt) == claimed
            return job.pixels <= able.max_pixels and not self._is_others(job.job_id, encoder)

        while not self._stopping:
            lease = await self._next(encoder, fits, max(0.0, until - self._tools.clock()))
            if lease is None:
                return None
            try:
                offer = await self._offer(lease, encoder, claimed is not None)
            except BaseException:
                self._queue.give_back(lease.id)
                raise
            if offer is not None:
                return offer
        return None

    def _is_others(self, job_id: str, encoder: Encoder) -> bool:
        """Tell whether a job is for whoever had it before this process started, or has just failed here."""
        now = self._tools.clock()
        kept = job_id in self._kept and now < self._resumed_until
        return kept or self._rests.avoids(encoder.id, job_id, now)

    async def _next(
        self, encoder: Encoder, fits: Callable[[MediaJob], bool], wait_seconds: float
    ) -> Lease | None:
        """Wait for a lease; a stop ends the waiting."""
        taking = self._queue.take(encoder.id, self.lease_seconds, wait_seconds, fits)
        waiting = asyncio.create_task(taking)
        self._waiting.add(waiting)
        try:
            await asyncio.wait([waiting])
        finally:
            self._waiting.discard(waiting)
            waiting.cancel()
        return None if waiting.cancelled() else waiting.result()

    async def _offer(self, lease: Lease, encoder: Encoder, resumed: bool) -> Offer | None:
        """Prepare a job for its holder; None when it is not to be done, or not in this way."""
        job, tools = lease.job, self._tools
        if not resumed and await self._waits_for_another(job):
            self._queue.give_back(lease.id)
            return None
        self._given.add(job.job_id)
        self._kept.discard(job.job_id)
        wish = await tools.queue.jobs.wish(job)
        if wish is Wish.NOTHING:
            self._queue.fail(lease.id, NotWanted())
            return None
        inputs = await inputs_of(job, tools.store)
        if problem := problem_of(job, inputs, self._lost[job.job_id]):
            self._lost.pop(job.job_id, None)
            self._queue.fail(lease.id, problem)
            return None
        source = await self._encoders.source(job.video_id) or KnownSource()
        staging = Staging(self._folder / lease.id, job, source, bounds_of(job.ladder, source))
        staging.given = frozenset(inputs)
        report, now = Reporter(job, tools.writer, tools.clock), tools.clock()
        self._held[lease.id] = _Held(lease, encoder, wish, staging, report, inputs, now, asked_at=now)
        log.info("media_job_given_out", job_id=job.job_id, video_id=job.video_id, encoder=encoder.name)
        return offer_of(
            lease,
            inputs,
            self._links,
            settings_for(tools.settings, wish),
            lease_seconds=self.lease_seconds,
            playable=wish is Wish.PLAYABLE,
        )

    async def _waits_for_another(self, job: MediaJob) -> bool:
        """Tell whether somebody worked on a job before this process started, and may come back for it."""
        if self._tools.clock() >= self._resumed_until or job.job_id in self._given:
            return False
        listed = await self._tools.queue.jobs.find(job.job_id)
        if listed.job.status is not JobStatus.PROCESSING:
            return False
        self._kept.add(job.job_id)
        return True

    def input_key(self, lease_id: str, name: str, expires_at: int, signature: str) -> str:
        """Return the object behind a signed address."""
        self._links.check(lease_id, name, expires_at, signature)
        held = self._held.get(lease_id)
        if held is None or name not in held.inputs or not self._queue.extend(lease_id, self.lease_seconds):
            raise SignatureRefused
        return held.inputs[name].key

    # -- while it is held

    async def progress(self, encoder: Encoder, lease_id: str, percent: float | None, stage: str) -> bool:
        """Extend the lease and note progress."""
        held, now = self._find(encoder, lease_id), self._tools.clock()
        if now - held.asked_at >= WANTED_SECONDS:
            held.asked_at = now
            if not await is_wanted(held.job, self._tools.queue.jobs):
                await self._given_up(held)
                return False
        await self._publish(held.report.progress(percent, stage))
        return True

    async def put(self, encoder: Encoder, lease_id: str, name: str, upload: Upload) -> None:
        """Take an output."""
        held = self._find(encoder, lease_id)
        try:
            await held.staging.put(name, upload)
        except OutputRefused as error:
            await self._refused(held, error)
            raise
        except StorageFailure:
            self._find(encoder, lease_id)  # its folder may have gone with the lease
            raise
        self._find(encoder, lease_id)

    async def playable(self, encoder: Encoder, lease_id: str, notes: tuple[str, ...]) -> None:
        """Publish a first rung."""
        held = self._find(encoder, lease_id)
        if held.published or held.wish is not Wish.PLAYABLE:
            return
        with held.staging.closed():
            reviewed = await self._holding(held, self._verified(held, whole=False))
            await self._publish(held.report.outcome("playable", replace(reviewed.outcome, notes=notes)))
        held.published = True

    async def finish(self, encoder: Encoder, lease_id: str, notes: tuple[str, ...]) -> None:
        """Verify, store and publish; whoever asks again waits for the same."""
        if self._finished.get(lease_id) == encoder.id:
            return
        held = self._find(encoder, lease_id)
        if held.ending is None or held.ending.done():
            held.ending = asyncio.create_task(self._finish(held, notes))
            held.ending.add_done_callback(_looked_at)
        await asyncio.shield(held.ending)

    async def fail(self, encoder: Encoder, lease_id: str, failure: Failure) -> None:
        """Take a failed try back.

        That trying again cannot help is an encoder's word only: it is tried once more, maybe by another.
        """
        held = self._find(encoder, lease_id)
        tries = MANY_TRIES if failure.retryable else 1
        error = MediaError(failure.code, failure.reason, retryable=True, tries=tries, said=failure.said)
        log.warning("media_job_failed_elsewhere", job_id=held.job.job_id, encoder=encoder.name)
        self._rests.failed(encoder.id, held.job.job_id, self._tools.clock())
        await self._failed(held, error)
        await self._encoders.count(encoder, "failed")

    async def give_back(self, encoder: Encoder, lease_id: str) -> None:
        """Put the job back."""
        held = self._find(encoder, lease_id)
        self._queue.give_back(lease_id)
        await self._forget(held)

    # -- the worker's own

    async def run(self) -> None:
        """Drop what lost leases have brought, for ever."""
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            await self.tidy()

    async def tidy(self) -> None:
        """Drop what lost leases have brought, and forget jobs that have ended."""
        known = set(self._queue.known())
        for held in list(self._held.values()):
            if self._queue.find(held.lease.id) is None and (held.ending is None or held.ending.done()):
                log.warning("media_lease_lost", job_id=held.job.job_id, encoder=held.encoder.name)
                self._lost[held.job.job_id] += held.job.job_id in known
                await self._forget(held)
        self._given &= known
        for job_id in [job_id for job_id in self._lost if job_id not in known]:
            del self._lost[job_id]

    def stop(self) -> None:
        """Give nothing out any more; whoever waits is answered."""
        self._stopping = True
        for waiting in self._waiting:
            waiting.cancel()

    # -- inside

    def _find(self, encoder: Encoder, lease_id: str) -> _Held:
        """Return what an encoder holds, which has shown life."""
        held = self._held.get(lease_id)
        if (
            held is None
            or held.encoder.id != encoder.id
            or not self._queue.extend(lease_id, self.lease_seconds)
        ):
            raise LeaseLost
        return held

    async def _finish(self, held: _Held, notes: tuple[str, ...]) -> None:
        tools, lease_id = self._tools, held.lease.id
        with held.staging.closed():
            reviewed = await self._holding(held, self._verified(held, whole=True))
            await self._publish(held.report.outcome("completed", replace(reviewed.outcome, notes=notes)))
        self._queue.finish(lease_id)
        self._finished[lease_id] = held.encoder.id
        if len(self._finished) > FINISHED_REMEMBERED:
            self._finished.popitem(last=False)
        self._rests.succeeded(held.encoder.id)
        tools.observed("completed", tools.clock() - held.started_at)
        log.info("media_job_finished_elsewhere", job_id=held.job.job_id, encoder=held.encoder.name)
        await self._forget(held)
        await self._encoders.count(held.encoder, "done")

    async def _verified(self, held: _Held, *, whole: bool) -> Reviewed:
        """Look at what is there and store it; nothing is stored of what is wrong, late or not wanted."""
        tools = self._tools
        try:
            async with self._reviews:
                reviewed = await held.staging.review(tools.settings, whole=whole)
        except OutputRefused as error:
            await self._refused(held, error)
            raise
        await self._still(held)
        await held.staging.store(reviewed, tools.store)
        await self._still(held)
        return reviewed

    async def _still(self, held: _Held) -> None:
        """Go on only while the job is wanted and held (LeaseLost)."""
        if not await is_wanted(held.job, self._tools.queue.jobs):
            await self._given_up(held)
            raise LeaseLost
        self._find(held.encoder, held.lease.id)

    async def _holding(self, held: _Held, work: "Awaitable[Reviewed]") -> Reviewed:
        """Keep the lease while the server itself works on it."""
        working = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait([working], timeout=self.lease_seconds / 4))[0]:
                self._queue.extend(held.lease.id, self.lease_seconds)
            return working.result()
        finally:
            working.cancel()

    async def _publish(self, report: Awaitable[None]) -> None:
        try:
            await report
        except LogError as error:
            raise PublishFailure from error

    async def _given_up(self, held: _Held) -> None:
        """End a job that nobody wants any more, with what it has stored of a video that is gone."""
        self._queue.fail(held.lease.id, NotWanted())
        await self._forget(held)
        await self._tools.videos.drop_outputs(held.job.video_id)
        if await self._encoders.source(held.job.video_id) is None:
            for name in held.staging.stored():
                await self._tools.store.delete(layout.prefix(held.job.video_id) + name)

    async def _refused(self, held: _Held, error: OutputRefused) -> None:
        """Let a try fail whose results are not what the job makes, and its encoder rest (Y14)."""
        reason = str(error.details.get("reason", ""))
        log.warning("media_output_refused", job_id=held.job.job_id, encoder=held.encoder.name, reason=reason)
        self._rests.refused(held.encoder.id, self._tools.clock())
        told = "What an encoder made of the video was not right."
        await self._failed(held, MediaError(TRANSCODE_ERROR, told, retryable=True, said=reason))
        await self._encoders.count(held.encoder, "refused")

    async def _failed(self, held: _Held, error: MediaError) -> None:
        error.made = held.staging.listed()
        self._queue.fail(held.lease.id, error)
        self._tools.observed("failed", self._tools.clock() - held.started_at)
        await self._forget(held)

    async def _forget(self, held: _Held) -> None:
        self._held.pop(held.lease.id, None)
        await held.staging.drop()

    async def _note(self, encoder: Encoder, able: Capabilities) -> None:
        """Note that an encoder is there, not with every request."""
        at, said = self._seen.get(encoder.id, (float("-inf"), None))
        if said != able or self._tools.clock() - at >= SEEN_SECONDS:
            self._seen[encoder.id] = self._tools.clock(), able
            await self._encoders.seen(encoder, able)


def _looked_at(ending: "asyncio.Task[None]") -> None:
    """Take note of how it ended, also when nobody waits for it any more."""
    if not ending.cancelled():
        ending.exception()
