"""What an encoder elsewhere brings of one job, until all of it is there and verified (Y14, B50).

It lies in a folder of its own. Nothing of it is an object before the review child has looked at the whole
set, so a job that is given up leaves nothing behind, and who brings something false has changed nothing.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from media import ladder, layout
from media.child import ChildCrashed, ChildError, run_child
from media.limits import ChildLimits
from media.output_texts import is_output
from media.pipeline import MediaOutcome, MediaSettings
from media.receiving import Receiver
from media.remote import Upload
from media.stores import run_blocking
from media.storing import JobStore, store_outputs
from tables.errors import ChecksumMismatch, Conflict, OutputRefused, ServiceUnavailable
from tables.records import Asset, MediaJob

log = logging.getLogger(__name__)
WORKER: Final = "media.workers.review"
REVIEW_CHILD: Final = ChildLimits(
    # It looks into every file and decodes a picture of each segment: a minute of video takes seconds.
    cpu_seconds=1_800,
    file_bytes=1024 * 1024,
    open_files=64,
    wall_seconds=3_600.0,
    nice=5,
)
FORMS: Final = 3
"""A rung's bytes: as segments, as a fragmented file, and one of them as mp4."""
SLACK: Final = 1.5
PICTURES_BYTES: Final = 64 * 1024 * 1024
PICTURES: Final = 400
"""Files that are no segments: pictures, playlists, captions in two forms of every language."""
SHORTEST_SEGMENT_SECONDS: Final = 3.0
UNKNOWN_SECONDS: Final = 3 * 3600.0
NOTHING: Final = (0, b"")
OUT, INCOMING, LEAVING = "out", "incoming", "leaving"


@dataclass(frozen=True, slots=True)
class KnownSource:
    """What the probe found of a source: pixels and seconds, None where it is not known."""

    width: int | None = None
    height: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one job may bring at most."""

    file_bytes: int
    all_bytes: int
    files: int


def bounds_of(selection: str, source: KnownSource) -> Bounds:
    """Return the bounds of a job: what its rungs can weigh at their bitrates, and some more."""
    seconds = (source.seconds or UNKNOWN_SECONDS) + SHORTEST_SEGMENT_SECONDS
    rungs = ladder.rungs(selection)
    rates = [SLACK * (rung.bitrate + ladder.AUDIO_BITRATE) / 8 * seconds for rung in rungs]
    return Bounds(
        file_bytes=int(max(rates)) + PICTURES_BYTES // 2,
        all_bytes=int(FORMS * sum(rates)) + PICTURES_BYTES,
        files=len(rungs) * int(seconds / SHORTEST_SEGMENT_SECONDS + 4) + PICTURES,
    )


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A set that is what its job makes, and the names of its files."""

    outcome: MediaOutcome
    files: tuple[str, ...]


