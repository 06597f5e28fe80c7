"""Malware scanning of uploads: a port, and clamd behind it (A45, L11, Z11).

clamd's INSTREAM command (clamd(8)): ``zINSTREAM\\0``, then chunks of a 4-byte big-endian length and data, a
zero length at the end; the answer is ``stream: OK``, ``stream: NAME FOUND`` or ``... ERROR``, ended by NUL.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

CHUNK_BYTES: Final = 256 * 1024
CONNECT_SECONDS: Final = 5.0
ANSWER_BYTES: Final = 4096


class ScannerUnavailable(Exception):
    """The scanner did not say what a file is: down, slow, or the file is over its own limits."""


class MalwareScanner(Protocol):
    """Looks for malware in a file."""

    async def scan(self, path: Path) -> str | None:
        """Return the name of what was found, None for a clean file.

        Raises:
            ScannerUnavailable: nobody knows; X46 says what to do then.
        """


class NoScanner:
    """No scanner is configured: every file is clean."""

    async def scan(self, path: Path) -> str | None:
        """Return None."""
        return None


@dataclass(frozen=True, slots=True)
class Clamd:
    """A clamd at ``tcp://HOST:PORT`` or ``unix:///PATH``; ``seconds`` bound one scan.

    Its ``StreamMaxLength`` has to be at least the largest upload policy's size.
    """

    url: str
    seconds: float = 300.0

    async def scan(self, path: Path) -> str | None:
        """Stream the file to clamd and read its verdict."""
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self._ask(path)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise ScannerUnavailable(repr(error)) from error
        verdict = answer.rstrip(b"\0\n").decode(errors="replace").removeprefix("stream: ")
        if verdict == "OK":
            return None
        if verdict.endswith(" FOUND"):
            return verdict.removesuffix(" FOUND")
        raise ScannerUnavailable(verdict)

    async def _ask(self, path: Path) -> bytes:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await self._connect()
        try:
            # A file over its limits is answered, and the connection closed, before all of it was sent.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                await _send(writer, path)
            return await reader.read(ANSWER_BYTES)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(parts.path)
        return await asyncio.open_connection(parts.hostname, parts.port or 3310)


async def _send(writer: asyncio.StreamWriter, path: Path) -> None:
    writer.write(b"zINSTREAM\0")
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            writer.write(len(chunk).to_bytes(4, "big") + chunk)
            await writer.drain()
    writer.write(b"\0\0\0\0")
    await writer.drain()


def scanner_for(url: str) -> MalwareScanner:
    """Return the scanner of a URL; none for an empty one."""
    return Clamd(url) if url else NoScanner()
