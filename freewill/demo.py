"""Fills a running server with people, clips and watching, through its public API (R10, C51).

Everything goes over HTTP as any client's requests do, so what a newcomer sees is what the server made.
"""

import asyncio
import random
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from freewill.settings import Settings
from freewill.tour import PHONE, send_tour
from media.generate import KINDS, generate_clip
from tables.errors import ServiceUnavailable

NAMES = ("ada", "bela", "chidi", "dara", "emil", "fumi", "gita", "hugo", "ines", "jun", "kaia", "liam")
CLIP_SECONDS = 4.0
CLIP_SIZE = (720, 1280)
READY_WITHIN_SECONDS = 900.0
STEPS = ("watch_start", "watch_25", "watch_50", "watch_75", "watch_complete")
CAPTIONS = {
    "waves": ("Interference at dusk", "Two sources, one pond."),
    "plasma": ("Slow plasma", "Let it run with the lights off."),
    "bars": ("Broadcast memories", "A test card that learned to dance."),
    "noise": ("Static, but make it calm", "Every frame is new."),
    "spectrum": ("Colours you can hear", "The pitch follows the hue."),
    "mandelbrot": ("Falling into the set", "It never ends."),
    "cellular": ("Life finds a way", "Four rules and a grid."),
    "stars": ("Passing through", "A sky that comes closer."),
}


@dataclass(frozen=True)
class Person:
    """Somebody of the demonstration, signed in."""

    user_id: str
    name: str
    token: str
    taste: str


@dataclass(frozen=True)
class Clip:
    """An uploaded clip."""

    video_id: str
    kind: str
    owner: Person


class Api:
    """The few requests that the demonstration makes; a failure shows the server's own message."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        """Args: an open session, and the server's origin."""
        self._session = session
        self._base = base_url

    async def call(self, method: str, path: str, token: str = "", **options: Any) -> Any:
        """Make one request and return its JSON; raises ServiceUnavailable with the server's words."""
        headers = options.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            async with self._session.request(method, self._base + path, headers=headers, **options) as answer:
                body = await answer.json(content_type=None) if answer.status != 204 else None
        except aiohttp.ClientConnectionError as error:
            raise ServiceUnavailable(
                f"No server answers at {self._base}. Start it with: make run", details={"cause": str(error)}
            ) from error
        if answer.status >= 400:
            raise ServiceUnavailable(f"{method} {path}: {answer.status} {body}")
        return body


async def seed(settings: Settings, *, people: int, clips: int, console: Console) -> None:
    """Create people, upload generated clips, follow, and watch by taste; shows progress.

    Raises:
        ServiceUnavailable: no server answers, or it refused a request.
    """
    dice = random.Random(7)  # noqa: S311 (the same demonstration each time)
    base_url = f"http://{settings.host}:{settings.port}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        api = Api(session, base_url)
        crowd = await _register(api, people)
        console.print(f"{len(crowd)} people: " + ", ".join(person.name for person in crowd), highlight=False)
        await _follow(api, crowd, dice)
        with _progress(console) as bar:
            uploaded = await _upload(api, crowd, clips, bar)
            await _wait_ready(api, uploaded, bar)
            watched = await _watch(api, crowd, uploaded, dice, bar)
        watched += await _tour(api, crowd, base_url, console)
        console.print(f"{len(uploaded)} clips, {watched} watch events. Look: {base_url}", highlight=False)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


async def _register(api: Api, count: int) -> list[Person]:
    kinds = list(KINDS)
    crowd = []
    for number in range(count):
        name = f"{NAMES[number % len(NAMES)]}_{secrets.token_hex(2)}"
        answer = await api.call(
            "POST",
            "/api/v1/auth/register",
            json={
                "username": name,
                "email": f"{name}@demo.example",
                "password": secrets.token_urlsafe(16),
            },
        )
        crowd.append(Person(answer["user"]["id"], name, answer["access_token"], kinds[number % len(kinds)]))
    return crowd


async def _follow(api: Api, crowd: Sequence[Person], dice: random.Random) -> None:
    for person in crowd:
        others = [other for other in crowd if other is not person]
        for other in dice.sample(others, min(2, len(others))):
            await api.call("POST", f"/api/v1/users/{other.user_id}/follow", person.token)


