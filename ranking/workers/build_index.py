"""Child process: build an Annoy file and test its recall.

``python -m ranking.workers.build_index ROWS.npy OUT.ann TREES SEARCH_K`` prints ``{"recall": r}``.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from annoy import AnnoyIndex
from numpy.typing import NDArray

from ranking.workers.parent import die_with_parent

QUERIES = 50
NEIGHBOURS = 100
SEED = 20_240_101


def main(arguments: list[str]) -> None:
    """Build, save, test, print."""
    die_with_parent()
    source, target, trees, search_k = arguments
    os.nice(10)  # the server on the same machine comes first
    rows: NDArray[np.float32] = np.load(source, mmap_mode="r")
    index = build(rows, Path(target), int(trees))
    json.dump({"recall": recall(rows, index, int(search_k)), "rows": len(rows)}, sys.stdout)


def build(rows: NDArray[np.float32], target: Path, trees: int) -> AnnoyIndex:
    """Build an angular index over the rows, in their order, and save it."""
    index = AnnoyIndex(rows.shape[1], "angular")
    index.set_seed(SEED)
    for position, row in enumerate(rows):
        index.add_item(position, row.tolist())
    index.build(trees, n_jobs=1)
    index.save(str(target))
    return index


def recall(rows: NDArray[np.float32], index: AnnoyIndex, search_k: int) -> float:
    """Return recall@100 over 50 sampled rows, each query a mean of three, as preferences are."""
    count = min(NEIGHBOURS, len(rows))
    if not count:
        return 1.0
    chosen = np.random.default_rng(SEED).integers(0, len(rows), (QUERIES, 3))
    found = 0
    for triple in chosen:
        query = rows[triple].mean(axis=0)
        exact = set(np.argpartition(-(rows @ query), count - 1)[:count].tolist())
        found += len(exact.intersection(index.get_nns_by_vector(query, count, search_k)))
    return found / (QUERIES * count)


if __name__ == "__main__":
    main(sys.argv[1:])
