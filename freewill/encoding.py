"""The queue of encodes of an instance: what operators decide, what this worker does of it, who is lost."""

from typing import TYPE_CHECKING

import structlog

from freewill.paths import partials_path, work_path
from media.partials import FilePartials, Partials
from media.pipeline import MediaSettings
from social.videos.jobs import EncodingJobs
from streams.agents.encoding import STARTING, EncoderQueue, Space, follow
from streams.roles import Role
from streams.scheduling import Scheduler
from streams.topics import MEDIA_JOBS
from tables.records import MediaJob

if TYPE_CHECKING:
    from freewill.node import Node

log = structlog.get_logger(__name__)


class Encoding:
    """Built before the streams, which take their jobs from it."""

    def __init__(self, node: "Node") -> None:
        """Build it; nothing begins before :meth:`run` has asked what operators decided."""
        settings = node.settings
        self._node = node
        self._slots = settings.media_workers
        self._watchdog_seconds = settings.media_watchdog_seconds
        self.works = Role.MEDIA in settings.roles
        self.jobs = EncodingJobs(node.database, node.videos, node.store, node.clock)
        self.partials: Partials = node.shared.partials(FilePartials(partials_path(settings), node.clock))
        scheduler = Scheduler(self._slots, node.clock, node.node_metrics.media_queue)
        scheduler.hold(STARTING)
        space = Space(scheduler, work_path(settings), MediaSettings().min_free_bytes)
        self.queue = EncoderQueue(scheduler, self.jobs, space, self.partials)

    async def run(self) -> None:
        """Follow decisions and the disk, for ever."""
        await follow(self.queue, self._slots, self._kept if self._node.settings.on_kafka else None)

    def _kept(self, job: MediaJob) -> bool:
        """Tell whether a job was delivered to this worker and still is; while partitions move, all are."""
        app, topic = self._node.streams.media_app, MEDIA_JOBS.name
        place = (topic, self._node.log.partition_for(topic, job.video_id.encode()))
        return bool(app.rebalancing) or place in app.consumer.assignment()

    async def rescue(self) -> None:
        """Look for jobs that no encoder works on any more (B42)."""
        for job_id, again in (await self.jobs.rescue(self._watchdog_seconds)).items():
            log.warning("media_job_lost", job_id=job_id, queued_again=again)
