"""Nearest vectors: exact while the catalogue is small, Annoy with an exact delta beyond.

Both answer the same question over the same ``VectorStore``, so nothing above knows which is in use
(D11-D14, D18; research/ranking.md 3 for the sizes).
"""

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from ranking.vectors import DIMENSIONS, Numbers, Vector, VectorStore, best

TREES: Final = 100
SEARCH_K: Final = 20_000  # recall@100 falls to 0.57 at Annoy's default for 100k rows
MIN_RECALL: Final = 0.9
MAX_DELTA_ROWS: Final = 5_000
MAX_DELTA_SHARE: Final = 0.05
BUILD_SECONDS: Final = 1_800.0
_SCRATCH: Final = "build-"
_REPOSITORY: Final = Path(__file__).resolve().parent.parent


class VectorIndex(Protocol):
    """What the catalogue asks of an index. The rows themselves are in the ``VectorStore``."""

    def changed(self, number: int) -> None:
        """Note that a row was set, replaced or dropped."""

    def search(self, query: Vector, count: int) -> tuple[Numbers, Vector]:
        """Return the nearest numbers and their cosines, best first, at most ``count``."""


class IndexRefused(Exception):
    """A built index failed its recall test or its build; the old one stays."""


class ExactIndex:
    """Every row, every time: 0.8 ms at 10,000 rows, and always current."""

    def __init__(self, vectors: VectorStore) -> None:
        """Search the given rows."""
        self._vectors = vectors

    def changed(self, number: int) -> None:
        """Do nothing: there is no copy to keep."""

    def search(self, query: Vector, count: int) -> tuple[Numbers, Vector]:
        """Return the nearest numbers and their cosines, best first."""
        similarities = self._vectors.similarities(query)
        return best(np.arange(len(similarities)), similarities, count)


@dataclass(frozen=True, slots=True)
class Built:
    """One loaded Annoy file: its positions are rows of ``numbers``, ascending."""

    annoy: Any
    numbers: Numbers
    recall: float
    built_at: float


class AnnoyIndex:
    """A built index plus an exact scan of the rows that changed since."""

    def __init__(self, vectors: VectorStore, folder: Path) -> None:
        """Keep index files in ``folder``, created when the first one is built."""
        self._vectors = vectors
        self._folder = folder
        self._built: Built | None = None
        self._delta: set[int] = set(vectors.numbers().tolist())
        self._changed_while_building: set[int] | None = None

    @property
    def recall(self) -> float | None:
        """Recall@100 of the served index on 50 of its own rows; None before the first build."""
        return self._built.recall if self._built else None

    @property
    def built_at(self) -> float | None:
        """When the served index was built, epoch seconds; None before the first build."""
        return self._built.built_at if self._built else None

    @property
    def delta_rows(self) -> int:
        """How many rows are searched exactly because the built index does not know them."""
        return len(self._delta)

    @property
    def stale(self) -> bool:
        """Tell whether a rebuild is due: none yet, or too much in the delta (D11, D12)."""
        return self._built is None or len(self._delta) > max(
            MAX_DELTA_ROWS, MAX_DELTA_SHARE * len(self._vectors)
        )

    def changed(self, number: int) -> None:
        """Search this row exactly from now on; what the built index holds of it is ignored."""
        self._delta.add(number)
        if self._changed_while_building is not None:
            self._changed_while_building.add(number)

    def search(self, query: Vector, count: int) -> tuple[Numbers, Vector]:
        """Return the nearest numbers and their cosines, best first."""
        if self._built is None:
            return ExactIndex(self._vectors).search(query, count)
        # Twice as many, because tombstones and replaced rows are dropped after the search.
        positions, distances = self._built.annoy.get_nns_by_vector(query, 2 * count, SEARCH_K, True)
        numbers = self._built.numbers[np.asarray(positions, np.int64)]
        similarities = (1.0 - np.square(np.asarray(distances, np.float32)) / 2.0).astype(np.float32)
        delta = np.fromiter(self._delta, np.int64, len(self._delta))
        fresh = ~np.isin(numbers, delta)
        live = delta[self._vectors.present(delta)]
        exact = self._vectors.rows(live) @ query
        return best(
            np.concatenate([numbers[fresh], live]), np.concatenate([similarities[fresh], exact]), count
        )

    async def rebuild(self, now: float) -> float:
        """Build in another process, test recall, swap; return the recall.

        Readers use the old index and the delta meanwhile, and never see a half-built file (D13).

        Raises:
            IndexRefused: The build failed, or recall was below 0.9; the old index stays.
        """
        if self._changed_while_building is not None:
            raise IndexRefused("a build is already running")
        self._changed_while_building = set()
        numbers = self._vectors.numbers()
        try:
            # A row that changes during the copy is in the delta afterwards.
            rows = await asyncio.to_thread(self._vectors.rows, numbers)
            await asyncio.to_thread(_tidy, self._folder)
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=_SCRATCH) as scratch:
                recall = await _build(rows, Path(scratch), self._folder / "videos.ann")
            annoy = await asyncio.to_thread(_load, self._folder / "videos.ann")
            self._built = Built(annoy, numbers, recall, now)
            self._delta = self._changed_while_building
            return recall
        finally:
            self._changed_while_building = None


async def _build(rows: Vector, scratch: Path, target: Path) -> float:
    source, output = scratch / "rows.npy", scratch / "videos.ann"
    await asyncio.to_thread(np.save, source, rows)
    answer = await _run_builder([str(source), str(output), str(TREES), str(SEARCH_K)])
    recall = float(answer["recall"])
    if recall < MIN_RECALL:
        raise IndexRefused(f"recall {recall:.3f} is below {MIN_RECALL}")
    # The old mapping stays valid until its last reader drops it.
    os.replace(output, target)
    return recall


async def _run_builder(arguments: Sequence[str]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ranking.workers.build_index",
        *arguments,
        cwd=_REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BUILD_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        raise IndexRefused(f"no index after {BUILD_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise IndexRefused(err.decode(errors="replace")[-500:])
    answer: dict[str, Any] = json.loads(out)
    return answer


def _tidy(folder: Path) -> None:
    """Make the folder, without what a killed server left of a build."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)


def _load(path: Path) -> Any:
    # Imported here: a server with a small catalogue never needs it.
    from annoy import AnnoyIndex as Annoy

    index = Annoy(DIMENSIONS, "angular")
    index.load(str(path))
    return index
