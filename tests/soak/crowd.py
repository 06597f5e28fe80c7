"""A mixed load that survives the death of its server: people who watch, like, save, share, and blunder."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aiohttp
from ledger import STEPS, Ledger

HOUR = 3600
MALFORMED: tuple[Mapping[str, Any], ...] = (
    {"action": "teleport"},
    {"video_id": "not a uuid"},
    {"watch_seconds": -1},
    {"watch_seconds": "ten"},
    {"occurred_at": "yesterday"},
    {"event_id": None},
    {"video_id": "00000000-0000-4000-8000-000000000000"},
)


@dataclass
class Request:
    """One request, and what its 2xx answer means for the ledger."""

    method: str
    path: str
    body: Any
    status: int
    events: Sequence[Mapping[str, Any]] = ()
    relation: tuple[str, str] | None = None  # video, action
    rejected: int = 0


@dataclass
class Person:
    """Somebody who does one thing after the other, and again what was not answered."""

    client: Any
    ledger: Ledger
    dice: random.Random
    clock: int  # event time, whole seconds
    latest: int  # what the server will still take
    open: Request | None = None
    sent: list[Mapping[str, Any]] = field(default_factory=list)
    answered: int = 0
    repeated: int = 0

    @property
    def user(self) -> str:
        """The person's id."""
        return str(self.client.user["id"])

    async def act(self) -> bool:
        """Do one thing; False when the server did not answer it."""
        again = self.open is not None
        request = self.open = self.open or self._choose()
        try:
            answer = await self.client.call(request.method, request.path, json=request.body)
        except (aiohttp.ClientError, OSError):
            return False
        if self.client.status >= 500:  # it is going down
            return False
        assert self.client.status == request.status, (request, answer)
        self._enter(request, answer)
        self.open = None
        self.answered += 1
        self.repeated += again
        return True

    async def keep_acting(self) -> None:
        """Act until the server is gone."""
        while await self.act():
            pass

    def _enter(self, request: Request, answer: Any) -> None:
        if request.path == "/api/v1/events" and request.status == 202:
            events = len(request.events)
            assert len(answer["rejected"]) == request.rejected, answer
            assert answer["accepted"] + answer["duplicates"] == events, answer
        self.ledger.enter(self.user, request.events)
        if request.relation is not None:
            self.ledger.relate(self.user, *request.relation)
        self.sent = [*self.sent, *request.events][-50:]

    def _choose(self) -> Request:
        kind = self.dice.choices(("one", "batch", "relation", "share", "bad"), (4, 6, 4, 2, 1))[0]
        return getattr(self, f"_{kind}")()  # type: ignore[no-any-return]

    def _one(self) -> Request:
        event = self._event()
        return Request("POST", "/api/v1/events", _body(event), 202, [event])

    def _batch(self) -> Request:
        """Cut a batch of new events, some of them twice, some sent before, a few malformed."""
        dice = self.dice
        events = [self._event() for _ in range(dice.choice((2, 5, 20, 60, 130)))]
        repeats = dice.sample(events, len(events) // 5) + dice.sample(self.sent, min(len(self.sent), 3))
        bodies = [_body(event) for event in (*events, *repeats)]
        bad = [_body(self._event()) | dice.choice(MALFORMED) for _ in range(dice.choice((0, 0, 1, 3)))]
        for item in bad:
            bodies.insert(dice.randrange(len(bodies)), item)
        return Request(
            "POST", "/api/v1/events", {"events": bodies}, 202, [*events, *repeats], rejected=len(bad)
        )

    def _relation(self) -> Request:
        video, what = self._video(), self.dice.choice(("like", "save"))
        if self.dice.random() < 0.6:
            return Request("POST", f"/api/v1/posts/{video}/{what}", None, 200, relation=(video, what))
        return Request("DELETE", f"/api/v1/posts/{video}/{what}", None, 200, relation=(video, f"un{what}"))

    def _share(self) -> Request:
        video, identity = self._video(), self._uuid()
        event = {"event_id": identity, "video_id": video, "action": "share", "at": self.clock}
        return Request("POST", f"/api/v1/posts/{video}/share", {"event_id": identity}, 201, [event])

    def _bad(self) -> Request:
        return Request("POST", "/api/v1/events", _body(self._event()) | self.dice.choice(MALFORMED), 400)

    def _event(self) -> dict[str, Any]:
        """Make an event; its time moves on by hours, and is late now and then."""
        dice = self.dice
        action = dice.choice((*STEPS, *STEPS, "like", "unlike", "save", "unsave", "share", "comment"))
        step = 6 * HOUR if dice.random() < 0.003 else dice.choice((0, 1, 30))
        self.clock = min(self.clock + step, self.latest)
        at = self.clock - (dice.randrange(40 * HOUR) if dice.random() < 0.1 else 0)
        event = {"event_id": self._uuid(), "video_id": self._video(), "action": action, "at": at}
        if action in STEPS and dice.random() < 0.7:
            event["watch_seconds"] = dice.randrange(0, 80) / 4
        return event

    def _video(self) -> str:
        return self.dice.choice(sorted(self.ledger.durations))

    def _uuid(self) -> str:
        return str(UUID(int=self.dice.getrandbits(128), version=4))


def _body(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as a client sends it."""
    body = dict(event)
    body["occurred_at"] = datetime.fromtimestamp(body.pop("at"), UTC).isoformat()
    return body
