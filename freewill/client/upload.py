"""One file on its way to a server: in parts, from the last that arrived, also after the process died."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from freewill.client import checks, state
from freewill.client.api import Client
from freewill.client.errors import FileRefused, RequestFailed, UploadStopped
from freewill.client.models import Opened, Session, Video, Words
from freewill.client.retrying import wait_seconds
from freewill.client.state import State

PART_BYTES = 5 * 1024 * 1024
"""What a part should have (A31); the server's answer says what it has."""
MOST_PARTS = 10_000
PIECE_BYTES = 64 * 1024
"""Progress is told this often."""
MOST_ATTEMPTS = 12
"""Wrong answers in a row, without a part that arrived; no answer at all is not counted."""
MOST_LOST_SESSIONS = 3
_LOST = frozenset({"SESSION_EXPIRED", "CONTENT_NOT_FOUND", "NOT_CONTENT_OWNER"})
"""The session of the state file is over, or somebody else's: the file needs a new one."""
_LOOK_AGAIN = frozenset({"INVALID_STATE_TRANSITION", "INVALID_CHUNK_SEQUENCE"})
"""The session is not as it was thought to be: paused or completed elsewhere, a part that was not kept."""
_SIGNED_OUT = frozenset({401, 403})
_OVER = frozenset({"EXPIRED", "FAILED", "CANCELED"})


class Phase(StrEnum):
    """The words of Q5, and what is before and after them."""

    CHECKING = "CHECKING"
    UPLOADING = "UPLOADING"
    RETRYING = "RETRYING"
    PAUSED = "PAUSED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    COMPLETED = "COMPLETED"


class Progress(msgspec.Struct, frozen=True):
    """How far an upload is: bytes of finished parts and of the current one (A39)."""

    phase: Phase
    done: int
    size: int
    reason: str | None = None


