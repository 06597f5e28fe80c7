"""The agent that makes variants of images (B38).

Its events are acknowledged when the outcome is in the database, so a crash or a stop in between delivers the
job again; what is no longer wanted is passed over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from media.images import Rendered
from media.pipeline import MediaError
from social.images import ImageService
from tables.errors import AppError
from tables.records import ImageJob

log = structlog.get_logger(__name__)
RETRY_SECONDS = (5.0, 12.0, 30.0)
"""Pauses before an image is tried again, as with videos (B9)."""

IN_FLIGHT = 16
"""Jobs that are taken at once: what pauses before its next try holds no slot."""


@dataclass(frozen=True)
class ImageWork:
    """What the agent needs; ``slots`` bounds how many children run at once in this process."""

    images: ImageService
    make: Callable[[str, str], Awaitable[Rendered]]
    slots: asyncio.Semaphore
    pauses: tuple[float, ...] = RETRY_SECONDS


async def process(job: ImageJob, work: ImageWork) -> None:
    """Make the variants of an image and record the outcome; what fails for a passing reason is repeated."""
    problem = MediaError(AppError.code, "The image could not be processed.", retryable=False)
    for pause in (0.0, *work.pauses):
        await asyncio.sleep(pause)
        upload = await work.images.upload_of(job.image_id)
        if upload is None:
            log.info("image_job_ignored", image_id=job.image_id)
            return
        try:
            async with work.slots:
                made = await work.make(job.image_id, upload)
        except MediaError as error:
            log.warning("image_job_failed", image_id=job.image_id, code=error.code, reason=error.reason)
            problem = error
            if not error.retryable:
                break
        else:
            await work.images.finish(job.image_id, made)
            return
    await work.images.fail(job.image_id, problem.code, problem.reason)
