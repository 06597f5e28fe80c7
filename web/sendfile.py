"""Sends a file from the disk's cache to the socket without passing through this process (C40).

aiohttp's own way is ``loop.sendfile``, which uvloop does not have. Ours waits for a copy of the socket's
descriptor to take more: the loops refuse to watch one that a transport of theirs reads.
"""

import asyncio
import os
from typing import BinaryIO

from aiohttp import web

BURST_BYTES = 1024 * 1024
"""Given to the kernel in one call: what is not in its cache is read while the loop stands still."""
_FLUSH_LOOK_SECONDS = 0.001


async def send_file(
    request: web.Request, response: web.StreamResponse, file: BinaryIO, start: int, count: int
) -> bool:
    """Send part of an open file as the body of a prepared response.

    Returns:
        False when the connection is one that the kernel cannot write to (TLS); nothing was sent then.

    Raises:
        ConnectionResetError: the client went away, or the file has ended early.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client went away")
    socket = transport.get_extra_info("socket")
    if transport.get_extra_info("sslcontext") is not None or socket is None:
        return False
    await _flushed(transport)
    descriptor = os.dup(socket.fileno())
    try:
        await _pump(descriptor, file.fileno(), start, count)
    except (OSError, EOFError) as error:
        transport.abort()  # the length is told already: only the end of the connection can take it back
        raise ConnectionResetError("the body could not be sent") from error
    except asyncio.CancelledError:
        transport.abort()
        raise
    finally:
        os.close(descriptor)
    return True


async def _flushed(transport: asyncio.WriteTransport) -> None:
    """Wait until the headers are with the kernel: what follows must not overtake them."""
    await asyncio.sleep(0)
    while transport.get_write_buffer_size():
        if transport.is_closing():
            raise ConnectionResetError("the client went away")
        await asyncio.sleep(_FLUSH_LOOK_SECONDS)


async def _pump(descriptor: int, source: int, start: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    while count:
        try:
            sent = os.sendfile(descriptor, source, start, min(count, BURST_BYTES))
        except BlockingIOError:
            await _writable(loop, descriptor)
            continue
        if not sent:
            raise EOFError("the file is shorter than it was")
        start += sent
        count -= sent
        await asyncio.sleep(0)  # others wait, too


async def _writable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
