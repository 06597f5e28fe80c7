"""Videos over a real database and a file store, and small sources made by PyAV."""

import shutil
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from sqlalchemy import delete, select

from media.pipeline import MediaOutcome, MediaSettings, run_job
from media.stores import FileStore
from social.videos import StoredUpload, VideoMetadata, VideoService
from social.videos.jobs import EncodingJobs
from social.views import Principal, Video
from tables.records import MediaJob, MediaResult
from tables.relational.engine import Database
from tables.relational.models import OutboxRow, UserRow, moment

SOUND = 48_000


@dataclass(frozen=True)
class Clip:
    """A source to make: size in pixels, frames per second, pictures, channels of sound."""

    width: int
    height: int
    rate: int = 10
    pictures: int = 3
    channels: int = 0

    def write(self, path: Path) -> None:
        """Write it, lossless in sound, with another picture each time."""
        with av.open(str(path), "w", format="mov") as output:
            video = output.add_stream("mpeg4", rate=self.rate)
            video.width, video.height, video.pix_fmt = self.width, self.height, "yuv420p"
            layout = {1: "mono", 2: "stereo", 6: "5.1"}.get(self.channels)
            audio = output.add_stream("pcm_s16le", rate=SOUND, layout=layout) if layout else None
            step = SOUND // self.rate
            for number in range(self.pictures):
                if audio is not None:
                    noise = np.random.default_rng(number).integers(-9000, 9000, (1, step * self.channels))
                    sound = AudioFrame.from_ndarray(noise.astype(np.int16), format="s16", layout=layout)
                    sound.sample_rate, sound.pts = SOUND, number * step
                    sound.time_base = Fraction(1, SOUND)
                    output.mux(audio.encode(sound))
                slope = np.linspace(0, 200 + number, self.width, dtype=np.uint8)
                pixels = np.broadcast_to(slope[None, :, None], (self.height, self.width, 3))
                picture = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                picture = picture.reformat(format="yuv420p")
                picture.pts, picture.time_base = number, Fraction(1, self.rate)
                output.mux(video.encode(picture))
            output.mux(video.encode(None))


@dataclass(frozen=True)
class Made:
    """A source that was encoded: what came of it, and the folder of the video's objects."""

    clip: Clip
    outcome: MediaOutcome
    folder: Path


async def encoded(clip: Clip, folder: Path) -> Made:
    """Make a source and encode it under the default selection."""
    folder.mkdir()
    clip.write(folder / "clip.mov")
    store, key = FileStore(folder / "store"), "videos/v/source.mov"
    await store.put_file(key, folder / "clip.mov", content_type="video/quicktime")

    async def note(percent: float | None, stage: str) -> None:
        return None

    job = MediaJob(job_id="j", video_id="v", source_key=key, ladder="core")
    outcome = await run_job(job, store, folder / "work", MediaSettings(preset="ultrafast"), note)
    return Made(clip, outcome, folder / "store/videos/v")


@dataclass
class Library:
    """The video service with one owner."""

    database: Database
    store: FileStore
    folder: Path
    now: float = 1_800_000_000.0

    def __post_init__(self) -> None:
        self.videos = VideoService(self.database, self.store, self.clock)
        self.jobs = EncodingJobs(self.database, self.videos, self.store, self.clock)
        self.owner: Principal | None = None

    def clock(self) -> float:
        return self.now

    async def person(self) -> Principal:
        """Return the owner of all videos."""
        if self.owner is None:
            user_id, now = str(uuid.uuid4()), moment(self.now)
            async with self.database.transaction() as session:
                session.add(
                    UserRow(
                        id=user_id, username="ada", username_key="ada", email="ada@x.org",
                        email_key="ada@x.org", password_hash="-", role="user", did=f"did:key:z{user_id}",
                        created_at=now, updated_at=now,
                    )
                )  # fmt: skip
            self.owner = Principal(user_id, "ada", "user", str(uuid.uuid4()))
        return self.owner

    async def video(self) -> Video:
        """Return a new video with its source stored."""
        path = self.folder / uuid.uuid4().hex
        path.write_bytes(b"source")
        upload = StoredUpload(
            path=path, size_bytes=6, mime="video/mp4", extension="mp4",
            duration_seconds=2.0, width=640, height=360,
        )  # fmt: skip
        return await self.videos.create_from_upload(await self.person(), upload, VideoMetadata(title="t"))

    async def queued(self) -> MediaJob:
        """Return the job of a new video."""
        await self.relay()
        video = await self.video()
        assert await self.videos.enqueue_encoding(video.id)
        return next(job for job in await self.videos.unfinished_jobs() if job.video_id == video.id)

    async def outbox(self, topic: str, key: str) -> list[bytes]:
        """Return what was put on a topic under a key, in order."""
        wanted = select(OutboxRow.payload).where(OutboxRow.topic == topic, OutboxRow.key == key)
        async with self.database.session() as session:
            return list(await session.scalars(wanted.order_by(OutboxRow.id)))

    async def relay(self) -> None:
        """Take what was put on the topics by earlier examples out of the way."""
        async with self.database.transaction() as session:
            await session.execute(delete(OutboxRow))

    async def frames(self, job: MediaJob) -> list[tuple[str, dict[str, object]]]:
        """Return event and data of what the owner was told of a job's video."""
        told = [msgspec.json.decode(frame) for frame in await self.outbox("notifications", job.owner_id)]
        return [
            (frame["event"], frame["data"]) for frame in told if frame["data"]["video_id"] == job.video_id
        ]

    def report(self, job: MediaJob, outcome: str, **said: object) -> MediaResult:
        """Return a report of a job."""
        return MediaResult(job_id=job.job_id, video_id=job.video_id, outcome=outcome, at=self.now, **said)  # type: ignore[arg-type]


@pytest.fixture
async def library(_sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Library]:
    path = tmp_path / "library.db"
    shutil.copyfile(_sqlite_template, path)
    database = Database.open(f"sqlite+aiosqlite:///{path}", synchronous="OFF")
    yield Library(database, FileStore(tmp_path / "objects"), tmp_path)
    await database.close()


@pytest.fixture(scope="session")
def clip_of() -> type[Clip]:
    return Clip


@pytest.fixture(scope="session")
def encode_clip():
    return encoded
