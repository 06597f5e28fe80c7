"""``freewill demo`` fills a running server with people, clips, follows and watching (R10, C51)."""

import asyncio
import re

import pytest

PEOPLE, CLIPS = 3, 3


@pytest.mark.slow
async def test_demo_makes_a_living_feed_when_a_server_runs(make_server, make_client):
    """A newcomer sees its clips playing, watched by people who follow one another."""
    server = make_server(COLUMNS="200")
    await server.start()
    done = await asyncio.to_thread(
        server.run, "demo", "--people", str(PEOPLE), "--clips", str(CLIPS), seconds=400
    )
    assert done.returncode == 0, done.stdout + done.stderr + server.tail()
    assert f"{PEOPLE} people" in done.stdout
    events = int(re.search(rf"{CLIPS} clips, (\d+) watch events", done.stdout)[1])
    assert events > 0
    assert server.url in done.stdout
    # The agent of document 001 (C51): sent in parts, a status at every step, watched on phones.
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("  tour ")][-1] == "ready"
    assert f"was watched on {PEOPLE - 1} phones" in done.stdout
    [(chunks, sent)] = server.query(
        "SELECT part_count, bytes_uploaded FROM upload_sessions WHERE provider = 'API_CHUNKS'"
    )
    assert (chunks > 1, sent > 5 * 1024 * 1024) == (True, True)

    newcomer = await make_client(server).register()
    page = await newcomer.get("/api/v1/feed?profile=blend")
    assert len(page["items"]) == CLIPS + 1
    assert len({item["creator"]["id"] for item in page["items"]}) > 1
    for item in page["items"]:
        await newcomer.assert_playable(await newcomer.get(f"/api/v1/videos/{item['id']}"))
    await newcomer.eventually(
        "/api/v1/feed?profile=trending", lambda body: any(item["view_count"] for item in body["items"])
    )
    assert server.query("SELECT count(*) FROM follows")[0][0] >= PEOPLE


async def test_demo_says_what_to_do_when_no_server_runs(make_server):
    """One line and exit code 1."""
    done = await asyncio.to_thread(make_server(COLUMNS="200").run, "demo")
    assert done.returncode == 1
    assert "No server answers at" in done.stderr
    assert "Traceback" not in done.stderr
