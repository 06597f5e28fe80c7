"""An analyst with nothing but the README answers its question (Y10, F16).

The README's own blocks run here, against a server with events of yesterday: the expected answer is computed
from the events, in plain Python.
"""

import asyncio
import csv
import io
import json
import os
import re
import subprocess
import sys
import textwrap
import time
from collections import defaultdict
from datetime import UTC, datetime
from uuid import uuid4

import msgspec
import pytest

from streams.log import EmbeddedLog
from tables.records import Action, EngagementEvent

FRACTIONS = {Action.WATCH_START: 0.0, Action.WATCH_25: 0.25, Action.WATCH_50: 0.5, Action.WATCH_COMPLETE: 1.0}


def blocks(root, title):
    """Return the indented blocks of one section of the README."""
    text = (root / "README.md").read_text().split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    found = re.findall(r"(?:^(?:    .*)?\n)*^    .*$", text, re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") for block in found if block.strip()]


def yesterday():
    """Return events of yesterday and the answer: rows of hour, video, rate, viewers, ten an hour."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp() - 86_400
    events, best = [], defaultdict(float)
    for number in range(1200):
        action = list(FRACTIONS)[number * 7 % 4]
        event = EngagementEvent(
            event_id=str(uuid4()), user_id=f"user-{number % 37}", video_id=f"video-{number * 5 % 13:02d}",
            action=action, occurred_at=midnight + number * 71 % 86_400, owner_id="user-0",
            duration_seconds=60.0,
        )  # fmt: skip
        events += [
            event,
            msgspec.structs.replace(event, occurred_at=event.occurred_at - 86_400, action="share"),
        ]
        if event.user_id != "user-0":
            place = (int(event.occurred_at - midnight) // 3600, event.video_id, event.user_id)
            best[place] = max(best[place], FRACTIONS[action])
    seen = defaultdict(list)
    for (hour, video, _), fraction in best.items():
        seen[hour, video].append(fraction)
    rows = defaultdict(list)
    for (hour, video), found in seen.items():
        rows[hour].append((hour, video, round(sum(found) / len(found) + 1e-9, 2), len(found)))
    order = lambda row: (-row[2], -row[3], row[1])  # noqa: E731
    return events, [row for hour in sorted(rows) for row in sorted(rows[hour], key=order)[:10]]


async def seed(server, events):
    log = EmbeddedLog.open(server.data / "log" / "log.db", upkeep_seconds=None)
    for event in events:
        key = event.user_id.encode()
        await log.append(
            "events.engagement",
            log.partition_for("events.engagement", key),
            [msgspec.json.encode(event)],
            keys=[key],
        )
    await log.close()


@pytest.fixture
async def place(make_server, make_client, tmp_path):
    """Return a server with yesterday's events, a folder, and how to run a block of the README there."""
    server = make_server(COLUMNS="200")
    await server.start()
    assert server.stop() == 0
    events, expected = yesterday()
    await seed(server, events)
    await server.start()
    ada = await make_client(server).register()
    assert server.run("user", "role", ada.user["username"], "analyst").returncode == 0
    await ada.login(ada.user["username"])
    work = tmp_path / "work"
    work.mkdir()
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"

    def run(block, *command):
        done = subprocess.run(
            command or ("bash", "-eu"),
            input=block.replace("http://127.0.0.1:8080", server.url),
            cwd=work, text=True, capture_output=True,
            env=server.environment | {"TOKEN": ada.token, "PATH": path}, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return server, ada, expected, run


def numbers(rows):
    return [(int(r["hour"]), r["video_id"], float(r["completion_rate"]), int(r["viewers"])) for r in rows]


async def test_readme_answers_the_analysts_question_when_its_blocks_are_run(place):
    """ "The ten videos with the highest completion rate yesterday, by hour": command line, HTTP, notebook."""
    server, ada, expected, run = place
    found = blocks(server.root, "For analysts")
    marks = {"file": "top.sql <<", "cli": "freewill sql", "http": "-d @top.json", "python": "pyarrow.ipc"}
    wanted = {name: next(block for block in found if mark in block) for name, mark in marks.items()}
    await asyncio.to_thread(run, wanted["file"])
    printed = await asyncio.to_thread(run, wanted["cli"])
    assert expected[0][1] in printed
    assert len(printed.splitlines()) == len(expected) + 1
    text = await asyncio.to_thread(run, wanted["http"])
    assert numbers(csv.DictReader(io.StringIO(text))) == expected
    text = await asyncio.to_thread(run, wanted["python"], sys.executable, "-W", "ignore", "-")
    # printed dictionaries are JSON but for None
    rows = [json.loads(line.replace("'", '"').replace("None", "null")) for line in text.splitlines()]
    assert numbers(rows) == expected
    audit = server.run("audit").stdout.splitlines()
    done = [json.loads(line) for line in audit if '"sql.done"' in line]
    assert [(entry["outcome"], entry["rows"]) for entry in done] == [("OK", len(expected))] * 3
    assert {entry["name"] for entry in done} >= {ada.user["username"]}


async def test_table_is_followed_and_downloaded_when_people_watch(place):
    """Y10 on a running server: CSV and Arrow of a table; its feed shows a row when somebody watches."""
    server, ada, _, _ = place
    path = "/api/v1/tables/video_engagement"
    await ada.eventually(path, lambda body: body["lag"] == 0 and body["rows"] == 13)
    text = await ada.get(f"{path}/rows", headers={"Accept": "text/csv"})
    assert len(list(csv.DictReader(io.StringIO(text)))) == 13
    async with ada.session.get(
        f"{server.url}{path}/rows",
        headers={"Authorization": f"Bearer {ada.token}", "Accept": "application/vnd.apache.arrow.stream"},
    ) as answer:
        import pyarrow.ipc

        table = pyarrow.ipc.open_stream(await answer.read()).read_all()
    assert (table.num_rows, table.column("views").to_pylist() != [0] * 13) == (13, True)

    headers = {"Authorization": f"Bearer {ada.token}"}
    async with ada.session.get(f"{server.url}{path}/changes", headers=headers) as answer:
        rows = [json.loads(await answer.content.readline()) for _ in range(14)]
        assert [row["op"] for row in rows] == ["row"] * 13 + ["cursor"]
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 20
    history = await seed_one(server)
    await server.start()
    query = f"{server.url}{path}/changes?since={rows[-1]['cursor']}"
    async with asyncio.timeout(120), ada.session.get(query, headers=headers) as answer:
        change = json.loads(await answer.content.readline())
        while change["op"] == "cursor":
            change = json.loads(await answer.content.readline())
    assert (change["op"], change["key"]) == ("change", history.video_id)


async def seed_one(server):
    event = EngagementEvent(
        event_id=str(uuid4()), user_id="late", video_id="video-99", action=Action.WATCH_START,
        occurred_at=time.time(), owner_id="user-0",
    )  # fmt: skip
    await seed(server, [event])
    return event
