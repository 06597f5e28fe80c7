"""Stored rows of a table as Arrow, in a child process: the columns are those of the lake (F16)."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from media.workers.protocol import Request, emit, serve
from streams.lake import parquet
from streams.lake.columns import Dataset, dataset
from streams.lake.rows import Row, Unfit, pseudonyms, table_rows

PART_BYTES = 384 * 1024


def _batches(kind: Dataset, lines: Path, key: bytes) -> Iterator[pa.RecordBatch]:
    value_type, make = table_rows(kind.name)
    name, held = pseudonyms(key), list[Row]()
    with lines.open("rb") as file:
        for line in file:
            row_key, value = json.loads(line)
            try:
                held += make(row_key, msgspec.json.decode(json.dumps(value), type=value_type), name)
            except Unfit:
                continue
            if len(held) >= parquet.BATCH_ROWS:
                yield parquet.batch(kind, held)
                held = []
    yield parquet.batch(kind, held)


def handle(request: Request) -> Mapping[str, Any]:
    """Convert the JSON lines ``[key, value]`` of a file; the stream goes out in messages."""
    kind = dataset(request["table"])
    batches = _batches(kind, Path(request["lines"]), bytes.fromhex(request["key"]))
    body = parquet.stream(kind, batches)
    for start in range(0, len(body), PART_BYTES):
        emit("body", data=base64.b64encode(body[start : start + PART_BYTES]).decode())
    return {}


if __name__ == "__main__":
    serve(handle)
