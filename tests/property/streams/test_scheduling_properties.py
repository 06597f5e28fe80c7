"""The order of encodes: fair between people, urgent first, nobody for ever last (Y14)."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.scheduling import AGEING_SECONDS, FairQueue, Scheduler
from tables.records import MediaJob

OWNERS = st.sampled_from("abcd")
JOBS = st.lists(st.tuples(OWNERS, st.integers(-10, 10), st.floats(0, 600)), min_size=1, max_size=30)


def drain(queue, now, seconds=10.0):
    """Take and end one job after the other; return their ids and when each began."""
    order = []
    while (job_id := queue.take(now)) is not None:
        order.append((job_id, now))
        now += seconds
        queue.release(job_id, now)
    return order


@settings(max_examples=60, deadline=None)
@given(JOBS)
def test_every_job_is_taken_once_when_others_wait(jobs):
    """Work conserving: whenever one waits, one is given; none twice, none lost."""
    queue = FairQueue()
    for number, (owner, priority, since) in enumerate(jobs):
        queue.add(str(number), owner, priority, since)
    order = [job_id for job_id, _ in drain(queue, 600.0)]
    assert sorted(order) == sorted(map(str, range(len(jobs))))
    assert len(queue) == 0


@settings(max_examples=60, deadline=None)
@given(JOBS)
def test_own_jobs_come_in_order_when_they_are_of_one_priority(jobs):
    """First in, first out within a person."""
    queue = FairQueue()
    for number, (owner, _, since) in enumerate(jobs):
        queue.add(str(number), owner, 0, since)
    taken = [int(job_id) for job_id, _ in drain(queue, 600.0)]
    for person in "abcd":
        since = [jobs[number][2] for number in taken if jobs[number][0] == person]
        assert since == sorted(since)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 10), st.floats(1.0, 1_000.0))
def test_first_job_of_everybody_comes_before_anybodys_second(many, people, seconds):
    """Ten jobs of one person delay another's first by at most the one that runs, however long each takes."""
    queue = FairQueue()
    for number in range(many):
        queue.add(f"heavy {number}", "heavy", 0, float(number) / 100)
    now = 1.0
    for _ in range(many // 2 - 1):  # alone for a while: what waits meanwhile is not the older for it
        queue.release(queue.take(now), now + seconds)
        now += seconds
    begun = queue.take(now)
    for person in range(people):
        queue.add(f"light {person}", f"light {person}", 0, now + person / 100)
    queue.release(begun, now + seconds)
    order = [job_id for job_id, _ in drain(queue, now + seconds, seconds)]
    assert order[:people] == [f"light {person}" for person in range(people)]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.floats(1.0, 300.0))
def test_low_priority_comes_when_urgent_work_never_ends(levels, seconds):
    """Ageing: it waits at most one priority a minute, and the job that runs then."""
    queue = FairQueue()
    queue.add("low", "patient", -levels, 0.0)
    now, number = 0.0, 0
    while True:
        queue.add(f"urgent {number}", f"person {number}", 0, now)
        job_id = queue.take(now)
        if job_id == "low":
            break
        number += 1
        now += seconds
        queue.release(job_id, now)
        assert now <= (levels + 1) * AGEING_SECONDS + 2 * seconds, "it is starving"


@settings(max_examples=40, deadline=None)
@given(st.floats(1.0, 300.0))
def test_heavy_user_is_served_when_new_people_come_for_ever(seconds):
    """Who was served waits like somebody who came then."""
    queue = FairQueue()
    for number in range(3):
        queue.add(f"heavy {number}", "heavy", 0, 0.0)
    now, heavy = 0.0, []
    for number in range(2_000):
        queue.add(f"new {number}", f"new {number}", 0, now)
        job_id = queue.take(now)
        heavy += [now] if job_id.startswith("heavy") else []
        now += seconds
        queue.release(job_id, now)
        if len(heavy) == 3:
            break
    assert len(heavy) == 3
    pauses = [later - earlier for earlier, later in pairwise(heavy)]
    assert max(pauses) <= 2 * AGEING_SECONDS + 4 * seconds


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(OWNERS, st.integers(-2, 2)), min_size=1, max_size=20), st.data())
def test_urgent_goes_first_when_all_came_just_now(jobs, data):
    """Priority before fairness, whatever was changed meanwhile."""
    queue = FairQueue()
    priorities = {}
    for number, (owner, priority) in enumerate(jobs):
        queue.add(str(number), owner, priority, 0.0)
        priorities[str(number)] = priority
    for job_id in data.draw(st.lists(st.sampled_from(sorted(priorities)), max_size=5)):
        priorities[job_id] = data.draw(st.integers(-2, 2))
        queue.reorder(job_id, priorities[job_id])
    order = [priorities[job_id] for job_id, _ in drain(queue, 0.0, 0.0)]
    assert order == sorted(order, reverse=True)


class Clock:
    """Time that moves when a test says so."""

    now = 1_000.0

    def __call__(self):
        return self.now


def job(name, owner="o", priority=0):
    return MediaJob(
        job_id=name, video_id=name, source_key="", ladder="core", owner_id=owner, priority=priority
    )


