"""One server as a client sees it: sign in, renew, ask, and hear what it tells."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from freewill.client.errors import NETWORK, RequestFailed
from freewill.client.models import Caption, Frame, Limits, Tokens, Video
from freewill.client.retrying import wait_seconds

T = TypeVar("T")
SILENCE_SECONDS = 120.0
"""A line on which nothing moves for so long is dead."""
RENEW_AHEAD_SECONDS = 30.0


class Client:
    """A server, and who is signed in there. Requests may go side by side."""

    def __init__(self, server: str, *, token: str | None = None) -> None:
        """Take the server's origin, and a token when somebody is signed in already; nothing is opened."""
        self.server = server.rstrip("/")
        self.tokens: Tokens | None = None
        self._token = token
        self._renew_at = float("inf")
        self._renewing = asyncio.Lock()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open connections."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=SILENCE_SECONDS)
        self._http = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.close()

    async def register(self, username: str, email: str, password: str) -> Tokens:
        """Make an account and sign in; RequestFailed with USERNAME_TAKEN, EMAIL_TAKEN, ..."""
        body = {"username": username, "email": email, "password": password}
        return await self._sign_in("register", body)

    async def login(self, username: str, password: str) -> Tokens:
        """Sign in by user name or e-mail; RequestFailed with INVALID_CREDENTIALS."""
        return await self._sign_in("login", {"username": username, "password": password})

    async def refresh(self, refresh_token: str) -> Tokens:
        """Sign in with a refresh token, which is dead afterwards."""
        return await self._sign_in("refresh", {"refresh_token": refresh_token})

    async def limits(self) -> Limits:
        """Return what may be uploaded (Y5)."""
        return await self.call("GET", "/api/v1/uploads/policies", Limits)

    async def video(self, video_id: str) -> Video:
        """Return a video; RequestFailed with CONTENT_NOT_FOUND."""
        return await self.call("GET", f"/api/v1/videos/{video_id}", Video)

    async def wait_video(
        self, video_id: str, on_news: Callable[[Video], None] = lambda video: None, poll_seconds: float = 5.0
    ) -> Video:
        """Return a video when it is READY or FAILED (Q12): told by the server, and asked for in between.

        Waits for a server that is away as long as it takes.

        Args:
            video_id: the video.
            on_news: gets the video whenever it was asked for.
            poll_seconds: how long to go without news before asking.

        Raises:
            RequestFailed: CONTENT_NOT_FOUND and the like.
        """
        told = asyncio.Event()
        hearing = asyncio.create_task(self._hear(video_id, told))
        try:
            while True:
                told.clear()
                try:
                    video = await self.video(video_id)
                except RequestFailed as error:
                    if not error.is_passing:
                        raise
                else:
                    on_news(video)
                    if video.is_settled:
                        return video
                with suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), poll_seconds)
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    async def captions(self, video_id: str) -> tuple[Caption, ...]:
        """Return the captions of a video, by language (Y6); RequestFailed with CONTENT_NOT_FOUND."""
        found = await self.call("GET", f"/api/v1/videos/{video_id}/captions", _Captions)
        return found.items

    async def put_captions(self, video_id: str, language: str, text: bytes) -> None:
        """Give WebVTT or SubRip as the captions in a language (BCP 47), instead of those that there are.

        Raises:
            RequestFailed: VALIDATION_ERROR, FILE_TOO_LARGE, NOT_CONTENT_OWNER, CONTENT_NOT_FOUND, ...
        """
        headers = {"Content-Type": "text/vtt"}
        await self._change_captions("PUT", video_id, language, data=text, headers=headers)

    async def delete_captions(self, video_id: str, language: str) -> None:
        """Take the captions in a language back; RequestFailed as ``put_captions``."""
        await self._change_captions("DELETE", video_id, language)

    async def _change_captions(self, method: str, video_id: str, language: str, **options: Any) -> None:
        path = f"/api/v1/videos/{video_id}/captions/{quote(language, safe='')}"
        await self.with_token(lambda token: self.send(method, path, token, **options))

    async def events(self) -> AsyncIterator[Frame]:
        """Yield what the server tells, over a WebSocket that is opened again whenever it ends.

        Every opening begins with a frame ``connected``: what happened before it was not told.

        Raises:
            RequestFailed: with status 401 when nobody is signed in.
        """
        attempt = 0
        while True:
            try:
                async for frame in self._listen():
                    attempt = 0
                    yield frame
            except RequestFailed as error:
                if not error.is_passing:
                    raise
            attempt += 1
            await asyncio.sleep(wait_seconds(attempt, random.random()))  # noqa: S311 (no secret)

    async def call(self, method: str, path: str, shape: type[T], json: Any = None) -> T:
        """Make one request and return its answer in a shape; tokens are renewed on the way.

        Raises:
            RequestFailed: the server's code, or NETWORK.
        """

        async def send(token: str | None) -> bytes:
            return await self.send(method, path, token, json=json)

        return msgspec.json.decode(await self.with_token(send), type=shape)

    async def with_token(self, send: Callable[[str | None], Awaitable[T]]) -> T:
        """Do something with a token that lasts; when the server refuses it, once more with a new one."""
        token = await self._fresh()
        try:
            return await send(token)
        except RequestFailed as error:
            if error.status != 401 or self.tokens is None:
                raise
            return await send(await self._renew(token))

    async def send(self, method: str, path: str, token: str | None = None, **options: Any) -> bytes:
        """Make one request as it is; see ``aiohttp.ClientSession.request`` for the options."""
        headers = {"Accept": "application/json"} | options.pop("headers", {})
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            url = self.server + path
            async with self._session.request(method, url, headers=headers, **options) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _no_answer(error) from error
        if answer.status >= 400:
            raise _refusal(answer.status, body, answer.headers.get("Retry-After"))
        return body

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("use it as `async with Client(...)`")
        return self._http

    async def _sign_in(self, how: str, body: dict[str, str]) -> Tokens:
        answer = await self.send("POST", f"/api/v1/auth/{how}", json=body)
        tokens = msgspec.json.decode(answer, type=Tokens)
        life = float(tokens.expires_in)
        self.tokens, self._token = tokens, tokens.access_token
        self._renew_at = time.monotonic() + max(life * 0.8, life - RENEW_AHEAD_SECONDS)
        return tokens

    async def _fresh(self) -> str | None:
        return await self._renew(self._token) if time.monotonic() >= self._renew_at else self._token

    async def _renew(self, old: str | None) -> str | None:
        async with self._renewing:
            # A refresh token is good once: whoever waited here finds the work done.
            if self._token == old and self.tokens is not None:
                await self.refresh(self.tokens.refresh_token)
            return self._token

    async def _hear(self, video_id: str, told: asyncio.Event) -> None:
        async for frame in self.events():
            # What happened before a connection stood was not told: look.
            if frame.event == "connected" or frame.data.get("video_id") == video_id:
                told.set()

    async def _listen(self) -> AsyncIterator[Frame]:
        token = await self._fresh()
        url = self.server + "/api/v1/ws/notifications"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._session.ws_connect(url, headers=headers, heartbeat=30) as socket:
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        yield msgspec.json.decode(message.data, type=Frame)
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 401 and self.tokens is not None:
                await self._renew(token)
                return
            raise RequestFailed("HANDSHAKE_REFUSED", error.message, error.status) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _no_answer(error) from error


def _no_answer(error: Exception) -> RequestFailed:
    return RequestFailed(NETWORK, str(error) or type(error).__name__)


class _Captions(msgspec.Struct):
    items: tuple[Caption, ...]


class _Said(msgspec.Struct):
    code: str = "UNKNOWN"
    message: str = "The server gave no reason."
    details: dict[str, Any] = {}


class _Refusal(msgspec.Struct):
    error: _Said


def _refusal(status: int, body: bytes, retry_after: str | None) -> RequestFailed:
    try:
        said = msgspec.json.decode(body, type=_Refusal).error
    except msgspec.DecodeError:
        said = _Said()
    seconds = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    return RequestFailed(said.code, said.message, status, said.details, seconds)
