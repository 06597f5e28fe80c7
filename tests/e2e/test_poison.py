"""Poison on any topic goes to its dead letters, and the partition goes on (DESIGN invariant 5, O20, O39)."""

import asyncio
import base64
import json
import time
from uuid import uuid4

import msgspec
import psutil

from streams.dead_letters import DeadLetter
from streams.log import EmbeddedLog
from streams.topics import TOPICS
from tables.records import Card, CatalogueChange, ContentFact, EngagementEvent, MediaResult, VideoUploaded

LONGER = "media/clips/rotated_video.mp4"
TINY = "media/clips/bear-vp9-odd-dimensions.webm"
GARBAGE = (b"\xff\x00 no record", b"[1, 2", b'{"what": "is this"}', b"", None)
UNDECODABLE = "UNDECODABLE_RECORD"


#: One of each class that an engagement event can be wrong in; JSON has other words for NaN and infinity.
ABSURD = (
    {"action": "teleport"},
    {"action": 7},
    {"user_id": None},
    {"watch_seconds": "ten"},
    {"watch_seconds": -1.0},
    {"watch_seconds": 1e308},
    {"watch_seconds": float("nan")},
    {"watch_seconds": float("inf")},
    {"duration_seconds": -1.0},
    {"occurred_at": -1.0},
    {"occurred_at": 1e12},
    {"occurred_at": float("nan")},
    {"more": [{"action": "watch_start"}]},
)


def changed(event, change):
    """Return an event as JSON with some of its fields changed."""
    return json.dumps(msgspec.to_builtins(event) | change).encode()


async def append(server, records):
    """Append (topic, key, value) to the log of a stopped server, each where its key belongs."""
    log = EmbeddedLog.open(server.data / "log" / "log.db", upkeep_seconds=None)
    try:
        for topic, key, value in records:
            raw = msgspec.json.encode(value) if isinstance(value, msgspec.Struct) else value
            partition = log.partition_for(topic, key.encode())
            await log.append(topic, partition, [raw], keys=[key.encode()])
    finally:
        await log.close()


def letters(server, *options):
    """Return what ``freewill dead-letters list`` shows: (id, key, code) of each."""
    listed = server.run("dead-letters", "list", "--limit", "1000", *options)
    assert listed.returncode == 0, listed.stderr
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    return [(row[0], row[2], row[3]) for row in rows]


async def all_letters(server):
    """Return the letters once each topic has those of its garbage and the refused report is there, too."""
    # both agents of the topic bury what they cannot read, and the huge one and the garbage with it
    events = 2 * (len(GARBAGE) + len(ABSURD) + 1)
    async with asyncio.timeout(120):
        while True:
            found = await asyncio.to_thread(letters, server)
            topics = [identity.partition("/")[0] for identity, _, code in found if code == UNDECODABLE]
            fewest = min(topics.count(topic.name) for topic in TOPICS)
            refused = [code for _, _, code in found if code == "INVALID_STATE_TRANSITION"]
            if fewest >= len(GARBAGE) and topics.count("events.engagement") >= events and refused:
                return found
            await asyncio.sleep(0.5)


def watch(viewer, video_id, owner_id, **change):
    """Build the record of a whole watch."""
    known = {"event_id": str(uuid4()), "user_id": viewer, "video_id": video_id, "action": "watch_complete"}
    known |= {"occurred_at": time.time(), "owner_id": owner_id, "duration_seconds": 1.0}
    return msgspec.convert(known | change, EngagementEvent)


