"""The worker's side of encoders elsewhere behind a front, and an encoder that speaks by hand (Y14)."""

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from media.partials import FilePartials
from media.pipeline import MediaOutcome, MediaSettings, run_job
from media.stores import FileStore
from social.encoders import InputLinks
from social.videos.jobs import EncodingJobs
from streams.agents import encoding
from streams.dead_letters import Unrepeatable
from streams.remote import RemoteEncoding
from streams.scheduling import Scheduler
from tables.records import Asset, MediaJob, MediaResult
from tests.integration.media.media_checks import make_clip

LEASES = "/api/v1/encoding/leases"
SETTINGS = MediaSettings(preset="ultrafast", first_rung_seconds=0.0)
RUNGS = "240p+360p"
CAPTIONS = "captions/de.vtt"
SECONDS = 2.0  # of the clip, as the fake probe of the front says


@dataclass
class Made:
    """What an honest encoder makes of the clip: a first rung, then all, by name, and their assets."""

    first: dict[str, bytes]
    files: dict[str, bytes]
    assets: tuple[Asset, ...]


def make(folder: Path, *, captions: bool = False) -> Made:
    """Run the job once, as every encoder does."""
    make_clip(folder / "clip.mov", seconds=SECONDS)
    store, root = FileStore(folder / "store"), folder / "store/videos/v"
    first: dict[str, bytes] = {}

    def stored() -> dict[str, bytes]:
        found = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        return {name: (root / name).read_bytes() for name in found if name not in {"source", CAPTIONS}}

    async def silent(percent: float | None, stage: str) -> None:
        pass

    async def playable(outcome: MediaOutcome) -> None:
        first.update(stored())

    async def run() -> MediaOutcome:
        await store.put_file("videos/v/source", folder / "clip.mov", content_type="")
        if captions:
            text = b"WEBVTT\n\n00:00.500 --> 00:01.500\nHello\n"
            await store.put_bytes(f"videos/v/{CAPTIONS}", text, content_type="text/vtt")
        job = MediaJob(job_id="j", video_id="v", source_key="videos/v/source", ladder=RUNGS)
        return await run_job(job, store, folder / "work", SETTINGS, silent, playable)

    outcome = asyncio.run(run())
    return Made(first, stored(), outcome.assets)


class Desk:
    """The queue of a worker with the agent behind it."""

    def __init__(self, front: Any) -> None:
        self.front = front
        self.results: list[MediaResult] = []
        self.buried: list[Unrepeatable] = []
        services, clock = front.deps, front.clock
        self.scheduler = Scheduler(0, clock)
        self.partials = FilePartials(front.folder / "left", clock)
        self.jobs = EncodingJobs(front.database, services.videos, services.store, clock)
        space: Any = None  # no disk is full here
        writer: Any = self
        self.tools = encoding.EncodeTools(
            store=services.store,
            workdir=front.folder,
            settings=SETTINGS,
            writer=writer,
            videos=services.videos,
            queue=encoding.EncoderQueue(self.scheduler, self.jobs, space, self.partials),
            clock=clock,
            observed=lambda outcome, seconds: None,
        )
        self.folder = front.folder / "remote"
        links = InputLinks(b"k" * 32, clock)
        self.remote = RemoteEncoding(self.tools, services.encoders, links, self.folder)
        object.__setattr__(services, "encoding", self.remote)
        self.agents: list[asyncio.Task[None]] = []

    async def publish(self, outputs: Any) -> None:
        """Stand for the log's writer."""
        self.results += [msgspec.json.decode(output.value, type=MediaResult) for output in outputs]

    @property
    def outcomes(self) -> list[MediaResult]:
        return [result for result in self.results if result.outcome != "progress"]

    def deliver(self, job: MediaJob) -> None:
        """Let the agent have a record of ``media.jobs``."""

        async def handled() -> None:
            try:
                await encoding.encode(job, self.tools)
            except Unrepeatable as error:
                self.buried.append(error)

        self.agents.append(asyncio.create_task(handled()))

    async def handled(self) -> None:
        """Wait until the agent is done with all records."""
        async with asyncio.timeout(120):
            await asyncio.gather(*self.agents)

    async def video(self, owner: Any, ladder: str = RUNGS) -> str:
        """Queue a video whose source is a few bytes; returns its id."""
        video = await self.front.upload(owner)
        await self.front.deps.videos.enqueue_encoding(video["id"], ladder)
        (job,) = [j for j in await self.front.deps.videos.unfinished_jobs() if j.video_id == video["id"]]
        self.deliver(job)
        return str(video["id"])

    async def outputs_of(self, video_id: str) -> set[str]:
        """Return what lies in the store beside the source."""
        prefix = f"videos/{video_id}/"
        keys = [found.key.removeprefix(prefix) async for found in self.front.deps.store.list(prefix)]
        return {key for key in keys if not key.startswith("source.")}

    def staged(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


class Machine:
    """An encoder that speaks the protocol by hand."""

    def __init__(self, front: Any, token: str) -> None:
        self.front = front
        self.headers = {"Authorization": f"Bearer {token}"}
        self.job: Any = None
        self.retry_after: str | None = None

    async def call(self, method: str, path: str, json: Any = None, **options: Any) -> tuple[int, Any]:
        headers = self.headers | options.pop("headers", {})
        answer = await self.front.client.request(method, path, json=json, headers=headers, **options)
        self.retry_after = answer.headers.get("Retry-After")
        body = await answer.json() if answer.content_type == "application/json" else None
        return answer.status, body

    async def take(self, **able: Any) -> Any:
        status, body = await self.call("POST", "/api/v1/encoding/request", able)
        assert status == 200, body
        self.job = body["job"]
        return self.job

    async def tell(self, what: str, json: Any = None) -> tuple[int, Any]:
        """Say something of the lease; returns status, and the code or the body."""
        status, body = await self.call("POST", f"{LEASES}/{self.job['lease_id']}/{what}", json or {})
        return status, (body or {}).get("error", {}).get("code") or body

    async def put(
        self, name: str, data: Any, digest: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Bring a file; returns status and code."""
        text = base64.b64encode(digest or hashlib.sha256(data).digest()).decode()
        where = f"{LEASES}/{self.job['lease_id']}/files/{name}"
        told = {"Content-Digest": f"sha-256=:{text}:"} | (headers or {})
        status, body = await self.call("PUT", where, data=data, headers=told)
        return status, body and body["error"]["code"]

    async def put_all(self, files: dict[str, bytes]) -> None:
        for name, data in files.items():
            assert await self.put(name, data) == (204, None), name
