"""One run of the sink, in a child process: what is new on the log becomes files of the lake (Y10, F24).

The log is read beside the server. Everything is as of the moment it was opened: one cut through all
partitions; on the embedded log an append to several partitions is one transaction. Records that a commit
of the manifest covers are in its files once; the next run reads on from its offsets.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from media.workers.protocol import Refused, Request, serve
from streams.lake import manifest as book
from streams.lake import parquet, upkeep
from streams.lake.columns import FACTS, SNAPSHOTS, Dataset
from streams.lake.manifest import Facts, FilePart, Manifest, Snapshot
from streams.lake.rows import FACT_ROWS, Pseudonym, Row, Unfit, pseudonyms, table_rows
from streams.lake.source import Source, open_source
from streams.log.errors import LogError
from streams.log.records import Chunk

READ_RECORDS = 500
"""Records read at once; each may be an envelope of 100 events."""
COMMIT_ROWS = 50_000
"""Rows held in memory between two commits, about 50 MB."""
HOUR_SECONDS = 3600


@dataclass
class Plan:
    """What a run works on; ``changelogs`` is the changelog topic of each table."""

    lake: Path
    log: Source
    name: Pseudonym
    changelogs: Mapping[str, str]
    snapshot_seconds: float
    retention_days: float
    now: float
    done: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def run(plan: Plan) -> Mapping[str, int]:
    """Bring the lake up to the log; returns counts of rows, files, snapshots, skipped, merged.

    Raises:
        Refused: LAKE_AHEAD, the lake holds records that this log does not have (it was set back).
    """
    manifest = book.load(plan.lake)
    _follow_log(plan, manifest)
    for dataset in FACTS:
        (plan.lake / dataset.name).mkdir(parents=True, exist_ok=True)
        manifest.facts.setdefault(dataset.name, Facts())
    book.remove_orphans(plan.lake, manifest)
    for dataset in FACTS:
        _append_facts(plan, manifest, dataset)
    for dataset in SNAPSHOTS:
        _snapshot(plan, dataset)
    plan.done["merged"] += upkeep.tidy(plan.lake, manifest, plan.now, plan.retention_days)
    return dict(plan.done)


def _follow_log(plan: Plan, manifest: Manifest) -> None:
    """Check that the offsets are of this log; a new log starts at 0 and keeps the files of the old one."""
    log = plan.log
    if manifest.log_identity != log.identity:
        for facts in manifest.facts.values():
            facts.offsets = {}
        manifest.log_identity = log.identity
    for dataset in FACTS:
        for partition, offset in manifest.facts.get(dataset.name, Facts()).offsets.items():
            if offset > log.highwater(dataset.source, partition):
                raise Refused("LAKE_AHEAD", f"the lake is ahead of {dataset.source}: was the log restored?")


def _append_facts(plan: Plan, manifest: Manifest, dataset: Dataset) -> None:
    """Write what one topic has beyond the manifest, a commit at a time."""
    facts, log = manifest.facts[dataset.name], plan.log
    hours: dict[int, list[Row]] = defaultdict(list)
    held = 0
    for partition in range(log.partitions(dataset.source) or 0):
        offset = facts.offsets.get(partition, 0)
        start = log.earliest(dataset.source, partition)
        facts.lost += max(0, start - offset) if partition in facts.offsets else 0
        for chunk in _chunks(log, (dataset.source, partition), max(offset, start)):
            held += _fold(plan, facts, dataset, chunk, hours)
            facts.offsets[partition] = chunk.offsets[-1] + 1
            if held >= COMMIT_ROWS:
                _commit(plan, manifest, dataset, hours)
                held = 0
        facts.offsets[partition] = max(log.highwater(dataset.source, partition), offset)
    facts.as_of = plan.now
    _commit(plan, manifest, dataset, hours)


def _chunks(log: Source, place: tuple[str, int], offset: int) -> Iterator[Chunk]:
    """Yield the records up to where the partition ended when the log was opened."""
    end = log.highwater(*place)
    while offset < end:
        chunk = log.read(place, offset, READ_RECORDS)
        keep = sum(1 for at in chunk.offsets if at < end)
        if not keep:
            return
        yield chunk if keep == len(chunk) else chunk.cut(0, keep)
        offset = chunk.offsets[keep - 1] + 1


def _fold(plan: Plan, facts: Facts, dataset: Dataset, chunk: Chunk, hours: dict[int, list[Row]]) -> int:
    """Add a chunk's rows to their hours; what is no record of this topic is in its dead letters already."""
    kind, make = FACT_ROWS[dataset.name]
    decode = msgspec.json.Decoder(kind).decode
    rows = 0
    for record in chunk:
        place = (chunk.partition, record.offset, record.timestamp)
        try:
            fact = decode(record.value or b"")
            made = [
                row for part in (fact, *getattr(fact, "more", ())) for row in make(part, place, plan.name)
            ]
        except (msgspec.DecodeError, Unfit, OverflowError, LookupError, TypeError, ValueError):
            facts.skipped += 1
            plan.done["skipped"] += 1
            continue
        for at, row in made:
            hours[int(at // HOUR_SECONDS)].append(row)
        rows += len(made)
    return rows


def _commit(plan: Plan, manifest: Manifest, dataset: Dataset, hours: dict[int, list[Row]]) -> None:
    """Write the rows held, one file an hour, then commit them with the offsets."""
    facts = manifest.facts[dataset.name]
    for hour, rows in sorted(hours.items()):
        path = Path(dataset.name, folder_of(hour), f"{manifest.version + 1:010d}.parquet")
        try:
            batches = [parquet.batch(dataset, rows)]
        except (pa.ArrowInvalid, OverflowError):  # a number beyond 64 bits: find out which
            batches = list(_one_by_one(plan, facts, dataset, rows))
        count = parquet.write(plan.lake / path, dataset, batches)
        book.sync_folder((plan.lake / path).parent)
        facts.files.append(FilePart(str(path), count, (plan.lake / path).stat().st_size))
        plan.done["rows"] += count
        plan.done["files"] += 1
    hours.clear()
    book.commit(plan.lake, manifest)


def _one_by_one(plan: Plan, facts: Facts, dataset: Dataset, rows: list[Row]) -> Iterator[pa.RecordBatch]:
    for row in rows:
        try:
            yield parquet.batch(dataset, [row])
        except (pa.ArrowInvalid, OverflowError):
            facts.skipped += 1
            plan.done["skipped"] += 1


def folder_of(hour: int) -> str:
    """Return the partition folder of an hour since the epoch.

    >>> folder_of(490_000)
    'month=2025-11/date=2025-11-24/hour=16'
    """
    return datetime.fromtimestamp(hour * HOUR_SECONDS, UTC).strftime("month=%Y-%m/date=%Y-%m-%d/hour=%H")


def _snapshot(plan: Plan, dataset: Dataset) -> None:
    """Write a snapshot of a table when it changed and the newest one is old enough."""
    topic, log = plan.changelogs[dataset.source], plan.log
    offsets = {p: log.highwater(topic, p) for p in range(log.partitions(topic) or 0)}
    known = book.snapshots(plan.lake, dataset.name)
    if not offsets or (
        known
        and known[-1].log_identity == log.identity
        and (known[-1].offsets == offsets or plan.now - known[-1].as_of < plan.snapshot_seconds)
    ):
        return
    stamp = datetime.fromtimestamp(plan.now, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    final = plan.lake / book.TABLES / dataset.name / stamp
    draft = final.with_name(book.UNFINISHED + stamp)
    draft.mkdir(parents=True)
    rows, files, skipped = 0, [], [0]
    for partition in offsets:
        name = f"part-{partition:03d}.parquet"
        count = parquet.write(
            draft / name, dataset, _table_batches(plan, dataset, (topic, partition), skipped)
        )
        rows += count
        files.append(name)
    made = Snapshot(
        table=dataset.name, name=stamp, as_of=plan.now, offsets=offsets, rows=rows, skipped=skipped[0],
        files=files, log_identity=log.identity,
    )  # fmt: skip
    book.write_synced(draft / book.MANIFEST, msgspec.json.encode(made))
    draft.rename(final)
    book.sync_folder(final.parent)
    plan.done["snapshots"] += 1


def _table_batches(
    plan: Plan, dataset: Dataset, place: tuple[str, int], skipped: list[int]
) -> Iterator[pa.RecordBatch]:
    """Yield a partition's rows: one pass finds the newest offset of each key, one reads those values."""
    kind, make = table_rows(dataset.name)
    decode = msgspec.json.Decoder(kind).decode
    newest: dict[bytes | None, int] = {}
    for chunk in _chunks(plan.log, place, 0):
        newest.update(zip(chunk.keys, chunk.offsets, strict=True))
    held: list[Row] = []
    for chunk in _chunks(plan.log, place, 0):
        for record in chunk:
            if record.value is None or record.key is None or newest[record.key] != record.offset:
                continue
            try:
                held += make(record.key.decode("utf-8", "replace"), decode(record.value), plan.name)
            except (msgspec.DecodeError, Unfit, OverflowError):
                skipped[0] += 1
        while len(held) >= parquet.BATCH_ROWS:
            yield parquet.batch(dataset, held[: parquet.BATCH_ROWS])
            del held[: parquet.BATCH_ROWS]
    if held:
        yield parquet.batch(dataset, held)


def handle(request: Request) -> Mapping[str, Any]:
    """Do one run under the lake's lock; ``busy`` when another one is under way."""
    lake = Path(request["lake"])
    with book.locked(lake) as mine:
        if not mine:
            return {"busy": True}
        now = time.time()  # before the log is opened: it holds everything up to here
        try:
            log = open_source(request.get("broker", ""), request["log"])
        except LogError as error:
            raise Refused("LOG_UNREACHABLE", str(error)) from None
        try:
            plan = Plan(
                lake=lake,
                log=log,
                name=pseudonyms(bytes.fromhex(request["key"])),
                changelogs=request["changelogs"],
                snapshot_seconds=request["snapshot_seconds"],
                retention_days=request["retention_days"],
                now=now,
            )
            return {"busy": False, **run(plan)}
        finally:
            log.close()


if __name__ == "__main__":
    serve(handle)
