"""The matrix of video vectors: one row per dense number, growing by doubling."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

DIMENSIONS: Final = 512

Vector = NDArray[np.float32]
Numbers = NDArray[np.int64]

_FIRST_ROWS: Final = 1_024


class VectorStore:
    """Unit vectors float32[n, 512] by dense number; absent rows are zero and marked."""

    def __init__(self) -> None:
        """Start empty."""
        self._matrix = np.zeros((_FIRST_ROWS, DIMENSIONS), np.float32)
        self._present = np.zeros(_FIRST_ROWS, np.bool_)
        self._size = 0
        self._count = 0

    def __len__(self) -> int:
        """Return how many rows hold a vector."""
        return self._count

    def put(self, number: int, vector: Vector) -> None:
        """Set a row. The vector is float32[512] of unit length."""
        self._reserve(number + 1)
        self._count += not self._present[number]
        self._matrix[number] = vector
        self._present[number] = True
        self._size = max(self._size, number + 1)

    def drop(self, number: int) -> None:
        """Forget a row; a row that is not there stays so."""
        if self.has(number):
            self._present[number] = False
            self._matrix[number] = 0.0
            self._count -= 1

    def has(self, number: int) -> bool:
        """Tell whether a row holds a vector."""
        return number < self._size and bool(self._present[number])

    def present(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Tell for each number whether it has a vector."""
        inside = numbers < self._size
        return inside & self._present[np.where(inside, numbers, 0)]

    def rows(self, numbers: Numbers) -> Vector:
        """Return the vectors of numbers, float32[len(numbers), 512], zero where absent."""
        inside = numbers < self._size
        rows = self._matrix[np.where(inside, numbers, 0)]
        rows[~inside] = 0.0
        return rows

    def numbers(self) -> Numbers:
        """Return the numbers that have a vector, ascending."""
        return np.flatnonzero(self._present[: self._size])

    def similarities(self, query: Vector) -> Vector:
        """Return the cosine of the query to every row, float32[size], -inf where absent."""
        scores = self._matrix[: self._size] @ query
        scores[~self._present[: self._size]] = -np.inf
        return scores

    def _reserve(self, rows: int) -> None:
        capacity = len(self._present)
        if rows <= capacity:
            return
        while capacity < rows:
            capacity *= 2
        matrix = np.zeros((capacity, DIMENSIONS), np.float32)
        matrix[: self._size] = self._matrix[: self._size]
        present = np.zeros(capacity, np.bool_)
        present[: self._size] = self._present[: self._size]
        self._matrix, self._present = matrix, present


def best(numbers: Numbers, similarities: Vector, count: int) -> tuple[Numbers, Vector]:
    """Return the ``count`` best pairs, best first, ties by number; -inf is never returned."""
    count = min(count, len(numbers))
    if count <= 0:
        return np.empty(0, np.int64), np.empty(0, np.float32)
    if count < len(numbers):
        kept = np.argpartition(-similarities, count - 1)[:count]
        numbers, similarities = numbers[kept], similarities[kept]
    order = np.lexsort((numbers, -similarities))
    order = order[np.isfinite(similarities[order])]
    return numbers[order], similarities[order]