async def _upload(api: Api, crowd: Sequence[Person], count: int, bar: Progress) -> list[Clip]:
    """Make and upload clips one after the other, so that encoding starts with the first."""
    task = bar.add_task("clips uploaded", total=count)
    kinds = list(KINDS)
    clips = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            kind, owner = kinds[number % len(kinds)], crowd[number % len(crowd)]
            path = Path(folder) / f"{number}.mp4"
            await generate_clip(path, kind, CLIP_SECONDS, CLIP_SIZE, number)
            clips.append(Clip(await _send(api, owner, path, kind, number), kind, owner))
            path.unlink()
            bar.advance(task)
    return clips


async def _send(api: Api, owner: Person, path: Path, kind: str, number: int) -> str:
    title, description = CAPTIONS.get(kind, (kind.title(), ""))
    form = aiohttp.FormData()
    form.add_field("title", f"{title} #{number + 1}")
    form.add_field("description", description)
    form.add_field("tags", f"{kind},generative,demo")
    with path.open("rb") as file:
        form.add_field("file", file, filename=path.name, content_type="video/mp4")
        answer = await api.call("POST", "/api/v1/videos/upload", owner.token, data=form)
    return str(answer["id"])


async def _wait_ready(api: Api, clips: Sequence[Clip], bar: Progress) -> None:
    """Wait until every clip plays, or has failed; owners see their own in every state."""
    task = bar.add_task("clips ready", total=len(clips))
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    for clip in clips:  # encoded in this order
        while time.monotonic() < deadline:
            video = await api.call("GET", f"/api/v1/videos/{clip.video_id}", clip.owner.token)
            if video["status"] in {"READY", "FAILED"}:
                break
            await asyncio.sleep(1.0)
        bar.advance(task)


async def _watch(
    api: Api, crowd: Sequence[Person], clips: Sequence[Clip], dice: random.Random, bar: Progress
) -> int:
    """Everybody watches what they like to the end, and glances at some of the rest."""
    task = bar.add_task("people watching", total=len(crowd))
    total = 0
    for person in crowd:
        events = [
            _event(clip, step)
            for clip in clips
            if clip.owner is not person
            for step in _steps(clip, person, dice)
        ]
        if events:
            answer = await api.call("POST", "/api/v1/events", person.token, json={"events": events})
            total += answer["accepted"]
        bar.advance(task)
    return total


async def _tour(api: Api, crowd: Sequence[Person], base_url: str, console: Console) -> int:
    """Let an agent show a property; the others watch it on phones, as the server advises them (C47, C51)."""
    agent, *others = crowd
    tour = await send_tour(base_url, agent.token, console)
    if tour.status != "READY":
        raise ServiceUnavailable(f"The tour could not be processed: {tour.fail_code}: {tour.fail_reason}")
    path, phone, total = f"/api/v1/videos/{tour.id}/playback", {"User-Agent": PHONE}, 0
    for person in others:
        advice = (await api.call("GET", path, person.token, headers=phone))["recommendation"]
        start = {"device": advice["device"], "bitrate": advice["start_quality"]}
        events = [_event(Clip(tour.id, "tour", agent), step) | start for step in STEPS]
        answer = await api.call("POST", "/api/v1/events", person.token, json={"events": events})
        total += answer["accepted"]
    console.print(
        f"the tour of {agent.name} was watched on {len(others)} phones, from {start['bitrate']} up "
        f"(at most {advice['max_bitrate'] / 1e6:.1f} Mbps)",
        highlight=False,
    )
    return total


def _steps(clip: Clip, person: Person, dice: random.Random) -> tuple[str, ...]:
    if clip.kind == person.taste:
        return (*STEPS, "like") if dice.random() < 0.7 else STEPS
    return STEPS[: dice.choice((0, 1, 2, 3))]


def _event(clip: Clip, action: str) -> dict[str, Any]:
    event = {"event_id": str(uuid4()), "video_id": clip.video_id, "action": action, "device": "web"}
    if action in STEPS:
        event |= {"watch_seconds": CLIP_SECONDS * STEPS.index(action) / 4, "bitrate": "720p"}  # type: ignore[dict-item]
    return event
