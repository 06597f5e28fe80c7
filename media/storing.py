"""Outputs of a job on their way into the store: in an order in which no player meets what is not there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol

from media import layout
from media.delivery import content_type
from media.stores import ObjectInfo

Progress = Callable[[float | None, str], Awaitable[None]]

STORED_FROM = 95.0
"""Percent at which the child is done; the rest is storing, measured in bytes."""
PARALLEL_PUTS = 8


class JobStore(Protocol):
    """What a job needs of ``media.stores.ObjectStore``: one on another machine may be behind it."""

    def local_path(self, key: str) -> Path | None:
        """Return the object's own file, None when it is not on this machine."""

    async def fetch(self, key: str, path: Path) -> None:
        """Copy an object to a local file; ContentNotFound when there is none."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose keys start with a prefix."""

    async def put_file(self, key: str, path: Path, *, content_type: str, move: bool = False) -> None:
        """Store a file; with ``move`` it is gone afterwards."""


async def store_outputs(video_id: str, store: JobStore, out: Path, report: Progress | None = None) -> None:
    """Store all of a folder, media before the playlists that name it, the masters last; the files move.

    Captions of a source never take the place of those that somebody gave meanwhile (Y6).
    """
    files = await asyncio.to_thread(outputs, out)
    if any(_is_caption(video_id, name) for name, _ in files):
        given = [found.key async for found in store.list(layout.captions_prefix(video_id))]
        files = [(name, size) for name, size in files if layout.prefix(video_id) + name not in given]
    total = sum(size for _, size in files) or 1
    done = 0
    if report is not None:
        await report(STORED_FROM, "storing")
    for batch in _batches(files):
        await _put(video_id, store, out, [name for name, _ in batch])
        done += sum(size for _, size in batch)
        if report is not None:
            await report(STORED_FROM + (100 - STORED_FROM) * done / total, "storing")


async def _put(video_id: str, store: JobStore, out: Path, names: list[str]) -> None:
    """Move some files into the store side by side; the first failure is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for name in names:
                key = layout.prefix(video_id) + name
                group.create_task(store.put_file(key, out / name, content_type=content_type(key), move=True))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


def outputs(out: Path) -> list[tuple[str, int]]:
    """Return names and sizes: media first, then rendition playlists and manifests, then the master."""
    files = [path for path in out.rglob("*") if is_plain(path)]
    files.sort(key=lambda p: (_rank(p.relative_to(out).as_posix()), str(p)))
    return [(path.relative_to(out).as_posix(), path.stat().st_size) for path in files]


def is_plain(path: Path) -> bool:
    """Say whether this is a file of its own: a link could lead out of the folder."""
    return path.is_file() and not path.is_symlink()


def _is_caption(video_id: str, name: str) -> bool:
    return layout.is_caption(layout.prefix(video_id) + name)


def _rank(name: str) -> int:
    """Return when a file may be stored: 0 media, 1 what names media, 2 what names playlists."""
    if name.startswith("hls/master"):
        return 2
    return 1 if name.endswith((".m3u8", ".mpd", ".vtt")) else 0


def _batches(files: list[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """Cut into groups stored together; a playlist never shares a group with media."""
    batches: list[list[tuple[str, int]]] = []
    for name, size in files:
        if not batches or _rank(name) != _rank(batches[-1][-1][0]) or len(batches[-1]) >= PARALLEL_PUTS:
            batches.append([])
        batches[-1].append((name, size))
    return batches
