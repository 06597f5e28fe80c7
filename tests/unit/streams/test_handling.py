"""No data and no error leaves an agent's loop (invariant 5, O39)."""

from functools import partial
from types import SimpleNamespace

import msgspec
import pytest

from streams.agents import handling
from streams.agents.handling import each_event, each_slice, only
from streams.dead_letters import DeadLetter, DeadLetters
from streams.log import LogWriteFailed
from streams.log.slices import Poison, Received, Slice
from tables.errors import ContentNotFound, DatabaseFailure
from tables.records import ContentFact


class Graveyard:
    """A writer that keeps the letters."""

    def __init__(self):
        self.letters = []

    async def publish(self, outputs):
        assert all(item.topic.endswith(".dead") for item in outputs)
        self.letters += [msgspec.json.decode(item.value, type=DeadLetter) for item in outputs]

    async def commit(self, *, outputs=(), writes=()):
        raise AssertionError("dead letters write no table")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(handling, "FIRST_RETRY_SECONDS", 0.0)


@pytest.fixture
def dead():
    grave = Graveyard()
    return grave, DeadLetters(grave, clock=lambda: 5.0)


def fact(number):
    return ContentFact(kind="video.ready", video_id=f"v{number}", owner_id="o", at=float(number))


def a_slice(count, poison=()):
    numbers = range(count)
    return Slice(
        "events.content", 3, [fact(n) for n in numbers], [f"v{n}" for n in numbers],
        [10 + n for n in numbers], [0.0] * count, list(poison), [()] * count, 10, 10 + count,
    )  # fmt: skip


class StreamOf:
    """A stream as Faust's: its events are acknowledged by hand."""

    def __init__(self, *slices):
        app = SimpleNamespace(consumer_generation_id=1)
        message = SimpleNamespace(generation_id=1)
        self.acked = []
        self._events = [
            SimpleNamespace(value=one, app=app, message=message, ack=partial(self.acked.append, one))
            for one in slices
        ]

    def noack(self):
        return self

    async def events(self):
        for event in self._events:
            yield event


async def test_record_that_fails_is_buried_and_its_neighbours_go_on(dead):
    grave, letters = dead
    seen = []

    async def handle(batch):
        if any(record.video_id == "v1" for record in batch.records):
            raise ContentNotFound("gone")
        seen.extend(record.video_id for record in batch.records)

    await each_slice("a", StreamOf(a_slice(3), a_slice(1)), handle, letters)
    assert seen == ["v0", "v2", "v0"]
    (letter,) = grave.letters
    assert (letter.topic, letter.partition, letter.offset, letter.key) == ("events.content", 3, 11, "v1")
    assert (letter.code, letter.agent, letter.at) == ("CONTENT_NOT_FOUND", "a", 5.0)
    assert msgspec.json.decode(letter.original, type=ContentFact) == fact(1)


async def test_undecodable_record_is_buried_as_it_stood(dead):
    grave, letters = dead
    poison = Poison(13, b"k\xff", b"\x00not json", "bad")

    async def handle(batch):
        assert len(batch.records) == 1

    await each_slice("a", StreamOf(a_slice(1, [poison])), handle, letters)
    (letter,) = grave.letters
    assert (letter.code, letter.original, letter.offset) == ("UNDECODABLE_RECORD", b"\x00not json", 13)


@pytest.mark.parametrize("down", [DatabaseFailure(), LogWriteFailed("disk")])
async def test_slice_waits_when_a_dependency_is_down(dead, down):
    grave, letters = dead
    tries = []

    async def handle(batch):
        tries.append(1)
        if len(tries) < 10:
            raise down

    await each_slice("a", StreamOf(a_slice(2)), handle, letters)
    assert len(tries) == 10
    assert not grave.letters


async def test_slice_succeeds_when_a_failure_passes(dead):
    grave, letters = dead
    tries = []

    async def handle(batch):
        tries.append(len(batch.records))
        if len(tries) < 3:
            raise RuntimeError("flaky")

    await each_slice("a", StreamOf(a_slice(2)), handle, letters)
    assert tries == [2, 2, 2]
    assert not grave.letters


async def test_event_is_buried_when_it_keeps_failing_or_is_poison(dead):
    grave, letters = dead

    async def handle(value):
        raise KeyError(value.video_id)

    for value in (fact(0), Poison(4, b"k", b"?", "bad")):
        await each_event("b", Received(value, "k", "events.content", 0, 4, 0.0, (), None), handle, letters)
    assert [letter.code for letter in grave.letters] == ["INTERNAL_ERROR", "UNDECODABLE_RECORD"]


def test_single_slice_keeps_its_place():
    single = only(a_slice(3), 2)
    assert (single.records, single.offsets, single.keys) == ([fact(2)], [12], ["v2"])
