"""One query, in a child process: DuckDB over the committed files of the lake, and nothing else (Y10).

Walls, each enough for what it is against: the statement is one SELECT (``select.py``); DuckDB may open the
manifest's files only, has no extensions, and its configuration is locked; the process cannot write any file
or use the network (``walls.py``, RLIMIT_FSIZE 0); memory, processor and wall time are limited.
"""

import base64
import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from media.workers.protocol import Refused, Request, emit, serve
from streams.lake import manifest as book
from streams.lake.columns import DATASETS, SCHEMA_VERSION, Dataset
from streams.lake.select import NotSelect, check
from streams.lake.walls import forbid_changes_and_network

BATCH_ROWS = 1000
PART_BYTES = 384 * 1024
"""Bytes of a body in one message: base64 of it stays below the protocol's line."""
CONFIGURATION: dict[str, str | bool | int | float | list[str]] = {
    # serving keeps a processor of its own, where there are several
    "threads": str(max(1, (os.cpu_count() or 1) - 1)),
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
}


def handle(request: Request) -> Mapping[str, Any]:
    """Answer ``{sql, form, limit, max_bytes, memory_mb, lake}``: the body in messages, then what it holds."""
    try:
        return _handle(request)
    except NotSelect as error:
        raise Refused("INVALID_SQL", str(error)) from None
    except (duckdb.OutOfMemoryException, MemoryError):
        raise Refused("QUERY_TOO_LARGE", "", {"limit": "memory"}) from None
    except duckdb.Error as error:
        raise Refused("INVALID_SQL", str(error)[:1000]) from None


def _handle(request: Request) -> Mapping[str, Any]:
    connection = duckdb.connect(":memory:", config=CONFIGURATION)
    connection.execute("SET TimeZone='UTC'")
    connection.execute(f"SET memory_limit='{int(request['memory_mb'])}MB'")
    connection.execute("SET temp_directory=''")
    _open_lake(connection, Path(request["lake"]))
    forbid_changes_and_network()
    ((parsed,),) = connection.execute("SELECT json_serialize_sql(?)", [request["sql"]]).fetchall()
    check(json.loads(parsed))
    asked = connection.sql(request["sql"]).limit(request["limit"] + 1)
    found = connection.execute(asked.sql_query())
    body, rows, more = BODIES[request["form"]](found, request["limit"], request["max_bytes"])
    for start in range(0, len(body), PART_BYTES):
        emit("body", data=base64.b64encode(body[start : start + PART_BYTES]).decode())
    return {"rows": rows, "truncated": more}


def _open_lake(connection: "duckdb.DuckDBPyConnection", lake: Path) -> None:
    """Make a view of every dataset, describe them, and lock the door."""
    files, about = _files(lake)
    every = [path for paths in files.values() for path in paths]
    connection.execute(f"SET allowed_paths={_list(every)}")
    connection.execute("SET enable_external_access=false")
    for kind in DATASETS:
        connection.execute(f'CREATE VIEW "{kind.name}" AS {_view(kind, files[kind.name])}')
    connection.execute(
        "CREATE TABLE lake_datasets"
        " (name VARCHAR, kind VARCHAR, help VARCHAR, rows BIGINT, as_of TIMESTAMPTZ)"
    )
    connection.executemany("INSERT INTO lake_datasets VALUES (?, ?, ?, ?, ?)", about)
    connection.execute(
        'CREATE TABLE lake_columns (dataset VARCHAR, "column" VARCHAR, type VARCHAR, help VARCHAR)'
    )
    connection.executemany(
        "INSERT INTO lake_columns VALUES (?, ?, ?, ?)",
        [[kind.name, c.name, c.type, c.help] for kind in DATASETS for c in kind.columns],
    )
    connection.execute("SET lock_configuration=true")


def _files(lake: Path) -> tuple[dict[str, list[str]], list[list[Any]]]:
    """Return the committed files of every dataset, and the rows of ``lake_datasets``."""
    manifest = book.load(lake)
    files: dict[str, list[str]] = {}
    about: list[list[Any]] = []
    for kind in DATASETS:
        if kind.facts:
            facts = manifest.facts.get(kind.name, book.Facts())
            paths = [str(lake / part.path) for part in facts.files]
            rows, as_of = sum(part.rows for part in facts.files), facts.as_of
        else:
            found = book.snapshots(lake, kind.name)
            newest = found[-1] if found else None
            folder = lake / book.TABLES / kind.name / (newest.name if newest else "")
            paths = [str(folder / name) for name in newest.files] if newest else []
            rows, as_of = (newest.rows, newest.as_of) if newest else (0, 0.0)
        files[kind.name] = paths
        moment = datetime.fromtimestamp(as_of, UTC) if as_of else None
        about.append([kind.name, "facts" if kind.facts else "snapshot", kind.help, rows, moment])
    return files, about


