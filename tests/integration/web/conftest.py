"""A whole front over real services: SQLite in a temporary folder, a file store, no network but loopback."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer

from media import layout
from media.cloudfront import PolicySigner
from media.layout import AssetType
from media.partials import FilePartials
from media.parts import parts_for
from media.policies import UploadPolicy
from media.probe import SourceInfo
from media.scanner import NoScanner
from media.stores import FileStore
from media.urls import MediaSigner, generate_key
from ranking.catalogue import Catalogue
from ranking.feed import FeedEngine
from ranking.trending import TrendingTags
from social.accounts import Accounts, AccountTools
from social.comments import Comments
from social.encoders import Encoders
from social.graph import Graph
from social.guard import SessionGuard
from social.images import ImageService, ImageTools
from social.interactions import Interactions
from social.keys import KeyMaker, MasterKey
from social.passwords import Passwords
from social.throttle import LoginThrottle
from social.tokens import AccessTokens
from social.uploads import UploadLinks, UploadSessions, UploadSettings, UploadTools
from social.videos import VideoService
from social.videos.captions import Captions
from social.videos.jobs import EncodingJobs
from social.videos.standing import Standings
from social.views import Principal
from streams.intake import EngagementIntake, WatchedVideo
from streams.reading import plain
from tables.analytics import AnalystTools, Answer, Change, Letter, LetterFilter, Position, Who
from tables.errors import AppError, BadRequest, CorruptedFile, InvalidFormat, InvalidSql, Missing
from tables.reading import Freshness, Row, TableInfo
from tables.records import Asset, MediaResult
from tables.reducers.engagement import VideoEngagement
from tables.reducers.totals import Totals
from tables.reducers.trends import ImpressionDays
from tables.relational.engine import Database
from tables.relational.migrate import migrate
from tables.relational.models import UserRow, moment
from tests.integration.media import encoder_world
from web import middlewares
from web.app import create_app
from web.delivery import Delivery
from web.http import route_of
from web.hub import Hub
from web.keys import Deps, Readiness, WebSettings
from web.limits import MemoryLimiter
from web.metrics import Metrics
from web.openapi import errors_of
from web.service import FrontRunner

BASE_URL = "http://front.test"
REPORT_SECRET = b"shared with the store"
ANYWHERE = (Missing, BadRequest)  # what is no request of a route, whatever path it has
SHUTDOWN_SECONDS = 0.5  # streams that tests leave open are waited for no longer


class Clock:
    """Time that a test can move."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Person:
    """Somebody with a token."""

    id: str
    username: str
    role: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass
class Front:
    """A running front and what is behind it."""

    upload = property(lambda self: partial(upload, self))
    make_ready = property(lambda self: partial(make_ready, self))

    client: TestClient[Any, Any]
    deps: Deps
    database: Database
    tokens: AccessTokens
    clock: Clock
    folder: Path
    missing: list[str] = field(default_factory=list)

    async def person(self, username: str, role: str = "user") -> Person:
        """Insert an account without the cost of hashing, and sign a token for it."""
        user_id, now = str(uuid4()), moment(self.clock())
        row = UserRow(
            id=user_id,
            username=username,
            username_key=username.lower(),
            email=f"{username}@example.org",
            email_key=f"{username}@example.org",
            password_hash="-",
            role=role,
            display_name=username,
            bio="",
            did=f"did:key:z{uuid4().hex}",
            created_at=now,
            updated_at=now,
        )
        async with self.database.transaction() as session:
            session.add(row)
        token = self.tokens.issue(Principal(user_id, username, role, str(uuid4())))
        return Person(user_id, username, role, token)


class TestRunnerServer(TestServer):
    """A test server that runs the same runner as production."""

    __test__ = False

    async def _make_runner(self, **kwargs: Any) -> Any:
        kwargs.pop("debug", None)
        kwargs["shutdown_timeout"] = SHUTDOWN_SECONDS
        return FrontRunner(self.app, **kwargs)


@pytest.fixture(autouse=True)
def _declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold every answer of every test to the description: an error that a route answers stands in its row."""
    strays: set[tuple[str, str]] = set()
    answer = middlewares._answer

    def noted(request: Any, error: AppError) -> Any:
        row = route_of(request)
        if "status" in vars(error):  # a single event is refused with 400, whatever its code
            return answer(request, error)
        if row is not None and type(error) not in (*errors_of(row), *ANYWHERE):
            strays.add((row.name, error.code))
        return answer(request, error)

    monkeypatch.setattr(middlewares, "_answer", noted)
    yield
    assert not strays, "answered, but not described"


Build = Callable[..., Awaitable[Front]]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the first test puts a migrated database, which the others copy."""
    return tmp_path_factory.mktemp("migrated") / "front.db"


