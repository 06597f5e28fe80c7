"""The stream application: topics, tables and agents put together (Z3, Z4). Nothing happens at import."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import faust

from media.pipeline import MediaSettings
from media.stores import ObjectStore
from ranking.catalogue import Catalogue
from ranking.embedding import Encoder
from ranking.trending import TrendingTags, public_tags
from social.videos import VideoService
from social.videos.captions import Captions
from streams.agents import catalogue, encoding, engagement, images, media, notifications, trends
from streams.agents.handling import each_event, each_slice
from streams.dead_letters import DeadLetters
from streams.folding import Fold
from streams.liveness import Liveness
from streams.log import (
    LogWriter,
    MessageLog,
    broker_of,
    committer_for,
    declare_table,
    faust_settings,
    record_topic,
    register_transports,
    shared_log,
    sliced_topic,
    use_log,
    work_on,
)
from streams.log.slices import Received, Slice
from streams.log.topics import TopicPolicy
from streams.reading import Progress
from streams.roles import ALL_ROLES, MEDIA_SUFFIX, SERVING, Role
from streams.scheduling import WAITING_LIMIT
from streams.shown import Shown
from streams.topics import (
    CATALOGUE_CHANGES,
    CHANGE_TOPICS,
    CONTENT_EVENTS,
    CREATOR_DELTAS,
    DEAD_RETENTION_SECONDS,
    ENGAGEMENT_DELTAS,
    ENGAGEMENT_EVENTS,
    IMPRESSION_DELTAS,
    IMPRESSIONS,
    MEDIA_IMAGES,
    MEDIA_JOBS,
    MEDIA_RESULTS,
    NOTIFICATIONS,
    PAIR_DELTAS,
    TAG_DELTAS,
    TOPICS,
    USER_DELTAS,
    USER_EVENTS,
    VIDEO_UPLOADED,
    TopicSpec,
)
from streams.views import Readable, Views
from tables.definitions import (
    CATALOGUE,
    CO_OCCURRENCE,
    CREATOR_TOTALS,
    IMPRESSION_DAYS,
    TABLES,
    TAG_TRENDS,
    USER_DAY,
    USER_PREFERENCE,
    VIDEO_ENGAGEMENT,
    WATCH_HISTORY,
)
from tables.records import Card
from tables.reducers.engagement import VideoEngagement, WatchHistory
from tables.reducers.together import CoOccurrence
from tables.reducers.totals import Totals
from tables.reducers.trends import ImpressionDays, TagTrend
from tables.relational.engine import Database


@dataclass(frozen=True)
class StreamSettings:
    """What an operator chose for the streams. ``store`` is ``memory://`` or ``rocksdb://``.

    ``worker`` names this process among those on one Kafka: whoever comes back under it goes on where it was.
    ``url`` is where others reach its front, ``standbys`` how many others follow each of its table partitions.
    An agent that is silent for ``stuck_seconds`` while records wait ends the process; 0: none does.
    """

    app_id: str
    data_dir: Path
    partitions: int
    store: str
    ladder: str
    media: MediaSettings
    workdir: Path
    worker: str | None = None
    roles: frozenset[Role] = ALL_ROLES
    url: str = ""
    standbys: int = 0
    stuck_seconds: float = 0.0


@dataclass(frozen=True)
class StreamDeps:
    """What the agents work with."""

    log: MessageLog
    database: Database
    videos: VideoService
    store: ObjectStore
    catalogue: Catalogue
    encoder: Encoder
    images: images.ImageWork
    push: Callable[[str, str, dict[str, object]], object]
    clock: Callable[[], float] = time.time
    encoder_queue: encoding.EncoderQueue | None = None
    on_encoded: Callable[[str, float], None] = lambda outcome, seconds: None
    on_dead_letter: Callable[[str, str], None] = lambda topic, code: None
    on_silent: Callable[[str, float], None] = lambda agent, seconds: None


@dataclass(frozen=True)
class Streams:
    """The built applications and what others use of them.

    ``app`` keeps the tables, ``media_app`` is the same where one process has all roles. ``read`` are the
    tables as a reader sees them: those that everybody needs whole are copies in a cluster, followed by
    ``views``.
    """

    app: Any
    media_app: Any
    roles: frozenset[Role]
    tables: dict[str, Any]
    read: Mapping[str, Readable]
    views: Views | None
    writer: LogWriter
    dead_letters: DeadLetters
    trending: TrendingTags
    shown: Shown
    progress: Progress
    liveness: Liveness

    @property
    def running(self) -> tuple[Any, ...]:
        """The apps that this worker's roles start."""
        wanted = ((Role.ENGAGEMENT, self.app), (Role.MEDIA, self.media_app))
        return tuple(dict.fromkeys(app for role, app in wanted if role in self.roles))

    def show_all(self) -> None:
        """Fill ranking's columns from the recovered tables; copies have told them all along."""
        if self.views is not None:
            return
        shows = self.shown.by_table()
        for name in (CATALOGUE.name, VIDEO_ENGAGEMENT.name, CO_OCCURRENCE.name):
            for key, row in list(self.tables[name].scan()):
                shows[name](key, row)
        self.trending.fill(self.tables[TAG_TRENDS.name].scan())


