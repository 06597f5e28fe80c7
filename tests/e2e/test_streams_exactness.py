"""Counted once, never lost, rebuilt exactly (DESIGN invariants 1-3; F6, F18, T49, Z4)."""

import asyncio
import json
import random
from uuid import uuid4

import aiohttp
import pytest

VIEWERS = 20
EVENTS = 20_000
BATCH = 500
STEPS = ("watch_start", "watch_25", "watch_50", "watch_75", "watch_complete")


async def a_ready_video(server, make_client, shared_dir):
    """Upload a short clip and wait until it plays."""
    owner = await make_client(server).register()
    video = await owner.upload(shared_dir / "media/clips/bear-vp9-odd-dimensions.webm", title="Bear")
    assert owner.status == 201, video
    await owner.wait_status(video["id"], "READY")
    return owner, video["id"]


def batches_of(video_id, dice):
    """Every viewer's events, cut into batches; a third of the events is sent twice."""
    per_viewer = EVENTS // VIEWERS
    for viewer in range(VIEWERS):
        events = []
        for number in range(per_viewer):
            action = "share" if number % 100 == 0 else STEPS[number % 5]
            events.append(
                {
                    "event_id": str(uuid4()),
                    "video_id": video_id,
                    "action": action,
                    "watch_seconds": number % 7,
                }
            )
        doubled = events + dice.sample(events, per_viewer // 3)
        for start in range(0, len(doubled), BATCH):
            yield viewer, doubled[start : start + BATCH]


async def send(viewers, batches, ledger, stop):
    """Send until the server dies; the ledger holds what was answered 2xx, and what is still to be sent."""
    rest = []
    for viewer, events in batches:
        if stop.is_set():
            rest.append((viewer, events))
            continue
        try:
            answer = await viewers[viewer].post("/api/v1/events", {"events": events})
            ok = viewers[viewer].status == 202
        except (aiohttp.ClientError, OSError):
            ok = False
        if ok:
            assert not answer["rejected"], answer
            ledger.update(event["event_id"] for event in events)
        else:
            rest.append((viewer, events))
    return rest


@pytest.mark.parametrize("store", ["rocksdb://", pytest.param("memory://", marks=pytest.mark.slow)])
async def test_burst_counts_exactly_when_the_server_is_killed_in_its_middle(
    make_server, make_client, shared_dir, store
):
    """20,000 watch events, ``kill -9`` in between: nothing lost, nothing counted twice."""
    await count_a_burst_exactly(make_server(FREEWILL_TABLES_STORE=store), make_client, shared_dir)


async def count_a_burst_exactly(server, make_client, shared_dir):
    """Send the burst, kill in its middle, send the rest, and hold the counts against the ledger."""
    await server.start()
    owner, video_id = await a_ready_video(server, make_client, shared_dir)
    viewers = [await make_client(server).register() for _ in range(VIEWERS)]
    ledger: set[str] = set()
    stop = asyncio.Event()
    batches = list(batches_of(video_id, random.Random(1)))
    sending = asyncio.create_task(send(viewers, batches, ledger, stop))
    while len(ledger) < EVENTS // 3:
        await asyncio.sleep(0.005)
    server.kill()
    stop.set()
    rest = await sending
    assert rest, "the kill came after the load"

    await server.start()
    assert not await send(viewers, rest, ledger, asyncio.Event())
    assert len(ledger) == EVENTS
    shares = EVENTS // 100
    counted = await owner.eventually(
        f"/api/v1/videos/{video_id}/engagement",
        lambda body: body["shares"] >= shares and body["views"] >= VIEWERS,
    )
    assert (counted["views"], counted["shares"]) == (VIEWERS, shares)
    assert counted["completion_rate"] == 1.0

    # Dropping the table store changes nothing: the changelog has it all.
    before = tables_of(server)
    server.kill()
    await server.start()
    assert tables_of(server) == before
    served = await owner.get(f"/api/v1/videos/{video_id}/engagement")
    assert (served["views"], served["shares"]) == (VIEWERS, shares)

    # The creator's days are told by the same records, and add up to the same.
    await owner.eventually(
        "/api/v1/me/analytics",
        lambda body: (body["total_views"], body["total_shares"]) == (VIEWERS, shares),
    )


def tables_of(server):
    """All rows of what counts, as the changelogs hold them."""
    names = ("video_engagement", "watch_history")
    rows = {}
    for name in names:
        shown = server.run("tables", name, "--limit", "10000")
        assert shown.returncode == 0, shown.stderr
        rows[name] = [json.loads(line) for line in shown.stdout.splitlines()]
    return rows
