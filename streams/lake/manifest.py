"""Which files are the lake and which records they hold, committed by one rename (Y10).

A file that no manifest names is not part of the lake: a crash before the commit leaves such files, and the
next run removes them and writes their records again. So every record is there once.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from streams.lake.columns import SCHEMA_VERSION

MANIFEST = "manifest.json"
TABLES = "tables"
UNFINISHED = ".new-"


class FilePart(msgspec.Struct, frozen=True):
    """One file of facts: path below the lake, rows, bytes, and the columns' version."""

    path: str
    rows: int
    size_bytes: int
    schema_version: int = SCHEMA_VERSION


class Retired(msgspec.Struct, frozen=True):
    """A file that was merged into another at ``at``; queries that began before may still read it."""

    path: str
    at: float


class Facts(msgspec.Struct):
    """One dataset of facts.

    Attributes:
        offsets: by partition of its topic, the next offset to read.
        files: its files.
        as_of: until when it holds everything.
        skipped: records that could not be rows.
        lost: records that the log no longer had when they were due.
    """

    offsets: dict[int, int] = {}
    files: list[FilePart] = []
    as_of: float = 0.0
    skipped: int = 0
    lost: int = 0


class Manifest(msgspec.Struct):
    """The lake as of one commit. ``log_identity`` names the log that the offsets are of."""

    version: int = 0
    log_identity: str = ""
    facts: dict[str, Facts] = {}
    retired: list[Retired] = []


class Snapshot(msgspec.Struct, frozen=True):
    """One consistent snapshot of a table: every partition as of one moment.

    Attributes:
        name: folder of the snapshot, by time.
        offsets: by changelog partition, the next offset not contained.
        as_of: the moment, seconds since the epoch.
    """

    table: str
    name: str
    as_of: float
    offsets: dict[int, int]
    rows: int
    skipped: int
    files: list[str]
    log_identity: str = ""
    schema_version: int = SCHEMA_VERSION


def load(lake: Path) -> Manifest:
    """Return the committed manifest, an empty one when there is none yet."""
    try:
        return msgspec.json.decode((lake / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()


def commit(lake: Path, manifest: Manifest) -> None:
    """Make a manifest the lake's: durable and visible at once."""
    manifest.version += 1
    write_synced(lake / MANIFEST, msgspec.json.encode(manifest))


def write_synced(path: Path, data: bytes) -> None:
    """Replace a file's content in one step that survives a power cut."""
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(lake: Path) -> Iterator[bool]:
    """Hold the lake's lock for writing; yields False when another process has it."""
    lake.mkdir(parents=True, exist_ok=True)
    with (lake / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def snapshots(lake: Path, table: str) -> list[Snapshot]:
    """Return the finished snapshots of a table, oldest first."""
    return [
        msgspec.json.decode(path.read_bytes(), type=Snapshot)
        for path in sorted((lake / TABLES / table).glob(f"*/{MANIFEST}"))
        if not path.parent.name.startswith(UNFINISHED)
    ]


def remove_orphans(lake: Path, manifest: Manifest) -> int:
    """Remove what a crash left behind: files that no commit named. Only under the lock."""
    known = {file.path for facts in manifest.facts.values() for file in facts.files}
    known |= {file.path for file in manifest.retired}
    removed = 0
    for name in manifest.facts:
        for path in (lake / name).rglob("*.parquet*"):
            if str(path.relative_to(lake)) not in known:
                path.unlink()
                removed += 1
    for path in (lake / TABLES).glob(f"*/{UNFINISHED}*"):
        shutil.rmtree(path)
        removed += 1
    return removed


def remove_retired(lake: Path, manifest: Manifest, before: float) -> bool:
    """Remove merged files that no query reads any more; the next commit forgets them."""
    due = {item.path for item in manifest.retired if item.at < before}
    for path in due:
        (lake / path).unlink(missing_ok=True)
    manifest.retired = [item for item in manifest.retired if item.path not in due]
    return bool(due)