@dataclass(slots=True)
class Staging:
    """The folder of one try of a job."""

    folder: Path
    job: MediaJob
    source: KnownSource
    bounds: Bounds
    given: frozenset[str] = frozenset()
    """Names of the caption files that people gave, which no encode writes."""
    _files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _stored: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    _coming: int = 0
    _writing: int = 0
    _closed: bool = False
    _dropped: bool = False

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Take no file for as long as the block runs: what is looked at is what is stored.

        Raises:
            Conflict: CONFLICT: files are on their way in.
        """
        if self._closed or self._writing:
            raise Conflict("Files of the job are still on their way.")
        self._closed = True
        try:
            yield
        finally:
            self._closed = False

    async def put(self, name: str, upload: Upload) -> None:
        """Take a file in, over an older one of its name.

        Raises:
            OutputRefused: OUTPUT_REFUSED: not a name of an output, or more than the job can make.
            ChecksumMismatch: CHECKSUM_MISMATCH: it was damaged or cut off on its way; send it again.
            Conflict: CONFLICT: the set is being looked at.
            StorageFailure: STORAGE_ERROR.
        """
        self._admit(name, upload.size_bytes)
        if self._closed:
            raise Conflict("The job's files are being looked at.")
        self._coming += upload.size_bytes
        self._writing += 1
        temporary = self.folder / INCOMING / uuid4().hex
        try:
            await run_blocking(_make, temporary.parent)
            with await run_blocking(temporary.open, "xb") as file:
                receiver = Receiver(file, upload.size_bytes)
                await receiver.take(upload.body)
                await run_blocking(file.flush)
            if (receiver.size_bytes, receiver.digest.digest()) != (upload.size_bytes, upload.sha256):
                raise ChecksumMismatch(details={"name": name, "received_bytes": receiver.size_bytes})
            await run_blocking(_rename, temporary, self.folder / OUT / name)
            self._files[name] = (upload.size_bytes, upload.sha256)
        finally:
            self._coming -= upload.size_bytes
            self._writing -= 1
            await run_blocking(temporary.unlink, missing_ok=True)
            if self._dropped:
                await self.drop()

    def _admit(self, name: str, size_bytes: int) -> None:
        folder, _, file = name.partition("/")
        if not is_output(name) or (folder == "captions" and file in self.given):
            raise refusal("A job does not make a file of this name.", name=name[:200])
        others = sum(size for known, (size, _) in self._files.items() if known != name)
        if size_bytes > self.bounds.file_bytes:
            raise refusal("A file is larger than it can be.", name=name, limit=self.bounds.file_bytes)
        if others + self._coming + size_bytes > self.bounds.all_bytes:
            raise refusal("All files are larger than they can be.", name=name, limit=self.bounds.all_bytes)
        if name not in self._files and len(self._files) >= self.bounds.files:
            raise refusal("There are more files than there can be.", name=name, limit=self.bounds.files)

    async def review(self, settings: MediaSettings, *, whole: bool) -> Reviewed:
        """Have a child look at what is there: the whole set, or that of a first rung (B50).

        Raises:
            OutputRefused: OUTPUT_REFUSED: it is not what the job makes.
            ServiceUnavailable: SERVICE_UNAVAILABLE: it could not be looked at now.
        """
        request = {
            "folder": str(self.folder / OUT),
            "given": [f"captions/{name}" for name in self.given],
            "ladder": self.job.ladder,
            "upscale": settings.upscale,
            "dash": settings.dash,
            "per_title": settings.per_title,
            "whole": whole,
            "width": self.source.width,
            "height": self.source.height,
            "seconds": self.source.seconds,
        }
        await run_blocking(_make, self.folder / OUT)
        try:
            found = await run_child(WORKER, request, REVIEW_CHILD)
        except ChildError as error:
            log.warning("outputs of %s refused: %s %s", self.job.video_id, error.reason, error.details)
            raise refusal(error.reason or "It cannot be looked at.") from error
        except ChildCrashed as error:
            if error.cause == "timeout" or error.cause.startswith("signal"):
                raise refusal("It cannot be looked at within bounds.") from error
            raise ServiceUnavailable(details={"cause": error.cause}) from error
        return Reviewed(_outcome(self.job.video_id, found), tuple(found["files"]))

    async def store(self, reviewed: Reviewed, store: JobStore) -> None:
        """Store the files of a reviewed set, but for those that are stored already; they stay here, too.

        Raises:
            StorageFailure: STORAGE_ERROR: call it again.
        """
        fresh = [name for name in reviewed.files if self._stored.get(name) != self._files.get(name)]
        leaving = self.folder / LEAVING
        await run_blocking(_link, self.folder / OUT, leaving, fresh)
        # Until all of them are, none counts as stored: what failed half-way is stored again.
        self._stored |= dict.fromkeys(fresh, NOTHING)
        await store_outputs(self.job.video_id, store, leaving)
        self._stored |= {name: self._files[name] for name in fresh}

    def listed(self) -> list[tuple[str, int]]:
        """Return names and sizes of what is there, for operators (B10)."""
        return [(name, size) for name, (size, _) in sorted(self._files.items())]

    def stored(self) -> list[str]:
        """Return the names of what was, or may have been, stored."""
        return sorted(self._stored)

    async def drop(self) -> None:
        """Remove the folder, also when a file is still coming."""
        self._dropped = True
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, self.folder, True))


def refusal(reason: str, **details: Any) -> OutputRefused:
    """Return the refusal of an output, for a reason."""
    return OutputRefused(details={"reason": reason, **details})


def _outcome(video_id: str, found: dict[str, Any]) -> MediaOutcome:
    prefix = layout.prefix(video_id)
    assets = tuple(Asset(**(asset | {"key": prefix + asset["key"]})) for asset in found["assets"])
    return MediaOutcome(found["duration_seconds"], found["width"], found["height"], assets)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _rename(temporary: Path, path: Path) -> None:
    _make(path.parent)
    temporary.replace(path)


def _link(out: Path, leaving: Path, names: list[str]) -> None:
    """Give files a second name, which moves into the store: nothing is copied on the same disk."""
    shutil.rmtree(leaving, ignore_errors=True)
    for name in names:
        _make((leaving / name).parent)
        os.link(out / name, leaving / name)
