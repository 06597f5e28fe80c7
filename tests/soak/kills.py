"""``kill -9`` at random moments of a mixed load: every count equals a ledger (DESIGN invariants 1-3).

    .venv/bin/python tests/soak/kills.py --kills 200 --store rocksdb://
    .venv/bin/python tests/soak/kills.py --kills 20 --broker kafka://

People send single events and batches with duplicates and malformed ones, like, save and share over HTTP,
while the whole process group is killed, also in the middle of starting. Moments and load come from a seed,
which is printed. ``kafka://`` starts a broker of its own for the run; ``kafka://host:port`` uses one that has
none of the platform's topics. ``tests/e2e/test_random_kills.py`` is the small run of the regular suite.
"""

import argparse
import asyncio
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
from crowd import Person
from forked import ForkingParent
from ledger import COUNTED, Ledger

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("FREEWILL_SHARED", ROOT.parent / "shared"))
CLIP = "media/clips/bear-vp9-odd-dimensions.webm"
DAY = 86400
SETTLE_SECONDS = 60.0
#: Settings that make a short life a full one: tokens outlive the run, snapshots are written under the kills.
ENVIRONMENT = {
    "FREEWILL_ACCESS_TOKEN_SECONDS": str(7 * DAY),
    "FREEWILL_TABLES_SNAPSHOT_SECONDS": "1",
    "FREEWILL_LAKE_SECONDS": "0",
}


@dataclass(frozen=True)
class Plan:
    """How much is done: ``every`` kills the counts are compared, and at the end."""

    kills: int
    seed: int
    people: int = 10
    videos: int = 2
    every: int = 25
    longest_seconds: float = 0.8


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    kills: int
    starts_cut: int
    answered: int
    repeated: int
    events: int
    seconds: float


class Run:
    """One run against one server, which is not started yet."""

    def __init__(self, server: Any, make_client: Callable[[Any], Any], plan: Plan, clip: Path) -> None:
        self.server = server
        self.make_client = make_client
        self.plan = plan
        self.clip = clip
        self.dice = random.Random(plan.seed)
        self.people: list[Person] = []
        self.ledger = Ledger({}, "")
        self.analyst: Any = None
        self.starts_cut = 0

    async def go(self) -> Outcome:
        """Do all of it; an AssertionError says which count is wrong, and the seed."""
        started = time.monotonic()
        await self.server.start()
        await self._populate()
        for number in range(1, self.plan.kills + 1):
            await self._kill_once()
            if number % self.plan.every == 0 or number == self.plan.kills:
                await self._compare(f"seed {self.plan.seed}, after {number} kills")
        return Outcome(
            self.plan.kills,
            self.starts_cut,
            sum(person.answered for person in self.people),
            sum(person.repeated for person in self.people),
            len(self.ledger.known),
            time.monotonic() - started,
        )

    async def _populate(self) -> None:
        owner = await self.make_client(self.server).register()
        durations = {}
        for number in range(self.plan.videos):
            video = await owner.upload(self.clip, title=f"Bear {number}")
            assert owner.status == 201, video
            durations[video["id"]] = (await owner.wait_status(video["id"], "READY"))["duration_seconds"]
        self.ledger = Ledger(durations, owner.user["id"])
        self.analyst = await (await self.make_client(self.server).register()).become("analyst")
        now = int(time.time())
        for _ in range(self.plan.people):
            client = await self.make_client(self.server).register()
            dice = random.Random(self.dice.random())
            self.people.append(Person(client, self.ledger, dice, now - 20 * DAY, now))

    async def _kill_once(self) -> None:
        """Let the people act, kill at a random moment, and start again; some starts are cut short too."""
        load = [asyncio.create_task(person.keep_acting()) for person in self.people]
        await asyncio.sleep(self.dice.uniform(0.02, self.plan.longest_seconds))
        self.server.kill()
        await asyncio.gather(*load)
        if self.dice.random() < 0.2:
            self.server.launch()
            await asyncio.sleep(self.dice.uniform(0.0, 0.6))
            self.server.kill()
            self.starts_cut += 1
        await self.server.start()

    async def _compare(self, when: str) -> None:
        """Finish what is open; wait until the counts are the ledger's, and until nothing more can come."""
        for person in self.people:
            while person.open is not None:
                assert await person.act(), (when, self.server.tail())
        deadline = time.monotonic() + SETTLE_SECONDS
        while differences := await self._differences():
            assert time.monotonic() < deadline, (when, str(self.server.data), differences)
            await asyncio.sleep(0.3)
        await self._quiet(deadline)
        differences = await self._differences()
        assert not differences, (when, str(self.server.data), differences)

    async def _quiet(self, deadline: float) -> None:
        """Wait until no row waits for the relay and no record for its table."""
        tables = [table["name"] for table in (await self.analyst.get("/api/v1/tables"))["items"]]
        while True:
            waiting = self.server.query("SELECT count(*) FROM outbox")[0][0]
            behind = [name for name in tables if (await self.analyst.get(f"/api/v1/tables/{name}"))["lag"]]
            if not waiting and not behind:
                return
            assert time.monotonic() < deadline, (waiting, behind)
            await asyncio.sleep(0.2)

    async def _differences(self) -> dict[str, Any]:
        """Return every count that is not the ledger's, as (shown, expected)."""
        pairs: dict[str, tuple[Any, Any]] = {}
        for video in self.ledger.durations:
            expected = self.ledger.video(video)
            counters = _counters(await self._row("video_engagement", video), expected)
            pairs[f"video {video}"] = (counters, expected)
            shown = await self.analyst.get(f"/api/v1/videos/{video}/engagement")
            public = ("views", "likes", "comments", "shares", "saves")
            pairs[f"public {video}"] = tuple({name: at[name] for name in public} for at in (shown, expected))  # type: ignore[assignment]
            for name in ("likes", "saves", "shares"):
                rows = self.server.query(f"SELECT count(*) FROM {name} WHERE video_id = ?", video)[0][0]
                pairs[f"rows of {name} {video}"] = (rows, expected[name])
        owner = self.ledger.owner
        pairs["creator"] = (_days(await self._row("creator_totals", owner), COUNTED), self.ledger.creator())
        for person in self.people:
            user = person.user
            days = _days(await self._row("user_day", user), ("events", *COUNTED))
            pairs[f"user {user}"] = (days, self.ledger.user(user))
            history = _history(await self._row("watch_history", user))
            pairs[f"history {user}"] = (history, self.ledger.history(user))
            taste = _taste(await self._row("user_preference", user))
            pairs[f"taste {user}"] = (taste, self.ledger.taste(user))
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    async def _row(self, table: str, key: str) -> Any:
        row = await self.analyst.get(f"/api/v1/tables/{table}/rows/{UUID(key)}")
        assert self.analyst.status in (200, 404), row
        return row["value"] if self.analyst.status == 200 else None


