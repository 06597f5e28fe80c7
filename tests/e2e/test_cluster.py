"""Several workers on one Kafka answer as one (F17, Z4, Z8, Z10)."""

import asyncio
import json
import os
import time
import uuid
from collections import deque

import aiohttp
import asyncpg
import pytest
from sqlalchemy.engine import make_url

from streams.log.kafka import KafkaLog
from streams.topics import CHANGE_TOPICS, TOPICS

pytestmark = pytest.mark.services
EVERYTHING = "web,engagement,media"
CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
AWAY = {"SERVICE_UNAVAILABLE", "PUBLISH_ERROR"}


def _service(name):
    url = os.environ.get(name)
    if not url:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is missing: CI runs the tests on a cluster too")
        pytest.skip(f"no {name} (`make services` starts what it names)")
    return url


@pytest.fixture
async def kafka():
    """Return the address of a broker without any of the platform's topics."""
    url = _service("FREEWILL_TEST_KAFKA")
    log = KafkaLog.open(url, group="freewill")
    await log.connect()
    names = {name for topic in TOPICS for name in (topic.name, topic.dead)}
    names |= {topic.name for topic in CHANGE_TOPICS}
    old = [name for name in log.topics() if name in names or name.startswith("freewill-")]
    if old:
        await log.admin.delete_topics(old)
    await log.close()
    return url


@pytest.fixture
async def postgres():
    """Return the URL of an empty database."""
    url = make_url(_service("FREEWILL_TEST_POSTGRES_URL"))
    name = f"freewill_cluster_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    await admin.execute(f'CREATE DATABASE "{name}"')
    yield url.set(database=name).render_as_string(hide_password=False)
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


@pytest.fixture
def make_worker(make_server, kafka, postgres, tmp_path):
    """Return a maker of workers of one cluster, by their roles."""
    shared = {
        "FREEWILL_BROKER": kafka,
        "FREEWILL_DATABASE_URL": postgres,
        "FREEWILL_OBJECT_STORE": f"file://{tmp_path}/objects",
        "FREEWILL_SECRETS_DIR": str(tmp_path / "secrets"),
        "FREEWILL_BASE_URL": "http://127.0.0.1:9",
    }
    return lambda roles=EVERYTHING, **more: make_server(FREEWILL_ROLES=roles, **shared, **more)


class Face:
    """One person at any worker."""

    def __init__(self, make_client, person):
        self.make_client = make_client
        self.person = person

    def at(self, worker):
        client = self.make_client(worker)
        client.user, client.token = self.person.user, self.person.token
        return client


async def test_workers_answer_as_one_when_each_holds_a_part(make_worker, make_client, shared_dir):
    """Two that hold half of the tables each and one that holds nothing: every request at every one."""
    workers = one, two, web = make_worker(), make_worker(), make_worker("web")
    await one.start()  # makes keys and schema
    await asyncio.gather(two.start(), web.start())
    owner = await make_client(one).register()
    video = await Face(make_client, owner).at(web).upload(shared_dir / CLIP, title="Bear", tags="bear")
    viewers = [await make_client(workers[number % 3]).register() for number in range(9)]
    await Face(make_client, owner).at(two).wait_status(video["id"], "READY")

    for number, viewer in enumerate(viewers):
        there = Face(make_client, viewer).at(workers[(number + 1) % 3])
        steps = ("watch_start", "watch_50", "watch_complete")
        events = [{"event_id": str(uuid.uuid4()), "video_id": video["id"], "action": step} for step in steps]
        taken = await there.post("/api/v1/events", {"events": events})
        assert (there.status, taken.get("rejected")) == (202, []), taken

    def counted_all(feed):
        return [item["view_count"] for item in feed["items"]] == [len(viewers)]

    analyst = await (await make_client(one).register()).become("analyst")
    for worker in workers:
        path = f"/api/v1/videos/{video['id']}/engagement"
        counted = await make_client(worker).eventually(path, lambda body: body["views"] == len(viewers))
        assert counted["completion_rate"] == 1.0
        for viewer in viewers:
            row = f"/api/v1/tables/watch_history/rows/{viewer.user['id']}"
            seen = await Face(make_client, analyst).at(worker).eventually(row, lambda body: body["value"])
            assert video["id"] in seen["value"]["videos"], seen
            # the taste is its owner's, the counters of all videos are every worker's
            feed = (
                await Face(make_client, viewer)
                .at(worker)
                .eventually("/api/v1/feed?profile=blend", counted_all)
            )
            assert (feed["degraded"], feed["ranked_by"]) == (False, "blend"), feed


VIEWERS = 12
SHARE_EVERY = 20


