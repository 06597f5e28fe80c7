"""Parquet files of the lake. Only child processes import this: pyarrow is too large for a server."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from streams.lake.columns import Dataset, Kind
from streams.lake.rows import Row

_TYPES: dict[Kind, pa.DataType] = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "VARCHAR[]": pa.list_(pa.string()),
    "FLOAT[]": pa.list_(pa.float32()),
}
READ_ONLY = 0o444
BATCH_ROWS = 4096
"""Rows in memory while files are merged or snapshots written: with embeddings about 10 MB."""


def schema(dataset: Dataset) -> pa.Schema:
    """Return the Arrow schema of a dataset, with the columns' help as metadata."""
    return pa.schema(
        [pa.field(c.name, _TYPES[c.type], metadata={"help": c.help}) for c in dataset.columns],
        metadata={"dataset": dataset.name, "help": dataset.help},
    )


def batch(dataset: Dataset, rows: Sequence[Row]) -> pa.RecordBatch:
    """Return rows as one Arrow batch."""
    shape = schema(dataset)
    columns = zip(*rows, strict=True) if rows else [()] * len(shape)
    return pa.record_batch(
        [pa.array(list(column), field.type) for column, field in zip(columns, shape, strict=True)], shape
    )


def write(path: Path, dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a file that is whole when it has its name; returns its rows. It is synced and read-only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    rows = 0
    with draft.open("wb") as file:
        with pq.ParquetWriter(file, schema(dataset), compression="zstd") as writer:
            for part in batches:
                writer.write_batch(part)
                rows += part.num_rows
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(READ_ONLY)
    draft.replace(path)
    return rows


def read(dataset: Dataset, paths: Iterable[Path]) -> Iterator[pa.RecordBatch]:
    """Yield the batches of files, in the newest schema: columns that old files lack are NULL."""
    shape = schema(dataset)
    for path in paths:
        with pq.ParquetFile(path) as file:
            for part in file.iter_batches(BATCH_ROWS):
                columns = [
                    part.column(field.name)
                    if field.name in part.schema.names
                    else pa.nulls(part.num_rows, field.type)
                    for field in shape
                ]
                yield pa.record_batch(columns, shape)


def stream(dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> bytes:
    """Return batches as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema(dataset)) as writer:
        for part in batches:
            writer.write_batch(part)
    return bytes(sink.getvalue())
