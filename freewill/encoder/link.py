"""The server as an encoder sees it: patient with the network, and quick to see that a job is lost."""

import asyncio
import base64
import hashlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import aiohttp
import msgspec
import structlog

from freewill.client.api import Client
from freewill.client.errors import NETWORK, RequestFailed
from freewill.client.retrying import wait_seconds
from media.remote import Capabilities, Input, Offer
from tables.errors import ContentNotFound

log = structlog.get_logger(__name__)
T = TypeVar("T")
LEASES: Final = "/api/v1/encoding/leases"
WAIT_SECONDS: Final = 20.0
DAMAGED: Final = "CHECKSUM_MISMATCH"
GONE, REFUSED = "LEASE_LOST", "OUTPUT_REFUSED"
READ_BYTES: Final = 256 * 1024


class JobLost(Exception):
    """The job is not this encoder's any more: its lease ran out, it was canceled, or a result was refused."""


class LeaseGone(JobLost):
    """The server knows of no such lease; the job may still be had."""


class _Work(msgspec.Struct):
    job: Offer | None


class _Going(msgspec.Struct):
    wanted: bool


class Link(Client):
    """The calls of the protocol; every one is repeated until the server answers."""

    async def take(self, able: Capabilities) -> Offer | None:
        """Ask for a job and wait for one a while.

        Raises:
            RequestFailed: the server does not want this encoder, or there was no answer.
        """
        return await self._take(able, {})

    async def resume(self, able: Capabilities, ticket: str) -> Offer | None:
        """Ask for a job that this encoder had, and wait for it a while: the server may just be starting."""
        return await self._patiently(lambda: self._take(able, {"resume": ticket}))

    async def _take(self, able: Capabilities, more: dict[str, str]) -> Offer | None:
        said = msgspec.to_builtins(able) | {"wait_seconds": WAIT_SECONDS} | more
        return (await self.call("POST", "/api/v1/encoding/request", _Work, json=said)).job

    async def progress(self, offer: Offer, percent: float | None, stage: str) -> None:
        """Show that the job is alive (JobLost)."""
        said = {"percent": percent, "stage": stage}
        going = await self._patiently(
            lambda: self.call("POST", f"{LEASES}/{offer.lease_id}/progress", _Going, json=said)
        )
        if not going.wanted:
            raise JobLost("nobody wants it any more")

    async def put(self, offer: Offer, name: str, path: Path) -> None:
        """Bring an output (JobLost)."""
        digest = base64.b64encode(await asyncio.to_thread(_sha256, path)).decode()
        headers = {"Content-Digest": f"sha-256=:{digest}:", "Content-Type": "application/octet-stream"}

        async def send() -> None:
            with path.open("rb") as file:
                where = f"{LEASES}/{offer.lease_id}/files/{name}"
                await self.send("PUT", where, self._token, data=file, headers=headers)

        await self._patiently(send)

    async def tell(self, offer: Offer, what: str, said: object = None) -> None:
        """Say ``playable``, ``finish``, ``fail`` or ``give-back`` (JobLost)."""
        where = f"{LEASES}/{offer.lease_id}/{what}"
        await self._patiently(lambda: self.send("POST", where, self._token, json=said))

    async def fetch(self, wanted: Input, path: Path) -> None:
        """Read an input; a line that breaks goes on where it was.

        Raises:
            ContentNotFound: CONTENT_NOT_FOUND: the server does not give it out any more.
        """
        with path.open("wb") as file:

            async def read() -> None:
                if file.tell() < wanted.size_bytes or not wanted.size_bytes:
                    await self._read(wanted, file)
                if file.tell() != wanted.size_bytes:
                    raise RequestFailed(NETWORK, f"{file.tell()} of {wanted.size_bytes} bytes came")

            try:
                await self._patiently(read)
            except RequestFailed as error:
                raise ContentNotFound(str(error)) from error

    async def _read(self, wanted: Input, file: BinaryIO) -> None:
        headers = {"Range": f"bytes={file.tell()}-"} if file.tell() else {}
        try:
            async with self._session.get(self.server + wanted.url, headers=headers) as answer:
                if answer.status >= 400:
                    raise RequestFailed("REFUSED", f"the source answers {answer.status}", answer.status)
                if answer.status != 206:
                    file.seek(0)
                    file.truncate()
                async for block in answer.content.iter_chunked(READ_BYTES):
                    await asyncio.to_thread(file.write, block)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise RequestFailed(NETWORK, str(error) or type(error).__name__) from error

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Do something until there is an answer that will not change.

        Raises:
            JobLost: the server says that the job is not this encoder's.
            RequestFailed: it refuses for another reason.
        """
        attempt = 0
        while True:
            try:
                return await call()
            except RequestFailed as error:
                if error.code == GONE:
                    raise LeaseGone(error.message) from error
                if error.code == REFUSED:
                    raise JobLost(f"refused: {error.details.get('reason', error.message)}") from error
                if not error.is_passing and error.code != DAMAGED:
                    raise
                attempt += 1
                pause = wait_seconds(attempt, random.random(), error.retry_after)  # noqa: S311 (no secret)
                log.warning("server_does_not_answer", error=str(error), again_in_seconds=round(pause, 1))
                await asyncio.sleep(pause)


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