def build_streams(settings: StreamSettings, deps: StreamDeps) -> Streams:
    """Declare topics, tables and agents on new Faust apps; nothing is started."""
    register_transports()
    streams = _tables(settings, deps)
    if streams.views is not None:
        streams.views.show(streams.shown.by_table())
    deps.catalogue.read_together(streams.read[CO_OCCURRENCE.name].lookup)
    if Role.ENGAGEMENT in settings.roles:
        topics = _topics(streams.app, settings.partitions)
        _register_counting(topics, streams, deps)
        _register_trends(topics, streams, deps)
        _slices(topics, streams)(
            "notifications.push", NOTIFICATIONS, lambda b: notifications.push(b, deps.push)
        )
    if Role.MEDIA in settings.roles:
        _register_media(_topics(streams.media_app, settings.partitions), streams, settings, deps)
    return streams


def _tables(settings: StreamSettings, deps: StreamDeps) -> Streams:
    """Declare the apps and the tables, and copies of those that are read whole where others keep them."""
    shared = shared_log(deps.log)
    app = _app(settings, deps.log, settings.app_id, standbys=settings.standbys)
    tables = {
        table.name: declare_table(
            app, table.name, table.value, partitions=settings.partitions, help=table.help
        )
        for table in TABLES
    }
    views = None
    if shared is not None and settings.roles & SERVING:
        everywhere = [tables[table.name] for table in TABLES if table.everywhere]
        views = Views(shared, everywhere, settings.partitions)
    writer = committer_for(app, deps.log)
    trending = TrendingTags(deps.catalogue.public_videos)
    progress = Progress()
    liveness = Liveness(deps.log, progress, settings.stuck_seconds, observed=deps.on_silent)
    return Streams(
        app=app,
        media_app=app if shared is None else _app(settings, deps.log, settings.app_id + MEDIA_SUFFIX),
        roles=settings.roles,
        tables=tables,
        read={**tables, **(views.copies if views is not None else {})},
        views=views,
        writer=writer,
        dead_letters=DeadLetters(writer, clock=deps.clock, counted=deps.on_dead_letter, tried=liveness.heard),
        trending=trending,
        shown=Shown.to_ranking(deps.catalogue, trending),
        progress=progress,
        liveness=liveness,
    )


def _app(settings: StreamSettings, log: MessageLog, app_id: str, *, standbys: int = 0) -> Any:
    app = faust.App(
        app_id,
        **faust_settings(
            data_dir=settings.data_dir,
            partitions=settings.partitions,
            broker=broker_of(log),
            store=settings.store,
            instance_id=settings.worker,
            standbys=standbys,
            url=settings.url,
        ),
    )
    use_log(app, log)
    return app


async def declare_topics(log: MessageLog, partitions: int) -> None:
    """Declare every topic and its dead letters, before anything is published.

    Raises:
        PartitionMismatch: a topic exists with another partition count, which is fixed for life.
    """
    for topic in TOPICS:
        await log.declare(topic.name, partitions, TopicPolicy(retention_seconds=topic.retention_seconds))
        await log.declare(topic.dead, partitions, TopicPolicy(retention_seconds=DEAD_RETENTION_SECONDS))
    for topic in CHANGE_TOPICS:
        await log.declare(topic.name, partitions, TopicPolicy(compact=True))


async def declare_changelogs(log: MessageLog, streams: Streams) -> None:
    """Declare what the copies follow: the workers that keep the tables may start later."""
    if streams.views is not None:
        for table in streams.tables.values():
            name = table.changelog_topic.get_topic_name()
            await log.declare(name, table.changelog_partitions, TopicPolicy(compact=True))


def _topics(app: Any, partitions: int) -> dict[str, Any]:
    """Return every topic as an app's; it subscribes to those that its agents take."""
    return {topic.name: _topic(app, topic, partitions) for topic in TOPICS}


def _topic(app: Any, topic: TopicSpec, partitions: int) -> Any:
    declare = sliced_topic if topic.sliced else record_topic
    return declare(
        app, topic.name, topic.record, partitions=partitions, retention_seconds=topic.retention_seconds
    )


