"""A fold that takes long leaves the loop to others; what it decides is written whole or not at all (F17)."""

import asyncio
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from streams.folding import STEP_SECONDS, Fold, Folded

ROWS = {"a": 1, "b": 2}


class Writer:
    """A log that writes at once and remembers what it was given."""

    def __init__(self):
        self.turn = asyncio.Lock()
        self.written = []

    def start(self, *, outputs, writes, changes):
        self.written.append({key: value for _, _, rows in writes for key, value in rows.items()})
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@pytest.fixture
def writer():
    return Writer()


@pytest.fixture
def numbers(writer):
    """A fold over a table of two numbers."""
    table = SimpleNamespace(
        row=lambda key, partition: ROWS.get(key),
        codec=SimpleNamespace(encode=lambda value: str(value).encode()),
        changelog_topic=SimpleNamespace(get_topic_name=lambda: "numbers-changelog"),
    )
    return Fold(table, writer)


def in_steps(count, turns, seen):
    """Return a fold of so many steps, each as long as one may be; it notes how often others came."""

    def fold(states):
        for _ in range(count):
            ends = time.perf_counter() + STEP_SECONDS
            while time.perf_counter() < ends:
                pass
            seen.append(len(turns))
            yield
        return Folded({key: value + 10 for key, value in states.items()})

    return fold


async def counted(turns):
    """Note each turn of the loop."""
    while True:
        turns.append(1)
        await asyncio.sleep(0)


async def test_others_have_a_turn_between_steps_when_a_fold_is_long(numbers, writer):
    turns, seen = [], []
    other = asyncio.create_task(counted(turns))
    folded = await numbers.apply(0, ["a", "b", "c"], in_steps(20, turns, seen))
    other.cancel()
    assert folded.rows == {"a": 11, "b": 12}
    assert writer.written == [{"a": 11, "b": 12}]
    assert seen == sorted(set(seen)), "two steps in one turn of the loop"


async def test_folds_of_other_partitions_wait_when_one_goes_in_steps(numbers):
    """They take turns whole: a fold in steps is not mixed with another."""
    order = []

    def fold_of(name):
        def fold(states):
            order.append(f"{name} begins")
            yield from in_steps(5, [], [])(states)
            order.append(f"{name} ends")
            return Folded({})

        return fold

    await asyncio.gather(numbers.apply(0, ["a"], fold_of("one")), numbers.apply(1, ["b"], fold_of("two")))
    assert order == ["one begins", "one ends", "two begins", "two ends"]


@pytest.mark.parametrize("ending", ["failure", "cancellation"])
async def test_nothing_is_written_when_a_fold_ends_in_the_middle(numbers, writer, ending):
    begun = asyncio.Event()

    def fold(states):
        yield from in_steps(2, [], [])(states)
        begun.set()
        if ending == "failure":
            raise ValueError("no such step")
        while True:
            yield from in_steps(1, [], [])(states)

    work = asyncio.create_task(numbers.apply(0, ["a"], fold))
    await begun.wait()
    if ending == "cancellation":
        work.cancel()
    with suppress(ValueError, asyncio.CancelledError):
        await work
    assert writer.written == []
    assert not numbers.locks[0].locked()
    assert not writer.turn.locked()
