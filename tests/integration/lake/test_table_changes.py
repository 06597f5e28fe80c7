"""Following a table over a real log: no gap, no end, resumable (Y10)."""

import asyncio

import pytest

from streams.changes import TableChanges
from streams.log.tables import struct_codec
from streams.log.topics import TopicPolicy
from tables.analytics import Change, Position, format_vector, parse_vector
from tables.errors import Missing, ValidationFailed
from tables.reducers.engagement import Counters, VideoEngagement

TOPIC = "freewill-video_engagement-changelog"


class Table:
    """A table that is what its changelog says."""

    def __init__(self):
        self.codec = struct_codec(VideoEngagement)
        self.values = {}

    @property
    def changelog_topic(self):
        return self

    def get_topic_name(self):
        return TOPIC

    def scan(self):
        return iter(self.values.items())

    def lookup(self, key):
        return self.values.get(key)


@pytest.fixture
async def world(pond):
    table = Table()
    await pond.log.declare(TOPIC, 4, TopicPolicy(compact=True))
    changes = TableChanges({"video_engagement": table}, pond.log, settle=lambda: pond.log.transact([]))
    yield table, pond, changes
    changes.close()


async def put(world, key, views):
    table, pond, _ = world
    value = None if views is None else VideoEngagement(local=Counters(views=views))
    await pond.row("video_engagement", key, value)
    if value is None:
        table.values.pop(key, None)
    else:
        table.values[key] = value


async def take(items, until):
    """Apply a feed to a copy until it says what it should; returns the copy and the last position."""
    copy, position = {}, None
    async with asyncio.timeout(120):
        async for item in items:
            if isinstance(item, Position):
                position = item.vector
                if until(copy):
                    return copy, position
            elif item.value is None:
                copy.pop(item.key, None)
            else:
                copy[item.key] = item.value["local"]["views"]
    raise AssertionError("the feed ended")


async def test_follower_has_the_table_when_it_changes_all_the_time(world):
    """Rows first, then changes, nothing between is missed: the copy ends equal to the table."""
    for number in range(500):
        await put(world, f"v{number}", 1)
    done = asyncio.Event()

    async def write():
        for number in range(600):
            await put(world, f"v{number % 550}", number + 2)
            if number % 7 == 0:
                await put(world, f"v{number % 90}", None)
        done.set()

    writing = asyncio.create_task(write())
    table, _, changes = world
    want = lambda: {key: state.views for key, state in table.values.items()}  # noqa: E731
    copies = [take(changes.follow("video_engagement", None, 0.05), lambda c: done.is_set() and c == want())]
    await asyncio.sleep(0.05)
    copies.append(
        take(changes.follow("video_engagement", None, 0.05), lambda c: done.is_set() and c == want())
    )
    for copy, _ in await asyncio.gather(*copies):
        assert copy == want()
    await writing


async def test_follower_has_the_table_when_other_workers_hold_parts_of_it(world):
    """F17: without rows of its own to show, the changelog from its start says the same."""
    table, pond, _ = world
    changes = TableChanges(
        {"video_engagement": table}, pond.log, settle=lambda: pond.log.transact([]), whole=False
    )
    for number in range(60):
        await put(world, f"v{number % 40}", number)
    await put(world, "v7", None)
    want = {key: state.views for key, state in table.values.items()}
    table.values.clear()
    copy, position = await take(changes.follow("video_engagement", None, 0.05), lambda c: c == want)
    await put(world, "v7", 9)
    copy, _ = await take(changes.follow("video_engagement", position, 0.05), lambda c: "v7" in c)
    assert copy == {"v7": 9}
    changes.close()


async def test_follower_goes_on_where_it_was_when_it_comes_back(world):
    """`since` is the cursor of the last line: exactly what came after it, in order, with offsets."""
    _, _, changes = world
    await put(world, "a", 1)
    _, position = await take(changes.follow("video_engagement", None, 0.05), lambda copy: copy == {"a": 1})
    await put(world, "a", 2)
    await put(world, "b", 1)
    await put(world, "a", None)
    assert parse_vector(format_vector(position)) == position
    found = []
    async for item in changes.follow("video_engagement", position, 0.05):
        if isinstance(item, Position):
            break
        found.append(item)
    assert [(c.key, c.value is None) for c in found if c.key == "a"] == [("a", False), ("a", True)]
    assert {c.op for c in found} == {"change"}
    assert all(isinstance(c, Change) and c.offset >= position[c.partition] for c in found)
    everything = changes.follow("video_engagement", {}, 0.05)
    copy, _ = await take(everything, lambda copy: copy == {"b": 1})
    assert copy == {"b": 1}


async def test_position_is_refused_when_it_is_none_of_the_table(world):
    """VALIDATION_ERROR with the field; NOT_FOUND for an unknown table."""
    _, _, changes = world
    with pytest.raises(Missing):
        changes.check("nothing", None)
    for vector in ({0: 99}, {9: 0}):
        with pytest.raises(ValidationFailed) as raised:
            changes.check("video_engagement", vector)
        assert raised.value.details["field"] == "since"
    for text in ("x", "0", "0:-1", "0:1,0:2", "0:1,", "0:9999999999999999", "٣:1"):
        with pytest.raises(ValidationFailed):
            parse_vector(text)


async def test_feeds_end_when_the_server_stops(world):
    """A stop does not wait for the followers."""
    _, _, changes = world
    feed = changes.follow("video_engagement", None, 60.0)
    assert isinstance(await anext(feed), Position)
    waiting = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0.05)
    changes.close()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(waiting, 120)