class Encoder:
    """Submits jobs to a scheduler and keeps what became of each."""

    def __init__(self, scheduler):
        self.scheduler, self.begun, self.ended, self.let_go = scheduler, [], {}, asyncio.Event()
        self.tasks = []

    def submit(self, *jobs):
        self.tasks += [asyncio.create_task(self._run(one)) for one in jobs]

    async def _run(self, one):
        try:
            async with self.scheduler.turn(one) as lease:
                if lease is not None:
                    self.begun.append(one.job_id)
                    await self.let_go.wait()
                self.ended[one.job_id] = "here" if lease else "elsewhere"
        except ValueError as error:
            self.ended[one.job_id] = str(error)


@pytest.fixture
async def encoder():
    made = Encoder(Scheduler(1, Clock()))
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_lease_returns_to_the_queue_when_its_holder_is_silent(encoder):
    """An encoder elsewhere that dies loses the job at its deadline; what it says afterwards is not heard."""
    queue, clock = encoder.scheduler, encoder.scheduler._clock
    queue.resize(0)
    encoder.submit(job("a"), job("b"))
    await settle()
    lost = await queue.take("far", 30.0)
    assert lost.job.job_id == "a"
    clock.now += 20
    assert queue.extend(lost.id, 30.0)
    clock.now += 29
    assert queue.find(lost.id) is lost
    clock.now += 1
    assert not queue.extend(lost.id, 30.0)
    assert not queue.finish(lost.id)
    again = await queue.take("other", 30.0)
    assert again.job.job_id == "a", "it is back in its place"
    assert queue.finish(again.id)
    await settle()
    assert encoder.ended == {"a": "elsewhere"}
    assert queue.state.waiting == 1


async def test_job_goes_on_where_it_was_when_it_is_given_back_or_fails_elsewhere(encoder):
    """What is given back is taken here as soon as there is a slot; a failure is told where it waits."""
    queue = encoder.scheduler
    queue.resize(0)
    encoder.submit(job("a"), job("b"))
    await settle()
    first, second = await queue.take("far", 30.0), await queue.take("far", 30.0)
    assert queue.fail(second.id, ValueError("no encoder"))
    queue.resize(1)
    await settle()
    assert encoder.begun == []
    assert queue.give_back(first.id)
    assert not queue.give_back(first.id)
    encoder.let_go.set()
    await settle()
    assert encoder.ended == {"a": "here", "b": "no encoder"}
    assert (queue.state.waiting, queue.state.running) == (0, 0)


async def test_nothing_begins_when_the_queue_is_held(encoder):
    """B14, B15: here nor elsewhere, until every reason is gone; what runs goes on."""
    queue = encoder.scheduler
    encoder.submit(job("a"), job("b", "p"))
    await settle()
    queue.hold("paused")
    queue.hold("disk")
    encoder.let_go.set()
    await settle()
    assert (encoder.begun, encoder.ended) == (["a"], {"a": "here"})
    assert await queue.take("far", 30.0) is None
    queue.release("disk")
    await settle()
    assert encoder.begun == ["a"]
    queue.release("paused")
    await settle()
    assert encoder.begun == ["a", "b"]


async def test_one_runs_at_a_time_when_a_job_is_delivered_twice(encoder):
    """B8: they would share a folder; the second finds that it is done."""
    encoder.scheduler.resize(2)
    encoder.submit(job("a"), job("a"))
    await settle()
    assert encoder.begun == ["a"]
    encoder.let_go.set()
    await settle()
    assert encoder.begun == ["a", "a"]


async def test_waiting_job_leaves_when_its_row_has_ended(encoder):
    """B43: canceled while it waits; another priority reaches it, too."""
    queue = encoder.scheduler
    encoder.submit(job("a"), job("b", "p"), job("c", "q"))
    await settle()
    queue.update({"c": 5}, ["b", "c"])
    await settle()
    assert encoder.ended == {"b": "elsewhere"}
    encoder.submit(job("d", "r", 4))
    await settle()
    encoder.let_go.set()
    await settle()
    assert encoder.begun == ["a", "c", "d"]


async def test_taker_is_woken_when_a_job_comes(encoder):
    """An encoder elsewhere need not poll."""
    queue = Scheduler(0, asyncio.get_running_loop().time)
    encoder.scheduler = queue
    taker = asyncio.create_task(queue.take("far", 30.0, wait_seconds=30.0))
    await settle()
    encoder.submit(job("a"))
    assert (await taker).job.job_id == "a"
    assert await queue.take("far", 30.0, wait_seconds=0.01) is None


async def test_waiting_job_is_left_alone_when_its_partition_moved(encoder):
    """Its task is cancelled, so that nothing is acknowledged; what runs goes on."""
    encoder.submit(job("a"), job("b"), job("c"))
    await settle()
    encoder.scheduler.abandon(lambda one: one.job_id == "c")
    await settle()
    assert [task.cancelled() for task in encoder.tasks] == [False, True, False]
    encoder.let_go.set()
    await settle()
    assert encoder.begun == ["a", "c"]


async def test_slot_is_free_again_when_a_waiting_job_is_cancelled(encoder):
    """A stop, or a partition that moves: nothing stays behind."""
    queue = encoder.scheduler
    encoder.submit(job("a"), job("b"))
    await settle()
    for task in encoder.tasks:
        task.cancel()
    await settle()
    assert (queue.known(), queue.state.waiting, queue.state.running) == ([], 0, 0)
    encoder.submit(job("c"))
    await settle()
    assert encoder.begun == ["a", "c"]
