"""The real engagement path for the benches: a load, and all its agents on a log of their own.

A sitting is ten events of one user: two videos watched step by step, every tenth liked. Videos are drawn from
Zipf 1.2 over 100,000; the 2,000 most popular are in the catalogue with embedding and tags.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
import msgspec
import numpy as np

from media.pipeline import MediaSettings
from ranking.catalogue import Catalogue
from ranking.trending import TrendingTags
from streams.agents import engagement
from streams.agents.handling import each_slice
from streams.app import StreamDeps, Streams, StreamSettings, build_streams, declare_topics
from streams.dead_letters import DeadLetters
from streams.folding import Fold
from streams.intake import envelopes
from streams.log import (
    EmbeddedLog,
    LogWriter,
    MessageLog,
    Outgoing,
    SliceCommitter,
    declare_table,
    faust_settings,
    sliced_topic,
    start_app,
    stop_app,
    use_log,
)
from streams.reading import Progress
from streams.roles import Role
from streams.shown import Shown
from streams.topics import CATALOGUE_CHANGES, ENGAGEMENT_DELTAS, ENGAGEMENT_EVENTS, TopicSpec
from tables.definitions import VIDEO_ENGAGEMENT, WATCH_HISTORY
from tables.records import Action, Card, CatalogueChange, EngagementEvent
from tables.reducers.engagement import VideoEngagement, WatchHistory

PARTITIONS = 8
VIDEOS = 100_000
CARDS = 2_000
CREATORS = 1_000
USERS = 5_000
SITTING = 10
START = 1_800_000_000.0
STEPS = (Action.WATCH_START, Action.WATCH_25, Action.WATCH_50, Action.WATCH_75, Action.WATCH_COMPLETE)
PUBLISHED = 1_000

_encode = msgspec.json.Encoder().encode


def video_id(number: int) -> str:
    """Return the id of the video of a rank, 0 the most popular."""
    return f"7c0c6a1e-0000-4000-8000-{number:012d}"


def creator_id(number: int) -> str:
    """Return the id of a video's creator."""
    return f"c00c6a1e-0000-4000-8000-{number % CREATORS:012d}"


