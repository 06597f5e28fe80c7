"""Slice, fold, guarded write: the one way an agent changes a table (DESIGN section 6, invariant 1).

The touched rows are copied, a pure function folds the slice into the copies, and outputs and changelog
leave together; only then does the table show the new rows. So a failure changes nothing, and a reader
never sees what a crash could take back.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from streams.log.commit import LogWriter, Outgoing, encoded_in_steps

StateT = TypeVar("StateT")

#: How long a fold in steps computes before others have a turn.
STEP_SECONDS: Final = 0.001


@dataclass(frozen=True)
class Folded(Generic[StateT]):
    """What a fold decided: rows to write (None deletes one) and records to send."""

    rows: Mapping[str, StateT | None]
    outputs: Sequence[Outgoing] = ()


Steps = Generator[None, None, Folded[StateT]]
"""A fold that says after each of its steps that others may have a turn."""


@dataclass(frozen=True)
class Fold(Generic[StateT]):
    """A table with the log it is written through. Folds of one partition of a table never overlap.

    ``copy`` returns a row that may be changed in place; rows that are frozen need none.
    """

    table: Any
    writer: LogWriter
    copy: Callable[[StateT], StateT] = lambda row: row
    locks: defaultdict[int, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def apply(
        self,
        partition: int,
        keys: Iterable[str],
        fold: Callable[[dict[str, StateT]], Folded[StateT] | Steps[StateT]],
    ) -> Folded[StateT]:
        """Fold into copies of the rows of ``keys``, then write outputs, changelog and rows.

        Args:
            partition: partition of the source slice, which is the table's too.
            keys: keys that the slice touches; those without a row are left out of what ``fold`` gets.
            fold: pure; may change the copies that it gets. One that takes long yields now and then.

        Returns:
            What the fold decided, once it is durable.

        Raises:
            PublishFailure: the log did not take it (PUBLISH_ERROR); nothing has changed.
        """
        async with self.locks[partition]:
            async with self.writer.turn:
                await asyncio.sleep(0)  # whatever waits for the loop comes between two folds
                folded = await _finished(fold(self._copies(partition, keys)))
                written = await self._write(partition, folded)
            await written
            return folded

    async def _write(self, partition: int, folded: Folded[StateT]) -> Awaitable[None]:
        if not folded.rows:
            return self.writer.start(outputs=folded.outputs, writes=[], changes=[])
        changes = await encoded_in_steps(self.table, partition, folded.rows, time.time())
        write = (self.table, partition, folded.rows)
        return self.writer.start(outputs=folded.outputs, writes=[write], changes=[changes])

    def _copies(self, partition: int, keys: Iterable[str]) -> dict[str, StateT]:
        rows = ((key, self.table.row(key, partition)) for key in dict.fromkeys(keys))
        return {key: self.copy(row) for key, row in rows if row is not None}


async def _finished(folding: Folded[StateT] | Steps[StateT]) -> Folded[StateT]:
    """Return what a fold decides; when it goes in steps, the loop has a turn as often as is due."""
    if isinstance(folding, Folded):
        return folding
    due = time.perf_counter() + STEP_SECONDS
    while True:
        try:
            next(folding)
        except StopIteration as end:
            decided: Folded[StateT] = end.value
            return decided
        if time.perf_counter() >= due:
            await asyncio.sleep(0)
            due = time.perf_counter() + STEP_SECONDS
