"""What this worker's front is told of the others: who holds which part of a table (F17)."""

from typing import TYPE_CHECKING

from streams.scans import PartScans
from web import hops
from web.gathering import GatheringReader, Page, Parts

if TYPE_CHECKING:
    from freewill.node import Node


class ClusterTables:
    """The tables of a cluster as one of its workers sees them; see ``web.gathering.Neighbours``."""

    def __init__(self, node: "Node") -> None:
        """Args: the node, with its streams built."""
        self._views = node.streams.views
        self._owners = node.owners
        self._scans = PartScans(node.streams.tables, self._held)

    def parts(self, name: str) -> Parts | None:
        """Return who holds a table; None for one that this worker holds all of, or has a copy of."""
        if self._owners is None or (self._views is not None and name in self._views.copies):
            return None
        return self._owners.parts(name)

    def page(self, name: str, partitions: frozenset[int], limit: int, after: str | None) -> Page:
        """Return rows of partitions that this worker holds."""
        return self._scans.page(name, partitions, limit, after)

    def _held(self, name: str) -> frozenset[int]:
        return self._owners.held(name) if self._owners else frozenset()


def table_reader(node: "Node") -> GatheringReader:
    """Return the reader of the front, whose scans reach every worker."""
    secret = hops.secret_from(node.keyring.tokens)
    return GatheringReader(node.reader, ClusterTables(node), secret)
