"""Bodies of uploads on their way in, some at a time.

What nobody reads waits in the buffer of its connection, which is small, and behind that with its sender. Were
all read as they come, a thousand bodies would be in memory a second time while they queue for the disk, and
every round of the loop would read a thousand sockets before it answers anybody. So whoever has a body's bytes
has a turn.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Final

from aiohttp import StreamReader, web

AT_ONCE: Final = 2
"""Turns: one body's bytes are written and hashed while the next are fetched. With more, threads wait for
each other and for the interpreter: no more bytes come in, and short requests take several times as long.
"""
FIRST_BYTES: Final = 1024
"""Taken without a turn, to learn that something came: a sender who is slow keeps nobody waiting."""
IDLE_SECONDS: Final = 30.0
"""How long a sender may stand still: one whose network went away would keep its next request out."""


class Turns(asyncio.Semaphore):
    """The turns of one process."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        """Let so many bodies be read at once."""
        super().__init__(at_once)


@asynccontextmanager
async def reading(request: web.Request, turns: Turns) -> AsyncIterator[AsyncIterator[bytes]]:
    """Give the block the request's body, which comes in turn, and not before it is asked for.

    Reading it raises what the connection raises when it is cut off, or ``ConnectionResetError`` when it
    stands still for ``IDLE_SECONDS``.
    """
    _pause(request)  # who may send is not decided yet
    try:
        async with aclosing(_in_turn(request, turns)) as body:
            yield body
    finally:
        _resume(request)  # aiohttp reads, and drops, what was left


async def _in_turn(request: web.Request, turns: Turns) -> AsyncGenerator[bytes, None]:
    content = request.content
    _resume(request)
    while first := await _first(content):
        _pause(request)
        async with turns:
            _resume(request)
            yield first
            yield content.read_nowait()


def _pause(request: web.Request) -> None:
    # With all of it here, or its sender gone, aiohttp has no parser to pause.
    if request.protocol.connected and not request.content.is_eof():
        request.protocol.pause_reading()


def _resume(request: web.Request) -> None:
    if request.protocol.connected:
        request.protocol.resume_reading()


async def _first(content: StreamReader) -> bytes:
    if data := content.read_nowait(FIRST_BYTES):
        return data  # without a timer, which costs as much as all the rest
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await content.read(FIRST_BYTES)
    except TimeoutError:
        raise ConnectionResetError("the sender stands still") from None
