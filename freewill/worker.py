"""The streams of one worker: apps by role, copies of tables, who holds what; started and stopped in order."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from freewill.paths import APP_ID, snapshots_path, work_path, worker_name
from freewill.settings import Settings
from media.pipeline import MediaSettings
from streams.app import StreamDeps, Streams, StreamSettings, build_streams, declare_changelogs
from streams.log import Snapshots, shared_log, start_app, stop_app, wait_for_crash
from streams.ownership import Ownership
from streams.roles import Role

STOP_SECONDS = 12.0
"""What agents get to finish; with the front's own time a stop stays under 20 s (INTERFACE, Process)."""
SNAPSHOT_SECONDS = 3.0
"""What copying large tables may take at a stop; what is not ready is read from its changelog again."""


class StreamWorker:
    """What of the streams runs in this process."""

    def __init__(self, settings: Settings, deps: StreamDeps) -> None:
        """Build apps, tables and agents; nothing is started."""
        self._deps = deps
        self.streams: Streams = build_streams(_stream_settings(settings), deps)
        self.snapshots = Snapshots(snapshots_path(settings), clock=deps.clock)
        self.snapshot_seconds = settings.tables_snapshot_seconds
        if self.snapshot_seconds:
            self.snapshots.attach(self.streams.app)
        self.owners = self._owners(settings)
        self._tasks: list[asyncio.Task[None]] = []
        self._stuck_seconds = settings.streams_stuck_seconds
        self._started = False

    def _owners(self, settings: Settings) -> Ownership | None:
        shared = shared_log(self._deps.log)
        if shared is None:
            return None
        member = Role.ENGAGEMENT in settings.roles
        return Ownership(self.streams.app, shared, settings.own_url, member=member)

    def holds(self, table: str, key: str) -> bool:
        """Tell whether the row of a key is in this process, and current."""
        return self.owners is None or self.owners.holds(table, key)

    def lookup(self, table: str) -> Callable[[str], Any]:
        """Return how a table that is read whole is read: the row itself where it is held, else its copy."""
        held, copied = self.streams.tables[table].lookup, self.streams.read[table].lookup
        if self.owners is None:
            return held  # type: ignore[no-any-return]
        return lambda key: held(key) if self.holds(table, key) else copied(key)

    async def start(self) -> None:
        """Follow what is read whole, then run the apps; returns when tables and copies are complete.

        Raises:
            Exception: what ended one of them on the way, such as PartitionMismatch.
        """
        views = self.streams.views
        if views is not None:
            await declare_changelogs(self._deps.log, self.streams)
            self._begin(views.run(), "copies of tables")
        if self.owners is not None and self.owners.asks:
            self._begin(self.owners.run(), "owners of tables")
        if views is not None:
            # before the agents: they learn from the cards
            await self._unless_crashed(views.caught_up())
        await asyncio.gather(*(start_app(app) for app in self.streams.running))
        self.streams.show_all()
        if self._stuck_seconds:
            self._begin(self.streams.liveness.run(), "liveness")
        self._started = True

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _unless_crashed(self, work: Coroutine[Any, Any, None]) -> None:
        waiting = asyncio.ensure_future(work)
        try:
            await asyncio.wait({waiting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in (*self._tasks, waiting):
                if task.done():
                    task.result()
        finally:
            waiting.cancel()

    async def crashed(self) -> BaseException:
        """Return what ended a part of the streams, once something does."""
        apps = {self.streams.app, *self.streams.running}
        crashes = [asyncio.ensure_future(wait_for_crash(app)) for app in apps]
        try:
            done, _ = await asyncio.wait({*crashes, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            first = done.pop()
            return first.exception() or first.result() or RuntimeError(f"{first} ended")
        finally:
            for crash in crashes:
                crash.cancel()

    async def stop(self) -> bool:
        """Stop the apps side by side, then what follows; False when one did not end in time."""
        running = self.streams.running
        ended = await asyncio.gather(*(stop_app(app, deadline_seconds=STOP_SECONDS) for app in running))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if all(ended) and self._started and self.snapshot_seconds:
            await self.snapshots.write(self.streams.app, deadline_seconds=SNAPSHOT_SECONDS)
        return all(ended)

    async def snapshot(self) -> None:
        """Write snapshots of the memory tables that changed enough."""
        await self.snapshots.write(self.streams.app)


def _stream_settings(settings: Settings) -> StreamSettings:
    store = settings.tables_store
    folder = Path(store.removeprefix("rocksdb://")) if store.startswith("rocksdb://") else None
    return StreamSettings(
        app_id=APP_ID,
        data_dir=folder if folder and folder.name else settings.data_dir / "tables",
        partitions=settings.streams_partitions,
        store="rocksdb://" if folder is not None else store,
        ladder=settings.media_ladder,
        media=media_settings(settings),
        workdir=work_path(settings),
        worker=worker_name(settings),
        roles=settings.roles,
        url=settings.own_url if settings.on_kafka else "",
        standbys=settings.tables_standby_replicas if settings.on_kafka else 0,
        stuck_seconds=settings.streams_stuck_seconds,
    )


def media_settings(settings: Settings) -> MediaSettings:
    """Return how videos are encoded, here and by encoders elsewhere."""
    return MediaSettings(
        encoder=settings.media_encoder,
        preset=settings.media_preset,
        first_rung_seconds=settings.media_first_rung_seconds,
        loudness_lufs=settings.media_loudness_lufs or None,
        per_title=settings.media_per_title,
    )