async def test_poison_is_buried_and_neighbours_are_handled_when_it_lies_on_every_topic(
    make_server, make_client, shared_dir
):
    """Undecodable bytes, unknown actions, absurd numbers, results without outputs, beside sound records."""
    server = make_server()
    await server.start()
    owner = await make_client(server).register()
    seen = (await owner.upload(shared_dir / TINY))["id"]
    await owner.wait_status(seen, "READY")
    encoding = (await owner.upload(shared_dir / LONGER))["id"]
    await owner.eventually(f"/api/v1/videos/{encoding}", lambda video: video["progress"] > 5)
    server.kill()
    ((job,),) = server.query("SELECT id FROM encoding_jobs WHERE video_id = ?", encoding)

    first, second, owner_id = str(uuid4()), str(uuid4()), owner.user["id"]
    now = time.time()
    sane = watch(first, seen, owner_id)
    stranger = Card(
        video_id="poison", creator_id="nobody", creator_username="nobody", title="",
        created_at=1e300, duration_seconds=1e300, width=0, height=0, embedding=b"short",
    )  # fmt: skip
    await append(
        server,
        [
            *((topic.name, first, raw) for topic in TOPICS for raw in GARBAGE),
            ("events.engagement", first, sane),
            *(("events.engagement", first, changed(sane, change)) for change in ABSURD),
            ("events.engagement", first, b'"' + b"x" * (3 << 20) + b'"'),
            ("events.engagement", first, changed(sane, {"event_id": str(uuid4()), "mood": "new field"})),
            ("events.engagement", first, watch(first, "no such video", owner_id)),
            ("events.engagement", second, watch(second, seen, owner_id)),
            (
                "media.results",
                encoding,
                MediaResult(job_id=job, video_id=encoding, outcome="completed", at=now),
            ),
            ("media.results", encoding, MediaResult(job_id="none", video_id="none", outcome="x", at=now)),
            (
                "events.content",
                "none",
                ContentFact(kind="video.ready", video_id="none", owner_id="x", at=now),
            ),
            (
                "video.uploaded",
                "none",
                VideoUploaded(
                    video_id="none",
                    owner_id="x",
                    source_key="../../etc",
                    size_bytes=-1,
                    mime="",
                    policy="",
                    at=0,
                ),
            ),
            ("catalogue.changes", "poison", CatalogueChange(video_id="poison", at=now, card=stranger)),
        ],
    )

    await server.start()
    viewer = await make_client(server).register()
    counted = await viewer.eventually(f"/api/v1/videos/{seen}/engagement", lambda body: body["views"] == 2)
    assert counted["completion_rate"] == 1.0
    await viewer.post(
        "/api/v1/events", {"event_id": str(uuid4()), "video_id": seen, "action": "watch_complete"}
    )
    await viewer.eventually(f"/api/v1/videos/{seen}/engagement", lambda body: body["views"] == 3)
    await owner.assert_playable(await owner.wait_status(encoding, "READY"))
    for profile in ("chronological", "trending", "blend", "similarity"):
        page = await viewer.get(f"/api/v1/feed?profile={profile}")
        assert viewer.status == 200, page
        assert {item["id"] for item in page["items"]} <= {seen, encoding}

    found = await all_letters(server)
    wrong = [code for identity, _, code in found if identity.startswith("events.engagement/")]
    assert wrong.count(UNDECODABLE) == 2 * (len(GARBAGE) + len(ABSURD) + 1), wrong
    for topic in TOPICS:
        buried = [code for identity, _, code in found if identity.startswith(f"{topic.name}/")]
        assert buried.count(UNDECODABLE) >= len(GARBAGE), (topic.name, buried)
    assert [key for identity, key, code in found if code == "INVALID_STATE_TRANSITION"] == [encoding]
    assert letters(server, "--code", "INVALID_STATE_TRANSITION", "--topic", "media.results")
    assert letters(server, "--topic", "no.such") == []
    metrics = await viewer.get("/metrics")
    assert f'freewill_dead_letters_total{{code="{UNDECODABLE}",topic="media.jobs"}} 5.0' in metrics
    await check_commands(server, found)
    assert psutil.pid_exists(server.process.pid)

    # All of it is behind the positions now: another start finds nothing new to bury.
    assert server.stop() == 0
    await server.start()
    assert sorted(letters(server)) == sorted(found)


async def check_commands(server, found):
    """Show one letter whole; ask for one that is not there; replay one that is still poison."""
    identity = next(
        identity for identity, _, code in found if code == UNDECODABLE and "engagement.deltas/" in identity
    )
    shown = json.loads(server.run("dead-letters", "show", identity).stdout)
    assert (shown["topic"], shown["code"]) == ("engagement.deltas", UNDECODABLE)
    assert shown["original"] in [(raw or b"").decode("utf-8", "backslashreplace") for raw in GARBAGE]
    for command in ("show", "replay"):
        missing = server.run("dead-letters", command, "engagement.deltas/0/99999")
        assert (missing.returncode, "no dead letter" in missing.stderr) == (1, True), missing


async def test_dead_letter_is_handled_once_when_it_is_replayed_and_now_fine(
    make_server, make_client, shared_dir
):
    """What an older version could not read is sent again; twice is once (O20, DESIGN invariant 1)."""
    server = make_server()
    await server.start()
    owner = await make_client(server).register()
    video_id = (await owner.upload(shared_dir / TINY))["id"]
    await owner.wait_status(video_id, "READY")
    assert server.stop() == 0
    viewer = str(uuid4())
    original = msgspec.json.encode(watch(viewer, video_id, owner.user["id"], action="share"))
    letter = DeadLetter(
        topic="events.engagement",
        partition=0,
        offset=0,
        key=viewer,
        value=base64.b64encode(original).decode(),
        code=UNDECODABLE,
        message="Invalid enum value 'share'",
        at=time.time(),
    )
    await append(server, [("events.engagement.dead", viewer, letter)])
    await server.start()
    ((identity, key, code),) = letters(server)
    assert (key, code) == (viewer, UNDECODABLE)
    for _ in range(2):
        replayed = server.run("dead-letters", "replay", identity)
        assert (replayed.returncode, "1 sent again" in replayed.stdout) == (0, True), replayed
    await owner.eventually(f"/api/v1/videos/{video_id}/engagement", lambda body: body["shares"] == 1)
    analyst = await (await make_client(server).register()).become("analyst")
    for table in ("watch_history", "video_engagement"):
        await analyst.eventually(f"/api/v1/tables/{table}", lambda body: body["lag"] == 0)
    assert (await owner.get(f"/api/v1/videos/{video_id}/engagement"))["shares"] == 1
    assert len(letters(server)) == 1
