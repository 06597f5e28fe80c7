"""Keeping the lake tidy: small files merged, old ones gone (F24). Part of a sink's run, under its lock."""

import shutil
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streams.lake import manifest as book
from streams.lake import parquet
from streams.lake.columns import SNAPSHOTS, dataset
from streams.lake.manifest import Facts, FilePart, Manifest, Retired

MANY_FILES = 8
LARGE_BYTES = 64 * 1024 * 1024
"""Files of this size are left as they are."""
CLOSED_SECONDS = 2 * 3600
"""An hour that ended this long ago is worth merging with fewer files."""
GRACE_SECONDS = 600.0
"""Longer than any query: files that a merge replaced stay this long."""
MERGES = 200
"""Merges in one run at most: the rest waits for the next."""
SNAPSHOTS_KEPT = 4


def tidy(lake: Path, manifest: Manifest, now: float, retention_days: float) -> int:
    """Merge, retire and remove; returns how many files were merged away."""
    merged = 0
    changed = book.remove_retired(lake, manifest, now - GRACE_SECONDS)
    for name, facts in manifest.facts.items():
        changed |= _retire(manifest, facts, now, retention_days)
        for folder, parts in _small(facts).items():
            if merged < MERGES and _worth_it(folder, parts, now):
                _merge(lake, manifest, name, parts, now)
                merged += len(parts)
    if changed:
        book.commit(lake, manifest)
    for table in SNAPSHOTS:
        _drop_snapshots(lake, table.name, now)
    return merged


def _small(facts: Facts) -> dict[str, list[FilePart]]:
    """Return the files that may be merged, by folder."""
    folders: dict[str, list[FilePart]] = defaultdict(list)
    for part in facts.files:
        if part.size_bytes < LARGE_BYTES:
            folders[str(Path(part.path).parent)].append(part)
    return folders


def _worth_it(folder: str, parts: list[FilePart], now: float) -> bool:
    """Whether a folder's files should become one: many, or a few of a closed hour.

    A few late rows beside a large file do not rewrite it each time: they wait until they are a quarter of it.
    """
    if len(parts) >= MANY_FILES:
        return True
    sizes = [part.rows for part in parts]
    closed = _hour_of(folder).timestamp() + 3600 + CLOSED_SECONDS < now
    return closed and len(parts) > 1 and (sum(sizes) - max(sizes)) * 4 >= max(sizes)


def _hour_of(folder: str) -> datetime:
    """Return the hour that a folder stands for.

    >>> _hour_of("events/month=2025-11/date=2025-11-24/hour=16").hour
    16
    """
    date, hour = folder.rsplit("/", 2)[-2:]
    return datetime.strptime(date + hour, "date=%Y-%m-%dhour=%H").replace(tzinfo=UTC)


def _merge(lake: Path, manifest: Manifest, name: str, parts: list[FilePart], now: float) -> None:
    """Write one file in place of several and commit it; the old ones are removed after the grace."""
    kind = dataset(name)
    path = Path(parts[0].path).parent / f"{manifest.version + 1:010d}-merged.parquet"
    rows = parquet.write(lake / path, kind, parquet.read(kind, (lake / part.path for part in parts)))
    book.sync_folder((lake / path).parent)
    facts, gone = manifest.facts[name], {part.path for part in parts}
    facts.files = [part for part in facts.files if part.path not in gone]
    facts.files.append(FilePart(str(path), rows, (lake / path).stat().st_size))
    manifest.retired += [Retired(old, now) for old in sorted(gone)]
    book.commit(lake, manifest)


def _retire(manifest: Manifest, facts: Facts, now: float, retention_days: float) -> bool:
    """Take files out of the lake whose whole month is older than the retention."""
    oldest = datetime.fromtimestamp(now, UTC) - timedelta(days=retention_days)
    month = f"month={oldest:%Y-%m}"
    old = [part for part in facts.files if Path(part.path).parts[1] < month]
    if old:
        facts.files = [part for part in facts.files if part not in old]
        manifest.retired += [Retired(part.path, now) for part in old]
    return bool(old)


def _drop_snapshots(lake: Path, table: str, now: float) -> None:
    """Remove all but the newest snapshots of a table, once no query reads them."""
    for old in book.snapshots(lake, table)[:-SNAPSHOTS_KEPT]:
        if old.as_of < now - GRACE_SECONDS:
            folder = lake / book.TABLES / table / old.name
            doomed = folder.with_name(book.UNFINISHED + old.name)
            folder.rename(doomed)  # out of sight at once, whatever happens to the removal
            shutil.rmtree(doomed)