@pytest.fixture
async def build(tmp_path: Path, migrated: Path) -> AsyncIterator[Build]:
    """Return a function that starts a front; settings can be overridden by keyword."""
    fronts: list[Front] = []

    async def start(deps_overrides: dict[str, Any] | None = None, **settings: Any) -> Front:
        url = f"sqlite+aiosqlite:///{tmp_path / 'front.db'}"
        if not migrated.exists():
            await migrate(f"sqlite+aiosqlite:///{migrated}")
        shutil.copy(migrated, tmp_path / "front.db")
        database, clock = Database.open(url), Clock()
        tokens = AccessTokens(b"s" * 32, issuer=BASE_URL, clock=clock)
        tools = AccountTools(
            Passwords(),
            KeyMaker(MasterKey(b"m" * 32), spare=1),
            tokens,
            SessionGuard(database, clock, access_seconds=900),
            LoginThrottle(clock, enabled=False),
            clock,
        )
        for name in ("uploads", "client", "objects"):
            (tmp_path / name).mkdir(exist_ok=True)
        missing: list[str] = []
        services = real_services(tmp_path, database, clock)
        services |= deps_overrides or {}
        deps = Deps(
            settings=WebSettings(
                base_url=BASE_URL,
                upload_dir=tmp_path / "uploads",
                client_dir=tmp_path / "client",
                **({"rate_limits": False} | settings),
            ),
            clock=clock,
            readiness=lambda: Readiness(tuple(missing)),
            accounts=Accounts(database, tools, instance=BASE_URL),
            hub=Hub(clock),
            metrics=Metrics(),
            limiter=MemoryLimiter(),
            **services,
        )
        client = TestClient(TestRunnerServer(create_app(deps)))
        await client.start_server()
        front = Front(client, deps, database, tokens, clock, tmp_path, missing)
        fronts.append(front)
        return front

    yield start
    for front in fronts:
        front.deps.hub.close_all()
        await front.client.close()
        front.deps.accounts.close()
        await front.database.close()


@pytest.fixture
async def ada(front: Front) -> Person:
    """Return somebody with an account."""
    return await front.person("ada")


@pytest.fixture
async def front(build: Build) -> Front:
    """Return a running front with rate limits off."""
    return await build()


class Log:
    """Stands for the message log: keeps what is published."""

    def __init__(self) -> None:
        self.published: list[Any] = []

    async def publish(self, outputs: Any) -> None:
        self.published.extend(outputs)


class Tables:
    """One stream table, as the analysts' reader shows it."""

    def __init__(self, engagement: dict[str, VideoEngagement]) -> None:
        self.values = engagement
        self.creators: dict[str, Totals] = {}
        self.shown: dict[str, ImpressionDays] = {}

    def catalogue(self) -> list[TableInfo]:
        return [self.describe("video_engagement")]

    def describe(self, name: str) -> TableInfo:
        if name not in {"video_engagement", "creator_totals", "impression_days", "tag_trends"}:
            raise Missing
        return TableInfo(name, "Counters of a video.", "content id", "VideoEngagement", 8, len(self.values))

    def freshness(self, name: str) -> Freshness:
        self.describe(name)
        return Freshness(as_of=1_700_000_000.0, applied={"engagement.deltas-0": 7}, lag=0)

    async def rows(self, name: str, limit: int, after: str | None) -> Any:
        self.describe(name)
        keys = sorted(key for key in self.values if after is None or key > after)
        page = [Row(key, {"views": self.values[key].views}) for key in keys[:limit]]
        return page, page[-1].key if len(keys) > limit else None

    async def row(self, name: str, key: str) -> Row | None:
        self.describe(name)
        if name == "creator_totals":
            return Row(key, plain(self.creators[key])) if key in self.creators else None
        if name == "impression_days":
            return Row(key, plain(self.shown[key])) if key in self.shown else None
        state = self.values.get(key)
        return Row(key, {"views": state.views}) if state else None


class Notes:
    """Keeps what the audit is told."""

    def __init__(self) -> None:
        self.kept: list[tuple[Any, ...]] = []

    async def note(self, who: Who, action: str, **facts: Any) -> None:
        self.kept.append((who.name, action, facts))