def _view(kind: Dataset, paths: Sequence[str]) -> str:
    """Return the SELECT of a dataset; without files it has the columns and no rows."""
    names = ", ".join(f'"{c.name}"' for c in kind.columns)
    parts = ', month, "date", "hour"' if kind.facts else ""
    if not paths:
        empty = ", ".join(f'NULL::{c.type} AS "{c.name}"' for c in kind.columns)
        hours = ', NULL::VARCHAR AS month, NULL::DATE AS "date", NULL::BIGINT AS "hour"' if kind.facts else ""
        return f"SELECT {empty}{hours} WHERE false"
    options = "hive_partitioning=false"
    if kind.facts:
        options = "hive_partitioning=true, hive_types={'month': VARCHAR, 'date': DATE, 'hour': BIGINT}"
    if SCHEMA_VERSION > 1:  # old files lack the columns added since
        options += ", union_by_name=true"
    return f"SELECT {names}{parts} FROM read_parquet({_list(paths)}, {options})"  # noqa: S608 - quoted


def _list(paths: Sequence[str]) -> str:
    return "[" + ", ".join("'" + path.replace("'", "''") + "'" for path in paths) + "]"


def _as_json(found: Any, limit: int, max_bytes: int) -> tuple[bytes, int, bool]:
    """Return ``columns, types, rows`` as an open JSON object, the number of rows, whether more exist."""
    rows: list[str] = []
    size, more = 0, False
    while not more and (batch := found.fetchmany(BATCH_ROWS)):
        for row in batch:
            text = json.dumps([_plain(value) for value in row], allow_nan=False, separators=(",", ":"))
            size += len(text)
            more = len(rows) >= limit or size > max_bytes
            if more:
                break
            rows.append(text)
    head = json.dumps({"columns": _names(found), "types": [str(column[1]) for column in found.description]})
    return f'{head[:-1]}, "rows": [{",".join(rows)}]'.encode(), len(rows), more


def _as_csv(found: Any, limit: int, max_bytes: int) -> tuple[bytes, int, bool]:
    """Return CSV (RFC 4180) with a header; lists and structures are JSON in their cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_names(found))
    rows, more = 0, False
    while not more and (batch := found.fetchmany(BATCH_ROWS)):
        for row in batch:
            more = rows >= limit or text.tell() > max_bytes
            if more:
                break
            writer.writerow([_cell(_plain(value)) for value in row])
            rows += 1
    return text.getvalue().encode(), rows, more


def _as_arrow(found: Any, limit: int, max_bytes: int) -> tuple[bytes, int, bool]:
    """Return an Arrow IPC stream."""
    import pyarrow as pa  # only this format needs it

    reader = found.to_arrow_reader(BATCH_ROWS)
    sink, rows, more = pa.BufferOutputStream(), 0, False
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for part in reader:
            more = rows + part.num_rows > limit or sink.tell() > max_bytes
            kept = part.slice(0, limit - rows) if sink.tell() <= max_bytes else part.slice(0, 0)
            writer.write_batch(kept)
            rows += kept.num_rows
            if more:
                break
    return bytes(sink.getvalue()), rows, more


BODIES = {"json": _as_json, "csv": _as_csv, "arrow": _as_arrow}


def _names(found: Any) -> list[str]:
    return [str(column[0]) for column in found.description]


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _plain(value: Any) -> Any:
    """Return a value of DuckDB as JSON data: times RFC 3339, durations seconds, bytes base64, no NaN.

    >>> _plain([datetime(2026, 1, 1, tzinfo=UTC), float("nan"), Decimal("1.5")])
    ['2026-01-01T00:00:00Z', None, 1.5]
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else str(value)
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        text = (value.astimezone(UTC) if value.tzinfo else value).isoformat()
        return text.replace("+00:00", "Z")
    if isinstance(value, date | clock_time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


if __name__ == "__main__":
    serve(handle)
