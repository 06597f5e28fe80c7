"""The outbox relay: only what the log has is deleted, in order, at least once (DESIGN invariant 2)."""

import asyncio

import pytest

from streams.log.errors import LogWriteFailed
from streams.relay import OutboxRelay
from tables.records import Notification
from tables.relational.outbox import enqueue, pending

TOPIC = "notifications"


class Log:
    """Takes what is published, or refuses it; looks whether the rows were still there."""

    def __init__(self, database):
        self.database = database
        self.taken = []
        self.rows_while_publishing = []
        self.refuses = 0

    async def publish(self, outputs):
        async with self.database.session() as session:
            self.rows_while_publishing.append(len(await pending(session, 100)))
        if self.refuses:
            self.refuses -= 1
            raise LogWriteFailed("the disk is full")
        self.taken += [output.key for output in outputs]


@pytest.fixture
async def log(database):
    """A log, and three rows in the outbox."""
    async with database.transaction() as session:
        for number in range(3):
            note = Notification(recipient_id=str(number), event="x", data={}, at=0.0)
            enqueue(session, TOPIC, str(number), note, at=0.0)
    return Log(database)


async def left(database):
    async with database.session() as session:
        return [row.key for row in await pending(session, 100)]


async def test_rows_are_deleted_only_when_the_log_has_them(database, log):
    """In their order, and counted; an empty outbox moves nothing."""
    moved = []
    relay = OutboxRelay(database, log, moved=moved.append)
    assert await relay.relay_once() == 3
    assert log.taken == ["0", "1", "2"]
    assert log.rows_while_publishing == [3], "a crash while publishing would have lost rows"
    assert await left(database) == []
    assert await relay.relay_once() == 0
    assert moved == [3]


async def test_rows_stay_and_are_sent_again_when_the_log_refuses(database, log, monkeypatch):
    """A failing log is tried again; nothing is lost or overtaken."""
    monkeypatch.setattr("streams.relay.FIRST_RETRY_SECONDS", 0.01)
    log.refuses = 2
    relay = OutboxRelay(database, log)
    with pytest.raises(LogWriteFailed):
        await relay.relay_once()
    assert await left(database) == ["0", "1", "2"]
    running = asyncio.create_task(relay.run())
    async with asyncio.timeout(120):
        while await left(database):
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert log.taken == ["0", "1", "2"]