class Feed:
    """A change feed of two changes behind the rows, which then stays open until it is closed."""

    def __init__(self, engagement: dict[str, VideoEngagement]) -> None:
        self.values = engagement
        self.closed = False
        self.left = 0

    def check(self, name: str, since: Any) -> None:
        if name != "video_engagement":
            raise Missing

    async def follow(self, name: str, since: Any, idle_seconds: float) -> Any:
        try:
            if since is None:
                for key in sorted(self.values):
                    yield Change("row", key, {"views": self.values[key].views}, 0, 4, 1.0)
            start = (since or {}).get(0, 5)
            for offset in range(start, 7):
                yield Change("change", "z", None if offset == 6 else {"views": offset}, 0, offset, 2.0)
            while not self.closed:
                yield Position({0: 7}, 3.0)
                await asyncio.sleep(idle_seconds)
        finally:
            self.left += 1


class Questions:
    """Answers every query the same, and keeps it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def query(self, who: Who, sql: str, form: str, limit: int, *, fresh: bool) -> Answer:
        self.asked.append((who.role, sql, form, limit, fresh))
        if sql == "bad":
            raise InvalidSql("no")
        body = {
            "json": b'{"columns": ["a"], "types": ["BIGINT"], "rows": [[1]], '
            b'"truncated": true, "elapsed_ms": 2}',
            "csv": b"a\r\n1\r\n",
            "arrow": b"arrow",
        }[form]
        return Answer(body, 1, True, 2.0)

    async def datasets(self) -> list[dict[str, Any]]:
        columns = [{"name": "video_id", "type": "VARCHAR", "description": "The video."}]
        about = {"description": "Events.", "kind": "facts", "columns": columns, "rows": 3, "snapshot": None}
        return [{"name": "events", "as_of": None, **about}]


class Desk:
    """One dead letter."""

    def __init__(self) -> None:
        self.decided: list[tuple[Any, ...]] = []
        self.letter = Letter("a.b/0/1", "a.b", "key", "CODE", "why", "agent", 1.0, "open", "raw")

    async def list(self, wanted: LetterFilter, limit: int, cursor: str | None) -> Any:
        return ([self.letter] if wanted.state in {"", "open"} else []), None

    async def show(self, letter_id: str) -> Letter:
        if letter_id != self.letter.id:
            raise Missing
        return self.letter

    async def replay(self, letter_ids: Any, by: str) -> int:
        return await self._decide("replay", letter_ids, by)

    async def drop(self, letter_ids: Any, by: str) -> int:
        return await self._decide("drop", letter_ids, by)

    async def _decide(self, what: str, letter_ids: Any, by: str) -> int:
        for letter_id in letter_ids:
            await self.show(letter_id)
        self.decided.append((what, list(letter_ids), by))
        return len(letter_ids)


def analyst_tools(engagement: dict[str, VideoEngagement]) -> AnalystTools:
    async def arrow(name: str, limit: int | None, after: str | None) -> bytes:
        return b"arrow of " + name.encode()

    return AnalystTools(
        Feed(engagement), Questions(), Desk(), Notes(), arrow, personal=frozenset({"video_engagement"})
    )


class Wishes:
    """Keeps what viewers said about the feed."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []

    async def feedback(self, user_id: str, target: str, kind: str) -> None:
        self.said.append((user_id, target, kind))

    async def reset(self, user_id: str) -> None:
        self.said.append((user_id, "reset"))


async def fake_probe(path: Path, policy: UploadPolicy, *, filename: str = "") -> SourceInfo:
    """Look at the bytes only: for tests whose subject is not the probe."""
    size = path.stat().st_size
    if not size:
        raise CorruptedFile
    if not path.read_bytes()[:16].startswith(b"video"):
        raise InvalidFormat(details={"supported": policy.supported()})
    return SourceInfo("mp4", "video/mp4", 2.0, 640, 360, 0, 30.0, "h264", None, size)


