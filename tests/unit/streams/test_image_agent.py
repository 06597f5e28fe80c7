"""The agent of images (B38): passing failures are tried again, final ones told, what nobody wants left."""

import asyncio

from media.images import Rendered
from media.pipeline import MediaError
from streams.agents.images import ImageWork, process
from tables.records import ImageJob

MADE = Rendered(1, 1, "", "#000000", ())


class Images:
    """Remembers what the agent told."""

    def __init__(self, upload="images/1/source.png"):
        self.upload, self.told = upload, []

    async def upload_of(self, image_id):
        return self.upload

    async def finish(self, image_id, made):
        self.told.append(("READY", made))

    async def fail(self, image_id, code, reason):
        self.told.append((code, reason))


async def run(images, *outcomes):
    """Process one job whose tries end like ``outcomes``; returns how many there were."""
    tries = []

    async def make(image_id, key):
        tries.append(key)
        outcome = outcomes[len(tries) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    work = ImageWork(images, make, asyncio.Semaphore(1), pauses=(0.0, 0.0, 0.0))
    await process(ImageJob(image_id="1", at=0.0), work)
    return len(tries)


PASSING = MediaError("STORAGE_ERROR", "down", retryable=True)


async def test_outcome_is_told_when_the_third_try_works():
    images = Images()
    assert await run(images, PASSING, PASSING, MADE) == 3
    assert images.told == [("READY", MADE)]


async def test_failure_is_told_at_once_when_it_is_final_and_after_four_tries_when_not():
    images = Images()
    assert await run(images, MediaError("CORRUPTED_FILE", "damaged", retryable=False)) == 1
    assert await run(images, *[PASSING] * 4) == 4
    assert images.told == [("CORRUPTED_FILE", "damaged"), ("STORAGE_ERROR", "down")]


async def test_nothing_is_done_when_nobody_waits():
    images = Images(upload=None)
    assert await run(images) == 0
    assert images.told == []
