"""Which partition a key goes to: Kafka's default partitioner (murmur2), so that both transports agree."""

from functools import lru_cache
from itertools import count

from aiokafka.partitioner import murmur2  # type: ignore[import-untyped]

_turn = count()


@lru_cache(maxsize=65_536)  # keys repeat (Zipf), murmur2 is pure Python here and costs several us
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_for(key: bytes | None, partitions: int) -> int:
    """Return the partition of ``key`` among ``partitions``; records without a key take turns.

    >>> partition_for(b"a-user", 8) == partition_for(b"a-user", 8)
    True
    """
    if key is None:
        return next(_turn) % partitions
    return _hash(key) % partitions