class Load:
    """Viewers that watch and share at whichever worker lives; the ledger is what was answered 202."""

    def __init__(self, faces, video_id, workers):
        self.faces, self.video_id, self.workers = faces, video_id, workers
        self.ledger = {}
        self.unclear = 0
        self.stopped = False

    async def run(self):
        await asyncio.gather(*(self.one(face, number) for number, face in enumerate(self.faces)))

    async def one(self, face, number):
        at, steps = number, ("watch_start", "watch_25", "watch_50", "watch_75", "watch_complete")
        while not self.stopped:
            at += 1
            events = [
                {
                    "event_id": str(uuid.uuid4()),
                    "video_id": self.video_id,
                    "action": "share" if place % SHARE_EVERY == 0 else steps[place % len(steps)],
                }
                for place in range(SHARE_EVERY)
            ]
            while not await self.sent(face, at, events):  # the same ids, until somebody has them
                at += 1
                self.unclear += 1
                await asyncio.sleep(0.2)
            self.ledger.update((event["event_id"], event["action"]) for event in events)
            await asyncio.sleep(0.02)

    async def sent(self, face, at, events):
        alive = [worker for worker in self.workers if worker.running]
        client = face.at(alive[at % len(alive)])
        try:
            body = await client.post("/api/v1/events", {"events": events})
        except (aiohttp.ClientError, OSError):
            return False
        if client.status == 202:
            assert not body["rejected"], body
            return True
        assert body["error"]["code"] in AWAY, body
        return False

    @property
    def shares(self):
        return sum(action == "share" for action in self.ledger.values())


class Reader:
    """Reads the counters at one worker: never less than ten seconds before, never more than was sent, or 503.

    While their owner is away they come from the worker's copy, which is a moment old.
    """

    def __init__(self, client, video_id):
        self.client, self.path = client, f"/api/v1/videos/{video_id}/engagement"
        self.seen, self.answers, self.away = deque(), 0, []

    async def run(self):
        since = time.monotonic()
        while self.client.server.running:
            try:
                body = await self.client.get(self.path)
            except (aiohttp.ClientError, OSError):
                continue
            if self.client.status == 503:
                assert body["error"]["code"] in AWAY, body
                assert int(self.client.headers["Retry-After"]) > 0
            else:
                assert self.client.status == 200, body
                now = time.monotonic()
                while self.seen and self.seen[0][0] < now - 10:
                    least = self.seen.popleft()[1]
                    assert body["shares"] >= least, f"{body['shares']} after {least}"
                self.seen.append((now, body["shares"]))
                self.answers += 1
                if now - since > 0.5:
                    self.away.append(round(now - since, 1))
                since = now
            await asyncio.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["memory://", "rocksdb://"])
async def test_counts_stay_exact_when_workers_join_leave_and_are_killed(
    make_worker, make_client, shared_dir, store
):
    """A second worker joins under load, leaves, joins again, and is killed; then the first is killed."""
    one, two, web = workers = [
        make_worker(roles, FREEWILL_TABLES_STORE=store) for roles in (EVERYTHING, EVERYTHING, "web")
    ]
    await one.start()
    await web.start()
    owner = await make_client(one).register()
    video = await owner.upload(shared_dir / CLIP, title="Bear")
    await owner.wait_status(video["id"], "READY")
    faces = [Face(make_client, await make_client(one).register()) for _ in range(VIEWERS)]
    load = Load(faces, video["id"], workers)
    loading = asyncio.create_task(load.run())
    steady = [Reader(make_client(worker), video["id"]) for worker in (one, web)]
    reading = [asyncio.create_task(reader.run()) for reader in steady]

    async def go_on(seconds):
        await asyncio.sleep(seconds)
        for task in (loading, *reading):
            if task.done():
                task.result()

    await go_on(3)
    for end in ("leaves", "is killed"):
        await two.start()
        also = Reader(make_client(two), video["id"])
        reading.append(asyncio.create_task(also.run()))
        async with asyncio.timeout(120):
            while also.answers < 20:
                await go_on(0.5)
        if end == "leaves":
            assert await asyncio.to_thread(two.stop) == 0, two.tail()
        else:
            two.kill()
        await reading.pop()
        await go_on(15)
    await two.start()
    await go_on(5)
    one.kill()
    await go_on(15)
    load.stopped = True
    await loading
    survivors = [two, web]
    for worker in survivors:
        counted = await make_client(worker).eventually(
            f"/api/v1/videos/{video['id']}/engagement", lambda body: body["shares"] >= load.shares
        )
        assert (counted["views"], counted["shares"]) == (VIEWERS, load.shares)
    print(f"{len(load.ledger)} events, {load.unclear} sent again")
    print("seconds without an answer:", [reader.away for reader in steady])
    recovered = [json.loads(line) for line in two.log.read_text().splitlines() if '"recovering"' in line][-1]
    print("the standby took over:", recovered["to_read"], "of", recovered["of"])
    assert recovered["to_read"] < 0.2 * recovered["of"], recovered
    for task in reading:
        task.cancel()


@pytest.mark.slow
async def test_encode_ends_elsewhere_when_its_worker_is_killed(make_worker, make_client, shared_dir):
    """B18, Y5: killed before anything plays, and while the rest is made; another media worker ends it."""
    front = make_worker("web,engagement")
    await front.start()
    owner = await make_client(front).register()
    for at in ("processing", "READY"):
        settings = {"FREEWILL_MEDIA_FIRST_RUNG_SECONDS": "0"}
        first, second = make_worker("media", **settings), make_worker("media", **settings)
        await first.start()
        video_id = (await owner.upload(shared_dir / "media/clips/rotated_video.mp4"))["id"]
        path = f"/api/v1/videos/{video_id}/encoding"
        await owner.eventually(path, lambda body, at=at: at in (body["job_status"], body["status"]), 120)
        first.kill()
        await second.start()
        video = await owner.eventually(
            f"/api/v1/videos/{video_id}",
            lambda body: body["status"] == "READY" and not body["processing_more"],
            180,
        )
        assert video["available_qualities"] == ["1080p", "720p", "480p", "360p"]
        second.kill()
