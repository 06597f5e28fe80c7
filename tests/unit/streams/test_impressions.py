"""Impressions are logged in batches and never stand in a feed's way (E39, F11)."""

import asyncio

import msgspec

from streams.impressions import MAX_WAITING, ImpressionLog
from streams.log import LogWriteFailed
from tables.records import Impressions


class Log:
    """A writer that keeps what it is given, or refuses it."""

    def __init__(self):
        self.batches = []
        self.broken = False

    async def publish(self, outputs):
        if self.broken:
            raise LogWriteFailed("disk full")
        self.batches.append([(o.key, msgspec.json.decode(o.value, type=Impressions)) for o in outputs])

    async def commit(self, *, outputs=(), writes=()):
        raise AssertionError("impressions write no table")


def page(number, viewer="u"):
    return Impressions(
        viewer_id=viewer, at=float(number), algorithm="blend", videos=("v1", "v2"), position=20
    )


async def test_pages_are_one_batch_when_they_are_flushed():
    log = Log()
    impressions = ImpressionLog(log)
    impressions.note(page(1))
    impressions.note(page(2, viewer=""))
    impressions.note(Impressions(viewer_id="u", at=0.0, algorithm="blend", videos=()))
    await impressions.flush()
    await impressions.flush()
    assert log.batches == [[("u", page(1)), ("anonymous", page(2, viewer=""))]]


async def test_pages_wait_bounded_when_the_log_is_down():
    """In order when it is back; the oldest are dropped beyond the bound, and counted."""
    log = Log()
    log.broken = True
    impressions = ImpressionLog(log)
    for number in range(MAX_WAITING + 3):
        impressions.note(page(number))
        if number == 5:
            await impressions.flush()
    log.broken = False
    await impressions.flush()
    written = [item.at for batch in log.batches for _, item in batch]
    assert written == [float(number) for number in range(3, MAX_WAITING + 3)]
    assert impressions.dropped == 3


async def test_what_was_noted_is_written_when_the_server_stops():
    log = Log()
    impressions = ImpressionLog(log, flush_seconds=60.0)
    task = asyncio.create_task(impressions.run())
    await asyncio.sleep(0)
    impressions.note(page(1))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(log.batches) == 1
