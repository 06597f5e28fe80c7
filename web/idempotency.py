"""Answers kept by ``Idempotency-Key``, so that a repeated POST creates once and hears the same."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

KEPT_SECONDS = 86_400.0
# Bounds of memory: an answer over the size is not kept, past the number the oldest is forgotten.
MAX_ANSWERS = 10_000
MAX_ANSWER_BYTES = 64 * 1024
MAX_KEY_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """What the first request was told."""

    status: int
    body: bytes
    content_type: str
    at: float

    def is_fresh(self, now: float) -> bool:
        """Whether it is still repeated."""
        return now - self.at < KEPT_SECONDS

    def response(self) -> web.Response:
        """Rebuild the answer, marked as a repetition."""
        repeated = {"Idempotency-Replayed": "true"}
        return web.Response(
            status=self.status, body=self.body, content_type=self.content_type, headers=repeated
        )


class Once(Protocol):
    """Lets a creation happen once for each key."""

    async def once(self, key: str, call: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """Return the kept answer of ``key``, or call and keep what it answers when it succeeded.

        A failure is not kept: a repetition after it is a new try.
        """


def kept_form(response: web.StreamResponse, now: float) -> Answer | None:
    """Return what is kept of an answer, None for one that is not: no success, streamed, or too large."""
    if not isinstance(response, web.Response) or not 200 <= response.status < 300:
        return None
    body = response.body or b""
    if not isinstance(body, bytes) or len(body) > MAX_ANSWER_BYTES:
        return None
    return Answer(response.status, body, response.content_type, now)


class IdempotencyStore:
    """Remembers answers in this process; a second request waits for a first that is still running."""

    def __init__(self, clock: Callable[[], float], max_answers: int = MAX_ANSWERS) -> None:
        self._clock = clock
        self._max = max_answers
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._running: dict[str, asyncio.Future[None]] = {}

    async def once(self, key: str, call: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        """Answer once; see ``Once``."""
        while (running := self._running.get(key)) is not None:
            await asyncio.shield(running)
        kept = self._answers.get(key)
        if kept is not None and kept.is_fresh(self._clock()):
            return kept.response()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running[key] = done
        try:
            response = await call()
            self._keep(key, response)
            return response
        finally:
            del self._running[key]
            done.set_result(None)

    def _keep(self, key: str, response: web.StreamResponse) -> None:
        answer = kept_form(response, self._clock())
        if answer is None:
            return
        self._answers.pop(key, None)
        self._answers[key] = answer
        while len(self._answers) > self._max:
            self._answers.popitem(last=False)
