"""What an encoder elsewhere is given of a job: its files at signed addresses, what decides on its outputs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from media import ladder, layout
from media.pipeline import TRANSCODE_ERROR, MediaError, MediaSettings
from media.remote import SOURCE, Input, Offer
from media.stores import ObjectInfo, ObjectStore
from social.encoders import InputLinks
from streams.scheduling import Lease
from tables.records import MediaJob

LOST_TIMES: Final = 3
"""Leases of one try that may run out before the try counts as failed: the job may be what ends encoders."""
DECIDING: Final = (
    "preset",
    "upscale",
    "exact_bitrate",
    "dash",
    "first_rung_seconds",
    "loudness_lufs",
    "per_title",
    "source_captions",
)
"""Fields of the settings that an encoder elsewhere takes over: they decide on the outputs."""

Inputs = Mapping[str, ObjectInfo]
"""The files that a job reads, by the names that the encoder knows them by."""


async def inputs_of(job: MediaJob, store: ObjectStore) -> Inputs:
    """Return the files that a job reads: the source, when it is there, and captions of people (Y6)."""
    found = {}
    if (source := await store.stat(job.source_key)) is not None:
        found[SOURCE] = source
    async for info in store.list(layout.captions_prefix(job.video_id)):
        if layout.is_caption(info.key) and not info.archived:
            found[info.key.rpartition("/")[2]] = info
    return found


def problem_of(job: MediaJob, inputs: Inputs, times_lost: int) -> MediaError | None:
    """Return why a job is not given out, None when nothing is wrong with it."""
    if times_lost >= LOST_TIMES:
        reason = "Encoders were lost while they converted the video."
        return MediaError(TRANSCODE_ERROR, reason, retryable=True)
    if SOURCE not in inputs:
        return MediaError("CORRUPTED_FILE", "The source is not in the store.", retryable=False)
    try:
        ladder.rungs(job.ladder)
    except KeyError:
        reason = f"There is no ladder named {job.ladder!r}."
        return MediaError(TRANSCODE_ERROR, reason, retryable=False)
    return None


def offer_of(
    lease: Lease,
    inputs: Inputs,
    links: InputLinks,
    settings: MediaSettings,
    *,
    lease_seconds: float,
    playable: bool,
) -> Offer:
    """Return what the holder of a lease is told of its job."""
    job, known = lease.job, asdict(settings)
    return Offer(
        lease_id=lease.id,
        lease_seconds=lease_seconds,
        job_id=job.job_id,
        video_id=job.video_id,
        attempt=job.attempt,
        ladder=job.ladder,
        preset=job.preset,
        playable=playable,
        settings={name: known[name] for name in DECIDING},
        resume=links.ticket(lease.worker, job.job_id, job.attempt),
        inputs=tuple(
            Input(name=name, size_bytes=info.size_bytes, url=links.url(lease.id, name))
            for name, info in inputs.items()
        ),
    )