class Upload:
    """One file; ``run`` sends it, and may be called again whenever it ended early."""

    def __init__(
        self,
        client: Client,
        path: Path,
        words: Words,
        *,
        policy: str | None = None,
        state_file: Path | None = None,
    ) -> None:
        """Take a client that is signed in, the file and its words; nothing is read.

        Args:
            client: the server.
            path: the file.
            words: what the video is called.
            policy: ``short`` or ``long``; without one, the first that takes the file.
            state_file: where to remember the session; by default a folder for state of this person.
        """
        self._client = client
        self._path = path
        self._words = words
        self._policy = policy
        self._file = state_file or state.default_path(client.server, path)
        self._checked: checks.Checked | None = None
        self._state: State | None = None
        self._received: set[int] = set()
        self._running: asyncio.Task[Video] | None = None
        self._stop: str | None = None
        self.on_progress: Callable[[Progress], None] = lambda progress: None
        self.progress = Progress(Phase.CHECKING, 0, 0)

    async def run(self) -> Video:
        """Send what is missing and return the video, which is then processed (``Client.wait_video``).

        Waits for a network that is away as long as it takes.

        Raises:
            FileRefused: it cannot be sent; nothing was.
            UploadStopped: ``pause`` or ``cancel`` was called meanwhile.
            RequestFailed: the server refused the file, or answered wrongly too often.
        """
        self._stop, self._checked = None, None
        self._running = asyncio.create_task(self._through_trouble())
        try:
            return await self._running
        except asyncio.CancelledError:
            if self._stop is None:
                raise
            raise UploadStopped(self._stop) from None
        except (RequestFailed, FileRefused) as error:
            self._tell(Phase.FAILED, reason=error.message)
            raise
        finally:
            self._running = None

    async def pause(self) -> None:
        """Stop sending; ``run`` goes on. The server is told if it can be (A30)."""
        await self._halt("pause")
        if self.progress.phase is Phase.COMPLETED:
            return
        if self._state is not None:
            with suppress(RequestFailed):
                await self._move(self._state, "pause")
        self._tell(Phase.PAUSED)

    async def cancel(self) -> None:
        """Stop, and let the server forget what arrived (A30).

        Raises:
            RequestFailed: nothing is forgotten: NETWORK and the like, cancel again;
                INVALID_STATE_TRANSITION, all had arrived and the video is made, ``run`` returns it.
        """
        await self._halt("cancel")
        known = self._state or await asyncio.to_thread(state.load, self._file, self._client.server)
        if known is not None:
            try:
                await self._move(known, "cancel")
            except RequestFailed as error:
                if error.code not in _LOST and error.details.get("from") not in _OVER:
                    raise
        await self._forget()
        self._tell(Phase.CANCELED)

    async def _halt(self, how: str) -> None:
        self._stop = how
        running = self._running
        if running is not None:
            running.cancel()
            await asyncio.wait([running])

    async def _through_trouble(self) -> Video:
        attempt = lost = 0
        while True:
            before = len(self._received)
            try:
                return await self._once()
            except RequestFailed as error:
                attempt = 1 if len(self._received) > before else attempt + 1
                if error.code in _LOST:
                    lost += 1
                    await self._forget()
                if lost > MOST_LOST_SESSIONS or (attempt > MOST_ATTEMPTS and not error.is_network):
                    raise
                if not error.is_passing and error.code not in _LOST | _LOOK_AGAIN:
                    if error.status not in _SIGNED_OUT:  # who is signed out finds the session again
                        await self._forget()
                    raise
                self._tell(Phase.RETRYING, reason=error.message)
                await asyncio.sleep(wait_seconds(attempt, random.random(), error.retry_after))  # noqa: S311

    async def _once(self) -> Video:
        """Send what the server has not, and finish."""
        self._checked = checked = self._checked or await self._check()
        session = await self._session(checked)
        count = -(-checked.mark.size // session.part_size)
        for number in range(1, count + 1):
            if number not in self._received:
                await self._send(session, number)
        self._tell(Phase.CHECKING)
        path = f"/api/v1/uploads/{session.session_id}/finalize"
        video = await self._client.call("POST", path, Video, json=msgspec.to_builtins(self._words))
        await self._forget()
        self._tell(Phase.COMPLETED, checked.mark.size)
        return video

    async def _check(self) -> checks.Checked:
        """Check file and words, and find the session of an earlier run."""
        self._tell(Phase.CHECKING)
        limits = await self._client.limits()
        checks.check_words(self._words, limits)
        known = await asyncio.to_thread(state.load, self._file, self._client.server)
        mark = None if known is None else known.mark
        checked = await asyncio.to_thread(checks.check_file, self._path, limits, self._policy, mark)
        same = known is not None and known.mark.sha256 == checked.mark.sha256
        self._state = known if same else None
        return checked

    async def _session(self, checked: checks.Checked) -> State:
        """Return the session, looked at or opened; a paused one is resumed."""
        if (known := self._state) is not None:
            seen = await self._client.call("GET", f"/api/v1/uploads/{known.session_id}", Session)
            if seen.state == "PAUSED":
                seen = await self._move(known, "resume")
            if seen.state not in _OVER:
                parts = -(-checked.mark.size // known.part_size)
                # A completed session may have forgotten its parts; asking it to finish gives the video (A37).
                done = range(1, parts + 1) if seen.state == "COMPLETED" else seen.received_chunks
                self._received = set(done)
                return known
            await self._forget()
        return await self._open(checked)

    async def _open(self, checked: checks.Checked) -> State:
        size = checked.mark.size
        asked = {
            "filename": self._path.name,
            "file_size": size,
            "total_chunks": min(MOST_PARTS, -(-size // PART_BYTES)),
            "checksum": checked.mark.sha256,
            "policy": checked.policy,
            "mime": checked.mime,
        }
        opened = await self._client.call("POST", "/api/v1/uploads", Opened, json=asked)
        fresh = State(self._client.server, checked.mark, opened.session_id, opened.chunk_size)
        await asyncio.to_thread(state.save, self._file, fresh)
        self._state, self._received = fresh, set()
        return fresh

    async def _move(self, session: State, how: str) -> Session:
        return await self._client.call("POST", f"/api/v1/uploads/{session.session_id}/{how}", Session)

    async def _send(self, session: State, number: int) -> None:
        start = (number - 1) * session.part_size
        end = min(session.mark.size, start + session.part_size)
        data = await asyncio.to_thread(checks.read_part, self._path, start, end)
        done = self._bytes_done()

        async def body() -> AsyncIterator[bytes]:
            for at in range(0, len(data), PIECE_BYTES):
                piece = data[at : at + PIECE_BYTES]
                yield piece
                self._tell(Phase.UPLOADING, done + at + len(piece))

        async def put(token: str | None) -> None:
            path = f"/api/v1/uploads/{session.session_id}/chunks/{number}"
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(data))}
            await self._client.send("PUT", path, token, headers=headers, data=body())

        await self._client.with_token(put)
        self._received.add(number)
        self._tell(Phase.UPLOADING)

    def _bytes_done(self) -> int:
        if (session := self._state) is None:
            return 0
        size, part = session.mark.size, session.part_size
        return sum(min(part, size - (number - 1) * part) for number in self._received)

    def _tell(self, phase: Phase, done: int | None = None, reason: str | None = None) -> None:
        size = 0 if self._checked is None else self._checked.mark.size
        self.progress = Progress(phase, self._bytes_done() if done is None else done, size, reason)
        self.on_progress(self.progress)

    async def _forget(self) -> None:
        self._state, self._received = None, set()
        await asyncio.to_thread(self._file.unlink, missing_ok=True)
