"""Dead letters are looked at, sent again and dropped (O20, O39)."""

import base64
import time

import msgspec
import pytest

from streams.dead_letters import DeadLetter
from streams.letters import LetterDesk
from streams.relay import OutboxRelay
from tables.analytics import LetterFilter
from tables.errors import Missing, ValidationFailed
from tables.relational.engine import Database
from tables.relational.migrate import migrate

DEAD = "events.engagement.dead"


class Writer:
    """Publishes to the log, as the server's writer does."""

    def __init__(self, log):
        self.log = log

    async def publish(self, outputs):
        for item in outputs:
            place = self.log.partition_for(item.topic, item.key.encode())
            await self.log.append(item.topic, place, [item.value], keys=[item.key.encode()])


@pytest.fixture
async def desk(pond):
    url = f"sqlite+aiosqlite:///{pond.folder / 'desk.db'}"
    await migrate(url)
    database = Database.open(url)
    await pond.log.declare(DEAD, 4)
    for number in range(5):
        letter = DeadLetter(
            topic="events.engagement", partition=0, offset=number, key=f"u{number}", at=time.time() + number,
            value=base64.b64encode(b"raw %d" % number).decode(), code="ODD" if number % 2 else "EVEN",
            message="m",
        )  # fmt: skip
        await pond.put(DEAD, letter.key, letter)
    await pond.put(DEAD, "x", b"not a letter")
    pond.desk = LetterDesk(pond.log, database)
    pond.relay = OutboxRelay(database, Writer(pond.log))
    pond.again = lambda: LetterDesk(pond.log, database)
    yield pond
    await database.close()


async def test_letters_are_listed_newest_first_when_filtered_and_paged(desk):
    """Filters by topic, code, key and state; a cursor goes on."""
    page, cursor = await desk.desk.list(LetterFilter(), 2, None)
    assert [letter.key for letter in page] == ["u4", "u3"]
    rest, end = await desk.desk.list(LetterFilter(), 10, cursor)
    assert ([letter.key for letter in rest], end) == (["u2", "u1", "u0"], None)
    odd, _ = await desk.desk.list(LetterFilter(code="ODD"), 10, None)
    assert {letter.key for letter in odd} == {"u1", "u3"}
    assert (await desk.desk.list(LetterFilter(topic="media.jobs"), 10, None))[0] == []
    assert [x.key for x in (await desk.desk.list(LetterFilter(key="u2"), 10, None))[0]] == ["u2"]
    with pytest.raises(ValidationFailed):
        await desk.desk.list(LetterFilter(), 10, "junk")


async def test_decision_is_kept_when_letters_are_replayed_or_dropped(desk):
    """The original goes back to its topic; the letter stays readable, with what was decided."""
    page, _ = await desk.desk.list(LetterFilter(), 10, None)
    ids = {letter.key: letter.id for letter in page}
    assert await desk.desk.replay([ids["u0"], ids["u0"]], "root") == 1
    assert await desk.desk.drop([ids["u1"], ids["u2"]], "root") == 2
    assert {x.key for x in (await desk.desk.list(LetterFilter(), 10, None))[0]} == {"u3", "u4"}
    while await desk.relay.relay_once():
        pass
    other = desk.again()  # after a restart
    assert {x.key for x in (await other.list(LetterFilter(), 10, None))[0]} == {"u3", "u4"}
    assert {x.key for x in (await other.list(LetterFilter(state="dropped"), 10, None))[0]} == {"u1", "u2"}
    shown = await other.show(ids["u0"])
    assert (shown.state, shown.original) == ("replayed", "raw 0")
    place = desk.log.partition_for("events.engagement", b"u0")
    chunk = await desk.log.read("events.engagement", place, 0)
    assert chunk.values == [b"raw 0"]


async def test_nothing_is_decided_when_one_letter_is_unknown(desk):
    """All or none (NOT_FOUND)."""
    page, _ = await desk.desk.list(LetterFilter(), 1, None)
    for wrong in ("nothing/0/0", "events.engagement/9/0", "events.engagement/0/777", "x", "a/b/c", "a/0/٣"):
        with pytest.raises(Missing):
            await desk.desk.drop([page[0].id, wrong], "root")
    mark = {"letter": page[0].id, "state": "dropped", "by": "x", "at": 1.0}
    await desk.put(DEAD, "u0", msgspec.json.encode(mark))
    assert page[0].id not in {x.id for x in (await desk.again().list(LetterFilter(), 10, None))[0]}
