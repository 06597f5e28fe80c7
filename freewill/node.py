"""One running instance: every part built, started in order, stopped in order."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, cast

import structlog

from freewill.accounts import build_accounts
from freewill.analysts import Analysts
from freewill.delivery import MediaDelivery
from freewill.edge import build_front, find_video
from freewill.encoders import build_desk
from freewill.encoding import Encoding
from freewill.images import build_images, image_work
from freewill.keyring import open_keyring
from freewill.metrics import NodeMetrics
from freewill.paths import (
    APP_ID,
    log_path,
    uploads_path,
    work_path,
)
from freewill.settings import Settings
from freewill.shared import Shared
from freewill.stores import is_local, object_store
from freewill.uploads import build_uploads
from freewill.worker import StreamWorker
from media.pipeline import remove_leftovers
from ranking.catalogue import Catalogue
from ranking.embedding import StatisticsEncoder
from ranking.feed import FeedEngine
from social.encoders import Encoders
from social.graph import Graph
from social.interactions import Interactions
from social.videos import VideoService
from social.videos.reconciler import Reconciler
from streams.app import StreamDeps, declare_topics
from streams.feedback import Feedback
from streams.impressions import ImpressionLog
from streams.intake import EngagementIntake, RecentIds, remember_tail
from streams.log import open_log
from streams.log.waiting import connect_when_reachable
from streams.reading import StreamTableReader
from streams.relay import OutboxRelay
from tables.definitions import USER_PREFERENCE, VIDEO_ENGAGEMENT
from tables.reducers.preferences import UserPreference
from tables.relational.engine import Database
from tables.relational.leadership import Leadership
from tables.relational.migrate import migrate
from web.hub import Hub
from web.keys import Readiness
from web.metrics import Metrics

if TYPE_CHECKING:
    from media.s3 import S3Store

log = structlog.get_logger(__name__)
SWEEP_SECONDS = 300.0
RECONCILE_SECONDS = 600.0
WATCHDOG_SECONDS = 30.0
OBJECTS_SECONDS = 6 * 3600.0
MAINTAIN_SECONDS = 60.0
ARCHIVE_SECONDS = 3600.0


class Node:
    """An instance in one process, on the embedded log or on Kafka."""

    def __init__(self, settings: Settings) -> None:
        """Build every part; nothing is started."""
        self.settings = settings
        self.clock = time.time
        self._waiting_for = ["database", "log", "tables"]
        self._tasks: list[asyncio.Task[None]] = []
        self._opened = AsyncExitStack()
        for folder in (settings.data_dir, uploads_path(settings), work_path(settings)):
            folder.mkdir(parents=True, exist_ok=True)
        self._build()

    def _build(self) -> None:
        settings, clock = self.settings, self.clock
        self.keyring = open_keyring(settings.secrets_path)
        self.database = Database.open(settings.relational_url)
        self.store = object_store(settings)
        self.metrics = Metrics()
        self.shared = Shared(settings, clock, lambda use: self.metrics.redis_failures.labels(use).inc())
        self.accounts = build_accounts(settings, self.keyring, self.database, clock, self.shared.failures)
        self.videos = VideoService(self.database, self.store, clock)
        self.images = build_images(settings, self.database, self.store, clock)
        self.reconciler = Reconciler(self.database, self.store, self.videos, clock)
        self.interactions = Interactions(self.database, clock)
        self.graph = Graph(self.database, clock)
        self.hub = Hub(clock, self.shared.bus)
        self.uploads = build_uploads(self)
        self.node_metrics = NodeMetrics(
            self.metrics.registry, alert_at=settings.dead_letters_alert, clock=clock
        )
        self.encoding = Encoding(self)
        self.log = open_log(settings.broker, log_path(settings), group=APP_ID, fsync=settings.log_fsync)
        self.worker, self.catalogue = self._build_worker()
        self.streams, self.owners = self.worker.streams, self.worker.owners
        self.encoders = Encoders(self.database, clock)
        self.desk = build_desk(self, self.encoders)
        self.feeds = FeedEngine(
            self.catalogue,
            self._preference,
            cache_seconds=settings.feed_cache_seconds,
            on_failure=self._ranked_without_index,
        )
        self.relay = OutboxRelay(self.database, self.streams.writer, moved=self.node_metrics.relayed.inc)
        self.recent = RecentIds()
        self.intake = EngagementIntake(
            self.streams.writer, self.interactions, find_video(self), recent=self.recent, clock=clock
        )
        self.feedback = Feedback(self.streams.writer, clock)
        self.impressions = ImpressionLog(self.streams.writer)
        self.reader = StreamTableReader(
            self.streams, self.log, group=APP_ID, holds=self.worker.holds, clock=clock
        )
        self.analysts = Analysts(self)
        self.delivery = MediaDelivery(self)
        self.front = build_front(self)

    def _build_worker(self) -> tuple[StreamWorker, Catalogue]:
        settings = self.settings
        engagement: list[Callable[[str], object]] = []
        catalogue = Catalogue(
            index_folder=settings.data_dir / "index",
            engagement=lambda video_id: engagement[0](video_id),  # type: ignore[arg-type, return-value]
        )
        deps = StreamDeps(
            log=self.log,
            database=self.database,
            videos=self.videos,
            store=self.store,
            catalogue=catalogue,
            encoder=StatisticsEncoder(settings.embedding_timeout_seconds),
            images=image_work(self),
            push=self.hub.push,
            clock=self.clock,
            encoder_queue=self.encoding.queue,
            on_encoded=self.node_metrics.encoded,
            on_dead_letter=self.node_metrics.dead_letter,
            on_silent=self.node_metrics.agent_silent,
        )
        worker = StreamWorker(settings, deps)
        engagement.append(worker.streams.read[VIDEO_ENGAGEMENT.name].lookup)
        return worker, catalogue

    def _preference(self, user_id: str) -> UserPreference | None:
        """Return a viewer's taste; None also while another worker has it, and the front says degraded."""
        if not self.worker.holds(USER_PREFERENCE.name, user_id):
            return None
        found: UserPreference | None = self.streams.tables[USER_PREFERENCE.name].lookup(user_id)
        return found

    def readiness(self) -> Readiness:
        """Say what the instance still waits for (P38)."""
        silent = self.streams.liveness.silent()
        checks = {agent: f"silent for {seconds:.0f} s" for agent, seconds in silent.items()}
        return Readiness(missing=tuple(self._waiting_for), checks=checks)

    async def start(self) -> None:
        """Answer first, then migrate, recover and open for everything."""
        self.shared.start()
        await self.front.start()
        await asyncio.to_thread(remove_leftovers, work_path(self.settings))
        await self._open_store()
        await migrate(self.settings.relational_url)
        self._waiting_for.remove("database")
        await connect_when_reachable(self.log, self._prepare_log)
        if not self.settings.on_kafka:  # the only process: no upload is under way
            await self.videos.sweep_objects(everything=True)
            await self.images.objects.sweep(everything=True)
            await self.uploads.sweep(everything=True)
        self._waiting_for.remove("log")
        await self.worker.start()
        self._tasks = [
            asyncio.create_task(Leadership(self.database, "duties").hold(self._duties), name="duties"),
            asyncio.create_task(self.impressions.run(), name="impressions"),
            asyncio.create_task(_every(MAINTAIN_SECONDS, self._maintain), name="index upkeep"),
        ]
        if pause := self.settings.tables_snapshot_seconds:
            snapshots = _every(pause, self.worker.snapshot)
            self._tasks.append(asyncio.create_task(snapshots, name="table snapshots"))
        if self.encoding.works:
            self._tasks.append(asyncio.create_task(self.encoding.run(), name="encoder queue"))
        if self.desk is not None:
            self._tasks.append(asyncio.create_task(self.desk.run(), name="encoders elsewhere"))
        self._tasks += self.analysts.start() + self.delivery.start()
        self._waiting_for.remove("tables")
        log.info("ready", url=self.settings.public_url, videos=len(self.catalogue))

    async def _prepare_log(self) -> None:
        await declare_topics(self.log, self.settings.streams_partitions)
        await remember_tail(self.log, self.recent)

    async def _open_store(self) -> None:
        """Connect to a remote object store; the local one needs no connection."""
        if not is_local(self.settings):
            remote = await self._opened.enter_async_context(cast("S3Store", self.store))
            await remote.create_bucket(
                archive_days=self.settings.archive_after_days, origins=[self.settings.public_url]
            )

    async def crashed(self) -> BaseException:
        """Return what ended the streams, once something does: nothing may go on without them."""
        return await self.worker.crashed()

    async def stop(self) -> bool:
        """Stop the front, then the streams, then what they stand on.

        Returns:
            False when the streams did not end in time; what was answered is durable all the same.
        """
        self._waiting_for.append("stopping")
        self.analysts.stop()
        if self.desk is not None:
            self.desk.stop()
        await self.front.stop()
        await self.delivery.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        ended = await self.worker.stop()
        await self.shared.close()
        await self.log.close()
        self.accounts.close()
        await self._opened.aclose()
        await self.database.close()
        return ended

    def _ranked_without_index(self, error: Exception) -> None:
        self.node_metrics.degraded_rankings.inc()
        log.warning("ranked_without_index", error=repr(error))

    async def _duties(self) -> None:
        """Do what one of all workers does: the outbox in its order, and sweeping."""
        async with asyncio.TaskGroup() as duties:
            duties.create_task(self.relay.run(), name="outbox relay")
            duties.create_task(_every(SWEEP_SECONDS, self._sweep), name="object sweep")
            duties.create_task(_every(WATCHDOG_SECONDS, self.encoding.rescue), name="encode watchdog")
            duties.create_task(_every(RECONCILE_SECONDS, self._reconcile), name="reconciler")
            duties.create_task(_every(OBJECTS_SECONDS, self._compare_objects), name="object comparison")
            duties.create_task(_every(ARCHIVE_SECONDS, self.delivery.archive_idle), name="archive")

    async def _sweep(self) -> None:
        """Remove what nobody owns any more: objects of lost uploads, event ids too old to come again."""
        await self.videos.sweep_objects()
        await self.images.objects.sweep()
        await self.uploads.sweep()
        await self.store.tidy()
        await self.interactions.forget_old_events()

    async def _reconcile(self) -> None:
        await self.reconciler.unfinished()
        await self.images.rescue()

    async def _compare_objects(self) -> None:
        await self.reconciler.objects()
        await self.images.objects.reconcile()

    async def _maintain(self) -> None:
        await self.catalogue.maintain(self.clock())


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work again and again; a failure is logged and the next round comes."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Exception:
            log.exception("periodic_work_failed", work=getattr(work, "__name__", ""))
