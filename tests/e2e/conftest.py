"""A real server in a process of its own, as ``make run`` starts it, on a free port with its own data."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from playwright.async_api import expect

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120
READY_SECONDS = 240
#: How long a page may take on a busy machine; what never comes is found by it all the same.
expect.set_options(timeout=60_000)


class Server:
    """A server that can be stopped, killed and started again over the same data."""

    root = ROOT

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = data.parent / f"{data.name}.log"
        self._environment = environment

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FREEWILL_")}
        return kept | {
            "FREEWILL_DATA_DIR": str(self.data),
            "FREEWILL_PORT": str(self.port),
            "FREEWILL_MEDIA_PRESET": "ultrafast",
            "FREEWILL_RATE_LIMITS": "off",
            **self._environment,
        }

    def launch(self) -> None:
        """Start the process in a group of its own; it may not answer yet."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "freewill.cli", "serve"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self) -> None:
        """Start and wait until it is ready."""
        self.launch()
        await self.wait_ready()

    async def wait_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    async with session.get(self.url + "/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise AssertionError(f"the server was not ready after {START_SECONDS} s:\n{self.tail()}")

    def kill(self) -> None:
        """``kill -9`` of the process group: server and children, at once."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def run(self, *arguments: str, stdin: str = "", seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the command ``freewill`` with this server's settings."""
        return subprocess.run(
            [sys.executable, "-m", "freewill.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def configure(self, **environment: str) -> None:
        """Change settings for the next start."""
        self._environment |= environment

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the relational store itself, past the server: the truth that answers are held against."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/freewill.db?mode=ro", uri=True)) as store:
            return store.execute(sql, parameters).fetchall()

    def files(self, folder: str) -> set[str]:
        """Return the files that lie under a folder of the data, as paths relative to it."""
        root = self.data / folder
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}

    def tail(self, lines: int = 30) -> str:
        return (
            "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
        )