def sittings(
    count: int,
    *,
    users: int = USERS,
    seed: int = 7,
    videos: int = SITTING // len(STEPS),
    catalogue: int = VIDEOS,
) -> Iterator[list[EngagementEvent]]:
    """Yield so many events, a sitting of so many videos of the catalogue at a time."""
    size = videos * len(STEPS)
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, catalogue + 1, dtype=np.float64) ** -1.2
    share = np.cumsum(ranks / ranks.sum())[:-1]
    for number in range(0, count, size):
        user = f"5b0c6a1e-0000-4000-8000-{int(rng.integers(users)):012d}"
        drawn = np.searchsorted(share, rng.random(videos)).tolist()
        yield [
            _event(user, f"{seed:08x}-0000-4000-8000-{number + n:012d}", drawn[n // 5], n % 5,
                   START + seed * 1_000.0 + number * 1e-3)
            for n in range(size)
        ]  # fmt: skip


def _event(user: str, event_id: str, video: int, step: int, at: float) -> EngagementEvent:
    return EngagementEvent(
        event_id=event_id, user_id=user, video_id=video_id(video), action=STEPS[step],
        occurred_at=at, owner_id=creator_id(video), duration_seconds=10.0, watch_seconds=2.5 * step,
    )  # fmt: skip


def outgoing(events: Iterator[list[EngagementEvent]], *, one_each: bool = False) -> Iterator[list[Outgoing]]:
    """Yield records to publish at once: an envelope a sitting, or a record an event."""
    records: list[Outgoing] = []
    for sitting in events:
        made = sitting if one_each else envelopes(sitting)
        records += [Outgoing(ENGAGEMENT_EVENTS.name, e.user_id, _encode(e)) for e in made]
        if len(records) >= PUBLISHED:
            yield records
            records = []
    if records:
        yield records


def cards() -> list[Outgoing]:
    """Return the cards of the most popular videos."""
    rng = np.random.default_rng(1)
    made = []
    for number in range(CARDS):
        vector = rng.standard_normal(512)
        card = Card(
            video_id=video_id(number), creator_id=creator_id(number), creator_username=f"c{number}",
            title=f"Video {number}", created_at=START - number, duration_seconds=10.0, width=720, height=1280,
            tags=(f"t{number % 50}", f"u{number % 300}", "all"), model_version="bench",
            embedding=(vector / np.linalg.norm(vector)).astype(np.float16).tobytes(),
        )  # fmt: skip
        change = CatalogueChange(video_id=card.video_id, at=START, card=card)
        made.append(Outgoing(CATALOGUE_CHANGES.name, card.video_id, _encode(change)))
    return made


@dataclass
class Stages:
    """What ``World`` needs of a worker that has the two stages of counting only."""

    app: Any
    writer: LogWriter
    tables: dict[str, Any]
    progress: Progress


@dataclass
class World:
    """One worker with every agent of engagement, or some."""

    log: MessageLog
    streams: Streams | Stages
    catalogue: Catalogue
    group: str

    async def publish(self, records: list[Outgoing]) -> None:
        """Append records; durable when it returns."""
        await self.streams.writer.publish(records)

    async def settled(self, limit_seconds: float = 600.0) -> None:
        """Wait until every position of every topic is committed at its end."""
        deadline = time.monotonic() + limit_seconds
        while not self.is_settled():
            if time.monotonic() > deadline:
                raise TimeoutError("the agents do not come to the end")
            await asyncio.sleep(0.02)

    def is_settled(self) -> bool:
        """Tell whether all that was appended is counted and committed."""
        consumed = {name for agent in self.streams.app.agents.values() for name in agent.channel.topics}
        return all(
            (self.log.committed(self.group, name, n) or 0) >= self.log.highwater(name, n)
            for name in consumed
            for n in range(PARTITIONS)
        )

    def behind(self) -> int:
        """Return how many records of the slowest agent of client events are not folded."""
        ends = sum(self.log.highwater(ENGAGEMENT_EVENTS.name, n) for n in range(PARTITIONS))
        done = (self.streams.progress.applied(name) for name in ("engagement.observe", "preferences.learn"))
        return ends - min(sum(at + 1 for at in applied.values()) for applied in done)

    def views(self) -> int:
        """Return all views that this worker counted."""
        return sum(state.views for _, state in self.streams.tables["video_engagement"].scan())


@contextlib.asynccontextmanager
async def world(log: MessageLog, folder: Path, group: str = "bench", **options: Any) -> AsyncIterator[World]:
    """Start every agent of engagement on a connected log; ``options`` are of ``StreamSettings``."""
    catalogue = Catalogue()
    settings = StreamSettings(
        app_id=group, data_dir=folder, partitions=PARTITIONS, store="memory://", ladder="short",
        media=MediaSettings(), workdir=folder, roles=frozenset({Role.ENGAGEMENT}), **options,
    )  # fmt: skip
    nobody: Any = None  # the media agents are not registered
    deps = StreamDeps(
        log=log, database=nobody, videos=nobody, store=nobody, catalogue=catalogue, encoder=nobody,
        images=nobody,
        push=lambda user, event, data: None, clock=lambda: START + 86_400.0,
    )  # fmt: skip
    await declare_topics(log, PARTITIONS)
    streams = build_streams(settings, deps)
    await start_app(streams.app)
    try:
        yield World(log, streams, catalogue, group)
    finally:
        await stop_app(streams.app)


@contextlib.asynccontextmanager
async def two_stages(log: EmbeddedLog, folder: Path, group: str = "bench") -> AsyncIterator[World]:
    """Start stage one and stage two of counting alone: two topics, two agents, two tables."""
    settings = faust_settings(data_dir=folder, partitions=PARTITIONS)
    app = faust.App(group, **settings)
    use_log(app, log)
    writer = SliceCommitter(app, log)
    tables = {
        spec.name: declare_table(app, spec.name, spec.value, partitions=PARTITIONS)
        for spec in (WATCH_HISTORY, VIDEO_ENGAGEMENT)
    }
    histories: Fold[WatchHistory] = Fold(tables[WATCH_HISTORY.name], writer, WatchHistory.copy)
    counters: Fold[VideoEngagement] = Fold(tables[VIDEO_ENGAGEMENT.name], writer, VideoEngagement.copy)
    letters, catalogue = DeadLetters(writer), Catalogue()
    show = Shown.to_ranking(catalogue, TrendingTags(catalogue.public_videos)).engagement

    def take(name: str, topic: TopicSpec, handle: Callable[[Any], Awaitable[None]]) -> None:
        async def agent(stream: Any) -> None:
            await each_slice(name, stream, handle, letters)

        source = sliced_topic(app, topic.name, topic.record, partitions=PARTITIONS)
        app.agent(source, name=name)(agent)

    tellers = (engagement.tell_videos,)
    take("observe", ENGAGEMENT_EVENTS, lambda batch: engagement.observe(batch, histories, tellers))
    take("count", ENGAGEMENT_DELTAS, lambda batch: engagement.count(batch, counters, show))
    await declare_topics(log, PARTITIONS)
    await start_app(app)
    try:
        yield World(log, Stages(app, writer, tables, Progress()), catalogue, group)
    finally:
        await stop_app(app)
