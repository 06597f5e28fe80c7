"""Parts of the transport by themselves: decoding, partitioning, policies, acks, buffer, watchdog."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.partitioner import DefaultPartitioner
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.log import Poison, RecoveryStalled, TopicPolicy, struct_codec
from streams.log.hardening import AckSet
from streams.log.partitioner import partition_for
from streams.log.records import Body, Chunk, decode_chunk, encode_body
from streams.log.recovery import watch_recovery
from streams.log.slices import SliceDecoder
from streams.log.topics import policy_of


class Event(msgspec.Struct, frozen=True):
    who: str
    n: int


RAW = st.one_of(
    st.none(),
    st.binary(max_size=30),
    st.builds(lambda n: msgspec.json.encode(Event("u", n)), st.integers(-5, 5)),
)


@given(st.lists(st.tuples(st.one_of(st.none(), st.binary(max_size=6)), RAW), min_size=1, max_size=30))
def test_every_record_is_either_read_or_poison_when_decoded(
    rows: list[tuple[bytes | None, bytes | None]],
) -> None:
    """Invariant 5: no data raises, none is dropped."""
    chunk = Chunk(
        "t", 1, range(7, 7 + len(rows)), [k for k, _ in rows], [v for _, v in rows], [1.0] * len(rows), None
    )
    made = SliceDecoder(Event).slice(chunk)
    assert sorted([*made.offsets, *(poison.offset for poison in made.poison)]) == list(chunk.offsets)
    assert (
        len(made.records) == len(made.keys) == len(made.offsets) == len(made.timestamps) == len(made.headers)
    )
    assert (made.first_offset, made.last_offset) == (7, 6 + len(rows))
    for record, offset in zip(made.records, made.offsets, strict=True):
        assert msgspec.json.decode(rows[offset - 7][1] or b"", type=Event) == record
    for poison in made.poison:
        assert isinstance(poison, Poison)
        assert (poison.key, poison.value) == rows[poison.offset - 7]
        assert poison.error


@given(st.lists(st.tuples(st.one_of(st.none(), st.binary()), st.one_of(st.none(), st.binary())), min_size=1))
def test_stored_rows_come_back_when_encoded(rows: list[tuple[bytes | None, bytes | None]]) -> None:
    times = [float(n) for n in range(len(rows))]
    blob, crc = encode_body(Body([k for k, _ in rows], [v for _, v in rows], times))
    chunk = decode_chunk(("t", 0), 5, crc, blob)
    assert list(zip(chunk.keys, chunk.values, strict=True)) == rows
    assert list(chunk.offsets) == list(range(5, 5 + len(rows)))
    assert chunk.timestamps == times


@given(st.binary(max_size=60), st.integers(1, 64))
def test_partition_is_that_of_the_kafka_client_when_a_key_is_given(key: bytes, count: int) -> None:
    everything = list(range(count))
    assert partition_for(key, count) == DefaultPartitioner()(key, everything, everything)


def test_partitions_take_turns_when_there_is_no_key() -> None:
    assert Counter(partition_for(None, 4) for _ in range(40)) == Counter(dict.fromkeys(range(4), 10))


def test_policy_is_translated_when_faust_declares_a_topic() -> None:
    assert policy_of(None, None, None) is None
    assert policy_of({}, None, None) is None
    assert policy_of(None, None, True) == TopicPolicy(compact=True)
    assert policy_of(None, 60.0, None) == TopicPolicy(retention_seconds=60.0)
    assert policy_of(
        {"retention.ms": 5000, "retention.bytes": 10, "delete.retention.ms": 100, "drop.unread": True},
        None,
        None,
    ) == TopicPolicy(retention_seconds=5.0, retention_bytes=10, tombstone_grace_seconds=0.1, drop_unread=True)


def test_struct_codec_is_strict_when_reading() -> None:
    codec = struct_codec(Event)
    assert codec.loads(codec.dumps(Event("u", 1))) == Event("u", 1)
    with pytest.raises(msgspec.ValidationError):
        codec.loads(b'{"who":"u","n":"1"}')


async def test_ack_does_not_count_when_the_body_is_torn_down() -> None:
    acked = AckSet()

    async def events() -> Any:
        for offset in range(3):
            try:
                yield offset
            finally:  # as Faust's stream does, whatever ended the body
                acked.add(offset)

    stream = events()
    assert await anext(stream) == 0
    assert await anext(stream) == 1
    assert acked == {0}
    await stream.aclose()
    assert acked == {0}

    async def body() -> None:
        async for _ in events():
            await asyncio.sleep(10)

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert acked == {0}


class FakeRecovery:
    """As much of Faust's recovery as the watchdog looks at: one partition that never moves."""

    def __init__(self) -> None:
        self.tp = TP("changelog", 0)
        self.in_recovery = True
        self.active_offsets: dict[TP, Any] = {self.tp: 3}
        self.active_highwaters = {self.tp: 9}
        self.buffers: dict[Any, list[int]] = {}
        self.signal_recovery_start = asyncio.Event()
        table = SimpleNamespace(name="counts", data=object())
        self.tp_to_table = {self.tp: _Hashed(table)}
        self.buffers[self.tp_to_table[self.tp]] = [1]

    def need_recovery(self) -> bool:
        return True

    def active_remaining(self) -> dict[TP, int]:
        return {self.tp: 6}


class _Hashed:
    def __init__(self, table: Any) -> None:
        self.name, self.data = table.name, table.data


async def test_stalled_recovery_is_repaired_once_and_then_ends_the_worker() -> None:
    """research/faust.md section 3 row 7."""
    recovery = FakeRecovery()
    crashes: list[BaseException] = []

    async def crash(failure: BaseException) -> None:
        crashes.append(failure)

    app = SimpleNamespace(
        recovery_stall_seconds=0.05, tables=SimpleNamespace(recovery=recovery), should_stop=False, crash=crash
    )
    async with asyncio.timeout(120):
        watching = asyncio.create_task(watch_recovery(app))
        await recovery.signal_recovery_start.wait()
        assert recovery.active_offsets[recovery.tp] is None  # read from the start again
        assert recovery.buffers[recovery.tp_to_table[recovery.tp]] == []
        assert crashes == []
        await watching
    assert isinstance(crashes[0], RecoveryStalled)
    assert "counts[0] at None of 9" in str(crashes[0])
