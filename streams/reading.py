"""Reading the stream tables: rows for analysts, freshness for everybody (Y10, F16)."""

import base64
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from streams.log import MessageLog
from streams.log.slices import Slice
from streams.views import Readable, Views
from tables.definitions import TABLES, TableSpec
from tables.errors import Missing, ServiceUnavailable
from tables.reading import Freshness, Row, TableInfo


class Progress:
    """How far each agent has folded: the last offset and its time, by topic and partition."""

    def __init__(self) -> None:
        """Start with nothing applied in this process."""
        self._applied: dict[str, dict[int, int]] = {}
        self._newest: dict[str, float] = {}

    def note(self, agent: str, batch: Slice[Any]) -> None:
        """Remember that an agent has written what a slice made."""
        self._applied.setdefault(agent, {})[batch.partition] = batch.last_offset
        if batch.timestamps:
            self._newest[agent] = max(self._newest.get(agent, 0.0), batch.timestamps[-1])

    def applied(self, agent: str) -> Mapping[int, int]:
        """Return the last offset folded in this process, by partition."""
        return self._applied.get(agent, {})

    def newest(self, agent: str) -> float:
        """Return the time of the newest record folded in this process; 0 when there is none."""
        return self._newest.get(agent, 0.0)


@dataclass(frozen=True)
class _Keys:
    """The keys of a table in order, when they were read, and what had been applied before."""

    made_at: float
    applied: Mapping[int, int]
    keys: list[str]


class _Streams(Protocol):
    """What is read of ``streams.app.Streams``."""

    @property
    def tables(self) -> Mapping[str, Any]:
        """The tables as this process keeps them."""

    @property
    def read(self) -> Mapping[str, Readable]:
        """The same, copies of the whole for some in a cluster."""

    @property
    def views(self) -> Views | None:
        """What keeps the copies."""

    @property
    def progress(self) -> Progress:
        """How far the agents are."""


class StreamTableReader:
    """Reads the tables as far as this process holds them, and the copies of others.

    In a cluster a scan of a table that is not copied gives the keys that this worker holds.
    """

    def __init__(
        self,
        streams: _Streams,
        log: MessageLog,
        *,
        group: str,
        holds: Callable[[str, str], bool] = lambda table, key: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Args: the tables, the log they fold, the consumer group's name, and ``holds(table, key)``.

        What a store has of keys that are not held here, a standby's or what moved away, is not read.
        """
        self._streams = streams
        self._log = log
        self._progress = streams.progress
        self._group = group
        self._holds = holds
        self._clock = clock
        self._specs = {spec.name: spec for spec in TABLES}
        self._keys: dict[str, _Keys] = {}
        self._current: dict[str, float] = {}

    def catalogue(self) -> Sequence[TableInfo]:
        """Return every table, by name."""
        return [self.describe(name) for name in sorted(self._specs)]

    def describe(self, name: str) -> TableInfo:
        """Return one table; an unknown one raises ``Missing`` (NOT_FOUND)."""
        spec = self._spec(name)
        return TableInfo(
            name=spec.name,
            description=spec.help,
            key=spec.keyed_by,
            value=spec.value.__name__,
            partitions=self._streams.tables[name].changelog_partitions,
            rows=self._streams.read[name].count(),
            fields={field.name: _type_name(field.type) for field in msgspec.structs.fields(spec.value)},
            sources=(spec.source,),
        )

    def freshness(self, name: str) -> Freshness:
        """Return how current one table is: with no lag it holds everything up to now."""
        spec = self._spec(name)
        applied: dict[str, int] = {}
        lag = 0
        here = self._progress.applied(spec.agent)
        for partition in range(self._log.partitions(spec.source) or 0):
            committed = self._log.committed(self._group, spec.source, partition) or 0
            done = max(committed - 1, here.get(partition, -1))
            applied[f"{spec.source}-{partition}"] = done
            start = self._log.earliest(spec.source, partition)
            lag += max(0, self._log.highwater(spec.source, partition) - max(done + 1, start))
        views = self._streams.views
        if views is not None and name in views.copies:
            lag += views.behind(name)
        if lag == 0:
            self._current[name] = self._log.positions_at()
        as_of = max(self._current.get(name, 0.0), self._progress.newest(spec.agent))
        return Freshness(as_of=as_of, applied=applied, lag=lag)

    async def rows(self, name: str, limit: int, after: str | None) -> tuple[Sequence[Row], str | None]:
        """Return up to ``limit`` rows with keys after ``after`` in key order, and where to go on."""
        table = self._streams.read[self._spec(name).name]
        keys = self._sorted_keys(name, goes_on=after is not None)
        start = bisect_right(keys, after) if after is not None else 0
        page = keys[start : start + limit]
        found = [(key, table.lookup(key)) for key in page]
        more = start + limit < len(keys)
        return [Row(key, plain(value)) for key, value in found if value is not None], page[
            -1
        ] if more else None

    async def row(self, name: str, key: str) -> Row | None:
        """Return one row, None when the key has none.

        Raises:
            Missing: an unknown table (NOT_FOUND).
            ServiceUnavailable: the key is another worker's (SERVICE_UNAVAILABLE).
        """
        name = self._spec(name).name
        if self._holds(name, key):
            value = self._streams.tables[name].lookup(key)
        elif self._is_copy(name):
            value = self._streams.read[name].lookup(key)
        else:
            raise ServiceUnavailable(retry_after_seconds=1.0)
        return None if value is None else Row(key, plain(value))

    def _sorted_keys(self, name: str, *, goes_on: bool) -> list[str]:
        """Return all keys in order; a walk of many pages sorts them once a second, not once a page.

        A first page holds everything that was applied when it was asked for, as its envelope says.
        """
        applied = dict(self._progress.applied(self._specs[name].agent))  # before the scan: never too new
        known = self._keys.get(name)
        current = known is not None and (goes_on or known.applied == applied)
        if known is None or not current or self._clock() - known.made_at > _KEYS_SECONDS:
            rows = list(self._streams.read[name].scan())
            whole = self._is_copy(name)
            keys = sorted(key for key, _ in rows if whole or self._holds(name, key))
            known = self._keys[name] = _Keys(self._clock(), applied, keys)
        return known.keys

    def _is_copy(self, name: str) -> bool:
        return self._streams.read[name] is not self._streams.tables[name]

    def _spec(self, name: str) -> TableSpec:
        try:
            return self._specs[name]
        except KeyError:
            raise Missing(f"There is no table {name!r}.", details={"field": "name", "value": name}) from None


_KEYS_SECONDS = 1.0


def plain(value: msgspec.Struct) -> Any:
    """Return a table's value as JSON data: names instead of positions, bytes in base64.

    >>> from tables.reducers.engagement import Watched
    >>> plain(Watched(fraction=0.5))["fraction"]
    0.5
    """
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def _type_name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or str(kind)
