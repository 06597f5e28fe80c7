"""Which waiting encode is next, and who works on it (Y14, B15). A pure queue, and a thin shell around it.

Jobs come from ``media.jobs`` and wait here, not acknowledged, until they have ended. Whoever encodes takes
the next one under a lease: the encoder of this process without a deadline, since it is told of everything;
one elsewhere with one, after which the job is back in its place. Both take from the same queue.

The order: highest priority first. Within one, whoever has least running and had least lately; within a
person, first in, first out. What a person has waiting in one priority rises by one for every
``AGEING_SECONDS`` since they were last served from it: so low priorities come, too, and ten jobs of one
person do not age past another's first.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from tables.records import MediaJob

AGEING_SECONDS: Final = 60.0
SERVED_HALF_LIFE_SECONDS: Final = 600.0
"""How fast it is forgotten that somebody was served."""
FORGOTTEN_BELOW: Final = 0.01
WAITING_LIMIT: Final = 2_000
"""Jobs that one worker holds, waiting or at work. A job waits as one task and one record, some kilobytes;
what is beyond is on its topic, in order, and neither priority nor fairness reaches it before others end."""
HERE: Final = "here"


@dataclass(slots=True)
class _Lane:
    """What one person has in one priority: jobs that wait since when, oldest first, and running ones."""

    since: OrderedDict[str, float] = field(default_factory=OrderedDict)
    running: set[str] = field(default_factory=set)
    served_at: float = float("-inf")

    def age(self, now: float) -> float:
        """Return for how long nothing of it was done although something waits, seconds."""
        return 0.0 if self.running else max(0.0, now - max(next(iter(self.since.values())), self.served_at))


class FairQueue:
    """Jobs that wait, in lanes by priority and person. Pure: the time is an argument, never going back."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lanes: dict[tuple[int, str], _Lane] = {}
        self._place: dict[str, tuple[int, str]] = {}
        self._running: dict[str, tuple[int, str]] = {}
        self._served: dict[str, tuple[float, float]] = {}  # person: weight, and when it was that

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._place)

    def __contains__(self, job_id: str) -> bool:
        """Tell whether a job waits."""
        return job_id in self._place

    def add(self, job_id: str, owner: str, priority: int, since: float) -> None:
        """Let a job wait; one that came back takes the place that its ``since`` gives it."""
        lane = self._lanes.setdefault((priority, owner), _Lane())
        newest = next(reversed(lane.since.values()), since)
        lane.since[job_id] = since
        if newest > since:
            lane.since = OrderedDict(sorted(lane.since.items(), key=lambda waiting: waiting[1]))
        self._place[job_id] = (priority, owner)

    def remove(self, job_id: str) -> None:
        """Let a job wait no longer."""
        place = self._place.pop(job_id, None)
        if place is not None:
            del self._lanes[place].since[job_id]

    def reorder(self, job_id: str, priority: int) -> None:
        """Give a waiting job another priority."""
        place = self._place.get(job_id)
        if place is not None and place[0] != priority:
            since = self._lanes[place].since[job_id]
            self.remove(job_id)
            self.add(job_id, place[1], priority, since)

    def take(self, now: float, fits: Callable[[str], bool] = lambda job_id: True) -> str | None:
        """Return the job that is next, which runs from now on; None when none waits that fits."""
        places = [place for place, lane in self._lanes.items() if any(map(fits, lane.since))]
        if not places:
            return None
        running = Counter(owner for _, owner in self._running.values())
        place = min(places, key=lambda place: self._rank(place, running[place[1]], now))
        lane = self._lanes[place]
        job_id = next(filter(fits, lane.since))
        self.remove(job_id)
        lane.running.add(job_id)
        self._running[job_id] = place
        return job_id

    def release(self, job_id: str, now: float, *, served: bool = True) -> None:
        """Note that a job runs no longer; one that was given back has not served its person."""
        place = self._running.pop(job_id)
        lane, owner = self._lanes[place], place[1]
        lane.running.discard(job_id)
        if served:
            lane.served_at = now
            self._served[owner] = (self._lately(owner, now) + 1.0, now)
        self._forget(now)

    def _rank(self, place: tuple[int, str], running: int, now: float) -> tuple[float, float, float]:
        lane = self._lanes[place]
        risen = lane.age(now) // AGEING_SECONDS
        return (-(place[0] + risen), running + self._lately(place[1], now), next(iter(lane.since.values())))

    def _lately(self, owner: str, now: float) -> float:
        weight, at = self._served.get(owner, (0.0, now))
        return float(weight * 0.5 ** (max(0.0, now - at) / SERVED_HALF_LIFE_SECONDS))

    def _forget(self, now: float) -> None:
        """Drop what says nothing any more; only when it is much, so that it costs little on average."""
        if len(self._served) > 2 * len(self._place) + 64:
            gone = [owner for owner in self._served if self._lately(owner, now) < FORGOTTEN_BELOW]
            for owner in gone:
                del self._served[owner]
        if len(self._lanes) > 2 * len(self._place) + 64:
            kept = ((place, lane) for place, lane in self._lanes.items() if lane.since or lane.running)
            self._lanes = dict(kept)


