"""Faust's RocksDB store, which closes what it lets go of.

Faust drops its references to a database and has the garbage collector close it: a full collection for each
table at every rebalance and at the stop, which holds the interpreter for seconds in a process with a
large heap, the thread of the heartbeats too.
"""

from typing import Any

from faust.stores import STORES, rocksdb
from faust.types import TP


def register_store() -> None:
    """Put this store in the place of Faust's for ``rocksdb://``. Idempotent."""
    STORES.aliases["rocksdb"] = "streams.log.rocks:Store"


class Store(rocksdb.Store):  # type: ignore[misc]
    """One RocksDB database for each partition of a table, through rocksdict."""

    def revoke_partitions(self, table: Any, tps: set[TP]) -> None:
        """Close the databases of partitions that went elsewhere."""
        for tp in tps:
            if tp.topic in table.changelog_topic.topics:
                self._close(tp.partition)

    async def stop(self) -> None:
        """Close every database."""
        for partition in list(self._dbs):
            self._close(partition)

    def _close(self, partition: int) -> None:
        database = self._dbs.pop(partition, None)
        if database is not None:
            database.close()
