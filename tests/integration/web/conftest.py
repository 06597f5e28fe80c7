"""A whole front over real services: SQLite in a temporary folder, a file store, no network but loopback."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer

from social.accounts import Accounts, AccountTools
from social.guard import SessionGuard
from social.keys import KeyMaker, MasterKey
from social.passwords import Passwords
from social.throttle import LoginThrottle
from social.tokens import AccessTokens
from social.views import Principal
from tables.relational.engine import Database
from tables.relational.migrate import migrate
from tables.relational.models import UserRow, moment
from web.app import create_app
from web.hub import Hub
from web.keys import Deps, Readiness, WebSettings
from web.limits import MemoryLimiter
from web.metrics import Metrics
from web.service import FrontRunner

BASE_URL = "http://front.test"


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
        return FrontRunner(self.app, **kwargs)


Build = Callable[..., Awaitable[Front]]


@pytest.fixture
async def build(tmp_path: Path) -> AsyncIterator[Build]:
    """Return a function that starts a front; settings can be overridden by keyword."""
    fronts: list[Front] = []

    async def start(deps_overrides: dict[str, Any] | None = None, **settings: Any) -> Front:
        url = f"sqlite+aiosqlite:///{tmp_path / 'front.db'}"
        await migrate(url)
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
async def front(build: Build) -> Front:
    """Return a running front with rate limits off."""
    return await build()


def real_services(folder: Path, database: Database, clock: Clock) -> dict[str, Any]:
    """Return the services behind the front, by their name in ``Deps``."""
    names = ("videos", "interactions", "store", "signer", "probe", "catalogue", "feeds", "preference")
    return dict.fromkeys((*names, "engagement", "freshness", "intake", "feedback", "tables"))
