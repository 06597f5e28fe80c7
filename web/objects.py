"""Answers a stored object: ranges, validators, and the shortest way to the socket (C33, C40)."""

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from aiohttp import hdrs, web

from media import delivery
from media.stores import ObjectInfo, run_blocking
from tables.errors import ContentArchived, ContentNotFound, RangeNotSatisfiable, StorageFailure
from web.http import deps
from web.media_origin import PLAYER_HEADERS
from web.sendfile import send_file

if TYPE_CHECKING:
    from media.stores import ObjectStore

_NOWAIT = getattr(os, "RWF_NOWAIT", None)  # Linux has it
SMALL_BYTES = 64 * 1024
"""Up to here one read and one write cost less than handing the file to the kernel."""


async def serve_object(
    request: web.Request,
    key: str,
    extra: Mapping[str, str] = PLAYER_HEADERS,
    *,
    private: bool = False,
) -> web.StreamResponse:
    """Answer a stored object, whole or a range of it; the caller has decided that it may be seen.

    Args:
        request: its Range, If-Range, If-None-Match and If-Modified-Since count.
        key: the object.
        extra: headers beside those of the object.
        private: no cache between may keep the answer.

    Raises:
        ContentNotFound: there is no such object (CONTENT_NOT_FOUND).
        ContentArchived: it has to be restored first (CONTENT_ARCHIVED).
        RangeNotSatisfiable: the range starts past its end (RANGE_NOT_SATISFIABLE).
    """
    opened = await _opened(deps(request).store, key)
    if opened is None:
        return await _answer(request, await _elsewhere(request, key), None, extra, private)
    info, file = opened
    with file:
        return await _answer(request, info, file, extra, private)


async def _opened(store: "ObjectStore", key: str) -> tuple[ObjectInfo, BinaryIO] | None:
    """Open a file on a thread; one that nobody waits for any more is closed."""
    opening = asyncio.get_running_loop().run_in_executor(None, store.open_local, key)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise
    except OSError as error:
        raise StorageFailure(details={"cause": os.strerror(error.errno or 0)}) from error


def _close(opening: "asyncio.Future[tuple[ObjectInfo, BinaryIO] | None]") -> None:
    if not opening.cancelled() and opening.exception() is None and (opened := opening.result()):
        opened[1].close()


async def _elsewhere(request: web.Request, key: str) -> ObjectInfo:
    """Return what a store that is not this machine's disk knows of an object that can be read."""
    info = await deps(request).store.stat(key)
    if info is None:
        raise ContentNotFound
    if info.archived:
        raise ContentArchived(details={"restoring": info.restoring})
    return info


async def _answer(
    request: web.Request, info: ObjectInfo, file: BinaryIO | None, extra: Mapping[str, str], private: bool
) -> web.StreamResponse:
    asked = request.headers
    headers = delivery.headers(info.key, info.etag, info.modified_at, private=private) | dict(extra)
    if delivery.not_modified(
        asked.get(hdrs.IF_NONE_MATCH), info.etag, asked.get(hdrs.IF_MODIFIED_SINCE), info.modified_at
    ):
        return web.Response(status=304, headers=headers)
    whole = not delivery.honours_range(asked.get(hdrs.IF_RANGE), info.etag, info.modified_at)
    part = delivery.select(None if whole else asked.get(hdrs.RANGE), info.size_bytes)
    if part.content_range:
        headers[hdrs.CONTENT_RANGE] = part.content_range
    if part.status == 416:
        raise RangeNotSatisfiable(details={"size": info.size_bytes})
    if request.method != hdrs.METH_HEAD:
        deps(request).metrics.media_bytes.inc(part.length)
        if file is not None and part.length <= SMALL_BYTES:
            body = _cached(file, part)
            if body is None:
                body = await run_blocking(os.pread, file.fileno(), part.length, part.start)
            return web.Response(status=part.status, headers=headers, body=body)
    return await _send(request, info.key, file, part, headers)


async def _send(
    request: web.Request, key: str, file: BinaryIO | None, part: delivery.Slice, headers: dict[str, str]
) -> web.StreamResponse:
    """Send a slice; a store elsewhere is read as fast as the client takes it."""
    response = web.StreamResponse(status=part.status, headers=headers)
    response.content_length = part.length
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD and part.length:
        given = file is not None and await send_file(request, response, file, part.start, part.length)
        if not given:
            async for block in deps(request).store.read(key, part.start, part.end):
                await response.write(block)
    await response.write_eof()
    return response


def _cached(file: BinaryIO, part: delivery.Slice) -> bytes | None:
    """Read a small slice when it is in memory already; None when that would wait for the disk."""
    if _NOWAIT is None:
        return None
    body = bytearray(part.length)
    try:
        count = os.preadv(file.fileno(), [body], part.start, _NOWAIT)
    except OSError:  # not in memory, or a file system that cannot say
        return None
    return bytes(body) if count == part.length else None
