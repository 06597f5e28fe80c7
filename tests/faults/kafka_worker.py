"""One worker of the fault tests: the two stages of engagement on a real broker, in a process of its own.

``python kafka_worker.py URL FOLDER NAME`` runs until SIGTERM, then writes its rows to FOLDER/rows.json and
ends with 0; whatever ends its streams ends it with 1, as the server does.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import faust

from streams.agents import engagement
from streams.agents.handling import each_slice
from streams.dead_letters import DeadLetters
from streams.folding import Fold
from streams.log import (
    LogError,
    committer_for,
    declare_table,
    faust_settings,
    register_transports,
    sliced_topic,
    start_app,
    stop_app,
    use_log,
    wait_for_crash,
)
from streams.log.kafka import KafkaLog
from streams.log.waiting import connect_when_reachable
from streams.topics import ENGAGEMENT_DELTAS, ENGAGEMENT_EVENTS, TOPICS, TopicSpec
from tables.reducers.engagement import VideoEngagement, WatchHistory

APP = "faults"
PARTITIONS = 4
READ = (ENGAGEMENT_EVENTS, ENGAGEMENT_DELTAS)
#: Short, so that what a silent worker held goes to another within the test.
SESSION = {"broker_session_timeout": 4.0, "broker_heartbeat_interval": 0.5}


async def declare_topics(log: KafkaLog) -> None:
    """Declare what the two stages read and write, and their neighbours."""
    for topic in TOPICS:
        await log.declare(topic.name, PARTITIONS)
        if topic in READ:
            await log.declare(topic.dead, PARTITIONS)


def build(log: KafkaLog, folder: Path, name: str) -> tuple[Any, dict[str, Any]]:
    """Return the app and its tables."""
    register_transports()
    settings = faust_settings(
        data_dir=folder / "tables",
        partitions=PARTITIONS,
        broker=log.url,
        commit_seconds=0.2,
        instance_id=name or None,
    )
    app = faust.App(APP, **settings | SESSION)
    use_log(app, log)
    writer = committer_for(app, log)
    letters = DeadLetters(writer)
    tables = {
        "watch_history": declare_table(app, "watch_history", WatchHistory, partitions=PARTITIONS),
        "video_engagement": declare_table(app, "video_engagement", VideoEngagement, partitions=PARTITIONS),
    }
    histories: Any = Fold(tables["watch_history"], writer, WatchHistory.copy)
    counters: Any = Fold(tables["video_engagement"], writer, VideoEngagement.copy)

    def run(topic: TopicSpec, name: str, handle: Any) -> None:
        async def agent(stream: Any) -> None:
            await each_slice(name, stream, handle, letters)

        app.agent(sliced_topic(app, topic.name, topic.record, partitions=PARTITIONS), name=name)(agent)

    run(ENGAGEMENT_EVENTS, "observe", lambda batch: engagement.observe(batch, histories))
    run(ENGAGEMENT_DELTAS, "count", lambda batch: engagement.count(batch, counters, lambda video, row: None))
    return app, tables


def rows_of(app: Any, tables: dict[str, Any]) -> dict[str, Any]:
    """Return the counters of the partitions that this worker holds."""
    held = {tp.partition for tp in app.consumer.assignment() if tp.topic == ENGAGEMENT_DELTAS.name}
    table, log = tables["video_engagement"], app.message_log
    return {
        video: [row.views, row.shares, row.completes]
        for video, row in table.scan()
        if log.partition_for(ENGAGEMENT_DELTAS.name, video.encode()) in held
    }


async def serve(url: str, folder: Path, name: str) -> int:
    """Work until told to stop (0) or until the streams end (1)."""
    folder.mkdir(parents=True, exist_ok=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    log = KafkaLog.open(url, group=APP)
    await connect_when_reachable(log, lambda: declare_topics(log))
    app, tables = build(log, folder, name)
    try:
        await start_app(app)
        print("ready", flush=True)
        await _until_stopped_or_crashed(app, stop)
        rows, code = rows_of(app, tables), 0
    except LogError as failure:
        print(f"crashed {failure!r}", flush=True)
        rows, code = {}, 1
    ended = await stop_app(app, 8.0)
    (folder / "rows.json").write_text(json.dumps(rows))
    await log.close()
    if not ended:
        os._exit(code)
    return code


async def _until_stopped_or_crashed(app: Any, stop: asyncio.Event) -> None:
    """Return when told to stop; raise what ended the streams."""
    stopping, crashing = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(wait_for_crash(app))
    done, waiting = await asyncio.wait({stopping, crashing}, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    if crashing in done:
        raise LogError(repr(crashing.result()))


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3])))