def _register_counting(topics: dict[str, Any], streams: Streams, deps: StreamDeps) -> None:
    """Register the agents that keep tables."""
    tables, writer = streams.tables, streams.writer
    histories: Fold[WatchHistory] = Fold(tables[WATCH_HISTORY.name], writer, WatchHistory.copy)
    counters: Fold[VideoEngagement] = Fold(tables[VIDEO_ENGAGEMENT.name], writer, VideoEngagement.copy)
    preferences: Fold[Any] = Fold(tables[USER_PREFERENCE.name], writer)
    cards: Fold[Any] = Fold(tables[CATALOGUE.name], writer)
    together: Fold[CoOccurrence] = Fold(tables[CO_OCCURRENCE.name], writer, CoOccurrence.copy)
    shown = streams.shown if streams.views is None else Shown()

    def card_of(video_id: str) -> Card | None:
        entry = streams.read[CATALOGUE.name].lookup(video_id)
        return entry.card if entry else None

    to_tags = engagement.tell_tags_by(lambda video_id: public_tags(card_of(video_id)))
    slices = _slices(topics, streams)
    slices(
        "engagement.observe",
        ENGAGEMENT_EVENTS,
        lambda batch: engagement.observe(batch, histories, (*engagement.COUNTING, to_tags)),
    )
    slices(
        "engagement.count",
        ENGAGEMENT_DELTAS,
        lambda batch: engagement.count(batch, counters, shown.engagement),
    )
    slices(
        "preferences.learn",
        ENGAGEMENT_EVENTS,
        lambda batch: engagement.learn(batch, preferences, card_of, deps.clock()),
    )
    slices("pairs.count", PAIR_DELTAS, lambda b: engagement.pair(b, together, shown.positives))
    creators: Fold[Totals] = Fold(tables[CREATOR_TOTALS.name], writer, Totals.copy)
    users: Fold[Totals] = Fold(tables[USER_DAY.name], writer, Totals.copy)
    slices("creators.total", CREATOR_DELTAS, lambda batch: engagement.total(batch, creators))
    slices("users.total", USER_DELTAS, lambda batch: engagement.total(batch, users))
    slices("users.note", USER_EVENTS, lambda batch: trends.note_journeys(batch, users))
    slices("preferences.steer", USER_EVENTS, lambda batch: engagement.steer(batch, preferences))
    slices("catalogue.keep", CATALOGUE_CHANGES, lambda batch: catalogue.keep(batch, cards, shown.card))


def _register_trends(topics: dict[str, Any], streams: Streams, deps: StreamDeps) -> None:
    """Register the agents that count tags and what feeds showed."""
    tables, writer, view = streams.tables, streams.writer, streams.trending
    tags: Fold[TagTrend] = Fold(tables[TAG_TRENDS.name], writer, TagTrend.copy)
    shown: Fold[ImpressionDays] = Fold(tables[IMPRESSION_DAYS.name], writer, ImpressionDays.copy)
    show = view.show if streams.views is None else Shown().tag
    slices = _slices(topics, streams)
    slices("tags.trend", TAG_DELTAS, lambda b: trends.trend(b, tags, show, view.oldest, deps.clock()))
    slices("impressions.spread", IMPRESSIONS, lambda batch: trends.spread(batch, writer))
    slices("impressions.count", IMPRESSION_DELTAS, lambda batch: trends.count_shown(batch, shown))


def _register_media(
    topics: dict[str, Any], streams: Streams, settings: StreamSettings, deps: StreamDeps
) -> None:
    """Register the agents of the media pipeline."""
    assert deps.encoder_queue is not None
    tools = encoding.EncodeTools(
        store=deps.store,
        workdir=settings.workdir,
        settings=settings.media,
        writer=streams.writer,
        videos=deps.videos,
        queue=deps.encoder_queue,
        clock=deps.clock,
        observed=deps.on_encoded,
    )
    embedding = media.EmbedTools(
        store=deps.store,
        database=deps.database,
        videos=deps.videos,
        encoder=deps.encoder,
        workdir=settings.workdir,
        clock=deps.clock,
    )
    slices = _slices(topics, streams)
    slices("uploads.enqueue", VIDEO_UPLOADED, lambda b: media.enqueue(b, deps.videos, settings.ladder))
    captions = Captions(deps.database, deps.store, deps.clock)
    apply = partial(media.apply_results, videos=deps.videos, captions=captions, writer=streams.writer)
    slices("media.apply", MEDIA_RESULTS, apply)
    events = _events(topics, streams)
    # They wait for their turn here, where priority and fairness reach them.
    events("media.encode", MEDIA_JOBS, lambda job: encoding.encode(job, tools), WAITING_LIMIT)
    events("media.images", MEDIA_IMAGES, lambda job: images.process(job, deps.images), images.IN_FLIGHT)
    events("catalogue.embed", CONTENT_EVENTS, lambda fact: media.embed(fact, embedding), 1)


def _slices(topics: dict[str, Any], streams: Streams) -> Callable[..., None]:
    def register_agent(name: str, topic: TopicSpec, handle: Callable[[Any], Awaitable[None]]) -> None:
        async def handle_and_note(batch: Slice[Any]) -> None:
            streams.liveness.heard(name)
            await handle(batch)
            streams.progress.note(name, batch)

        async def run(stream: Any) -> None:
            await each_slice(name, stream, handle_and_note, streams.dead_letters)

        app = topics[topic.name].app
        app.agent(topics[topic.name], name=name)(run)
        streams.liveness.watch(name, app, topic.name)

    return register_agent


def _events(topics: dict[str, Any], streams: Streams) -> Callable[..., None]:
    def register_agent(
        name: str, topic: TopicSpec, handle: Callable[[Any], Awaitable[None]], in_flight: int
    ) -> None:
        async def take(item: Received[Any]) -> None:
            await each_event(name, item, handle, streams.dead_letters)

        async def run(stream: Any) -> None:
            await work_on(stream, take, in_flight=in_flight)

        topics[topic.name].app.agent(topics[topic.name], name=name)(run)

    return register_agent