def real_services(folder: Path, database: Database, clock: Clock) -> dict[str, Any]:
    """Return the services behind the front, by their name in ``Deps``."""
    store = FileStore(folder / "objects")
    catalogue = Catalogue()
    engagement: dict[str, VideoEngagement] = {}
    videos, interactions = VideoService(database, store, clock), Interactions(database, clock)

    async def find_video(video_id: str, viewer_id: str) -> WatchedVideo | None:
        found = await videos.get_many([video_id], Principal(viewer_id, "", "user", ""))
        video = found.get(video_id)
        return WatchedVideo(video.owner_id, video.duration_seconds or 0.0) if video else None

    signer = MediaSigner(signing_key(), "K1", BASE_URL, clock=clock)
    return {
        "videos": videos,
        "captions": Captions(database, store, clock),
        "jobs": EncodingJobs(database, videos, store, clock),
        "partials": FilePartials(folder / "partials", clock),
        "encoders": Encoders(database, clock),
        "delivery": Delivery(
            standings=Standings(database, clock), links=PolicySigner(signer.keys, lambda: [BASE_URL], clock)
        ),
        "images": ImageService(ImageTools(database, store, NoScanner(), clock)),
        "interactions": interactions,
        "comments": Comments(database, clock),
        "graph": Graph(database, clock),
        "store": store,
        "signer": signer,
        "uploads": UploadSessions(
            UploadTools(
                database=database,
                videos=videos,
                store=store,
                parts=parts_for(store, folder / "parts"),
                probe=fake_probe,
                links=UploadLinks(b"u" * 32, BASE_URL, clock, report_secret=REPORT_SECRET),
                clock=clock,
                folder=folder / "uploads",
                settings=UploadSettings(daily=None),
            )
        ),
        "feeds": FeedEngine(catalogue, lambda user_id: None),
        "trending": TrendingTags(catalogue.public_videos),
        "videos_of": catalogue.videos_of,
        "engagement": Engagement(engagement),
        "intake": EngagementIntake(Log(), interactions, find_video, clock=clock),
        "feedback": Wishes(),
        "tables": Tables(engagement),
        "analysts": analyst_tools(engagement),
    }


class Engagement:
    """Reads counters; a test fills ``values``."""

    def __init__(self, values: dict[str, VideoEngagement]) -> None:
        self.values = values

    def __call__(self, video_id: str) -> VideoEngagement | None:
        return self.values.get(video_id)


@lru_cache
def signing_key() -> bytes:
    return generate_key()


MASTER = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000000\n360p/playlist.m3u8\n"


async def upload(front: Front, owner: Person, path: str = "/api/v1/videos/upload", **fields: Any) -> Any:
    """Upload a few bytes that the fake probe takes; return the answer's body."""
    form = FormData()
    for name, value in ({"title": "A clip"} | fields).items():
        form.add_field(name, value)
    form.add_field("file", b"video bytes", filename="clip.mp4", content_type="video/mp4")
    response = await front.client.post(path, data=form, headers=owner.headers)
    body = await response.json()
    assert response.status == 201, body
    return body


async def make_ready(front: Front, video_id: str) -> None:
    """Let a video become READY, as the pipeline does, with a few stored outputs."""
    services = front.deps
    await services.videos.enqueue_encoding(video_id)
    job = next(job for job in await services.videos.unfinished_jobs() if job.video_id == video_id)
    assets = []
    for kind, key, quality in (
        (AssetType.HLS_MASTER, layout.master_key(video_id), None),
        (AssetType.HLS_RENDITION, layout.rendition_key(video_id, "360p"), "360p"),
        (AssetType.MP4, layout.mp4_key(video_id, "360p"), "360p"),
        (AssetType.POSTER, layout.picture_key(video_id, "poster.jpg"), None),
        (AssetType.THUMBNAIL, layout.picture_key(video_id, "small.jpg"), "small"),
    ):
        data = MASTER if kind == AssetType.HLS_MASTER else key.encode() * 50
        await services.store.put_bytes(key, data, content_type="application/octet-stream")
        assets.append(Asset(type=kind, key=key, quality=quality, width=640, height=360))
    result = MediaResult(
        job_id=job.job_id, video_id=video_id, outcome="completed", at=front.clock(),
        duration_seconds=2.0, width=640, height=360, assets=tuple(assets),
    )  # fmt: skip
    assert await services.videos.apply_completed(result)
    card = await services.videos.card(video_id)
    assert card is not None
    services.feeds._catalogue.upsert(card)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what an encode makes, made once."""
    return encoder_world.make(tmp_path_factory.mktemp("made"))


@pytest.fixture
def desk(front: Any) -> encoder_world.Desk:
    """Return the server's side of encodes elsewhere."""
    return encoder_world.Desk(front)


@pytest.fixture
def machine(front: Any) -> Callable[..., Awaitable[encoder_world.Machine]]:
    """Return a function that makes an encoder by name."""

    async def build(name: str = "gpu-1") -> encoder_world.Machine:
        return encoder_world.Machine(front, (await front.deps.encoders.issue(name))[1])

    return build
