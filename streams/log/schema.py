"""The SQLite file of the log: pragmas, tables, checks at open.

One row of ``batch`` holds many records of one partition. Its id is the partition's number in the high
bits and the last offset in the low 40, so a partition is one contiguous range of the primary key and the
row that holds an offset is the first one at or after it: no second index, no sort.
"""

import contextlib
import logging
import sqlite3
import uuid
from pathlib import Path
from typing import Final, Literal

import msgspec

from streams.log.errors import LogCorrupt, LogError, PartitionMismatch
from streams.log.topics import TopicPolicy
from streams.log.wal import commit_frames, replayed_frames

logger = logging.getLogger(__name__)

Fsync = Literal["commit", "os"]

OFFSET_BITS: Final = 40
OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1
FORMAT: Final = 1
#: Files up to this size are checked whole at open (about 0.1 s); larger ones as they are read.
QUICK_CHECK_BYTES: Final = 64 << 20

_LEFT: Final = (
    "the file was left as it is: restore it from a backup, or move it away to begin with an empty log"
)

_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE topic (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL, policy BLOB NOT NULL
);
CREATE TABLE partition (
    id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, number INTEGER NOT NULL,
    start INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL DEFAULT 0, clean INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic_id, number)
);
CREATE TABLE batch (
    id INTEGER PRIMARY KEY, base INTEGER NOT NULL, records INTEGER NOT NULL,
    newest REAL NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE committed (
    groop TEXT NOT NULL, partition_id INTEGER NOT NULL, position INTEGER NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (groop, partition_id)
) WITHOUT ROWID;
"""


def row_id(partition_id: int, offset: int) -> int:
    """Return the id of the row whose last record has this offset."""
    return partition_id << OFFSET_BITS | offset


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection that any one thread at a time may use, without implicit transactions."""
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=30.0,
        cached_statements=64,
    )
    connection.execute("PRAGMA cache_size=-8192")  # KiB; bounds what one connection keeps in memory
    return connection


def prepare(path: Path, fsync: Fsync) -> sqlite3.Connection:
    """Open the file for writing, creating it when absent, and check it.

    ``fsync="commit"`` is synchronous=FULL: SQLite fsyncs the WAL in every COMMIT, so what was acknowledged
    survives power loss. ``"os"`` is synchronous=NORMAL: the WAL reaches the kernel in every COMMIT, so what
    was acknowledged survives ``kill -9`` of the process, and only a power cut can take the newest away.

    Raises:
        LogCorrupt: this is not a log, or it is damaged.
        LogError: it was written by a newer version.
    """
    try:
        if path.is_file() and path.stat().st_size:
            _check_wal(path, fsync)
            # read-only, so that a damaged file is left as it is
            with contextlib.closing(connect(path, read_only=True)) as reading:
                if _has_tables(reading):
                    _check(reading, path)
        connection = connect(path)
        connection.execute("PRAGMA page_size=8192")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if fsync == 'commit' else 'NORMAL'}")
        connection.execute(f"PRAGMA journal_size_limit={64 << 20}")
        if not _has_tables(connection):
            _create(connection)
        if _written_with(connection) != fsync:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('fsync', ?)", (fsync,))
    except sqlite3.DatabaseError as exc:
        raise fault(path, exc) from exc
    return connection


def fault(path: Path, error: sqlite3.DatabaseError) -> LogError:
    """Tell damage from what the operator can mend, such as rights or a full disk."""
    if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
        return LogError(f"{path}: {error}")
    return LogCorrupt(f"{path}: {error}; {_LEFT}")


def _check_wal(path: Path, fsync: Fsync) -> None:
    commits = commit_frames(path)
    if not commits:
        return
    # a connection that can only read neither checkpoints nor removes the WAL when it closes
    with contextlib.closing(connect(path, read_only=True)) as reading:
        written = _written_with(reading)
        accepted = replayed_frames(path)
    lost = sum(number > accepted for number in commits)
    if lost > 1 and fsync == written == "commit":
        raise LogCorrupt(
            f"{path}-wal: {lost} acknowledged transactions are unreadable; {_LEFT}"
            ' (opening it once with fsync="os" accepts their loss)'
        )
    if lost:
        logger.warning("%s-wal: %d transactions at its end were torn and are not in the log", path, lost)


def _written_with(reading: sqlite3.Connection) -> str:
    """Return the fsync policy of whoever wrote the file last; without fsync a power cut may tear anything."""
    if not reading.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return "commit"
    found = reading.execute("SELECT value FROM meta WHERE name = 'fsync'").fetchone()
    return str(found[0]) if found else "commit"


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def _create(connection: sqlite3.Connection) -> None:
    connection.executescript("BEGIN IMMEDIATE;" + _TABLES)
    connection.execute("INSERT INTO meta VALUES ('format', ?)", (str(FORMAT),))
    connection.execute("INSERT INTO meta VALUES ('identity', ?)", (uuid.uuid4().hex,))
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    if found is None or not found[0].isdigit():
        raise LogCorrupt(f"{path}: not a message log")
    if int(found[0]) > FORMAT:
        raise LogError(f"{path}: written in format {found[0]}, this version reads up to {FORMAT}")
    if path.stat().st_size <= QUICK_CHECK_BYTES:
        result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise LogCorrupt(f"{path}: {result}; {_LEFT}")
    for identity, start, end in connection.execute("SELECT id, start, next FROM partition"):
        low, high = row_id(identity, 0), row_id(identity, OFFSET_MASK)
        last = connection.execute(
            "SELECT max(id) FROM batch WHERE id BETWEEN ? AND ?", (low, high)
        ).fetchone()[0]
        # the newest record of a partition is never compacted, so its end is known twice
        newest = start if last is None else (last & OFFSET_MASK) + 1
        if newest != end:
            raise LogCorrupt(
                f"{path}: partition {identity} ends at {newest}, but {end} was recorded; {_LEFT}"
            )


def declare_topic(
    writing: sqlite3.Connection, topic: str, partitions: int, policy: TopicPolicy
) -> tuple[int, dict[int, int]]:
    """Insert a topic with its partitions, or give an existing one this policy, in the open transaction.

    Returns the topic's id, and the id of each partition by its number.

    Raises:
        PartitionMismatch: it exists with another number of partitions.
    """
    body = msgspec.json.encode(policy)
    found = writing.execute("SELECT id, partitions FROM topic WHERE name = ?", (topic,)).fetchone()
    if found is not None and found[1] != partitions:
        raise PartitionMismatch(topic, found[1], partitions)
    if found is not None:
        key = int(found[0])
        writing.execute("UPDATE topic SET policy = ? WHERE id = ?", (body, key))
    else:
        values = (topic, partitions, body)
        writing.execute("INSERT INTO topic (name, partitions, policy) VALUES (?, ?, ?)", values)
        key = int(writing.execute("SELECT id FROM topic WHERE name = ?", (topic,)).fetchone()[0])
        rows = [(key, number) for number in range(partitions)]
        writing.executemany("INSERT INTO partition (topic_id, number) VALUES (?, ?)", rows)
    return key, dict(
        writing.execute("SELECT number, id FROM partition WHERE topic_id = ?", (key,)).fetchall()
    )