class Client:
    """One person's requests; ``status`` of the last answer is kept."""

    def __init__(self, server: Server, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        self.token = ""
        self.user: dict[str, Any] = {}
        self.status = 0
        self.headers: Any = {}

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """Make a request and return its body: JSON when it is JSON, else text."""
        headers = dict(options.pop("headers", {}))
        if self.token and "Authorization" not in headers:
            headers["Authorization"] = f"Bearer {self.token}"
        url = path if path.startswith("http") else self.server.url + path
        async with self.session.request(method, url, headers=headers, **options) as answer:
            self.status, self.headers = answer.status, answer.headers
            if "json" in answer.headers.get("Content-Type", ""):
                return await answer.json(content_type=None)
            return await answer.text(errors="replace")

    async def get(self, path: str, **options: Any) -> Any:
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Any:
        return await self.call("POST", path, json=json, **options)

    async def register(self, name: str = "", password: str = "correct horse battery") -> "Client":
        name = name or f"u{secrets.token_hex(5)}"
        body = await self.post(
            "/api/v1/auth/register",
            {"username": name, "email": f"{name}@example.org", "password": password},
        )
        assert self.status == 201, body
        self.user, self.token = body["user"], body["access_token"]
        return self

    async def login(self, name: str, password: str = "correct horse battery") -> "Client":
        body = await self.post("/api/v1/auth/login", {"username": name, "password": password})
        assert self.status == 200, body
        self.user, self.token = body["user"], body["access_token"]
        return self

    async def upload(self, path: Path, *, title: str = "A clip", **fields: str) -> Any:
        """Upload by multipart form, as a browser does."""
        form = aiohttp.FormData()
        for name, value in {"title": title, **fields}.items():
            form.add_field(name, value)
        with path.open("rb") as file:
            form.add_field("file", file, filename=path.name, content_type="application/octet-stream")
            return await self.call("POST", "/api/v1/videos/upload", data=form)

    async def become(self, role: str) -> "Client":
        """Get a role, and a token that carries it."""
        granted = await asyncio.to_thread(self.server.run, "user", "role", self.user["username"], role)
        assert granted.returncode == 0, granted.stderr
        body = await self.post(
            "/api/v1/auth/login",
            {"username": self.user["username"], "password": "correct horse battery"},
        )
        assert self.status == 200, body
        self.token = body["access_token"]
        return self

    async def pages(self, path: str) -> list[Any]:
        """Return the items of all pages of a list."""
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            body = await self.get(path, params={"cursor": cursor} if cursor else {})
            assert self.status == 200, body
            items += body["items"]
            cursor = body["next_cursor"]
        return items

    async def bytes_of(self, url: str) -> bytes:
        """Return the bytes of a media URL, asked for without a token (INTERFACE, Upload and media)."""
        async with self.session.get(url) as answer:
            assert answer.status == 200, (url, answer.status)
            return await answer.read()

    async def assert_playable(self, video: Any) -> None:
        """Fetch everything that a READY video promises: playlists, every segment, mp4, DASH, pictures."""
        playback = video["playback"]
        state = (video["status"], video["progress"], playback["ready"])
        assert state == ("READY", 100, True), video
        master = (await self.bytes_of(playback["hls_url"])).decode().splitlines()
        variants = [line for line in master if line and not line.startswith("#")]
        assert len(variants) == len(playback["qualities"]) > 0
        for variant in variants:
            await self._assert_rendition(urljoin(playback["hls_url"], variant), video["duration_seconds"])
        assert b"<MPD" in await self.bytes_of(playback["dash_url"])
        assert (await self.bytes_of(playback["mp4_url"]))[4:8] == b"ftyp"
        for url in (playback["poster_url"], *video["thumbnails"].values()):
            assert (await self.bytes_of(url)).startswith(b"\xff\xd8"), url

    async def _assert_rendition(self, url: str, seconds: float) -> None:
        lines = (await self.bytes_of(url)).decode().splitlines()
        assert lines[-1] == "#EXT-X-ENDLIST"
        lengths = [float(line[8:].split(",")[0]) for line in lines if line.startswith("#EXTINF:")]
        assert sum(lengths) == pytest.approx(seconds, abs=1.0)
        segments = [line for line in lines if line and not line.startswith("#")]
        assert len(segments) == len(lengths) > 0
        for segment in segments:
            data = await self.bytes_of(urljoin(url, segment))
            assert (data[:1], len(data) % 188) == (b"G", 0), segment  # whole MPEG-TS packets

    async def wait_status(self, video_id: str, *statuses: str, seconds: float = READY_SECONDS) -> Any:
        """Poll a video until it has one of the statuses."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            video = await self.get(f"/api/v1/videos/{video_id}")
            if self.status == 200 and video["status"] in statuses:
                return video
            await asyncio.sleep(0.25)
        raise AssertionError(f"{video_id} is {video} after {seconds} s:\n{self.server.tail()}")

    async def eventually(self, path: str, holds: Callable[[Any], bool], seconds: float = 120) -> Any:
        """Poll a path until its body satisfies a condition."""
        deadline = time.monotonic() + seconds
        body: Any = None
        while time.monotonic() < deadline:
            body = await self.get(path)
            if self.status == 200 and holds(body):
                return body
            await asyncio.sleep(0.1)
        raise AssertionError(f"{path} is {body!r} after {seconds} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a maker of servers; what is still running at the end is killed."""
    servers: list[Server] = []

    def make(**environment: str) -> Server:
        server = Server(tmp_path / f"data{len(servers)}", **environment)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module; it may be found dead, and is not started yet."""
    server = Server(tmp_path_factory.mktemp("module") / "data")
    yield server
    server.kill()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One running server for all tests that leave it usable."""
    server = Server(tmp_path_factory.mktemp("shared") / "data")
    asyncio.run(server.start())
    yield server
    server.kill()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        yield session


@pytest.fixture
def make_client(session: aiohttp.ClientSession) -> Callable[[Server], Client]:
    return lambda server: Client(server, session)


@pytest.fixture
async def alice(shared_server: Server, make_client: Callable[[Server], Client]) -> Client:
    """Somebody signed in at the shared server."""
    return await make_client(shared_server).register()


@dataclass
class Uploaded:
    """A video that was uploaded and is READY, with what was answered on its way there."""

    username: str
    created: dict[str, Any]
    trace: list[dict[str, Any]]
    video: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.created["id"])


async def upload_and_watch(server: Server, path: Path, **fields: str) -> Uploaded:
    """Register somebody, upload, and keep every answer until the video is READY."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        owner = await Client(server, session).register()
        created = await owner.upload(path, **fields)
        assert owner.status == 201, created
        trace = [created]
        deadline = time.monotonic() + READY_SECONDS
        while trace[-1]["status"] not in {"READY", "FAILED"} and time.monotonic() < deadline:
            trace.append(await owner.get(f"/api/v1/videos/{created['id']}"))
            await asyncio.sleep(0.05)
        assert trace[-1]["status"] == "READY", (trace[-1], server.tail())
        return Uploaded(owner.user["username"], created, trace, trace[-1])


@pytest.fixture(scope="session")
def upload_ready() -> Callable[..., Coroutine[Any, Any, Uploaded]]:
    """Return ``upload_and_watch`` for fixtures of modules."""
    return upload_and_watch


@pytest.fixture(scope="session")
def flower(shared_server: Server, shared_dir: Path) -> Uploaded:
    """A READY video of five seconds with sound, 960x540 at 29.97 frames a second, on the shared server."""
    clip = shared_dir / "media/clips/flower.mp4"
    return asyncio.run(
        upload_and_watch(shared_server, clip, title="A flower", description="It opens.", tags="flower,spring")
    )


@pytest.fixture
async def owner(flower: Uploaded, shared_server: Server, make_client: Callable[[Server], Client]) -> Client:
    """Whoever uploaded ``flower``, signed in anew: tokens of the session's start may have expired."""
    return await make_client(shared_server).login(flower.username)
