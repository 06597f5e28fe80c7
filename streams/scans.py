"""Pages of the rows of chosen partitions: what one worker gives to a scan over all of them (Y10, F17)."""

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.log.partitioner import partition_for
from streams.reading import plain
from tables.errors import ServiceUnavailable
from tables.reading import Row

#: A walk of many pages sorts the keys once a second, not once a page.
KEYS_SECONDS: Final = 1.0


@dataclass(frozen=True)
class _Keys:
    made_at: float
    partitions: frozenset[int]
    keys: list[str]


class PartScans:
    """Reads the tables of this process, and only of partitions that it holds."""

    def __init__(
        self,
        tables: Mapping[str, Any],
        held: Callable[[str], frozenset[int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args: tables by name, and the partitions of a table that this process holds and may read now."""
        self._tables = tables
        self._held = held
        self._clock = clock
        self._keys: dict[str, _Keys] = {}

    def page(
        self, name: str, partitions: frozenset[int], limit: int, after: str | None
    ) -> tuple[Sequence[Row], str | None]:
        """Return up to ``limit`` rows of these partitions behind ``after`` in key order, and where to go on.

        Raises:
            Missing: there is no such table (NOT_FOUND).
            ServiceUnavailable: one of the partitions is not, or no longer, here (SERVICE_UNAVAILABLE).
        """
        if not partitions <= self._held(name):
            raise ServiceUnavailable(retry_after_seconds=1.0)
        keys = self._sorted(name, partitions, goes_on=after is not None)
        start = bisect_right(keys, after) if after is not None else 0
        page = keys[start : start + limit]
        lookup = self._tables[name].lookup
        rows = [Row(key, plain(value)) for key in page if (value := lookup(key)) is not None]
        return rows, page[-1] if start + limit < len(keys) else None

    def _sorted(self, name: str, partitions: frozenset[int], *, goes_on: bool) -> list[str]:
        known, now = self._keys.get(name), self._clock()
        if goes_on and known and known.partitions == partitions and now - known.made_at <= KEYS_SECONDS:
            return known.keys
        table = self._tables[name]
        number = int(table.changelog_partitions)
        keys = sorted(
            key for key, _ in list(table.scan()) if partition_for(key.encode(), number) in partitions
        )
        self._keys[name] = _Keys(now, partitions, keys)
        return keys
