"""What the front is built from, and the typed keys that carry it (DESIGN sections 7 and 11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from web.bodies import Turns
from web.bus import Bus, LocalBus
from web.hops import Hop
from web.hub import Hub
from web.idempotency import Once
from web.limits import DEFAULT_LIMITS, Limit, Limiter
from web.metrics import Metrics
from web.routes import RateClass, Route

if TYPE_CHECKING:
    # Only named here: the front runs with whatever it is given, and starts without loading them.
    from media.partials import Partials
    from media.stores import ObjectStore
    from media.urls import MediaSigner
    from ranking.feed import FeedEngine
    from ranking.trending import TrendingTags
    from social.accounts import Accounts
    from social.comments import Comments
    from social.encoders import Encoder, Encoders, EncodingDesk
    from social.graph import Graph
    from social.images import ImageService
    from social.interactions import Interactions
    from social.uploads import UploadSessions
    from social.videos import VideoService
    from social.videos.captions import Captions
    from social.videos.jobs import EncodingJobs
    from social.views import Principal
    from tables.analytics import AnalystTools
    from tables.reading import TableReader
    from tables.records import Card, Impressions
    from tables.reducers.engagement import VideoEngagement
    from web.cards import CardCache
    from web.delivery import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The settings that the front reads.

    ``base_url`` is the public origin without a slash at its end; ``upload_dir`` holds form uploads while
    they arrive; ``client_dir`` is the built browser client; ``trusted_proxies`` is the number of proxies
    in front whose ``X-Forwarded-For`` entries are believed; ``media_url`` is the origin of media when that is
    another one, ``media_port`` a port that serves nothing else, ``media_cookie_domain`` what both have in
    common when their host names differ, ``media_hosts`` the origins of hosts that deliver it;
    ``hop_secret`` signs what workers pass to each
    other, so all of them have the same (``web/hops.py``).
    """

    base_url: str
    upload_dir: Path
    client_dir: Path
    cors_origins: tuple[str, ...] = ()
    media_url: str = ""
    media_port: int = 0
    media_cookie_domain: str = ""
    media_hosts: tuple[str, ...] = ()
    rate_limits: bool = True
    limits: Mapping[RateClass, Limit] = field(default_factory=lambda: DEFAULT_LIMITS)
    trusted_proxies: int = 0
    hop_secret: bytes = field(default_factory=lambda: token_bytes(32), repr=False)
    max_json_bytes: int = 2 * 1024 * 1024  # a batch of 1,000 events is about 350 kB
    heartbeat_seconds: float = 25.0
    stream_idle_seconds: float = 15.0
    shutdown_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server can answer, and what it waits for (P38)."""

    missing: tuple[str, ...] = ()
    status: str = "starting"
    checks: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


class IntakeRejection(Protocol):
    """One refused event of a batch."""

    @property
    def index(self) -> int:
        """Its place in the batch."""

    @property
    def code(self) -> str:
        """Its error code."""

    @property
    def message(self) -> str:
        """What is wrong with it."""


class IntakeResult(Protocol):
    """What became of a batch of events."""

    @property
    def accepted(self) -> int:
        """How many were new."""

    @property
    def duplicates(self) -> int:
        """How many event ids were known."""

    @property
    def rejected(self) -> Sequence[IntakeRejection]:
        """Which were refused."""


class Intake(Protocol):
    """Takes client events and answers when they are durable (F1, INTERFACE Engagement)."""

    async def submit(self, user_id: str, raw: Sequence[Any]) -> IntakeResult:
        """Validate each event, find duplicates, record the rest."""


class FeedFeedback(Protocol):
    """Takes what a viewer says about the feed (Y4)."""

    async def feedback(self, user_id: str, target: str, kind: str) -> None:
        """Record a wish; ``target`` is video:ID, creator:ID or tag:NAME.

        ``kind`` is not_interested, less or more. Durable when it returns.
        """

    async def reset(self, user_id: str) -> None:
        """Forget what the feed has learned about the viewer."""


class Owners(Protocol):
    """Says which worker holds a key of a stream table (F17)."""

    def __call__(self, table: str, key: str) -> str | None:
        """Return the base URL of the worker that holds a key, ``http://host:port``; None: this one does.

        Asked at each request, without awaiting: the answer changes with every rebalance.

        Raises:
            ServiceUnavailable: nobody holds it just now, as while partitions move (SERVICE_UNAVAILABLE,
                with ``retry_after_seconds``).
            Missing: there is no such table (NOT_FOUND).
        """


def all_here(table: str, key: str) -> str | None:
    """Be the ``Owners`` of a process that holds every partition."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """All services of the front; the composition root builds it."""

    settings: WebSettings
    clock: Callable[[], float]
    readiness: Callable[[], Readiness]
    accounts: Accounts
    videos: VideoService
    captions: Captions
    images: ImageService
    delivery: Delivery
    interactions: Interactions
    comments: Comments
    graph: Graph
    store: ObjectStore
    signer: MediaSigner
    uploads: UploadSessions
    jobs: EncodingJobs
    partials: Partials
    encoders: Encoders
    encoding: EncodingDesk | None = None
    """The queue of encodes for encoders elsewhere; None where another worker has it."""
    feeds: FeedEngine
    trending: TrendingTags
    videos_of: Callable[[str], Sequence[Card]]
    """Cards of a creator's playable videos."""
    engagement: Callable[[str], VideoEngagement | None]
    intake: Intake
    feedback: FeedFeedback
    impressions: Callable[[Impressions], None] = lambda page: None
    """Notes what a feed showed; returns at once (E39)."""
    tables: TableReader
    analysts: AnalystTools
    hub: Hub
    metrics: Metrics
    limiter: Limiter
    owners: Owners = all_here
    bus: Bus = field(default_factory=LocalBus)
    once: Once | None = None
    """Keeps answers by ``Idempotency-Key``; None: in this process."""
    turns: Turns = field(default_factory=Turns)
    """Of uploads on their way in."""


DEPS: web.AppKey[Deps] = web.AppKey("deps", Deps)
ROUTES: web.AppKey[dict[web.AbstractRoute, Route]] = web.AppKey("routes", dict[web.AbstractRoute, Route])
IDEMPOTENCY: web.AppKey[Once] = web.AppKey("idempotency")
PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal")
CARDS: web.AppKey[CardCache] = web.AppKey("cards")
ENCODER: web.RequestKey[Encoder] = web.RequestKey("encoder")
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
HOP: web.RequestKey[Hop] = web.RequestKey("hop", Hop)
"""Set on a request that another worker has passed on."""
AWAY: web.RequestKey[bool] = web.RequestKey("away", bool)
"""Set when the row that the route reads could not be reached, on a route that answers without it."""
TOLD: web.RequestKey[dict[str, str]] = web.RequestKey("told")
"""Headers that a handler wants on its answer, whatever that will be, errors too."""
RATE: web.RequestKey[Mapping[str, str]] = web.RequestKey("rate")
"""The ``RateLimit-*`` headers of the answer."""