@dataclass(slots=True)
class Lease:
    """The right to work on a job. ``deadline`` is the clock's, None where the holder cannot be lost."""

    id: str
    job: MediaJob
    worker: str
    deadline: float | None


@dataclass(frozen=True, slots=True)
class QueueState:
    """What a worker's queue looks like; ``holds`` are the reasons for which nothing begins."""

    waiting: int
    running: int
    slots: int
    holds: tuple[str, ...]


@dataclass(slots=True)
class _Entry:
    """A job that was submitted, until it has ended; ``turn`` is resolved when its waiting is over."""

    job: MediaJob
    priority: int
    since: float
    turn: "asyncio.Future[Lease | None]"
    task: "asyncio.Task[object] | None"
    over: asyncio.Event = field(default_factory=asyncio.Event)
    lease: Lease | None = None


class Scheduler:
    """Gives out the jobs that wait in this process. All of it runs in one event loop."""

    def __init__(
        self,
        slots: int,
        clock: Callable[[], float],
        observed: Callable[[QueueState], object] = lambda state: None,
    ) -> None:
        """Args: how many run here at once, the clock, and what is told of every change."""
        self._queue = FairQueue()
        self._entries: dict[str, _Entry] = {}
        self._leases: dict[str, Lease] = {}
        self._here = 0
        self._latest = 0.0
        self._holds: dict[str, None] = {}
        self._slots = slots
        self._clock = clock
        self._observed = observed
        self._came = asyncio.Event()

    @property
    def state(self) -> QueueState:
        """How many wait and run, and what holds the queue."""
        return QueueState(len(self._queue), len(self._leases), self._slots, tuple(self._holds))

    def known(self) -> list[str]:
        """Return the ids of all jobs that are here, waiting or at work."""
        return list(self._entries)

    @asynccontextmanager
    async def turn(self, job: MediaJob) -> AsyncIterator[Lease | None]:
        """Wait for the turn of a job; it has ended when the block does.

        Yields:
            A lease to do it here; None when somebody else did it, or nobody wants it any more.

        Raises:
            Exception: what ``fail`` was given by somebody who tried it elsewhere.
        """
        while (other := self._entries.get(job.job_id)) is not None:
            await other.over.wait()  # it was delivered twice: never two of one at once
        # No two came at the same moment: the order stays when one is given back.
        self._latest = max(self._clock(), self._latest + 1e-6)
        turn = asyncio.get_running_loop().create_future()
        entry = _Entry(job, job.priority, self._latest, turn, asyncio.current_task())
        self._entries[job.job_id] = entry
        self._queue.add(job.job_id, job.owner_id, entry.priority, entry.since)
        self._dispatch()
        try:
            yield await entry.turn
        finally:
            self._queue.remove(job.job_id)
            del self._entries[job.job_id]
            self._end(entry)
            entry.over.set()
            self._dispatch()

    # -- encoders elsewhere

    async def take(
        self,
        worker: str,
        lease_seconds: float,
        wait_seconds: float = 0.0,
        fits: Callable[[MediaJob], bool] = lambda job: True,
    ) -> Lease | None:
        """Take the job that is next and fits, waiting for one at most so long; None when there is none.

        The lease ends by itself after ``lease_seconds`` without ``extend``; the job then waits again.
        """
        until = self._clock() + wait_seconds
        while (lease := self._take(worker, lease_seconds, fits)) is None:
            left = until - self._clock()
            if left <= 0:
                return None
            self._came.clear()
            try:
                async with asyncio.timeout(left):
                    await self._came.wait()
            except TimeoutError:
                return None
        return lease

    def extend(self, lease_id: str, lease_seconds: float) -> bool:
        """Show that a lease's holder lives; False when it has lost the job."""
        self._expire()
        lease = self._leases.get(lease_id)
        if lease is None or lease.deadline is None:
            return False
        lease.deadline = self._clock() + lease_seconds
        return True

    def find(self, lease_id: str) -> Lease | None:
        """Return a lease that holds."""
        self._expire()
        return self._leases.get(lease_id)

    def finish(self, lease_id: str) -> bool:
        """Say that a job is done: its outcome is on its topic. False when the lease was lost."""
        return self._resolve(lease_id, None)

    def fail(self, lease_id: str, error: Exception) -> bool:
        """Say that a job failed elsewhere; what follows, such as another try, is decided where it waits."""
        return self._resolve(lease_id, error)

    def give_back(self, lease_id: str) -> bool:
        """Put a job back where it was; False when the lease was lost."""
        lease = self._leases.get(lease_id)
        if lease is None or lease.worker == HERE:
            return False
        entry = self._entries[lease.job.job_id]
        self._end(entry, served=False)
        self._queue.add(entry.job.job_id, entry.job.owner_id, entry.priority, entry.since)
        self._dispatch()
        return True

    # -- decisions

    def hold(self, reason: str) -> None:
        """Begin nothing new until ``release``; what runs goes on (B14, B15)."""
        if reason not in self._holds:
            self._holds[reason] = None
            self._observed(self.state)

    def release(self, reason: str) -> None:
        """Take a reason back."""
        if reason in self._holds:
            del self._holds[reason]
            self._dispatch()

    def resize(self, slots: int) -> None:
        """Let so many run here at once; with fewer, what runs goes on and nothing new begins."""
        if slots != self._slots:
            self._slots = slots
            self._dispatch()

    def update(self, priorities: Mapping[str, int], asked: Collection[str]) -> None:
        """Follow what the rows say of the jobs ``asked``: priorities; those without one have ended."""
        for job_id in asked:
            entry = self._entries.get(job_id)
            if entry is None or entry.turn.done():
                continue  # what runs here asks for itself
            if job_id in priorities:
                entry.priority = priorities[job_id]
                self._queue.reorder(job_id, entry.priority)
            else:
                entry.turn.set_result(None)
        self._expire()
        self._dispatch()

    def abandon(self, kept: Callable[[MediaJob], bool]) -> None:
        """Cancel the tasks of waiting jobs that are not kept: their partition is another worker's now."""
        for entry in self._entries.values():
            waits = entry.lease is None and not entry.turn.done()
            if waits and entry.task is not None and not kept(entry.job):
                entry.task.cancel()  # so that nothing is acknowledged

    def _take(
        self,
        worker: str,
        lease_seconds: float | None,
        fits: Callable[[MediaJob], bool] = lambda job: True,
    ) -> Lease | None:
        self._expire()
        now = self._clock()

        def fitting(job_id: str) -> bool:
            return fits(self._entries[job_id].job)

        while not self._holds and (job_id := self._queue.take(now, fitting)) is not None:
            entry = self._entries[job_id]
            if entry.turn.done():  # cancelled, or ended by its row; it is on its way out
                self._queue.release(job_id, now, served=False)
                continue
            deadline = None if lease_seconds is None else now + lease_seconds
            entry.lease = Lease(uuid4().hex, entry.job, worker, deadline)
            self._leases[entry.lease.id] = entry.lease
            self._here += worker == HERE
            self._observed(self.state)
            return entry.lease
        return None

    def _dispatch(self) -> None:
        while self._here < self._slots and (lease := self._take(HERE, None)) is not None:
            self._entries[lease.job.job_id].turn.set_result(lease)
        self._came.set()
        self._observed(self.state)

    def _end(self, entry: _Entry, *, served: bool = True) -> None:
        lease, entry.lease = entry.lease, None
        if lease is not None:
            del self._leases[lease.id]
            self._here -= lease.worker == HERE
            self._queue.release(entry.job.job_id, self._clock(), served=served)

    def _resolve(self, lease_id: str, error: Exception | None) -> bool:
        self._expire()
        lease = self._leases.get(lease_id)
        entry = self._entries[lease.job.job_id] if lease is not None else None
        if entry is None or entry.turn.done():
            return False
        if error is None:
            entry.turn.set_result(None)
        else:
            entry.turn.set_exception(error)
        return True

    def _expire(self) -> None:
        now = self._clock()
        lost = [lease.id for lease in self._leases.values() if lease.deadline and lease.deadline <= now]
        for lease_id in lost:
            self.give_back(lease_id)