def _counters(row: Any, names: Iterable[str]) -> dict[str, Any] | None:
    """Return a row of ``video_engagement`` as the ledger counts; federated ones would stand out."""
    if row is None:
        return None
    assert not any(row["federated"].values()), row
    local = row["local"] | {"completion": round(row["local"]["completion"], 6)}
    local |= {"bins": {bin_: number for bin_, number in sorted(row["bins"].items()) if number}}
    return {name: local[name] for name in names}


def _days(row: Any, names: tuple[str, ...]) -> dict[str, int]:
    days = row["days"].values() if row else ()
    return {name: sum(counts[name] for counts in days) for name in names}


def _history(row: Any) -> dict[str, Any]:
    names = ("fraction", "watch_ms", "viewed_at", "seen_at")
    videos = row["videos"] if row else {}
    return {video: {name: round(seen[name], 6) for name in names} for video, seen in videos.items()}


def _taste(row: Any) -> dict[str, int]:
    positives = row["positives"] if row else {}
    return {video: entry["actions"] for video, entry in positives.items() if entry["actions"]}


def server_parts() -> Any:
    """Return the server and client of the end-to-end tests."""
    spec = importlib.util.spec_from_file_location("e2e_parts", ROOT / "tests/e2e/conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _own_kafka(folder: Path) -> str:
    """Start a broker for this run alone; return its address."""
    _kafka("start", folder)
    return f"kafka://{(folder / 'servers').read_text().strip()}"


def _kafka(verb: str, folder: Path) -> None:
    subprocess.run([ROOT / ".ci/kafka", verb], env=os.environ | {"KAFKA_DIR": str(folder)}, check=True)


async def _main(options: argparse.Namespace) -> None:
    parts = server_parts()
    plan = Plan(kills=options.kills, seed=options.seed)
    print(
        f"{options.kills} kills on {options.broker}, tables on {options.store}, seed {options.seed}",
        flush=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="freewill-kills-"))
    broker = _own_kafka(folder / "kafka") if options.broker == "kafka://" else options.broker
    server = parts.Server(
        folder / "data", FREEWILL_BROKER=broker, FREEWILL_TABLES_STORE=options.store, **ENVIRONMENT
    )
    timeout = aiohttp.ClientTimeout(total=120)
    try:
        with ForkingParent(server):
            async with aiohttp.ClientSession(timeout=timeout) as session:
                run = Run(server, lambda at: parts.Client(at, session), plan, SHARED / CLIP)
                outcome = await run.go()
    finally:
        if options.broker == "kafka://":
            _kafka("stop", folder / "kafka")
    print(
        f"exact: {outcome.events} events in {outcome.answered} answered requests, {outcome.repeated} of them"
        f" sent again; {outcome.kills} kills, {outcome.starts_cut} starts cut, {outcome.seconds:.0f} s"
    )
    shutil.rmtree(folder)  # a run that fails names its data and leaves it


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--broker", default="embedded://")
    parser.add_argument("--store", default="memory://", choices=("memory://", "rocksdb://"))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
